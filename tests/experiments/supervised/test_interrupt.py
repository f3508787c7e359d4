import copy
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from perdure.learners.online import Online
from perdure.machine.signals import InterruptedRunError, StopRequests
from perdure.records.learner import RunRecord

VICTIM = Path(__file__).parents[2] / "resume" / "victim.py"
SOURCE = Path(__file__).parents[3] / "src"
SIGNALS = [signal.SIGINT, signal.SIGTERM]


@pytest.fixture
def own_handlers():
    """Handlers that note what reaches them, put in place for one test."""
    reached = []
    before = {number: signal.signal(number, lambda number, frame: reached.append(number)) for number in SIGNALS}
    yield reached
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def pythons_ctrl_c():
    """Ctrl-C as Python has it: a shell that starts tests in the background has it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


# --- noting requests


@pytest.mark.parametrize("number", SIGNALS)
def test_first_signal_is_noted_and_a_second_acts_as_before(own_handlers, number):
    with StopRequests() as stop:
        assert stop.received is None
        signal.raise_signal(number)
        assert stop.received == number
        assert own_handlers == []
        signal.raise_signal(number)
        assert own_handlers == [number]


def test_signals_of_both_kinds_are_noted(own_handlers):
    with StopRequests() as stop:
        for number in SIGNALS:
            signal.raise_signal(number)
            assert stop.received == number
    assert own_handlers == []


@pytest.mark.parametrize("received", [[], SIGNALS])
@pytest.mark.parametrize("error", [None, KeyError])
def test_handlers_are_put_back(own_handlers, received, error):
    before = [signal.getsignal(number) for number in SIGNALS]
    try:
        with StopRequests():
            assert [signal.getsignal(number) for number in SIGNALS] != before
            for number in received:
                signal.raise_signal(number)
            if error is not None:
                raise error
    except KeyError:
        pass
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_a_second_ctrl_c_is_a_keyboard_interrupt(pythons_ctrl_c):
    with StopRequests():
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_other_threads_leave_the_handlers_alone(own_handlers):
    before = [signal.getsignal(number) for number in SIGNALS]
    seen = []

    def enter():
        with StopRequests() as stop:
            seen.append([signal.getsignal(number) for number in SIGNALS])
            seen.append(stop.received)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert seen == [before, None]


def test_the_error_survives_the_way_between_processes():
    error = copy.copy(InterruptedRunError("stopped at example 5", signal.SIGTERM))  # rebuilt as pickle would
    assert (str(error), error.signal_number) == ("stopped at example 5", signal.SIGTERM)


# --- runs that are asked to stop


@pytest.mark.parametrize(("number", "position"), [(signal.SIGINT, 1), (signal.SIGTERM, 30)])
def test_a_run_asked_to_stop_saves_and_is_resumed(
    to_disk, one_by_one, act_at, checkpoints, uninterrupted, assert_same, tmp_path, number, position
):
    act_at(position, lambda: signal.raise_signal(number))
    rarely = {"checkpoint_seconds": 1e9}
    with pytest.raises(InterruptedRunError) as stopped:
        to_disk(**rarely)
    folder = tmp_path / "run"
    how = f"resume with `perdure resume {folder}`, or with the call or command that began it"
    where = f"position {position} of 90 examples"
    assert str(stopped.value) == f"stopped at {where}; {how}"
    assert stopped.value.signal_number == number
    assert [int(path.name.partition("-")[0]) for path in checkpoints()] == [position]
    assert not RunRecord.load(folder).finished
    assert_same(to_disk(**rarely), uninterrupted)
    log = [line.partition(" ")[2].partition(":")[0] for line in (folder / "log.txt").read_text().splitlines()]
    assert log == ["started", f"stopped at {where}", f"resumed from {where}", "finished"]


def test_a_run_without_a_folder_says_that_nothing_is_kept(quick_run, benchmark, one_by_one, act_at):
    act_at(2, lambda: signal.raise_signal(signal.SIGTERM))
    with pytest.raises(
        InterruptedRunError, match=r"^stopped at position 2 of 90 examples; nothing is kept of a run without a folder"
    ):
        quick_run(Online(learning_rate=0.1), benchmark)


@pytest.mark.long
def test_processes_stop_and_are_resumed(tmp_path):
    """Ctrl-C, then SIGTERM, sent to processes while they learn."""
    folder, cache = tmp_path / "run", tmp_path / "cache"
    command = [sys.executable, VICTIM, folder, cache]
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
        assert "InterruptedRunError: stopped at position" in errors.splitlines()[-1]
    log = (folder / "log.txt").read_text().splitlines()
    (stopped, resumed, stopped_again) = (line.partition(" ")[2] for line in log[1:])
    position = int(stopped.split()[3])
    assert stopped == f"stopped at position {position} of 900 examples"
    assert resumed == f"resumed from position {position} of 900 examples"
    assert position < int(stopped_again.split()[3]) < 900


def test_a_run_asked_to_stop_at_its_end_finishes(to_disk, act_at, uninterrupted, assert_same, tmp_path):
    act_at(90, lambda: signal.raise_signal(signal.SIGINT))
    assert_same(to_disk(), uninterrupted)
    assert RunRecord.load(tmp_path / "run").finished
