"Tests run two at a time where the computer has two cores, unless `-n` says otherwise (`-n 0`: one after the other)."
import os
import pytest

@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config):
    "Two workers; a chapter is one process already, and hardly one of them keeps two cores busy."
    if config.getoption('numprocesses', 'no xdist') is None and (os.cpu_count() or 1) > 1 and not config.option.usepdb:
        config.option.numprocesses = 2
