"Files of directions, words and people that come from somebody else: each fault is refused in one sentence, and old files load."
import base64, copy, json
from pathlib import Path
import pytest, torch
from PIL import Image
from safetensors.torch import save, save_file
from transformers import CLIPTextModel

from emotion_synth.diffusion.backbone import Backbone
from emotion_synth.diffusion.calibration import Calibration, load_calibrations, save_calibrations
from emotion_synth.diffusion.direction import Direction, Stored, Word, stored_direction
from emotion_synth.diffusion.direction_files import load_direction
from emotion_synth.diffusion.hook import DirectionError
from emotion_synth.diffusion.lora import LORA_FILE, PersonError, close_lora, lora_layers, open_lora, read_lora
from emotion_synth.diffusion.person import load_person
from emotion_synth.diffusion.word_learning import THE_REST
from emotion_synth.diffusion.words import LearntWord, WordError, add_word, load_word, save_word, word_token
from emotion_synth.methods import textual_inversion
from emotion_synth.methods.personalisation import LoRA, main
from emotion_synth.methods.textual_inversion import TextualInversion, learn, read_faces
from emotion_synth.training.autoencoder import make_autoencoder
from emotion_synth.training.face128 import make_pipeline
from emotion_synth.training.text import make_clip, make_tokenizer
from emotion_synth.training.unet import make_unet

def one_sentence(error, called=''):
    "The message of an error is short, printable and on one line."
    text = str(error.value)
    assert len(text) < 700 and text.isprintable() and called in text, text[:700]
    return text

# Directions ---------------------------------------------------------------------------------------------------------

OLD_DIRECTION = (
    'AAQAAAAAAAB7Il9fbWV0YWRhdGFfXyI6eyJlbW90aW9uX3N5bnRoIjoie1wiZGlyZWN0aW9uXCI6IHtcIm5hbWVcIjogXCJhIGJpdCBvZiBldmVyeXRoaW5nXCIsIFwic3RlcHNcIjog'
    'NTAsIFwidGVybXNcIjogW1swLjUsIHtcInRhcmdldFwiOiBcImEgcGhvdG8gb2YgYSB2ZXJ5IGpveWZ1bCBwZXJzb25cIiwgXCJzb3VyY2VcIjogbnVsbCwgXCJraW5kXCI6IFwid29y'
    'ZFwiLCBcImtleVwiOiBcInQwXCJ9XSwgWzAuMywge1wia2luZFwiOiBcInN0b3JlZFwiLCBcImtleVwiOiBcInQwXCJ9XSwgWy0yLjAsIHtcImRpcmVjdGlvblwiOiB7XCJuYW1lXCI6'
    'IFwid2FybVwiLCBcInN0ZXBzXCI6IDUwLCBcInRlcm1zXCI6IFtbMS4wLCB7XCJ0YXJnZXRcIjogXCJ3YXJtXCIsIFwic291cmNlXCI6IFwiY29sZFwiLCBcImtpbmRcIjogXCJ3b3Jk'
    'XCIsIFwia2V5XCI6IFwidDBcIn1dXX0sIFwib3RoZXJzXCI6IFt7XCJuYW1lXCI6IFwiZGltXCIsIFwic3RlcHNcIjogNTAsIFwidGVybXNcIjogW1sxLjAsIHtcInRhcmdldFwiOiBc'
    'ImRpbVwiLCBcInNvdXJjZVwiOiBudWxsLCBcImtpbmRcIjogXCJ3b3JkXCIsIFwia2V5XCI6IFwidDBcIn1dXX0sIHtcIm5hbWVcIjogXCJzXCIsIFwic3RlcHNcIjogNTAsIFwidGVy'
    'bXNcIjogW1sxLjAsIHtcImtpbmRcIjogXCJzdG9yZWRcIiwgXCJrZXlcIjogXCJ0MFwifV1dfV0sIFwia2luZFwiOiBcInByb2plY3RlZFwiLCBcImtleVwiOiBcInQyXCJ9XV19LCBc'
    'ImFib3V0XCI6IHtcImZhY2VzXCI6IDEyfX0ifSwidDAua25vdHMiOnsiZHR5cGUiOiJGMzIiLCJzaGFwZSI6WzJdLCJkYXRhX29mZnNldHMiOlswLDhdfSwidDIudDAua25vdHMiOnsi'
    'ZHR5cGUiOiJGMzIiLCJzaGFwZSI6WzFdLCJkYXRhX29mZnNldHMiOls4LDEyXX0sInQwLnZhbHVlcyI6eyJkdHlwZSI6IkYxNiIsInNoYXBlIjpbMiwxLDIsMl0sImRhdGFfb2Zmc2V0'
    'cyI6WzEyLDI4XX0sInQyLnQwLnZhbHVlcyI6eyJkdHlwZSI6IkYxNiIsInNoYXBlIjpbMSwxLDIsMl0sImRhdGFfb2Zmc2V0cyI6WzI4LDM2XX19ICAgAACgQQAAFkQAAAAAADwAPAAA'
    'ALgAOAC8AEAANAA4ALwAQAA0')
