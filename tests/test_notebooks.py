"Every notebook runs from top to bottom: one case and one process for each, with the cell's traceback on failure."
import os, subprocess, sys
from configparser import ConfigParser
from pathlib import Path
import pytest

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted(p for p in (ROOT/'nbs').rglob('*.ipynb') if '.ipynb_checkpoints' not in p.parts)
MINUTES = 10

RUN = """
import sys
from pathlib import Path
from nbdev.test import test_nb
passed, seconds = test_nb(Path(sys.argv[1]), skip_flags=sys.argv[3:], basepath=sys.argv[2])
sys.exit(0 if passed else 1)
"""

def skip_flags():
    "The cell flags that settings.ini keeps out of a plain test run."
    cfg = ConfigParser(delimiters=['='])
    cfg.read(ROOT/'settings.ini', encoding='utf-8')
    return cfg['DEFAULT']['tst_flags'].split()

@pytest.mark.parametrize('notebook', NOTEBOOKS, ids=lambda p: p.stem)
def test_notebook(notebook):
    env = {'OMP_WAIT_POLICY': 'PASSIVE', 'GOMP_SPINCOUNT': '1000', **os.environ, 'MPLBACKEND': 'Agg', 'HF_HUB_OFFLINE': '1', 'TRANSFORMERS_OFFLINE': '1'}
    run = subprocess.run([sys.executable, '-c', RUN, str(notebook), str(ROOT), *skip_flags()], env=env,
                         cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60*MINUTES)
    if run.returncode: pytest.fail(f'{notebook.name}\n{run.stdout[-2000:]}\n{run.stderr[-6000:]}', pytrace=False)

def test_there_are_notebooks(): assert NOTEBOOKS
