"""Every notebook runs from top to bottom: one case and one process for each, with the cell's traceback on failure.

The processes are forked from one that has read the large libraries, which would take each of them seconds."""
import atexit, multiprocessing, os, sys
from configparser import ConfigParser
from pathlib import Path
import pytest

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted(p for p in (ROOT/'nbs').rglob('*.ipynb') if '.ipynb_checkpoints' not in p.parts)
MINUTES = 10
#: What a notebook finds read already. None of it is ours: each notebook imports emotion_synth anew.
LIBRARIES = ['torch', 'numba', 'cv2', 'scipy.optimize', 'scipy.ndimage', 'skimage.metrics', 'matplotlib.pyplot',
             'IPython', 'nbdev.test', 'ipywidgets', 'peft', 'diffusers.models.unets.unet_2d_condition',
             'diffusers.models.unets.unet_2d', 'diffusers.models.autoencoders.autoencoder_kl',
             'diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion',
             'transformers.models.clip.modeling_clip', 'transformers.models.clip.tokenization_clip']
SETTINGS = {'MPLBACKEND': 'Agg', 'HF_HUB_OFFLINE': '1', 'TRANSFORMERS_OFFLINE': '1'}
WAITING = {'OMP_WAIT_POLICY': 'PASSIVE', 'GOMP_SPINCOUNT': '1000'}

def skip_flags():
    "The cell flags that settings.ini keeps out of a plain test run."
    cfg = ConfigParser(delimiters=['='])
    cfg.read(ROOT/'settings.ini', encoding='utf-8')
    return cfg['DEFAULT']['tst_flags'].split()

@pytest.fixture(scope='session')
def processes():
    "Makes processes that inherit `LIBRARIES`; where systems do not fork safely, they begin from nothing."
    os.environ.update(SETTINGS | {k: v for k, v in WAITING.items() if k not in os.environ})
    if sys.platform != 'linux': return multiprocessing.get_context('spawn')
    context = multiprocessing.get_context('forkserver')
    context.set_forkserver_preload(LIBRARIES)
    return context

def run(notebook, output):
    "Run a notebook in this process, which says everything into the file `output`, and end it."
    from nbdev.test import test_nb
    with open(output, 'wb', buffering=0) as f:
        for stream in (sys.stdout, sys.stderr): os.dup2(f.fileno(), stream.fileno())
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.chdir(ROOT)
    sys.argv = [str(notebook)]
    passed, seconds = test_nb(notebook, skip_flags=skip_flags(), basepath=ROOT)
    atexit._run_exitfuncs()  # multiprocessing leaves them out, and they delete temporary folders
    sys.exit(0 if passed else 1)

@pytest.mark.parametrize('notebook', NOTEBOOKS, ids=lambda p: p.stem)
def test_notebook(notebook, processes, tmp_path):
    output = tmp_path / 'output'
    process = processes.Process(target=run, args=(notebook, output))
    process.start()
    process.join(60 * MINUTES)
    if late := process.is_alive(): process.kill()
    process.join()
    said = output.read_text(errors='replace')[-8000:] if output.exists() else ''
    if late: pytest.fail(f'{notebook.name} takes longer than {MINUTES} minutes\n{said}', pytrace=False)
    if process.exitcode: pytest.fail(f'{notebook.name} ended with {process.exitcode}\n{said}', pytrace=False)

def test_there_are_notebooks(): assert NOTEBOOKS
