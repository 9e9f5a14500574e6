"""What an editor of code sees of the public names: completions and documentation, found without running anything"""
import jedi
import pytest

START = 'from emotion_synth.editor import Editor\nedit = Editor()\n'


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
    "The signature and the documentation of the call itself."
    signature, = jedi.Script(START + 'edit(').get_signatures()
    seen = [p.name for p in signature.params]
    assert seen[:4] == ['photo', 'emotion', 'strength', 'face'] and {'valence', 'arousal', 'callback'} <= set(seen)
    assert 'Puts emotions into photos' in signature.docstring()