OLD_NOTHING = (
    'gAAAAAAAAAB7Il9fbWV0YWRhdGFfXyI6eyJlbW90aW9uX3N5bnRoIjoie1wiZGlyZWN0aW9uXCI6IHtcIm5hbWVcIjogXCJub3RoaW5nXCIsIFwic3RlcHNcIjogNTAsIFwidGVybXNc'
    'IjogW119LCBcImFib3V0XCI6IHt9fSJ9fSAgICAgIA==')
OLD_WORD = (
    'gAAAAAAAAAB7Il9fbWV0YWRhdGFfXyI6eyJlbW90aW9uX3N5bnRoIjoie1wicGljdHVyZXNcIjogNX0ifSwiPFNsaWdodC1zbWlyaz4iOnsiZHR5cGUiOiJGMzIiLCJzaGFwZSI6WzIs'
    'M10sImRhdGFfb2Zmc2V0cyI6WzAsMjRdfX0gICAgIAAAAD8AAIC+AACAPwAAAD4AAAAAAAAAQA==')
OLD_CALIBRATIONS = '''{"joy": {"scale": 0.4, "steps": 15, "t_edit": 0, "asymmetric": false, "scales": [0.0, 0.1], "scores": [0.2, 0.9]},
 "fear": {"scale": 0.3, "steps": 15, "t_edit": [100, 600], "asymmetric": 0.1, "scales": [], "scores": []}}'''

def kept(folder, text, name='old.safetensors'):
    (path := folder/name).write_bytes(base64.b64decode(text))
    return path

def test_old_direction_loads(tmp_path):
    d = load_direction(kept(tmp_path, OLD_DIRECTION))
    (a, word), (b, stored), (c, projected) = d.terms
    assert (d.name, d.steps) == ('a bit of everything', 50)
    assert (a, c) == (.5, -2) and abs(b - .3) < 1e-9 and word == Word('a photo of a very joyful person')
    assert stored.knots.tolist() == [20, 600] and stored.values.flatten().tolist() == [1, 1, 0, -.5, .5, -1, 2, .25]
    assert projected.sentences() == {'warm', 'cold', 'dim'} and len(projected.others) == 2
    assert load_direction(kept(tmp_path, OLD_NOTHING)).terms == ()

SMILE = stored_direction('smile', [20, 600], torch.arange(8.).view(2, 1, 2, 2), 15)
HERE = dict(kind='stored', key='t0')

def direction_file(folder, tensors=None, **fields):
    "A file of a stored direction, with some of its fields replaced; an ellipsis leaves one out."
    data = dict(name='smile', steps=15, terms=[[1., HERE]]) | fields
    data = {k: v for k, v in data.items() if v is not ...}
    tensors = {'t0.knots': SMILE.terms[0][1].knots.float(), 't0.values': SMILE.terms[0][1].values.half()} | (tensors or {})
    tensors = {k: v for k, v in tensors.items() if v is not ...}
    (path := folder/'smile.safetensors').write_bytes(save(tensors, metadata=dict(emotion_synth=json.dumps(dict(direction=data)))))
    return path

def test_the_file_without_a_fault_loads(tmp_path):
    assert load_direction(direction_file(tmp_path)).steps == 15

def word(target, source=None): return [[1., dict(kind='word', target=target, source=source)]]
def knots(*values): return {'t0.knots': torch.tensor(values)}

