"""A search as a table and as a figure."""

import io
import itertools

import matplotlib.colors
import numpy as np
import pytest
from matplotlib.collections import PathCollection
from rich.console import Console

from perdure.experiments.tuning.spec import tuning_spec
from perdure.metrics.transfer import mean_and_interval
from perdure.records.folder import own_folder
from perdure.records.requested import note_request
from perdure.records.tuning import LogUniform, Trial, TuningRecord, TuningResult, best_first, write_trials
from perdure.report.figures.style import COLOURS
from perdure.report.tuning import save_search_figure, save_search_pages, search_figure, trials_table
from perdure.streams.catalog import BenchmarkRecipe

LEARNING_RATE = (0.01, 0.1, 1.0, 10.0)
BETA = (0.03, 0.3)
CHOSEN = {"learning_rate": 0.1, "beta": 0.3}


def score(point):
    """Percent, best at `CHOSEN`; NaN for the largest learning rate."""
    if point["learning_rate"] == 10:
        return np.nan
    return 70 - 10 * abs(np.log10(point["learning_rate"] / 0.1)) - (point.get("beta") == 0.03)


def search(space, points, seeds=2):
    fixed = {"memory_size": 200, "flag": True}
    trials = [
        Trial({**fixed, **point}, mean_and_interval([score(point) / 100 + 0.01 * (seed % 2) for seed in range(seeds)]))
        for point in points
    ]
    return TuningResult(
        "mer", "digits-rotations", {"tasks": 5}, tuple(range(1000, 1000 + seeds)), space, best_first(trials)
    )


def grid(space, seeds=2):
    return search(
        space, [dict(zip(space, values, strict=True)) for values in itertools.product(*space.values())], seeds
    )


TWO = grid({"learning_rate": LEARNING_RATE, "beta": BETA})


def printed(result):
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(trials_table(result))
    return console.export_text()


def test_the_table_shows_every_trial_best_first_and_marks_the_chosen():
    lines = [line.split() for line in printed(TWO).splitlines()]
    rows = [line for line in lines if line and line[0] in ("0.01", "0.1", "1", "10")]
    assert rows[0] == ["0.1", "0.3", "70.50", "6.35", "←", "chosen"]
    assert rows[1] == ["0.1", "0.03", "69.50", "6.35"]
    assert [row[2] for row in rows[2:6]] == ["60.50", "60.50", "59.50", "59.50"]
    assert rows[6] == ["10", "0.03", "–", "–", "diverged"]
    assert len(rows) == 8


def test_the_table_tells_what_all_share_and_that_the_best_flatters():
    text = printed(TWO)
    assert "mer on validation streams of digits-rotations: 8 combinations" in text
    assert "All with memory_size 200, flag true." in text
    assert "Streams: seeds 1000, 1001; tasks 5." in text
    assert "flatters" in text


def test_one_seed_has_no_interval():
    text = printed(grid({"learning_rate": LEARNING_RATE}, seeds=1))
    assert "±" not in text
    assert "70.00" in text


def test_two_hyperparameters_make_a_heat_map():
    figure = search_figure(TWO)
    axes = figure.axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("Beta", "Learning rate")
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["0.01", "0.1", "1", "10"]
    np.testing.assert_allclose(
        np.asarray(axes.images[0].get_array()), [[59.5, 60.5], [69.5, 70.5], [59.5, 60.5], [np.nan] * 2]
    )
    assert [text.get_text() for text in axes.texts].count("diverged") == 2
    (frame,) = axes.patches
    assert frame.get_xy() == (0.5, 0.5)  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize(
    "space", [{"learning_rate": LEARNING_RATE}, {"learning_rate": LEARNING_RATE, "beta": BETA, "n": (5, 1)}]
)
def test_others_have_a_panel_each_with_the_best_of_each_value(space):
    figure = search_figure(grid(space))
    panels = [axes for axes in figure.axes if axes.get_visible()]
    assert [axes.get_xlabel() for axes in panels] == [name.replace("_", " ").capitalize() for name in space]
    (line,) = panels[0].lines
    np.testing.assert_allclose(np.asarray(line.get_xydata()), [[0, 60.5], [1, 70.5], [2, 60.5]])
    assert [point.tolist() for point in marked(panels[0], COLOURS[1])] == [[1, 70.5]]
    assert {text.get_text() for legend in figure.legends for text in legend.get_texts()} == {
        "a combination",
        "best with this value",
        "diverged",
        "chosen",
    }


def marked(axes, colour):
    """Return the points of one colour."""
    wanted = matplotlib.colors.to_rgba(colour)
    clouds = [it for it in axes.collections if isinstance(it, PathCollection)]
    return [
        point for it in clouds if np.allclose(it.get_facecolor()[0], wanted) for point in np.asarray(it.get_offsets())
    ]


def test_values_drawn_at_random_lie_on_a_logarithmic_axis():
    points = [{"learning_rate": rate, "beta": beta} for rate, beta in [(0.02, 0.03), (0.2, 0.3), (0.9, 0.03)]]
    result = search({"learning_rate": LogUniform(0.01, 1.0), "beta": BETA}, points)
    drawn, listed = search_figure(result).axes
    assert drawn.get_xscale() == "log"
    assert drawn.get_xlim()[0] < 0.01 < 1 < drawn.get_xlim()[1]
    assert [point[0] for point in marked(drawn, COLOURS[1])] == [0.2]
    assert listed.get_xscale() == "linear"


@pytest.mark.parametrize("result", [TWO, grid({"learning_rate": LEARNING_RATE})], ids=["map", "panels"])
def test_the_same_search_gives_the_same_files(result, tmp_path):
    first, second = (save_search_figure(result, tmp_path / name) for name in "ab")
    assert [path.name for path in first] == ["search.png", "search.svg"]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_the_page_has_what_is_finished(tmp_path):
    recipe = BenchmarkRecipe("digits-rotations", {"tasks": 1, "examples_per_task": 20})
    spec = tuning_spec("online", recipe, {"learning_rate": [0.01, 0.1, 1.0]}, seeds=2)
    with own_folder(tmp_path, spec.config) as home:
        note_request(home, spec.request.to_json())
        write_trials(
            tmp_path, [Trial({"learning_rate": rate}, mean_and_interval([rate, rate / 2])) for rate in (0.01, 0.1)]
        )
    save_search_pages(TuningRecord.load(tmp_path), tmp_path / "results.md", tmp_path / "pages" / "results.html")
    page = (tmp_path / "results.md").read_text()
    assert "# online on validation streams of digits-rotations" in page
    assert "2 of 3 combinations tried, the search is not finished." in page
    rows = [line.split("|")[1:4] for line in page.splitlines() if line.startswith("|")]
    assert [it.strip(" *") for it in rows[2]] == ["0.1", "7.50", "31.77"]
    assert rows[3][0].strip(" *") == "0.01"
    assert "data:image/svg" in (tmp_path / "pages" / "results.html").read_text()
