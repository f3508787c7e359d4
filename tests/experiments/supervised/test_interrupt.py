"""Runs that are asked to stop."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from perdure.learners.online import Online
from perdure.machine.signals import InterruptedRunError
from perdure.records.learner import RunRecord
from tests.conftest import first_short

VICTIMS = Path(__file__).parents[2] / "resume" / "victims.py"
SOURCE = Path(__file__).parents[3] / "src"
SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


@pytest.mark.parametrize(
    ("number", "position"), first_short([(signal.SIGINT, 1), (signal.SIGTERM, 30), (signal.SIGHUP, 2)])
)
def test_a_run_asked_to_stop_saves_and_is_resumed(
    to_disk, one_by_one, act_at, checkpoints, uninterrupted, assert_same, tmp_path, number, position
):
    act_at(position, lambda: signal.raise_signal(number))
    rarely = {"checkpoint_seconds": 1e9}
    with pytest.raises(InterruptedRunError) as stopped:
        to_disk(**rarely)
    folder = tmp_path / "run"
    how = f"resume with `perdure resume {folder}`, or with the call or command that began it"
    where = f"{position} of 90 examples"
    assert str(stopped.value) == f"stopped after {where}; {how}"
    assert stopped.value.signal_number == number
    assert [int(path.name.partition("-")[0]) for path in checkpoints()] == [position]
    assert not RunRecord.load(folder).finished
    assert_same(to_disk(**rarely), uninterrupted)
    log = [line.partition(" ")[2].partition(":")[0] for line in (folder / "log.txt").read_text().splitlines()]
    assert log == ["started", f"stopped after {where}", f"resumed from position {where}", "finished"]


def test_a_run_without_a_folder_says_that_nothing_is_kept(quick_run, benchmark, one_by_one, act_at):
    act_at(2, lambda: signal.raise_signal(signal.SIGTERM))
    with pytest.raises(
        InterruptedRunError, match=r"^stopped after 2 of 90 examples; nothing is kept of a run without a folder"
    ):
        quick_run(Online(learning_rate=0.1), benchmark)


PROGRAM = """
import sys
sys.path.insert(0, sys.argv[1])
import victims
from tests.conftest import first_short
victims.prepare(sys.argv[2])
victims.learner(sys.argv[3])
"""


@pytest.mark.long
def test_processes_stop_and_are_resumed(tmp_path):
    """Ctrl-C, then SIGTERM, then SIGHUP, sent to processes while they learn."""
    folder, cache = tmp_path / "run", tmp_path / "cache"
    command = [sys.executable, "-c", PROGRAM, VICTIMS.parent, cache, folder]
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    for number in SIGNALS:
        checkpoints = set(folder.glob("checkpoints/*.safetensors"))
        process = subprocess.Popen(command, stderr=subprocess.PIPE, env=environment, text=True)
        while not set(folder.glob("checkpoints/*.safetensors")) - checkpoints:
            assert process.poll() is None, process.communicate()
            time.sleep(0.01)
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 1
        assert "InterruptedRunError: stopped after" in errors.splitlines()[-1]
    log = [line.partition(" ")[2] for line in (folder / "log.txt").read_text().splitlines()]
    assert [line.split()[0] for line in log] == ["started:", "stopped", "resumed", "stopped", "resumed", "stopped"]
    positions = [int(line.partition(" of ")[0].split()[-1]) for line in log[1:]]
    assert positions == sorted(positions)
    assert 0 < positions[0] == positions[1] < positions[2] == positions[3] < positions[4] < 900
    assert all(line.endswith(" of 900 examples") for line in log[1:])


def test_a_run_asked_to_stop_at_its_end_finishes(to_disk, act_at, uninterrupted, assert_same, tmp_path):
    act_at(90, lambda: signal.raise_signal(signal.SIGINT))
    assert_same(to_disk(), uninterrupted)
    assert RunRecord.load(tmp_path / "run").finished