FIELDS = {
    'steps-text': dict(steps='x'), 'steps-null': dict(steps=None), 'steps-1e9': dict(steps=1e9), 'steps-0': dict(steps=0), 'steps-negative': dict(steps=-15),
    'steps-nan': dict(steps=float('nan')), 'steps-part': dict(steps=15.5), 'steps-true': dict(steps=True), 'steps-huge': dict(steps=10**400), 'steps-list': dict(steps=[15]),
    'steps-missing': dict(steps=...), 'name-number': dict(name=7), 'name-null': dict(name=None), 'name-path': dict(name='../../x'), 'name-root': dict(name='/etc/x'),
    'name-windows': dict(name='..\\..\\x'), 'name-drive': dict(name='C:\\x'), 'name-home': dict(name='~/x'), 'name-long': dict(name='a' * 100_000),
    'name-control': dict(name='a\x1b[2Jb'), 'name-nul': dict(name='a\0b'), 'name-lines': dict(name='a\nb'), 'name-surrogate': dict(name='\ud800'), 'name-missing': dict(name=...),
    'name-list': dict(name=['a']), 'terms-null': dict(terms=None), 'terms-text': dict(terms='ab'), 'terms-single': dict(terms=[HERE]), 'terms-triple': dict(terms=[[1., HERE, 2]]),
    'terms-many': dict(terms=[[1., HERE]] * 2000), 'terms-missing': dict(terms=...), 'weight-nan': dict(terms=[[float('nan'), HERE]]), 'weight-inf': dict(terms=[[float('inf'), HERE]]),
    'weight-huge': dict(terms=[[1e30, HERE]]), 'weight-text': dict(terms=[['1', HERE]]), 'weight-null': dict(terms=[[None, HERE]]), 'weight-true': dict(terms=[[True, HERE]]),
    'term-text': dict(terms=[[1., 'stored']]), 'kind-null': dict(terms=[[1., dict(kind=None)]]), 'kind-list': dict(terms=[[1., dict(kind=[])]]),
    'kind-missing': dict(terms=[[1., {}]]), 'target-number': dict(terms=word(7)), 'target-null': dict(terms=word(None)), 'target-long': dict(terms=word('very ' * 100_000)),
    'target-surrogate': dict(terms=word('\ud800')), 'source-number': dict(terms=word('warm', 7)), 'source-long': dict(terms=word('warm', 'a' * 100_000)),
    'word-without-target': dict(terms=[[1., dict(kind='word')]]), 'word-with-more': dict(terms=[[1., dict(kind='word', target='warm', more=1)]]),
    'projected-number': dict(terms=[[1., dict(kind='projected', direction=7, others=[])]]), 'projected-empty': dict(terms=[[1., dict(kind='projected')]]),
    'inner-steps': dict(terms=[[1., dict(kind='projected', direction=dict(name='x', steps=None, terms=[]), others=[])]]),
    'knots-empty': dict(tensors={'t0.knots': torch.zeros(0), 't0.values': torch.zeros(0, 1, 2, 2)}), 'knots-nan': dict(tensors=knots(20., float('nan'))),
    'knots-inf': dict(tensors=knots(20., float('inf'))), 'knots-negative': dict(tensors=knots(-5., 20.)), 'knots-huge': dict(tensors=knots(20., 1e9)), 'knots-few': dict(tensors=knots(20.)),
    'knots-scalar': dict(tensors={'t0.knots': torch.tensor(5.)}), 'knots-missing': dict(tensors={'t0.knots': ...}), 'values-missing': dict(tensors={'t0.values': ...}),
    'values-nan': dict(tensors={'t0.values': torch.full((2, 1, 2, 2), float('nan'))}), 'values-inf': dict(tensors={'t0.values': torch.full((2, 1, 2, 2), float('inf'))}),
    'values-huge': dict(tensors={'t0.values': torch.full((2, 1, 2, 2), 1e30)}), 'values-flat': dict(tensors={'t0.values': torch.zeros(2, 4)}),
    'values-none': dict(tensors={'t0.values': torch.zeros(2, 0, 2, 2)}),
}

@pytest.mark.parametrize('fault', FIELDS)
def test_direction_is_refused(fault, tmp_path):
    with pytest.raises(DirectionError) as error: load_direction(direction_file(tmp_path, **FIELDS[fault]))
    one_sentence(error, 'smile.safetensors')

@pytest.mark.parametrize('depth', [150, 300, 3000])
def test_a_direction_inside_itself_is_refused(depth, tmp_path):
    text = '{"name": "x", "steps": 15, "terms": [[1, {"kind": "projected", "others": [], "direction": ' * depth + '{}' + '}]]}' * depth
    (path := tmp_path/'x.safetensors').write_bytes(save({}, metadata=dict(emotion_synth='{"direction": ' + text + '}')))
    with pytest.raises(DirectionError) as error: load_direction(path)
    one_sentence(error, 'x.safetensors')

@pytest.mark.parametrize('data', [b'', b'nothing', b'\xff' * 64, b'{}', save({}), save({}, metadata=dict(emotion_synth='[')), save({}, metadata=dict(emotion_synth='null')),
                                  save({}, metadata=dict(emotion_synth='{}')), save({}, metadata=dict(emotion_synth='[' * 100_000))])
def test_another_file_is_no_direction(data, tmp_path):
    (path := tmp_path/'other.safetensors').write_bytes(data)
    with pytest.raises(DirectionError) as error: load_direction(path)
    one_sentence(error, 'does not hold a direction')

@pytest.mark.parametrize('direction', [
    Direction('../x'), Direction('a' * 5000), Direction('x', steps=0), Direction('x', ((float('nan'), Word('warm')),)), Direction('x', ((1e9, Word('warm')),)),
    Direction('x', ((1., Stored(torch.tensor([0.]), torch.full((1, 1, 1, 1), 1e6))),))], ids=str)
