"""Figures of agents: a panel for each level and each game, its stages shaded, means with their bands."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from perdure.records.agent import AgentRecord
from perdure.records.errors import ResultsError
from perdure.records.summary import Summary
from perdure.report.figures.agents import has_games, scores_of_games, scores_over_frames
from perdure.report.figures.style import GREY

STAGES = [[0, 10], [1, 10], [2, 10], [3, 10]]
FRAMES = np.arange(0, 41, 10)
SCORES = np.random.default_rng(0).normal(size=(3, 5, 4))


def record(name="dqn", groups=("a", "b", "a", "b")):
    config = {
        "groups": list(groups),
        "levels": [[0]] * 4,
        "stages": STAGES,
        "environment": {"name": "a+b"},
        "evaluation": {"every": 10, "episodes": 1},
    }
    summary = Summary({}, 1.0, 1.0, 1.0, 1, 40, 1)
    return AgentRecord(Path(name), config, FRAMES, SCORES, summary)


def panels(figure):
    """Return title, lines and shaded stretches of each panel that is seen."""
    found = {}
    for axes in (it for it in figure.axes if it.get_visible()):
        shaded = [it.get_x() for it in axes.patches if it.get_facecolor()[3] < 0.5]
        lines = [it.get_ydata() for it in axes.lines if it.get_color() != GREY]
        found[axes.get_title(loc="left")] = lines, shaded
    return found


def test_each_level_has_a_panel_that_names_its_game():
    found = panels(scores_over_frames([record("dqn"), record("dqn-mer")]))
    assert list(found) == ["Level 0: a 0", "Level 1: b 0", "Level 2: a 1", "Level 3: b 1"]
    for level, (lines, shaded) in enumerate(found.values()):
        assert shaded == [10 * level]
        assert len(lines) == 2
        np.testing.assert_allclose(lines[0], SCORES[:, :, level].mean(axis=0))


def test_an_unfinished_run_is_refused_with_the_command_that_resumes_it():
    unfinished = dataclasses.replace(record("my run"), summary=None)
    with pytest.raises(ResultsError, match="my run is unfinished; resume it with `perdure resume 'my run'`"):
        scores_over_frames([unfinished])


def test_each_game_has_a_panel_of_its_mean_score_with_all_its_stages():
    found = panels(scores_of_games([record()]))
    assert list(found) == ["a", "b"]
    for place, ((line,), shaded) in enumerate(found.values()):
        assert shaded == [10 * place, 20 + 10 * place]
        np.testing.assert_allclose(line, SCORES[:, :, place::2].mean(axis=(0, 2)))


@pytest.mark.parametrize(
    ("groups", "expected", "first"),
    [
        (("a", "b", "a", "b"), True, "Level 0: a 0"),
        (("a", "b", "c", "d"), False, "Level 0: a"),
        (("a", "a", "a", "a"), False, "Level 0: a 0"),
        ((), False, "Level 0"),
    ],
)
def test_games_have_panels_of_their_own_where_they_have_several_levels(groups, expected, first):
    assert has_games(record(groups=groups)) is expected
    assert next(iter(panels(scores_over_frames([record(groups=groups)])))) == first
