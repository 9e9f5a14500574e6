"What a method is asked: the same edits by every road, one preparation a face, and the calls of the last release."
import subprocess
import sys
import warnings
import numpy as np
import pytest
import torch
from emotion_synth.editor import Editor
from emotion_synth.faces import align, detect
from emotion_synth.images import sample_photo, to_array
from emotion_synth.method import CropMethod, CropState, FaceState, Method, check_photo, get_method
from emotion_synth.methods.morph import Morph
from emotion_synth.methods.vae import VAEInducer

PHOTO = to_array(sample_photo())

@pytest.fixture(scope='module')
def face(): return detect(PHOTO)[0]

@pytest.fixture(scope='module')
def crop(face): return align(PHOTO, face)[0]

@pytest.fixture(scope='module', params=['morph', 'vae', 'stylegan'])
def method(request): return get_method(request.param, **({'steps': 2} if request.param == 'stylegan' else {}))

@pytest.fixture(autouse=True)
def no_old_ways():
    "The library does not use what it warns of."
    with warnings.catch_warnings():
        warnings.filterwarnings('error', message='.*old way goes with the next release', category=DeprecationWarning)
        yield

def test_every_road_gives_the_same_photo(method, face):
    state = method.prepare(PHOTO, face)
    alone = [method.edit(state, 'anger', s) for s in (0, .5, 1)]
    edits = Editor(method).sweep(PHOTO, 'anger', (0, .5, 1))
    for one, together, edit in zip(alone, method.edit_many(state, 'anger', (0, .5, 1)), edits):
        assert (one == together).all() and (one == edit.array).all()
    assert (alone[0] == PHOTO).all() and (alone[1] != alone[2]).any()

def test_methods_keep_their_word(method, face):
    changes = check_photo(method, PHOTO, face, 'anger')
    assert changes[0] == 0 < changes[.5] < changes[1]

def test_the_editor_keeps_what_the_method_prepared(method):
    editor = Editor(method)
    first, second = (editor(PHOTO, e).faces[0] for e in ('joy', 'anger'))
    ready, = editor.ready.kept.values()
    assert isinstance(ready.state, CropState) == (method.name != 'morph') and first.alignment is second.alignment
    assert bool(first.crops) == (method.name != 'morph'), 'no crop is made that the method does not use'
    assert first.before.shape == first.after.shape == first.reconstruction.shape

def test_the_editor_lets_go_of_large_photos(monkeypatch):
    monkeypatch.setattr('emotion_synth.editor.MOST_KEPT', 2 * PHOTO.nbytes)
    editor = Editor('morph')
    for brighter in range(4): editor.make_ready(editor.open(np.minimum(PHOTO, 255 - brighter)))
    assert len(editor.ready.kept) == 2

class Noisy(CropMethod):
    def edit_crop(self, crop, emotion, strength=1., state=None): return (crop + strength * torch.randn_like(crop)).clamp(-1, 1)

def test_strengths_draw_the_same_numbers_together_and_alone(face):
    editor = Editor(Noisy(), seed=3)
    alone = editor(PHOTO, 'joy', 1)
    before = torch.random.get_rng_state()
    assert (editor.sweep(PHOTO, 'joy', (.5, 1, 1.5))[1].array == alone.array).all()
    assert torch.equal(torch.random.get_rng_state(), before)

def test_who_edits_anew_does_not_inherit_how_several_are_edited():
    class Many(Noisy):
        def edit_crops(self, crop, emotion, strengths, state=None): raise AssertionError
    class Anew(Many):
        def edit_crop(self, crop, emotion, strength=1., state=None): return crop
    assert Anew.edit_crops is CropMethod.edit_crops and Many.edit_crops is not CropMethod.edit_crops

def old(match='old way'): return pytest.warns(DeprecationWarning, match=match)

@pytest.mark.parametrize('make', [Morph, VAEInducer])
def test_calls_of_the_last_release(make, crop, face):
    method = make()
    with old('prepare_crop'): state = method.prepare(crop)
    with old('edit_crop'): edited = method.edit(crop, 'joy', .8, state=state)
    assert torch.equal(edited, method.edit_crop(crop, 'joy', .8, method.prepare_crop(crop)))
    with old('prepare'): ready = method.prepare_photo(PHOTO, face)
    with old('edit'): photo = method.edit_photo(PHOTO, face, 'joy', .8, ready)
    assert (photo == method.edit(method.prepare(PHOTO, face), 'joy', .8)).all() and isinstance(ready, FaceState)

def test_fit_of_the_last_release(crop):
    method, faces = VAEInducer(), torch.stack([crop, crop.flip(2), crop * .9, crop.flip(2) * .9])
    labels = ['neutral', 'joy'] * 2, [0., 1.] * 2, [0, 0, 1, 1]
    with old('is called learn now'): assert method.fit(faces, *labels, rank=1) is method
    assert Morph().fit() is not None

def test_a_class_of_the_last_release(face, crop):
    with old('Louder edits crops'):
        class Louder(VAEInducer):
            def edit(self, face, emotion, strength=1., state=None): return super().edit(face, emotion, strength / 2, state)
    with old():
        class Whole(Method):
            def prepare_photo(self, photo, face): return photo.max()
            def edit_photo(self, photo, face, emotion, strength=1., state=None): return photo // 2 + (state > 300)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', DeprecationWarning)
        half = Louder().edit(crop, 'joy')
        edited = Editor(Louder())(PHOTO, 'joy').array
    assert torch.equal(half, VAEInducer().edit_crop(crop, 'joy', .5))
    assert (edited == Editor(VAEInducer())(PHOTO, 'joy', .5).array).all()
    assert (Editor(Whole())(PHOTO, 'joy').array == PHOTO // 2).all() and (Editor(Whole())(PHOTO, 'joy', 0).array == PHOTO).all()

def test_the_default_edit_loads_no_torch(tmp_path):
    "Half the time and half the memory of a first edit with the default method would be PyTorch's import."
    out = tmp_path/'joy.png'
    code = ("import sys; from emotion_synth.cli import main; assert main(['edit', '-e', 'joy', '-o', sys.argv[1]]) == 0; "
            "assert not {'torch', 'diffusers', 'transformers'} & set(sys.modules)")
    subprocess.run([sys.executable, '-c', code, str(out)], check=True, stdin=subprocess.DEVNULL)
    assert out.stat().st_size > 0
