"""Stop signals, within a process and sent to real ones."""

import contextlib
import os
import signal
import subprocess
import sys
import time

import pytest

from perdure.machine.signals import STOP_SIGNALS, StopRequests, stop_quietly
from perdure.storage import files
from perdure.storage.files import whole_file


@pytest.fixture
def program(monkeypatch):
    """A program that stops quietly; what would end it at once is noted instead."""
    ended = []
    monkeypatch.setattr(os, "_exit", ended.append)
    before = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    stop_quietly()
    yield ended
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_a_program_ends_at_once_and_says_so(program, number, capfd):
    signal.raise_signal(number)
    assert program == [128 + number]
    assert capfd.readouterr().err == "stopped; what was recorded before is kept\n"


def test_nothing_half_written_is_left(program, tmp_path):
    with whole_file(tmp_path / "file") as file:
        file.write(b"half")
        assert len(list(tmp_path.iterdir())) == 1
        signal.raise_signal(signal.SIGINT)
        assert list(tmp_path.iterdir()) == []
        (tmp_path / "file").touch()  # what follows would have been cut off by the end of the process
        next(iter(files._PARTIAL_WRITES)).touch()


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_a_run_notes_the_first_signal_and_the_second_stops_it(program, number):
    with StopRequests() as stop:
        signal.raise_signal(number)
        assert stop.received == number
        assert program == []
        signal.raise_signal(number)
        assert program == [128 + number]


def test_nohup_keeps_its_meaning(program):
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    stop_quietly()
    with StopRequests() as stop:
        signal.raise_signal(signal.SIGHUP)
    assert stop.received is None
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    assert program == []


def test_signals_are_never_held_back():
    with StopRequests():
        assert not signal.pthread_sigmask(signal.SIG_BLOCK, ()) & set(STOP_SIGNALS)


# --- real processes

RUN = ["run", "er", "digits-rotations", "--seeds", "2", "--out"]


def start(arguments, folder):
    return subprocess.Popen(
        [sys.executable, "-m", "perdure", *arguments], stderr=subprocess.PIPE, stdout=subprocess.PIPE, cwd=folder
    )


@pytest.mark.parametrize("number", STOP_SIGNALS)
@pytest.mark.parametrize("after", [0.0, 0.4, 1.5])
def test_a_process_that_starts_stops_quietly(number, after, tmp_path):
    process = start([*RUN, tmp_path / "run"], tmp_path)
    assert process.stderr is not None
    first = process.stderr.readline()  # it has begun to load
    time.sleep(after)
    process.send_signal(number)
    printed, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert b"loading" in first
    assert b"Traceback" not in errors
    assert printed == b""


@pytest.mark.parametrize(
    "command", ["tune er digits-rotations --learning-rate 0.1,0.2", "oml evaluate sine", "rl train dqn catcher"]
)
def test_so_do_the_other_commands(command, tmp_path):
    process = start(command.split(), tmp_path)
    assert process.stderr is not None
    process.stderr.readline()
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGINT
    assert b"Traceback" not in errors


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_the_earliest_moments_are_quiet_too(number, tmp_path):
    for wait in (0.0, 0.02, 0.05):
        process = start(["run", "er", "digits-rotations"], tmp_path)
        time.sleep(wait)
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(number)
        _, errors = process.communicate(timeout=60)
        # Before Python has started there is nothing that could exit: the signal ends the process itself.
        assert process.returncode in (128 + number, -number)
        assert b"Traceback" not in errors
