import builtins
import re
import sys
from types import SimpleNamespace

import pytest

from perdure.execution import bars, progress
from perdure.execution.progress import ProgressUpdate, job_progress, jobs_progress, say
from perdure.machine.status import STATUS


@pytest.fixture
def shown(capsys, monkeypatch):
    """Function that returns what a block of updates leaves on standard error, in plain words."""
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("NO_COLOR", "1")

    def show(label, position, total, updates, *, show=True):
        with job_progress(label, position, total, "examples", show=show) as report:
            for update in updates:
                report(ProgressUpdate(update[0], total, *update[1:]))
        captured = capsys.readouterr()
        assert captured.out == ""
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", captured.err)

    return show


def test_position_speed_and_words_are_shown(shown):
    text = shown("er on digits", 0, 200, [(50, 10.0), (100, 12345.6, "accuracy so far 87.6 %")])
    assert text.startswith("er on digits\n")
    assert "50%" in text
    assert "12,346 examples/s" in text
    assert "accuracy so far 87.6 %" in text


@pytest.mark.parametrize(
    ("speed", "text"), [(0.123, "0.1 examples/s"), (9.87, "9.9 examples/s"), (10.4, "10 examples/s")]
)
def test_slow_units_have_a_digit_more(shown, speed, text):
    assert text in shown("er on digits", 0, 200, [(50, speed)])


def test_a_resumed_run_begins_where_it_was(shown):
    assert "75%" in shown("er on digits", 150, 200, [])


def test_nothing_is_taken_for_markup(shown):
    text = shown("mine [/bold] on [red]stream", 0, 200, [(100, 10.0, "[/bold] [red] 3")])
    assert text.startswith("mine [/bold] on [red]stream\n")
    assert "[/bold] [red] 3" in text


def test_nothing_is_shown_if_not_asked_for(shown):
    assert shown("er on digits", 0, 200, [(100, 10.0)], show=False) == ""


def test_bar_ends_with_the_block_even_by_an_error(shown):
    with pytest.raises(KeyError), job_progress("er", 0, 10, "steps", show=True):
        raise KeyError
    assert "100%" in shown("er again", 0, 10, [(10, 1.0)])  # a second bar may be shown after it


def test_a_function_is_told_instead(shown):
    updates = []
    assert shown("er on digits", 50, 200, [(100, 10.0, "loss 0.5")], show=updates.append) == ""
    assert updates == [ProgressUpdate(100, 200, 10.0, "loss 0.5")]


@pytest.mark.parametrize("show", [True, False])
def test_the_status_line_gives_way(show, monkeypatch):
    cleared = []
    monkeypatch.setattr(STATUS, "clear", lambda: cleared.append("cleared"))
    with job_progress("er", 0, 10, "steps", show=show):
        pass
    with jobs_progress({"a": 1.0}, show=show):
        pass
    say("done", show=show)
    assert len(cleared) == (3 if show else 0)


@pytest.fixture
def all_jobs(capsys, monkeypatch):
    """Function that shows three jobs while an action is taken, and returns what is left, in plain words."""
    monkeypatch.setenv("COLUMNS", "120")

    def show(action, *, terminal):
        monkeypatch.setenv("FORCE_COLOR" if terminal else "NO_COLOR", "1")
        with jobs_progress({"a": 1.0, "b": 2.0, "c [red]": 1.0}, show=True) as display:
            action(display)
        captured = capsys.readouterr()
        assert captured.out == ""
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", captured.err)

    return show


def half_way(display):
    for name in ("b", "c [red]"):
        display.started(name)
    display.moved("b", ProgressUpdate(50, 100, 1234.0, "88 %"))
    display.ended("c [red]", "its process was killed by SIGKILL")


def test_on_a_terminal_there_is_a_bar_for_each_running_job_and_one_for_all(all_jobs):
    text = all_jobs(half_way, terminal=True)
    assert "1 of 3: c [red]: its process was killed by SIGKILL" in text
    last = text.splitlines()[-2:]
    assert last[0].startswith("all: 1 of 3")
    assert "50%" in last[0]  # of efforts 1, 2 and 1: half of the second and all of the third
    assert last[1].startswith("b ")
    assert "1,234/s 88 %" in last[1]


def test_elsewhere_there_are_lines_now_and_then(all_jobs, monkeypatch):
    monkeypatch.setattr(progress, "_SECONDS_BETWEEN_LINES", 0.0)
    assert all_jobs(half_way, terminal=False).splitlines() == [
        "b: 50%, 1,234/s",
        "1 of 3: c [red]: its process was killed by SIGKILL",
    ]


class ZMQInteractiveShell:
    """By the name of its class, Rich knows that it is in a notebook."""


@pytest.fixture
def notebook(monkeypatch):
    """What is displayed in the output of a cell: a list for each place, which grows when the place is drawn again."""
    places = []

    def display(content, *, raw, display_id):
        assert raw
        assert display_id
        places.append([content])
        return SimpleNamespace(update=lambda content, raw: places[number].append(content))

    number = 0
    monkeypatch.setattr(builtins, "get_ipython", ZMQInteractiveShell, raising=False)
    monkeypatch.setitem(sys.modules, "IPython.display", SimpleNamespace(display=display))
    monkeypatch.setattr(bars, "_SECONDS_BETWEEN_DRAWINGS", 0.0)
    return places


def test_in_a_notebook_a_bar_is_redrawn_in_one_place(notebook, capsys):
    with job_progress("er on [red] <digits>", 0, 200, "examples", show=True) as report:
        report(ProgressUpdate(50, 200, 10.0, "accuracy so far 50 %"))
        report(ProgressUpdate(200, 200, 10.0, "accuracy so far 80 %"))
    (drawn,) = notebook
    assert len(drawn) > 3
    last = drawn[-1]
    assert last["text/plain"].startswith("er on [red] <digits>\n")
    assert "100%" in last["text/plain"]
    assert "accuracy so far 80 %" in last["text/plain"]
    assert "50 %" not in last["text/plain"]
    assert "&lt;digits&gt;" in last["text/html"]
    assert capsys.readouterr() == ("", "")


def test_in_a_notebook_jobs_are_redrawn_in_one_place(notebook, capsys):
    with jobs_progress({"a": 1.0, "b": 2.0, "c [red]": 1.0}, show=True) as display:
        half_way(display)
    (drawn,) = notebook
    lines = drawn[-1]["text/plain"].splitlines()
    assert lines[0].startswith("1 of 3: c [red]: its process was killed by SIGKILL")
    assert [it.split()[0] for it in lines[1:]] == ["all:", "b"]
    assert capsys.readouterr() == ("", "")


def test_in_a_notebook_nothing_is_displayed_if_not_asked_for(notebook):
    with job_progress("er", 0, 10, "steps", show=False) as report:
        report(ProgressUpdate(5, 10, 1.0))
    assert notebook == []


def test_a_notebook_is_not_flooded(notebook, monkeypatch):
    monkeypatch.setattr(bars, "_SECONDS_BETWEEN_DRAWINGS", 60.0)
    with job_progress("er", 0, 1000, "steps", show=True) as report:
        for n in range(1000):
            report(ProgressUpdate(n + 1, 1000, 1.0))
    (drawn,) = notebook
    assert len(drawn) == 2
    assert "100%" in drawn[-1]["text/plain"]
