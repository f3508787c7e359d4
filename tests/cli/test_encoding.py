"""Output on what cannot show every character, in real processes."""

import io
import json
import os
import subprocess
import sys

import pytest

from perdure.cli.encoding import STAND_INS, never_fail_to_print
from tests.conftest import first_short

ENCODINGS = ["latin-1", "ascii"]
RUN = [
    "run",
    "online",
    "digits-rotations",
    "--tasks",
    "2",
    "--examples-per-task",
    "20",
    "--seeds",
    "2",
    "--full-matrix",
]


@pytest.fixture
def perdure_in(tmp_path):
    """Function that runs the command line where an encoding is all there is; returns what it printed."""

    def run(encoding, *arguments):
        environment = {**os.environ, "COLUMNS": "100", "PYTHONIOENCODING": encoding}
        command = [sys.executable, "-m", "perdure", *map(str, arguments)]
        process = subprocess.run(command, capture_output=True, cwd=tmp_path, env=environment, check=False)
        assert process.returncode == 0, process.stderr
        assert b"UnicodeEncodeError" not in process.stderr
        return process.stdout.decode(encoding), process.stderr.decode(encoding)

    return run


@pytest.mark.parametrize("encoding", first_short(ENCODINGS, 0))
def test_a_run_prints_and_keeps_everything(encoding, perdure_in, tmp_path):
    folder = tmp_path / "läufe–β"
    printed, errors = perdure_in(encoding, *RUN, "--out", folder)
    summary = json.loads((folder / "summary.json").read_text())
    assert f"{100 * summary['retained_accuracy']['mean']:.2f}" in printed
    assert len(list((folder / "figures").glob("*.svg"))) == 3
    assert ("±" if encoding == "latin-1" else "+/-") in printed
    assert "loading ..." in errors
    listed, _ = perdure_in(encoding, "results", tmp_path)
    assert "digits-rotations" in listed
    shown, _ = perdure_in(encoding, "report", folder, "--figures", tmp_path / "figures–β")
    assert "figures-beta" in shown


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("words", [["--help"], ["run", "mer", "--help"], ["rl", "train", "dqn", "-h"]], ids=" ".join)
def test_help_is_printed(encoding, words, perdure_in):
    printed, _ = perdure_in(encoding, *words)
    assert "Usage: perdure" in printed


def test_names_that_are_no_text_are_printed(tmp_path):
    """A path of bytes that are no UTF-8, as old archives leave behind."""
    environment = {**os.environ, "COLUMNS": "100"}
    command = [sys.executable.encode(), b"-m", b"perdure", b"results", os.fsencode(tmp_path) + b"/\xff\xfe"]
    process = subprocess.run(command, capture_output=True, env=environment, check=False)
    assert process.returncode == 2
    assert b"??" in process.stderr
    assert b"Traceback" not in process.stderr


@pytest.mark.parametrize("encoding", [*ENCODINGS, "cp437", "utf-8"])
def test_every_character_has_a_stand_in(encoding, monkeypatch):
    streams = [io.TextIOWrapper(io.BytesIO(), encoding=encoding) for _ in range(2)]
    monkeypatch.setattr(sys, "stdout", streams[0])
    monkeypatch.setattr(sys, "stderr", streams[1])
    never_fail_to_print()
    for character in STAND_INS:
        sys.stdout.write(character)
    sys.stderr.write("漢\udcff")
    sys.stdout.flush()
    sys.stderr.flush()
    assert b"?" not in streams[0].buffer.getvalue()
    assert streams[1].buffer.getvalue().decode(encoding) in ("??", "漢?")


def test_stand_ins_can_be_printed_everywhere():
    assert all(text.isascii() and text.isprintable() for text in STAND_INS.values())
