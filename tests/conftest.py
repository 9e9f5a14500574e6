"How the tests are shared among processes (pytest-xdist): a notebook each, and every other file whole."
import os
from xdist.scheduler import LoadScopeScheduling

def pytest_xdist_auto_num_workers(config):
    "One process a core, four at most: a notebook needs up to 2 GB of memory."
    cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1
    return min(cores, 4)

def pytest_configure(config):
    "Beside other workers one thread is enough; the user's own number is kept."
    if 'PYTEST_XDIST_WORKER' in os.environ: os.environ.setdefault('OMP_NUM_THREADS', '1')

class ByFile(LoadScopeScheduling):
    "What a file prepares once (a model, an export) is prepared by one worker; notebooks go to whoever is free."
    def _split_scope(self, nodeid):
        file = nodeid.split('::')[0]
        return nodeid if file.endswith('test_notebooks.py') else file

def pytest_xdist_make_scheduler(config, log):
    # not `--dist loadgroup`: from pytest 9.2 on, xdist 3.8 does not see the groups, and shares every file among all
    return ByFile(config, log)
