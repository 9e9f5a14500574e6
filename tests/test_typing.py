"""What editors and checkers of code see of the public names: completions, documentation and types, with nothing run"""
import json, os, re, subprocess, sys
from pathlib import Path

import jedi
import pytest

import emotion_synth

START = "from emotion_synth import Editor\nedit = Editor()\n"


def completed(text: str) -> set[str]:
    "The names that Jedi offers at the end of some code."
    script = jedi.Script(START + text)
    return {name.name for name in script.complete() if not name.name.startswith('_')}


@pytest.mark.parametrize('text, names', [
    ('edit("me.jpg", "joy").', {'save', 'compare', 'image'}),
    ('edit.', {'sweep', 'spectrum', 'redo', 'using', 'faces', 'forget'}),
    ('edit.sweep("me.jpg", "joy").', {'to_gif', 'to_video', 'append'}),
    ('edit.redo("made.png", "me.jpg").', {'save', 'compare', 'close_up', 'settings', 'image', 'load'}),
    ('from emotion_synth.emotions import get_emotion, get_blend\nget_blend("joy:1").', {'name', 'parts'}),
    ('from emotion_synth.emotions import get_emotion\n(get_emotion("joy")).', {'adjective', 'valence', 'family'})])
def test_names_are_seen(text, names):
    assert names <= completed(text)


def test_the_call_is_seen():
    "The signature for one photo, before that for a list of them, and the documentation of the call itself."
    signature, _ = jedi.Script(START + 'edit(').get_signatures()
    seen = [p.name for p in signature.params]
    assert seen[:4] == ['photo', 'emotion', 'strength', 'face'] and {'valence', 'arousal', 'callback'} <= set(seen)
    assert 'Puts emotions into photos' in signature.docstring()


#: The least share of the editor's names whose types must be complete.
LEAST_TYPED = .65
#: Line of code -> the type that a checker must find for it. What stands in the README is added below.
TYPES = {
    'Editor()(photo, "contemplative", strength=.9)': 'Edit',
    'Editor()("me.jpg", "joy", face="all").image': 'Image',
    'Editor()("me.jpg", "joy").save("joy.png")': 'Path',
    'Editor()(["a.jpg", "b.jpg"], "joy")': 'list[Edit]',
    'Editor()("me.jpg", {"joy": .7, "surprise": .3})': 'Edit',
    'Editor()("me.jpg", {0: "joy", 2: "awe"}, face=[0, 2])': 'Edit',
    'Editor()("me.jpg", valence=.6, arousal=-.2)': 'Edit',
    'Editor()("me.jpg", get_emotion("joy") + .3*get_emotion("surprise"))': 'Edit',
    'get_emotion("joy") - .3*get_emotion("surprise")': 'Blend',
    'get_blend("joy:0.7,surprise:0.3").parts[0][0]': 'Emotion',
    'Editor().sweep(photo, "anger", [0, .5, 1])': 'Sweep',
    'Editor().sweep(photo, "anger", [0, .5, 1])[0]': 'Edit',
    'Editor().sweep(photo, "anger").to_gif("anger.gif")': 'Path',
    'Editor().spectrum(photo)': 'Image',
    'Editor().redo(Edit.load("made.png"), "me.jpg").settings': 'dict[str, Any]',
    'Editor().using("vae").faces(photo)[0].box': 'tuple[float, float, float, float]',
    'load_direction("smirk.safetensors")': 'Direction',
    'get_method("morph")': 'Method',
}

#: The beginning of the file that is checked; `photo` is what the README calls it.
BEFORE = """from emotion_synth import Edit, Editor, get_method, load_direction, load_image
from emotion_synth.emotions import get_blend, get_emotion
photo = load_image("me.jpg")
"""

def pyright(*options: str, **kw) -> dict:
    "What Pyright says, as a dict; it sees the package where Python sees it."
    env = os.environ | {'PYTHONPATH': str(Path(emotion_synth.__file__).parents[1])}
    run = subprocess.run([sys.executable, '-m', 'basedpyright', '--outputjson', '--pythonpath', sys.executable, *options],
                         env=env, capture_output=True, text=True, **kw)
    assert run.stdout.strip().startswith('{'), run.stdout + run.stderr
    return json.loads(run.stdout)


def readme_lines() -> list[str]:
    "The README's lines of Python: its blocks, and what else begins with the editor or its result."
    text = (Path(__file__).parents[1]/'README.md').read_text(encoding='utf-8')
    blocks = re.findall(r'^```python\n(.*?)^```', text, re.M | re.S)
    inline = re.findall(r'`((?:Editor\(|result\.|from emotion_synth )[^`]*)`', text)
    return [*''.join(blocks).splitlines(), *inline]


def test_pyright_sees_the_types(tmp_path):
    "No error in the README's lines, and the right type for each line of the table, by Pyright's basic rules."
    lines = readme_lines()
    assert len(lines) >= 6 and any('sweep' in line for line in lines), 'the README has other lines now'
    (tmp_path/'pyrightconfig.json').write_text('{"typeCheckingMode": "basic", "reportUnusedExpression": "none"}')
    code = BEFORE + ''.join(f'{line}\n' for line in lines) + ''.join(f'reveal_type({line})\n' for line in TYPES)
    (tmp_path/'lines.py').write_text(code, encoding='utf-8')
    said = pyright(cwd=tmp_path)['generalDiagnostics']
    found = {one['range']['start']['line']: one for one in said}
    source = code.splitlines()
    errors = [f"{source[n]}: {one['message']}" for n, one in found.items() if one['severity'] == 'error']
    assert not errors
    for n, (line, kind) in enumerate(TYPES.items(), len(source) - len(TYPES)):
        assert found[n]['message'].endswith(f' is "{kind}"'), f"{line}: {found[n]['message']}, not {kind}"


def test_most_of_the_editor_is_typed(capsys):
    "The share of the names that `emotion_synth.editor` offers, and of those they need, whose types are complete."
    said = pyright('--verifytypes', 'emotion_synth.editor', '--ignoreexternal')['typeCompleteness']
    share = said['completenessScore']
    with capsys.disabled(): print(f' {share:.0%} of the editor has complete types', end='')
    assert share >= LEAST_TYPED, 'give the new names of the editor types that say what is inside'
