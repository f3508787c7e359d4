import re

import pytest

from perdure.experiments.progress import run_progress


@pytest.fixture
def shown(capsys, monkeypatch):
    """Function that returns what a block of updates leaves on standard error, in plain words."""
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("NO_COLOR", "1")

    def show(label, position, total, updates, *, show=True):
        with run_progress(label, position, total, show=show) as bar:
            for update in updates:
                bar.update(*update)
        captured = capsys.readouterr()
        assert captured.out == ""
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", captured.err)

    return show


def test_position_speed_and_accuracy_are_shown(shown):
    text = shown("er on digits", 0, 200, [(50, 10.0, None), (100, 12345.6, 0.876)])
    assert text.startswith("er on digits\n")
    assert "50%" in text
    assert "12,346 examples/s" in text
    assert "accuracy so far 87.6 %" in text


def test_accuracy_is_not_shown_before_there_is_one(shown):
    text = shown("er on digits", 0, 200, [(50, 10.0, None)])
    assert "10 examples/s" in text
    assert "accuracy" not in text


def test_a_resumed_run_begins_where_it_was(shown):
    assert "75%" in shown("er on digits", 150, 200, [])


def test_label_is_not_taken_for_markup(shown):
    assert shown("mine [/bold] on [red]stream", 0, 200, []).startswith("mine [/bold] on [red]stream\n")


def test_nothing_is_shown_if_not_asked_for(shown):
    assert shown("er on digits", 0, 200, [(100, 10.0, 0.5)], show=False) == ""


def test_bar_ends_with_the_block_even_by_an_error(shown):
    with pytest.raises(KeyError), run_progress("er", 0, 10, show=True):
        raise KeyError
    assert "100%" in shown("er again", 0, 10, [(10, 1.0, 1.0)])  # a second bar may be shown after it
