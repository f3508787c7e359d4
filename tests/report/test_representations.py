"""Tables of evaluated representations, and of learners on them, say what was measured."""

import numpy as np
import pytest
from rich.console import Console

from perdure.records.evaluation import ClassResult, Evaluation, SineResult
from perdure.records.feature_learners import LearnerCell
from perdure.report.representations import evaluation_tables, learners_table


def printed(table):
    console = Console(width=120)
    with console.capture() as capture:
        console.print(table)
    return " ".join(capture.get().split())


def classes(name, oracle):
    return Evaluation(name, {"oracle": oracle}, [ClassResult(10, 0.03, np.full(5, 0.9), np.full(5, 0.75))])


def sines(name, oracle):
    return Evaluation(name, {"oracle": oracle}, SineResult(0.003, np.full((4, 2, 2), 0.5)))


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
    assert "a 10 0.03 90.0 [90.0, 90.0] 75.0 [75.0, 75.0] 5" in one
    assert one.endswith(of_classes)
    assert "b 2 0.003 0.500 [0.500, 0.500] 4" in two
    assert two.endswith(of_sines)


def test_nothing_evaluated_is_no_table():
    assert len(evaluation_tables([sines("b", None)])) == 1


def test_learners_stand_beside_the_published_figures():
    cells = [
        LearnerCell("oml", "online", "1×50", 0.1, (0.5, 0.5, 0.5), (64.72, 2.57)),
        LearnerCell("oml", "mer", "1×50", 0.1, (0.75, 0.75, 0.75), None),
        LearnerCell("raw", "online", "1×50", 0.1, (0.25, 0.25, 0.25), (4.64, 2.61)),
        LearnerCell("raw", "mer", "1×50", 0.1, (0.1, 0.2, 0.3), (54.88, 4.12)),
    ]
    text = printed(learners_table(cells))
    assert "Tasks, learner oml publ. raw publ." in text
    assert "1×50 online 50.0 ± 0.0 64.7 ± 2.6 25.0 ± 0.0 4.6 ± 2.6" in text
    assert "1×50 mer 75.0 ± 0.0 – 20.0 ± 24.8 54.9 ± 4.1" in text