def test_what_could_not_be_read_is_not_written(direction, tmp_path):
    with pytest.raises(DirectionError) as error: direction.save(tmp_path/'d.safetensors')
    one_sentence(error)
    assert not list(tmp_path.iterdir())

def test_a_stored_direction_is_checked_when_it_is_made():
    for wrong in ([float('nan')], [-1.], []):
        with pytest.raises(DirectionError): stored_direction('x', torch.tensor(wrong), torch.zeros(len(wrong), 1, 2, 2))
    with pytest.raises(DirectionError): stored_direction('x', [0], torch.full((1, 1, 2, 2), float('nan')))

@pytest.mark.parametrize('name', ['joy without surprise, fear', '-(0.5 (a + b))', 'froh & müde', 'happy/sad', '笑', 'v1.5..2', ''])
def test_names_that_people_give_are_kept(name, tmp_path):
    assert load_direction(SMILE.named(name).save(tmp_path/'d.safetensors')).name == name

# Calibrations -------------------------------------------------------------------------------------------------------

def test_old_calibrations_load(tmp_path):
    (path := tmp_path/'calibration.json').write_text(OLD_CALIBRATIONS)
    found = load_calibrations(path)
    assert found == dict(joy=Calibration(.4, 15, 0, False, (0., .1), (.2, .9)), fear=Calibration(.3, 15, (100, 600), .1))
    save_calibrations(found | dict(open=Calibration(.5, t_edit=(100, float('inf')))), path)
    assert load_calibrations(path) == found | dict(open=Calibration(.5, t_edit=(100, float('inf'))))
    assert load_calibrations(tmp_path/'none.json') == {}

CALIBRATIONS = {
    'empty': '', 'json': '{', 'list': '[]', 'null': 'null', 'number': '{"joy": 1}', 'no-scale': '{"joy": {"steps": 15}}', 'field': '{"joy": {"scale": 1, "other": 1}}',
    'nested': '[' * 100_000, 'name-path': '{"../../x": {"scale": 1}}', 'name-long': json.dumps({'a' * 100_000: dict(scale=1)}), 'name-control': json.dumps({'a\x1bb': dict(scale=1)}),
} | {f'{k}-{json.dumps(v)[:12]}': json.dumps(dict(joy=dict(scale=.4) | {k: v})) for k, values in dict(
    scale=(None, 'x', float('nan'), float('inf'), 1e30, True, []), steps=(None, 'x', 1e9, 0, 1.5, float('nan')), t_edit=(None, 'x', float('nan'), -1, 1e9, [1], [1, 2, 3], [None, 5], float('inf')),
    asymmetric=(None, 'x', 2, -.5, float('nan')), scales=(None, 'x', 1, [None], [float('nan')]), scores=(7, ['x'], [float('inf')])).items() for v in values}

@pytest.mark.parametrize('fault', CALIBRATIONS)
def test_calibration_is_refused(fault, tmp_path):
    (path := tmp_path/'calibration.json').write_text(CALIBRATIONS[fault])
    with pytest.raises(DirectionError) as error: load_calibrations(path)
    one_sentence(error, 'calibration.json')

def test_calibrations_that_could_not_be_read_are_not_written(tmp_path):
    with pytest.raises(DirectionError): save_calibrations(dict(joy=Calibration(float('nan'))), tmp_path/'calibration.json')
    (tmp_path/'folder.json').mkdir()
    with pytest.raises(DirectionError): load_calibrations(tmp_path/'folder.json')
    assert not (tmp_path/'calibration.json').exists()

# Words --------------------------------------------------------------------------------------------------------------

@pytest.fixture(scope='module')
def parts():
    torch.manual_seed(0)
    tokenizer = make_tokenizer()
    clip = make_clip(tokenizer, width=32, text_layers=1, image_layers=1, projection=16)
    text = CLIPTextModel(clip.config.text_config).eval()
    return make_pipeline(make_autoencoder((8, 16, 16, 16)), make_unet((32, 64), text=32, heads=2), text, tokenizer)

@pytest.fixture
def model(parts): return copied(parts)

def copied(parts):
    "A random model in the layout of face128, with words and layers of its own."
    p = {k: copy.deepcopy(getattr(parts, k)) for k in ('unet', 'vae', 'text_encoder', 'tokenizer')}
    return Backbone(p['unet'], parts.scheduler, p['vae'], p['text_encoder'], p['tokenizer'])

ROW = torch.full((1, 32), .5)

def word_file(folder, tensors, name='word.safetensors', about=None):
    (path := folder/name).write_bytes(save(tensors, metadata=None if about is None else dict(emotion_synth=about)))
    return path

def test_old_word_loads(tmp_path):
    old = load_word(kept(tmp_path, OLD_WORD))
    assert (old.token, old.about) == ('<Slight-smirk>', dict(pictures=5))
    assert old.vectors.tolist() == [[.5, -.25, 1.], [.125, 0., 2.]]

