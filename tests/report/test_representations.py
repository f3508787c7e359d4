"""Tables of evaluated representations, and of learners on them, say what was measured."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from perdure.records.comparison import FeatureSet, LearnerFigure
from perdure.records.evaluation import ClassResult, Evaluation, SineResult
from perdure.records.representation import TrainingRecord, TrainingSummary
from perdure.report.figures.representations import PARTS, accuracy_curves, activation_maps
from perdure.report.representations import evaluation_tables, learners_table, training_table
from perdure.representation.statistics import Statistics


def printed(table):
    console = Console(width=120)
    with console.capture() as capture:
        console.print(table)
    return " ".join(capture.get().split())


def classes(name, oracle):
    return Evaluation(name, {"oracle": oracle}, [ClassResult("sgd", 10, 0.03, np.full(5, 0.9), np.full(5, 0.75))])


def sines(name, oracle):
    return Evaluation(name, {"oracle": oracle}, [SineResult("sgd", 0.003, np.full((4, 2, 2), 0.5))])


@pytest.mark.parametrize(
    ("oracle", "of_classes", "of_sines"),
    [
        (None, "after one pass, class after class.", "function after function."),
        (1, "after 1 pass in random order (Oracle).", "in random order (Oracle)."),
        (5, "after 5 passes in random order (Oracle).", "in random order (Oracle)."),
    ],
)
def test_tables_tell_in_which_order_was_learned(oracle, of_classes, of_sines):
    one, two = map(printed, evaluation_tables([classes("a", oracle), sines("b", oracle)]))
    assert "a sgd 10 0.03 90.0 [90.0, 90.0] 75.0 [75.0, 75.0] 5" in one
    assert one.endswith(of_classes)
    assert "b sgd 2 0.003 0.500 [0.500, 0.500] 4" in two
    assert two.endswith(of_sines)


def test_nothing_evaluated_is_no_table():
    assert len(evaluation_tables([sines("b", None)])) == 1


def test_learners_stand_beside_the_published_figures():
    oml, raw = (FeatureSet(name, "ab", "network") for name in ("oml", "raw"))
    figures = [
        LearnerFigure(oml, "online", "1×50", 0.1, (0.5, 0.5, 0.5), (64.72, 2.57)),
        LearnerFigure(oml, "mer", "1×50", 0.1, (0.75, 0.75, 0.75), None),
        LearnerFigure(raw, "online", "1×50", 0.1, (0.25, 0.25, 0.25), (4.64, 2.61)),
    ]
    text = printed(learners_table(figures))
    assert "Tasks, learner oml publ. raw publ." in text
    assert "1×50 online 50.0 ± 0.0 64.7 ± 2.6 25.0 ± 0.0 4.6 ± 2.6" in text
    assert "1×50 mer 75.0 ± 0.0 – – –" in text


def test_a_training_tells_what_it_has_taken():
    config = {"method": {"name": "OML"}, "domain": {"name": "SinePool"}}
    summary = TrainingSummary(2000, -0.123456, 12.34, 20.0, 1.0, 700 * 2**20)
    records = [
        TrainingRecord(Path("runs/[red]x"), config, summary),
        TrainingRecord(Path("runs/scratch"), config, replace(summary, best_score=-np.inf)),
        TrainingRecord(Path("runs/unfinished"), config, None),
    ]
    text = printed(training_table(records))
    assert "[red]x 2,000 error 0.1235 12.3 700 OML on sine waves" in text
    assert "scratch 2,000 – 12.3 700" in text
    assert "unfinished" not in text


NAMES = ("omniglot-small-prototypes", "omniglot-small-pretraining")
CURVES = {
    f"{name}, {head}": {part: {10: (0.5, 0.4, 0.6), 200: (0.4, 0.3, 0.5)} for part in PARTS}
    for name in NAMES
    for head in ("sgd", "lda")
}


def at(curves, *counts):
    return {
        name: {part: {it: its[it] for it in counts} for part, its in parts.items()} for name, parts in curves.items()
    }


@pytest.mark.parametrize("curves", [at(CURVES, 10), at(CURVES, 10, 200)], ids=["one number", "two"])
def test_the_legend_of_long_names_lies_within_the_figure(curves):
    figure = accuracy_curves(curves)
    figure.draw_without_rendering()
    (legend,) = figure.legends
    box = legend.get_window_extent()
    assert box.x0 >= 0
    assert box.x1 <= figure.bbox.x1


def test_at_one_number_of_classes_no_point_hides_another():
    axes = accuracy_curves(at(CURVES, 10)).axes[0]
    places = [np.asarray(line.get_xdata())[0] for line in axes.get_lines() if line.get_marker() == "o"]
    assert len(places) == len(set(places)) == len(CURVES)
    assert [it.get_text() for it in axes.get_xticklabels()] == ["10"]


def test_maps_of_features_have_whole_names_and_a_colour_bar():
    of_all = Statistics(0.5, np.linspace(0, 1, 8), 0.0, np.linspace(0, 1, 8))
    figure = activation_maps({"omniglot-small-sr-nn": of_all}, {"omniglot-small-sr-nn": np.zeros((2, 8))})
    assert [it.get_text() for it in figure.axes[-1].get_yticklabels()] == ["0", "largest"]
    assert figure.axes[0].get_ylabel().split("\n") == ["omniglot-small-", "sr-nn"]
