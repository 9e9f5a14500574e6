"The library is what the notebooks export, the notebooks are clean, imports point downwards, and no file names a machine."
import ast, json, os, re, shutil, subprocess, sys
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

def chapter(name):
    "Where a notebook stands in the house: `03a_landmarks.ipynb` -> (3, 'a')."
    found = re.search(r'(\d+)([a-z]*)_\w+\.ipynb', name)
    return int(found[1]), found[2]

def floor(module):
    "Where a module stands in the house, from the number of its notebook."
    return chapter(re.search(r'File to edit: (\S+\.ipynb)', module.read_text(encoding='utf-8'))[1])

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

def cells(notebook, kind='code'):
    "(id, text) of the cells of one kind."
    found = json.loads(notebook.read_text(encoding='utf-8'))['cells']
    return [(c['id'], ''.join(c['source'])) for c in found if c['cell_type'] == kind]

NOTEBOOKS = sorted(p for p in (ROOT/'nbs').glob('[0-9]*.ipynb'))

#: (chapter, module) that look upwards: 42aa measures the whole command, from the start of Python to the saved file;
#: 00c shows that old methods still work, which only the protocol above it can.
UPWARDS = {('42aa_one_process', 'emotion_synth.cli'), ('00c_old_methods', 'emotion_synth.method')}

def test_lesson_cells_look_downwards():
    floors = {module_name(p): floor(p) for p in MODULES}
    found = set()
    for notebook in NOTEBOOKS:
        for _, text in cells(notebook):
            names = re.findall(r'^\s*(?:from|import) (emotion_synth[\w.]+)', text, re.M)
            found |= {(notebook.stem, n) for n in names if n in floors and floors[n] > chapter(notebook.name)}
    assert not found - UPWARDS

def private(name): return name.startswith('_') and not name.startswith('__')

def test_no_private_name_is_imported():
    found = [f'{p.name}: {alias.name}' for p in MODULES for node in ast.walk(ast.parse(p.read_text(encoding='utf-8')))
             if isinstance(node, ast.ImportFrom) and (node.level or (node.module or '').startswith('emotion_synth'))
             for alias in node.names if private(alias.name)]
    assert not found, 'make them public where they are, with a docstring'

#: Columns of a line, lines of a module, and lines of a function.
WIDTH, LINES, FUNCTION = 120, 400, 40

def too_wide(text):
    "How many lines of a Markdown or code cell are too wide; tables, and links by themselves, cannot be broken."
    return sum(len(line) > WIDTH and not line.startswith(('|', '> ', '![', '#|')) for line in text.split('\n'))

@pytest.mark.parametrize('notebook', NOTEBOOKS, ids=lambda p: p.stem)
def test_lines_are_short(notebook):
    wide = sum(too_wide(text) for kind in ('code', 'markdown') for _, text in cells(notebook, kind))
    assert not wide, f'{wide} lines of {notebook.name} have more than {WIDTH} columns'

def functions(module):
    "Every function of a module as (full name, node)."
    def look(node, name):
        for child in ast.iter_child_nodes(node):
            if not isinstance(child, (ast.FunctionDef, ast.ClassDef)): continue
            own = f'{name}.{child.name}'
            if isinstance(child, ast.FunctionDef): yield own, child
            yield from look(child, own)
    yield from look(ast.parse(module.read_text(encoding='utf-8')), module_name(module).removeprefix('emotion_synth.'))

def test_modules_and_functions_are_short():
    modules = {module_name(p) for p in MODULES if len(p.read_text(encoding='utf-8').splitlines()) > LINES}
    assert not modules, f'more than {LINES} lines'
    long = {name for p in MODULES for name, node in functions(p) if node.end_lineno - node.lineno >= FUNCTION}
    assert not long, f'more than {FUNCTION} lines'

def public(module):
    "The functions that others may call: no private part in the name, and not inside another function."
    text = ast.parse(module.read_text(encoding='utf-8'))
    tops = [n for n in text.body if isinstance(n, (ast.FunctionDef, ast.ClassDef))]
    inside = [m for n in tops if isinstance(n, ast.ClassDef) and not private(n.name) for m in n.body]
    found = [n for n in tops + inside if isinstance(n, ast.FunctionDef) and not n.name.startswith('_')]
    return [n for n in found if not any(getattr(d, 'attr', '') == 'setter' for d in n.decorator_list)]

def test_public_functions_are_documented_and_typed():
    for p in MODULES:
        bare = [n.name for n in public(p) if not ast.get_docstring(n)]
        assert not bare, f'{module_name(p)}: {bare} need docstrings'
        untyped = [n.name for n in public(p) if n.returns is None]
        assert not untyped, f'{module_name(p)}: {untyped} need the type of what they return'

MACHINE = re.compile(r'(?<![\w.:/~-])/(?:work|home|root|Users|tmp|opt|mnt)/[\w.-]+|[A-Z]:\\+Users\\')

def test_no_file_names_a_machine_path():
    if not (ROOT/'.git').exists(): pytest.skip('not a git checkout')
    listed = subprocess.run(['git', 'ls-files', '-z', '--cached', '--others', '--exclude-standard'], cwd=ROOT,
                            check=True, capture_output=True, text=True).stdout.split('\0')
    for name in filter(None, listed):
        try: text = (ROOT/name).read_text(encoding='utf-8')
        except (UnicodeDecodeError, FileNotFoundError): continue
        assert not (found := MACHINE.search(text)), f'{name} names a path of one machine: {found[0]}'