WORDS = {
    'nan': {'<a>': ROW * float('nan')}, 'inf': {'<a>': ROW * float('inf')}, '1e30': {'<a>': ROW * 1e30}, 'double': {'<a>': ROW.double() * 1e300}, 'integers': {'<a>': torch.ones(1, 32, dtype=torch.int64)},
    'empty': {'<a>': torch.zeros(0, 32)}, 'no-width': {'<a>': torch.zeros(1, 0)}, 'scalar': {'<a>': torch.tensor(1.)}, 'cube': {'<a>': torch.ones(1, 1, 32)}, 'many-rows': {'<a>': torch.ones(1000, 32)},
    'two': {'<a>': ROW, '<b>': ROW + 1}, 'none': {}, 'xl': dict(clip_l=ROW, clip_g=ROW + 1), 'end': {'<|endoftext|>': ROW}, 'start': {'<|startoftext|>': ROW}, 'ours': {THE_REST: ROW},
    'path': {'<../../x>': ROW}, 'root': {'</etc/x>': ROW}, 'long': {f"<{'a' * 100_000}>": ROW}, 'control': {'<a\x1bb>': ROW}, 'number': {'7': ROW}, 'nothing': {'': ROW}, 'dots': {'..': ROW},
}

@pytest.mark.parametrize('fault', WORDS)
def test_word_is_refused(fault, tmp_path):
    with pytest.raises(WordError) as error: load_word(word_file(tmp_path, WORDS[fault]))
    one_sentence(error)

@pytest.mark.parametrize('about', ['[', '[]', 'null', '7', '[' * 100_000])
def test_what_a_word_says_about_itself_is_checked(about, tmp_path):
    with pytest.raises(WordError) as error: load_word(word_file(tmp_path, {'<a>': ROW}, about=about))
    one_sentence(error)

@pytest.mark.parametrize('name', [None, 7, '', '../../x', 'a' * 100_000, 'a\x1bb', '<|endoftext|>', THE_REST, '42!'])
def test_name_is_refused(name, tmp_path):
    with pytest.raises(WordError) as error: word_token(name)
    one_sentence(error)
    if not name: return
    with pytest.raises(WordError): load_word(word_file(tmp_path, {'<a>': ROW}), token=name if isinstance(name, str) else str(name))

def test_what_a_file_is_says_its_content(tmp_path):
    assert load_word(word_file(tmp_path, {'<a>': ROW}, 'word.bin')).token == '<a>'
    assert load_word(word_file(tmp_path, {'emb_params': ROW}, 'Grumpy Face.pt')).token == '<grumpy-face>'
    for name, data, said in (('word.pt', b'PK\x03\x04' + b'0' * 60, 'pickle'), ('word.bin', b'\x80\x02}q\x00.', 'pickle'), ('word.safetensors', b'\x80\x02}q\x00.' * 9, 'pickle'), ('word.bin', b'', 'pickle'),
                             ('word.safetensors', b'\x89PNG' * 9, 'not a safetensors file'), ('word.safetensors', save({'<a>': ROW})[:-1], 'cut short'), ('word.bin', save({'<a>': ROW})[:60], 'cut short')):
        (tmp_path/name).write_bytes(data)
        with pytest.raises(WordError) as error: load_word(tmp_path/name)
        one_sentence(error, said)
    with pytest.raises(WordError, match='There is no word'): load_word(tmp_path/'nowhere.pt')

def test_no_word_takes_the_place_of_the_models_own(model):
    table = lambda: model.text_encoder.get_input_embeddings().weight
    before, said = table().detach().clone(), model.embed('a photo of a joyful woman')
    for token in ('<|endoftext|>', '<|startoftext|>'):
        with pytest.raises(WordError, match='own vocabulary'): add_word(model, LearntWord(token, ROW))
    with pytest.raises(WordError, match='learnt on another model'): add_word(model, LearntWord('<a>', torch.ones(1, 8)))
    assert torch.equal(table(), before) and torch.equal(model.embed('a photo of a joyful woman'), said)
    ids = add_word(model, LearntWord('<the-rest>', torch.cat([ROW, ROW])))
    assert add_word(model, LearntWord('<the-rest>', torch.cat([ROW, 2 * ROW]))) == ids and torch.equal(table()[ids[1]], 2 * ROW[0])

def test_a_users_the_rest_is_another_token(model):
    assert word_token('the rest') == '<the-rest>' != THE_REST
    first, = add_word(model, LearntWord('<the-rest>', ROW)); second, = add_word(model, LearntWord(THE_REST, 2 * ROW))
    assert first != second
    assert model.tokenizer(f'<the-rest> {THE_REST}', add_special_tokens=False).input_ids == [first, second]
    method = TextualInversion(model, folder='nowhere')
    with pytest.raises(WordError): method.add(LearntWord(THE_REST, ROW))

