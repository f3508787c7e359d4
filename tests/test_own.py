"""Own code in other processes, which may be on other machines."""

import json
import pickle
import shutil
import subprocess
import sys

import pytest

from perdure import own
from perdure.execution.carried import carried
from tests import own_code

PROGRAM = """
import pickle, sys
work = pickle.load(open(sys.argv[1], "rb"))
work(None, print)
"""
METHOD = """
from beside import word


class Work:
    def __call__(self, folder, watch):
        watch(word, __file__)
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "beside.py").write_text("word = 'done'\n")
    (tmp_path / "json.py").write_text(METHOD)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield tmp_path
    own_code.forget(sys.modules, tmp_path)


@pytest.mark.parametrize("is_there", [True, False])
def test_work_is_done_where_its_code_was_never_loaded(folder, tmp_path, is_there):
    """Its file has the name of a library, so that nobody can import it by that name."""
    work = own.load_own(f"{folder / 'json.py'}:Work", own.LEARNERS)()
    (tmp_path / "work").write_bytes(pickle.dumps(carried(work)))
    if not is_there:
        shutil.rmtree(folder / "__pycache__", ignore_errors=True)
        (folder / "json.py").unlink()
        (folder / "beside.py").write_text("word = 'other'\n")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, tmp_path / "work"], capture_output=True, text=True, check=True
    )
    word, path = done.stdout.split()
    assert word == "done"
    assert (path == str(folder / "json.py")) is is_there
    assert sys.modules["json"] is json


def test_without_own_code_work_is_itself(monkeypatch):
    monkeypatch.setattr(own, "_executed_here", {})  # of other tests
    assert carried(print) is print
