"How the tests are shared among processes (pytest-xdist): a notebook each, and every other file whole."
import os
import pytest

def pytest_xdist_auto_num_workers(config):
    "One process a core, four at most: a notebook needs up to 2 GB of memory."
    cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1
    return min(cores, 4)

def pytest_configure(config):
    "Beside other workers one thread is enough; the user's own number is kept."
    if 'PYTEST_XDIST_WORKER' in os.environ: os.environ.setdefault('OMP_NUM_THREADS', '1')

@pytest.hookimpl(tryfirst=True)  # xdist reads the marks in this same hook
def pytest_collection_modifyitems(items):
    "What a file prepares once (a model, an export) is prepared by one worker."
    for item in items:
        if item.path.name != 'test_notebooks.py': item.add_marker(pytest.mark.xdist_group(item.path.stem))