def forbidden(*args, **kwargs): raise AssertionError('the model was read')

def test_a_bad_word_is_refused_before_the_model_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(Backbone, 'from_pretrained', forbidden)
    with pytest.raises(WordError): TextualInversion('face128', words=[word_file(tmp_path, {'<a>': ROW * 1e30})])

def test_copies_of_a_photo_count_once(tmp_path, monkeypatch):
    monkeypatch.setattr(Backbone, 'from_pretrained', forbidden)
    for n in 'ab': Image.new('RGB', (40, 40), (9, 9, 9)).save(tmp_path/f'{n}.png')
    Image.new('RGB', (40, 40), (99, 9, 9)).save(tmp_path/'c.png')
    a, b, c = (tmp_path/f'{n}.png' for n in 'abc')
    for photos, n in (([a, a, a], 1), ([a, b, b], 1), ([a, b, c], 2), ([str(a), a, c], 2)):
        with pytest.raises(WordError) as error: learn('smirk', photos, tmp_path/'out')
        text = one_sentence(error, 'different people')
        assert text.startswith(f"{n} usable photo{'s' * (n > 1)} cannot") and 'same picture' in text
    with pytest.raises(WordError, match='is a file'): learn('smirk', [a, b, c], a)
    assert not (tmp_path/'out').exists()

def test_the_same_pixels_in_another_file_count_once(tmp_path, monkeypatch):
    picture = Image.new('RGB', (40, 40), (9, 9, 9))
    for n in ('a.png', 'b.bmp'): picture.save(tmp_path/n)
    monkeypatch.setattr(textual_inversion, 'detect', lambda image: [image])
    monkeypatch.setattr(textual_inversion, 'align', lambda image, face, size: (torch.zeros(3, size, size),))
    photos = [tmp_path/'a.png', tmp_path/'b.bmp']
    faces, left_out = read_faces(photos, 8, once=True)
    assert len(faces) == 1 and list(left_out) == [str(photos[1])] and 'same picture' in left_out[str(photos[1])]
    assert len(read_faces(photos, 8)[0]) == 2

# People -------------------------------------------------------------------------------------------------------------

def noise(model):
    with torch.no_grad(): return model.predict_noise(torch.ones(1, *model.latent_shape), 300, model.embed('a photo of a person'))

@pytest.fixture(scope='module')
def layers(parts):
    "The matrices of a LoRA of rank 4, as `Personal.save` names them."
    open_lora(model := copied(parts), 4)
    made = {f'unet.{k}': v for k, v in lora_layers(model.unet).items()}
    generator = torch.Generator().manual_seed(0)
    return {k: .1 * torch.randn(v.shape, generator=generator) for k, v in made.items()}

def person(folder, layers, name='anna', about=None, **header):
    "A person's folder."
    save_word(LearntWord(f'<{name}>', ROW, about or dict(subject='woman')), folder/name)
    save_file(layers, folder/name/LORA_FILE, metadata=dict(format='pt', **header))
    return folder/name

def renamed(layers, style):
    "The matrices by the names of another layout."
    def name(key):
        layer, end = key.removeprefix('unet.').split('.lora_')
        way = 'down' if end[0] == 'A' else 'up'
        if style == 'kohya': return f"lora_unet_{layer.replace('.', '_')}.lora_{way}.weight"
        if style == 'diffusers' or '.attn' not in layer: return f'unet.{layer}.lora.{way}.weight'
        block, last = layer.removesuffix('.0').rsplit('.', 1)
        return f'unet.{block}.processor.{last}_lora.{way}.weight'
    return {name(k): v for k, v in layers.items()}

def with_alpha(layers, alpha): return layers | {k.rsplit('.lora', 1)[0] + '.alpha': torch.tensor(alpha) for k in layers}
def scaled(layers, k): return {n: k * v if 'lora_B' in n else v for n, v in layers.items()}

@pytest.fixture
def reference(model, layers, tmp_path):
    "(noise without anybody, noise with the person at half strength)"
    plain = noise(model)
    load_person(person(tmp_path, scaled(layers, .5), 'half'), model)
    half = noise(model)
    close_lora(model)
    assert torch.equal(noise(model), plain) and not torch.allclose(half, plain)
    return plain, half

