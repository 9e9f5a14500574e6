"""Edits, inversions, directions and a word are what they were (`regression.json`).

On the machine that wrote the file they are so to the bit; elsewhere kernels round differently."""
import json, os, subprocess, sys
from pathlib import Path
import numpy as np
import pytest

HERE = Path(__file__).resolve().parent
BEFORE = json.loads((HERE / 'regression.json').read_text())
#: Largest difference allowed: grey levels of an 8 x 8 picture, and of other numbers, of their own size.
LEVELS, SHARE = 4, .1

@pytest.fixture(scope='module')
def after(tmp_path_factory):
    "What the library computes now."
    out = tmp_path_factory.mktemp('regression') / 'now.json'
    env = {**os.environ, 'HF_HUB_OFFLINE': '1', 'OMP_WAIT_POLICY': 'PASSIVE'}
    run = subprocess.run([sys.executable, HERE / 'regression.py', '--summary', out], env=env, capture_output=True,
                         text=True, stdin=subprocess.DEVNULL)
    assert run.returncode == 0, run.stderr[-4000:]
    return json.loads(out.read_text())

@pytest.mark.parametrize('name', BEFORE)
def test_result_is_what_it_was(after, name):
    if name not in after: pytest.skip('the photo is not here')
    before, now = BEFORE[name], after[name]
    if now['hash'] == before['hash']: return
    then, here = np.array(before['numbers']), np.array(now['numbers'])
    assert then.shape == here.shape
    allowed = LEVELS if before['picture'] else SHARE * (np.abs(then).max() + 1e-6)
    assert np.abs(then - here).max() <= allowed
