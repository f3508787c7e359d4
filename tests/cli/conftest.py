"""The command line in a process of its own, and in the tests' own process."""

import os
import subprocess
import sys
import warnings
from typing import NamedTuple

import pytest

from perdure.cli import app


@pytest.fixture(scope="session")
def perdure():
    """Function that runs the command line as a process, as a user would."""

    def run(*arguments, cwd=None):
        command = [sys.executable, "-m", "perdure", *map(str, arguments)]
        environment = {**os.environ, "COLUMNS": "100"}
        return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment, check=False)

    return run


class Ended(NamedTuple):
    """What a command line left, under the names that a process has for it."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def typed(monkeypatch, capsys):
    """Function that runs the command line in this process: quick, for what ends before anything is computed."""

    def run(*arguments, cwd=None):
        monkeypatch.setenv("COLUMNS", "100")
        monkeypatch.setattr(app, "configure_jax", lambda: None)  # has happened, for all tests
        monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
        if cwd is not None:
            monkeypatch.chdir(cwd)
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            app.run_command_line([str(it) for it in arguments])
        printed = capsys.readouterr()
        return Ended(int(ended.value.code or 0), printed.out, printed.err)

    return run
