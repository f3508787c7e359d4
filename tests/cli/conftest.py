"""The command line in a process of its own."""

import os
import subprocess
import sys

import pytest


@pytest.fixture(scope="session")
def perdure():
    """Function that runs the command line as a process, as a user would."""

    def run(*arguments, cwd=None):
        command = [sys.executable, "-m", "perdure", *map(str, arguments)]
        environment = {**os.environ, "COLUMNS": "100"}
        return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment, check=False)

    return run


@pytest.fixture(scope="module", autouse=True)
def programs(compile_quickly):
    """Of which most learn for milliseconds."""