HALVES = {
    'kohya-alpha': lambda l: (with_alpha(renamed(l, 'kohya'), 2.), {}), 'peft-alpha': lambda l: (with_alpha(l, 2.), {}), 'diffusers-alpha': lambda l: (with_alpha(renamed(l, 'diffusers'), 2.), {}),
    'integer-alpha': lambda l: (with_alpha(renamed(l, 'kohya'), 2), {}), 'header': lambda l: (l, {'unet.r': 4, 'unet.lora_alpha': 2}), 'bare-header': lambda l: (l, dict(r=4, lora_alpha=2)),
    'pattern': lambda l: (l, {'unet.r': 4, 'unet.lora_alpha': 2, 'unet.alpha_pattern': {'nothing.like.this': 9}}), 'rslora': lambda l: (l, dict(lora_alpha=1, use_rslora=True)),
    'header-for-old-names': lambda l: (renamed(l, 'diffusers'), dict(lora_alpha=2)), 'processors': lambda l: (renamed(scaled(l, .5), 'processors'), {}), 'kohya-whole': lambda l: (renamed(scaled(l, .5), 'kohya'), {}),
}

@pytest.mark.parametrize('way', HALVES)
def test_strength_of_a_lora_is_read(way, model, layers, reference, tmp_path):
    tensors, header = HALVES[way](layers)
    load_person(person(tmp_path, tensors, lora_adapter_metadata=json.dumps(header)), model)
    assert torch.equal(noise(model), reference[1])

def test_alpha_of_single_layers_is_read(layers, tmp_path):
    layer = next(k for k in layers if k.endswith('to_q.lora_B.weight'))[5:].removesuffix('.lora_B.weight')
    for pattern, like in ((f'^{layer}', {layer}), ('to_q', {k[5:].removesuffix('.lora_B.weight') for k in layers if k.endswith('to_q.lora_B.weight')})):
        folder = person(tmp_path, layers, lora_adapter_metadata=json.dumps({'unet.lora_alpha': 4, 'unet.alpha_pattern': {pattern: 8}}))
        doubled = {k for k, (_, B) in read_lora(folder/LORA_FILE).items() if not torch.equal(B, layers[f'unet.{k}.lora_B.weight'])}
        assert doubled == like

def first(layers, change): return layers | {(k := next(iter(layers))): change(layers[k])}
def stray(layers, key, value=None): return layers | {key: torch.ones(4, 4) if value is None else value}
FAULTS = {
    'nan': (lambda l: first(l, lambda v: v * float('nan')), 'nan'), 'inf': (lambda l: first(l, lambda v: v * float('inf')), 'inf'), '1e30': (lambda l: first(l, lambda v: v + 1e30), '1e+30'),
    'empty-file': (lambda l: {}, 'empty'), 'empty-tensor': (lambda l: first(l, lambda v: v[:0]), 'within'), 'alpha-nan': (lambda l: with_alpha(l, float('nan')), 'nan'), 'alpha-huge': (lambda l: with_alpha(l, 1e30), '1e+30'),
    'alpha-two': (lambda l: with_alpha(l, [1., 2.]), 'do not fit'), 'half-a-layer': (lambda l: dict(list(l.items())[1:]), 'do not fit'), 'alpha-alone': (lambda l: stray(l, 'unet.other.alpha', torch.tensor(1.)), 'other'),
    'rank': (lambda l: first(l, lambda v: v[:2]), 'do not fit'), 'text-encoder': (lambda l: stray(l, 'lora_te_text_model_x.lora_down.weight'), 'lora_te_text_model_x'),
    'text-encoder-peft': (lambda l: stray(l, 'text_encoder.x.lora_A.weight'), 'text_encoder.x'), 'loha': (lambda l: stray(l, 'lora_unet_x.hada_w1_a'), 'hada_w1_a'), 'lokr': (lambda l: stray(l, 'lora_unet_x.lokr_w1'), 'lokr_w1'),
    'dora': (lambda l: stray(l, 'unet.x.lora_magnitude_vector'), 'lora_magnitude_vector'), 'tucker': (lambda l: stray(l, 'lora_unet_x.lora_mid.weight'), 'lora_mid'), 'bias': (lambda l: stray(l, 'unet.x.lora_B.bias'), 'lora_B.bias'),
    'weights': (lambda l: stray(l, 'conv_in.weight'), 'conv_in.weight'), 'long-key': (lambda l: stray(l, 'x' * 100_000), 'xxx'), 'control-key': (lambda l: stray(l, 'x\x1b[2J'), 'tensor called'),
    'other-layer': (lambda l: l | {'unet.other.lora_A.weight': torch.ones(4, 4), 'unet.other.lora_B.weight': torch.ones(4, 4)}, 'another model'),
    'twice': (lambda l: l | renamed(l, 'diffusers'), 'twice'), 'twice-kohya': (lambda l: l | renamed(l, 'kohya'), 'twice'), 'other-size': (lambda l: {k: v[:, :2] if 'lora_A' in k else v for k, v in l.items()}, 'another model'),
}

