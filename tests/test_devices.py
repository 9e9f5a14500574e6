"Every method works where its networks are: faces go there, and come back; no tensor is left on the other device."
import os, subprocess, sys
from pathlib import Path
import pytest

SCRIPT = Path(__file__).with_name('pretend_device.py')

@pytest.fixture(scope='module')
def told():
    "What the script says of each method: its crop's class and device, and the largest difference to the edit made here."
    methods = ['morph', 'hspace', 'combined', 'textual_inversion', 'vae', 'stylegan', 'img2img']
    env = {**os.environ, 'HF_HUB_OFFLINE': '1', 'OMP_WAIT_POLICY': 'PASSIVE'}
    run = subprocess.run([sys.executable, SCRIPT, *methods], env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert run.returncode == 0, run.stderr[-4000:]
    return {line.split()[0]: line.split()[1:] for line in run.stdout.splitlines()}

@pytest.mark.parametrize('method', ['morph', 'hspace', 'combined', 'textual_inversion', 'vae', 'stylegan', 'img2img'])
def test_method_works_on_another_device(told, method):
    kind, device, difference = told[method]
    assert (kind, device) == ('Tensor', 'cpu'), 'the edited face must come back to where it was'
    assert int(difference) <= 3
