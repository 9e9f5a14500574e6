"Every name of an earlier release still leads to what it was renamed to."
import ast, importlib, warnings
from pathlib import Path
import pytest
from emotion_synth import old_names

LIB = Path(__file__).resolve().parent.parent/'emotion_synth'

def defined():
    "Every name that the library defines: functions, classes and their members, and assignments."
    found = set()
    for path in LIB.rglob('*.py'):
        if path.name in ('_modidx.py', 'old_names.py'): continue
        for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)): found.add(node.name)
            elif isinstance(node, ast.Assign): found |= {t.id for t in node.targets if isinstance(t, ast.Name)}
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name): found.add(node.target.id)
    return found

@pytest.mark.parametrize('module', old_names.MODULES)
def test_an_old_module_leads_to_the_new_ones(module):
    homes = old_names.MODULES[module]
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', DeprecationWarning)
        old = importlib.import_module(f'emotion_synth.{module}')
        for home in homes:
            new = importlib.import_module(f'emotion_synth.{home}')
            missing = [n for n in getattr(new, '__all__', ()) if getattr(old, n, None) is not getattr(new, n)]
            assert not missing, f'{module} does not give {missing} of {home}'

def test_every_renamed_thing_exists():
    names = defined()
    assert not {old: new for old, new in old_names.NAMES.items() if new not in names}

def test_an_old_name_in_a_module_that_stayed():
    from emotion_synth import editor
    with pytest.warns(DeprecationWarning, match='LRUCache now'): assert editor.Recent is editor.LRUCache