@pytest.mark.parametrize('fault', FAULTS)
def test_lora_is_refused_and_the_person_before_stays(fault, model, layers, tmp_path):
    load_person(person(tmp_path, layers, 'berta'), model)
    before = noise(model)
    change, said = FAULTS[fault]
    folder = person(tmp_path, layers)
    (folder/LORA_FILE).write_bytes(save({k: v.clone().contiguous() for k, v in change(layers).items()}))
    with pytest.raises(PersonError) as error: load_person(folder, model)
    one_sentence(error, said)
    assert torch.equal(noise(model), before) and model.tokenizer.convert_tokens_to_ids('<anna>') == model.tokenizer.unk_token_id

@pytest.mark.parametrize('header', ['[', '[]', '7', '{"lora_alpha": "x"}', '{"lora_alpha": NaN}', '{"lora_alpha": 1e30}', '{"alpha_pattern": 7, "lora_alpha": 2}', '{"alpha_pattern": {"(a+)+$": 2}}', '{"alpha_pattern": {"": 2}}'])
def test_header_is_refused(header, layers, tmp_path):
    with pytest.raises(PersonError) as error: read_lora(person(tmp_path, layers, lora_adapter_metadata=header)/LORA_FILE)
    one_sentence(error)

def test_a_load_that_fails_late_brings_the_person_back(model, layers, tmp_path, monkeypatch):
    load_person(person(tmp_path, layers, 'berta'), model)
    before, real = noise(model), type(model.unet).load_lora_adapter
    def fails(self, *args, **kwargs):
        real(self, *args, **kwargs)
        raise RuntimeError('out of memory')
    monkeypatch.setattr(type(model.unet), 'load_lora_adapter', fails)
    with pytest.raises(PersonError) as error: load_person(person(tmp_path, scaled(layers, 2.)), model)
    one_sentence(error, 'out of memory')
    assert torch.equal(noise(model), before) and not any(p.requires_grad for p in model.unet.parameters())

@pytest.mark.parametrize('data', [b'', b'nothing', b'\x80\x02}q\x00.'])
def test_another_file_is_no_lora(data, model, layers, tmp_path):
    (folder := person(tmp_path, layers)/LORA_FILE).write_bytes(data)
    with pytest.raises(PersonError) as error: load_person(folder.parent, model)
    one_sentence(error)

@pytest.mark.parametrize('about', [dict(subject=7), dict(subject='a\nb'), dict(backbone=7), dict(backbone='a' * 5000), dict(backbone=None)])
def test_what_a_person_says_is_checked_before_the_model_is_read(about, layers, tmp_path, monkeypatch):
    monkeypatch.setattr(Backbone, 'from_pretrained', forbidden)
    with pytest.raises(PersonError) as error: load_person(person(tmp_path, layers, about=about))
    one_sentence(error)
    with pytest.raises(PersonError): load_person(person(tmp_path, {}))

def test_a_broken_unet_of_dreambooth_is_refused(model, tmp_path):
    save_word(LearntWord('<anna>', ROW), tmp_path)
    model.unet.save_pretrained(tmp_path/'unet')
    before, file = model.unet, next((tmp_path/'unet').glob('*.safetensors'))
    good, state = file.read_bytes(), model.unet.state_dict()
    load_person(tmp_path, model)
    assert model.unet is not before
    now = model.unet
    key = next(iter(state))
    for data in (b'', good[:-1], save({k: v for k, v in state.items() if k != key}), save(state | {key: state[key] * float('nan')})):
        file.write_bytes(data)
        with pytest.raises(PersonError) as error: load_person(tmp_path, model)
        one_sentence(error, 'broken')
        assert model.unet is now
    make_unet((32, 64), text=16, heads=2).save_pretrained(tmp_path/'unet')
    with pytest.raises(PersonError, match='another model'): load_person(tmp_path, model)
    assert model.unet is now

def test_questions_are_asked_before_the_person_is_forgotten(model, layers, tmp_path, monkeypatch):
    method = LoRA(model, person(tmp_path, layers))
    before = noise(model)
    for wrong in (dict(emotions=['joy']), dict(emotions=None, name='42!'), dict(emotions=['hapy', None])):
        with pytest.raises(ValueError): method.learn_person(torch.zeros(2, 3, 128, 128), out=tmp_path/'new', **wrong)
    assert torch.equal(noise(model), before) and method.person.word.name == 'anna'
    monkeypatch.setattr(Backbone, 'from_pretrained', forbidden)
    line = ['anna', 'a.png', 'b.png', '--out', str(tmp_path/'new')]
    for more in (['--emotions', 'joy'], ['--emotions', 'joy,hapy'], ['--steps', '0'], ['--batch', '0'], ['--rank', '0'], ['--prior', '-1'], ['--way', 'dreambooth', '--rank', '4']):
        with pytest.raises(SystemExit): main(line + more)
    with pytest.raises(SystemExit): main(['42!', *line[1:]])
