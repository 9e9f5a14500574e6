"The library is what the notebooks export, the notebooks are clean, imports point downwards, and no file names a machine."
import ast, os, re, shutil, subprocess, sys
from importlib.util import resolve_name
from pathlib import Path
import pytest

ROOT = Path(__file__).resolve().parent.parent
LIB = ROOT/'emotion_synth'
MODULES = [p for p in sorted(LIB.rglob('*.py')) if not p.name.startswith('_')]

def texts(folder, pattern):
    "Relative path -> text of every file under `folder` that matches `pattern`."
    return {p.relative_to(folder).as_posix(): p.read_text(encoding='utf-8') for p in sorted(folder.rglob(pattern))
            if '.ipynb_checkpoints' not in p.parts}

def nbdev(command, folder):
    "Run an nbdev `command` inside `folder`."
    env = {k: v for k, v in os.environ.items() if k != 'IN_TEST'}
    code = f'from nbdev.{command[0]} import {command[1]}; {command[1]}()'
    subprocess.run([sys.executable, '-c', code], cwd=folder, env=env, check=True, stdin=subprocess.DEVNULL)

@pytest.fixture(scope='module')
def exported(tmp_path_factory):
    "A copy of the notebooks, exported and cleaned afresh."
    folder = tmp_path_factory.mktemp('project')
    shutil.copy(ROOT/'settings.ini', folder)
    shutil.copytree(ROOT/'nbs', folder/'nbs', ignore=shutil.ignore_patterns('.ipynb_checkpoints'))
    nbdev(('doclinks', 'nbdev_export'), folder)
    nbdev(('clean', 'nbdev_clean'), folder)
    return folder

def different(a, b): return sorted(k for k in a.keys() | b.keys() if a.get(k) != b.get(k))

def test_library_is_what_the_notebooks_export(exported):
    stale = different(texts(LIB, '*.py'), texts(exported/'emotion_synth', '*.py'))
    assert not stale, f'run nbdev_export: {stale}'

def test_notebooks_are_clean(exported):
    dirty = different(texts(ROOT/'nbs', '*.ipynb'), texts(exported/'nbs', '*.ipynb'))
    assert not dirty, f'run nbdev_clean: {dirty}'

def test_readme_is_the_index():
    from emotion_synth.docs import readme
    text, pictures = readme(ROOT/'nbs'/'index.ipynb')
    advice = 'run python -m emotion_synth.docs --readme'
    assert (ROOT/'README.md').read_text(encoding='utf-8') == text, advice
    for name, data in pictures.items(): assert (ROOT/name).read_bytes() == data, advice

def floor(module):
    "Where a module stands in the house, from the number of its notebook: `03a_landmarks.ipynb` -> (3, 'a')."
    notebook = re.search(r'File to edit: \S*?(\d+)([a-z]?)_\w+\.ipynb', module.read_text(encoding='utf-8'))
    return int(notebook[1]), notebook[2]

def module_name(path): return '.'.join(path.relative_to(ROOT).with_suffix('').parts)

def own_imports(module):
    "The project's own modules that `module` imports, anywhere in it, with their full names."
    package = module_name(module).rpartition('.')[0]
    for node in ast.walk(ast.parse(module.read_text(encoding='utf-8'))):
        if isinstance(node, ast.Import): names = [a.name for a in node.names]
        elif isinstance(node, ast.ImportFrom):
            source = resolve_name('.'*node.level + (node.module or ''), package)
            names = [source, *(f'{source}.{a.name}' for a in node.names)]
        else: continue
        yield from (n for n in names if n.startswith('emotion_synth.'))

def test_imports_point_downwards():
    floors = {module_name(p): floor(p) for p in MODULES}
    upwards = [f'{p.name} imports {name}' for p in MODULES for name in own_imports(p)
               if name in floors and floors[name] >= floor(p)]
    assert not upwards

MACHINE = re.compile(r'(?<![\w.:/~-])/(?:work|home|root|Users|tmp|opt|mnt)/[\w.-]+|[A-Z]:\\+Users\\')

def test_no_file_names_a_machine_path():
    if not (ROOT/'.git').exists(): pytest.skip('not a git checkout')
    listed = subprocess.run(['git', 'ls-files', '-z', '--cached', '--others', '--exclude-standard'], cwd=ROOT,
                            check=True, capture_output=True, text=True).stdout.split('\0')
    for name in filter(None, listed):
        try: text = (ROOT/name).read_text(encoding='utf-8')
        except (UnicodeDecodeError, FileNotFoundError): continue
        assert not (found := MACHINE.search(text)), f'{name} names a path of one machine: {found[0]}'
