"""Work that is done part by part: progress, stop requests, and a folder that may vanish."""

import re
import shutil
import signal
from typing import Any

import pytest

from perdure.core import PerdureWarning
from perdure.execution.parts import Finished, keeps, parts_progress
from perdure.machine.signals import InterruptedRunError
from perdure.records.folder import FORMAT, own_folder

CONFIG = {"format": FORMAT, "kind": "tuning"}


def do_parts(how_far=lambda: Finished(1, 3, "parts"), folder=None, show: Any = False, n_parts=3, before=lambda n: None):
    with parts_progress("parts", 30, "units", how_far, folder=folder, show=show) as advanced:
        for n in range(n_parts):
            before(n)
            advanced(10)


def test_progress_is_reported_with_how_far_it_is():
    updates = []
    do_parts(show=updates.append)
    assert [(it.position, it.total, it.words) for it in updates] == [(n, 30, "1 of 3 parts") for n in (10, 20, 30, 30)]
    assert all(it.units_per_second > 0 for it in updates)


def test_the_last_update_counts_the_part_that_was_finished_last():
    finished, updates = [], []
    with parts_progress(
        "parts", 2, "units", lambda: Finished(len(finished), 2, "parts"), folder=None, show=updates.append
    ) as advanced:
        for n in range(2):
            advanced(0, f"preparing part {n}")
            advanced(1)
            finished.append(n)
    assert [(it.position, it.words) for it in updates] == [
        (0, "preparing part 0"),
        (1, "0 of 2 parts"),
        (1, "preparing part 1"),
        (2, "1 of 2 parts"),
        (2, "2 of 2 parts"),
    ]


def test_a_stop_before_anything_was_finished_does_not_promise_that_something_is_kept(tmp_path):
    with (
        own_folder(tmp_path / "x", CONFIG) as home,
        pytest.raises(InterruptedRunError) as stopped,
    ):
        do_parts(lambda: Finished(0, 3, "parts"), home, before=lambda n: signal.raise_signal(signal.SIGTERM))
    assert str(stopped.value).startswith(
        "stopped before the first of 3 parts was finished: begin again with `perdure resume "
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_request_ends_the_work_at_the_next_look(number):
    def stop(n):
        reached.append(n)
        if n == 1:
            signal.raise_signal(number)

    reached = []
    with pytest.raises(InterruptedRunError, match="stopped after 1 of 3 parts; nothing is kept of work") as stopped:
        do_parts(before=stop)
    assert stopped.value.signal_number == number
    assert reached == [0, 1]


def test_with_a_folder_the_message_says_how_to_resume(tmp_path):
    path = tmp_path / "a search"
    with (
        own_folder(path, CONFIG) as home,
        pytest.raises(InterruptedRunError, match=re.escape(f"resume with `perdure resume '{path}'`")),
    ):
        do_parts(folder=home, before=lambda n: signal.raise_signal(signal.SIGTERM))
    assert "stopped after 1 of 3 parts" in (path / "log.txt").read_text()


def test_what_stops_a_part_from_inside_is_told_the_same_way():
    def stop(n):
        raise InterruptedRunError("stopped after 7 of 9 examples", signal.SIGINT)

    with pytest.raises(InterruptedRunError, match="stopped after 1 of 3 parts"):
        do_parts(before=stop)


def test_a_deleted_folder_is_told(tmp_path):
    with own_folder(tmp_path / "x", CONFIG) as home:
        assert keeps(home)
        shutil.rmtree(tmp_path / "x")
        with pytest.warns(PerdureWarning, match="was deleted during the run: nothing more is kept"):
            assert not keeps(home)
