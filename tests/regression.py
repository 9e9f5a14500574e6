"""What the library computes, to be compared before and after a change that should change nothing.

    python tests/regression.py --keep before.npz       # everything, to the last bit
    python tests/regression.py --against before.npz    # says what is no longer the same
    python tests/regression.py --summary               # writes tests/regression.json, which the tests compare with
"""
import argparse, hashlib, json, sys, tempfile
from pathlib import Path

import numpy as np
import torch
from emotion_synth.diffusion.backbone import Backbone
from emotion_synth.diffusion.direction import directions_for, edit_latents, mean_direction, word_direction
from emotion_synth.diffusion.inversion import invert
from emotion_synth.editor import Editor
from emotion_synth.faces import align, detect
from emotion_synth.images import load_image, sample_photo, to_tensor
from emotion_synth.diffusion.word_learning import Recipe, learn_word

HERE = Path(__file__).resolve().parent
DATA = HERE.parent.parent / 'shared' / 'data'
#: Photos that may be used; only the first is part of the package.
PHOTOS = {'astronaut': None, 'london': DATA / 'london' / 'smile' / '008.jpg',
          'civil': DATA / 'civil' / 'us-governors_andy-beshear.jpg'}
#: Method -> what makes it short enough for a test.
METHODS = {'morph': {}, 'vae': {}, 'stylegan': {}, 'hspace': {'num_inference_steps': 6},
           'combined': {'num_inference_steps': 6}, 'textual_inversion': {'num_inference_steps': 6},
           'emogen': {'num_inference_steps': 6}, 'img2img': {'num_inference_steps': 10},
           'leditspp': {'num_inference_steps': 6}}
#: Methods whose inversion takes long: one photo is enough.
SLOW = ('stylegan', 'leditspp')

def photos():
    "Name -> photo, of those that are there."
    return {name: sample_photo() if path is None else load_image(path) for name, path in PHOTOS.items()
            if path is None or path.exists()}

def edits(methods):
    "Every method's edits of every photo, as arrays (H, W, 3) uint8."
    for method in methods:
        editor = Editor(method, **METHODS[method])
        for name, photo in list(photos().items())[:1 if method in SLOW else None]:
            yield f'{method}, {name}', np.asarray(editor(photo, 'joy', .8).image)

def face():
    "The astronaut's face (1, 3, 128, 128) in [-1, 1]."
    photo = sample_photo()
    return to_tensor(align(photo, detect(photo)[0])[0])[None]

@torch.no_grad()
def walks(backbone):
    "The noise that each inversion finds, and latents that were edited on the way back."
    latents = backbone.encode(face())
    for method in ('ddim', 'fixed-point', 'edit-friendly'):
        inversion = invert(backbone, latents, None, 5, method, top=600, progress=False)
        yield f'inversion, {method}', inversion.x_T.numpy()
        for asymmetric in (True, False):
            edited = edit_latents(inversion, word_direction(backbone, 'joy', 1.2), .5, 200, asymmetric, progress=False)
            yield f'edited, {method}, {asymmetric}', edited.numpy()

def directions(backbone):
    "A word's change averaged over a face, and the same stored for several emotions."
    with torch.no_grad():
        inversion = invert(backbone, backbone.encode(face()), None, 4, 'ddim', top=600, return_trajectory=True, progress=False)
        mean = mean_direction(inversion, word_direction(backbone, 'sadness'), progress=False)
        several = directions_for(backbone, face(), ['joy', 'anger'], 3, top=600, progress=False)
    for direction in (mean, *several.values()):
        knots, values = direction.at_knots()
        yield f'direction, {direction.name}', torch.cat([knots.float().flatten(), values.flatten()]).numpy()

def words(backbone):
    "A word after two steps."
    faces = torch.cat([face(), face().flip(3)])
    word = learn_word(backbone, 'smirk', faces, faces * .9, init='angry', recipe=Recipe(steps=2, batch=2))
    yield 'word', word.vectors.numpy()

def results(methods=tuple(METHODS), parts=True):
    "All of it: name -> array; without the parts, the edits of some methods only."
    torch.manual_seed(0)
    if not parts: return dict(edits(methods))
    backbone = Backbone.from_pretrained()
    found = dict(walks(backbone)) | dict(directions(backbone)) | dict(words(backbone))
    return found | dict(edits(methods))

def thumbnail(array):
    "A picture as 8 x 8 mean colours in grey levels; of anything else, 64 means of its parts and their spread."
    if array.dtype == np.uint8:
        rows = [r.mean((0, 1)) for row in np.array_split(array.astype(float), 8) for r in np.array_split(row, 8, axis=1)]
        return np.concatenate(rows)
    parts = np.array_split(array.astype(float).ravel(), min(64, array.size))
    return np.array([p.mean() for p in parts] + [p.std() for p in parts])

def summary(found):
    "Name -> (hash, thumbnail): enough to see a change, too little to see a person."
    return {name: dict(hash=hashlib.sha256(np.ascontiguousarray(a).tobytes()).hexdigest()[:16],
                       picture=bool(a.dtype == np.uint8), numbers=np.round(thumbnail(a), 4).tolist())
            for name, a in found.items()}

def differences(found, before):
    "Lines about what is not the same to the bit; pictures in grey levels."
    for name in sorted(set(found) | set(before)):
        if name not in found or name not in before: yield f"{name}: only {'after' if name in found else 'before'}"
        elif found[name].shape != before[name].shape: yield f'{name}: another shape'
        elif not np.array_equal(found[name], before[name]):
            gap = np.abs(found[name].astype(float) - before[name].astype(float))
            yield f'{name}: differs by {gap.max():.3g} at most and {gap.mean():.3g} in the mean'

def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--keep', metavar='FILE')
    parser.add_argument('--against', metavar='FILE')
    parser.add_argument('--summary', nargs='?', const=str(HERE / 'regression.json'), metavar='FILE')
    parser.add_argument('--methods', nargs='*', choices=METHODS, help='edits of these only (default: everything)')
    options = parser.parse_args()
    found = results() if options.methods is None else results(options.methods, parts=False)
    if options.keep: np.savez_compressed(options.keep, **found)
    if options.summary: Path(options.summary).write_text(json.dumps(summary(found)) + '\n')
    if not options.against: return 0
    with np.load(options.against) as before:
        before = {k: before[k] for k in before if options.methods is None or k.split(',')[0] in options.methods}
    lines = list(differences(found, before))
    print('\n'.join(lines) or f'all {len(found)} results are the same to the bit')
    return len(lines) > 0

if __name__ == '__main__': sys.exit(main())
