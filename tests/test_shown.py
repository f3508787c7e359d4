"""Results of every kind show themselves: a line of text, a table with a figure, a data frame."""

import sys

import jax
import numpy as np
import pandas as pd
import pytest

from perdure.experiments.agents.run import run_agent
from perdure.experiments.representations.embeddings import compare_embeddings
from perdure.experiments.supervised.run import run
from perdure.experiments.tuning.tune import tune
from perdure.learners.er import ER
from perdure.learners.online import Online
from perdure.models import MLP
from perdure.report.figures.results import accuracy_of_run
from perdure.representation.file import load_representation
from perdure.rl.agent import DQN
from perdure.rl.games.catcher import Catcher
from perdure.shown import Shown, with_interval
from perdure.streams.arrays import from_arrays
from perdure.streams.catalog import BenchmarkRecipe

SEEDS = [4, 2]


def stream(tests=True, numbers=False):
    rng = np.random.default_rng(0)

    def draw(n):
        y = rng.normal(size=n).astype(np.float32) if numbers else rng.integers(0, 3, n)
        return rng.normal(size=(n, 4)).astype(np.float32), y

    parts = [draw(20) for _ in range(2)]
    return from_arrays(parts, [draw(9) for _ in parts] if tests else None)


def small(example, n_outputs, key):
    return MLP(example.x.size, n_outputs, (8,), key=key)


def learned(benchmark, **options):
    return run(Online(0.1), benchmark, seeds=SEEDS, model=small, progress=False, **options)


def agent():
    return run_agent(
        DQN(
            learning_rate=1e-3,
            memory_size=20,
            replay_batch_size=4,
            discount=0.9,
            target_period=10,
            warmup_frames=10,
            exploration_frames=20,
            exploration_end=0.1,
        ),
        Catcher(),
        levels=[Catcher.params(speed, max_steps_in_episode=30) for speed in (0.0608, 0.2108)],
        stages=[(0, 30), (1, 30)],
        evaluate_every=30,
        episodes=1,
        seeds=SEEDS,
        progress=False,
    )


def search():
    recipe = BenchmarkRecipe("digits-rotations", {"tasks": 2, "examples_per_task": 20})
    return tune("online", recipe, {"learning_rate": [0.01, 0.1]}, progress=False)


def embeddings():
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1], 20)
    return compare_embeddings(rng.normal(size=(40, 3)) + y[:, None], y, methods=["nearest-mean", "lda"])


KINDS = {
    "classes": (lambda: learned(stream()), 2, {"seed", "retained_accuracy"}),
    "whole matrix": (lambda: learned(stream(), evaluation="full"), 2, {"seed", "forgetting"}),
    "no tests": (lambda: learned(stream(tests=False)), 2, {"seed", "prequential_accuracy"}),
    "numbers without tests": (lambda: learned(stream(tests=False, numbers=True)), 2, {"seed"}),
    "alignment": (lambda: learned(stream(), alignment=True), 2, {"seed", "gradient_alignment"}),
    "agent": (agent, 2 * 3 * 2, {"seed", "frame", "level", "score"}),
    "search": (search, 2, {"learning_rate", "retained_accuracy"}),
    "embeddings": (embeddings, 2, {"method", "held_out"}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_result_shows_itself(kind):
    make, n_rows, columns = KINDS[kind]
    result = make()
    assert isinstance(result, Shown)
    assert len(repr(result)) < 500, "the arrays of a result are not in its text"
    assert repr(result).count("\n") <= 2
    page = result._repr_html_()
    assert result.in_short().title in page
    assert "<table>" in page
    assert "data:image/png;base64,iVBOR" in page
    assert len(page) < 100_000
    table = result.to_pandas()
    assert len(table) == n_rows
    assert columns <= set(table.columns)
    assert result.plot().axes


def test_the_figures_of_a_run_are_its_own():
    result = learned(stream())
    table = result.to_pandas().set_index("seed")
    assert list(table.index) == SEEDS
    retained = result.metrics["retained_accuracy"]
    assert table["retained_accuracy"].tolist() == list(retained.per_seed)
    assert f"retained accuracy {100 * retained.mean:.1f} ± {100 * retained.ci95:.1f} %" in repr(result)
    assert repr(result).startswith("Result(online on ")
    assert "forgetting" in repr(result), "of two tasks it is known"
    assert "forward transfer" not in repr(result), "what was not evaluated is left out"


def test_rows_of_scores_are_where_they_belong():
    result = agent()
    table = result.to_pandas()
    row = table[(table.seed == 2) & (table.frame == 60) & (table.level == 1)]
    assert row.score.item() == result.scores[1, 2, 1]


def test_an_agent_answers_with_the_values_of_actions():
    result = agent()
    observations = np.random.default_rng(0).normal(size=(5, result.runners.observation.shape[-1])).astype(np.float32)
    values = result.predict(observations, 2)
    assert values.shape == (5, 3)
    assert (values != result.predict(observations)).any()
    one = result.runners.agent.learning.model
    network = jax.tree.map(lambda leaf: leaf[1], one)
    np.testing.assert_allclose(values[3], network(observations[3]), rtol=1e-6)
    with pytest.raises(ValueError, match="seed = 3, expected one of the run's seeds 4, 2"):
        result.predict(observations, 3)


def test_names_that_users_chose_are_text_on_the_page():
    class Odd(Shown):
        def in_short(self):
            return type(result.in_short())("<b>$x$", {"<i>": "1"})

        def rows(self):
            return []

        def drawing(self):
            return result.drawing()

    result = learned(stream())
    page = Odd()._repr_html_()
    assert "&lt;b&gt;$x$" in page
    assert "<b>" not in page
    assert "<i>" not in page


def test_pandas_is_named_where_it_is_missing(monkeypatch):
    result = learned(stream())
    assert isinstance(result.to_pandas(), pd.DataFrame)
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match="pip install pandas"):
        result.to_pandas()


def test_a_representation_is_one_line():
    text = repr(load_representation("omniglot-small-gemcl"))
    assert text.startswith("Trained(GeMCL on ImageClasses, 5,000 steps, ")
    assert len(text) < 100


@pytest.mark.parametrize(
    ("mean", "half", "style", "unit", "text"),
    [
        (81.234, 1.26, ".1f", " %", "81.2 ± 1.3 %"),
        (-3.0, float("nan"), "+.2f", "", "−3.00"),
        (0.5, 0.0, "+.1f", "", "+0.5 ± 0.0"),
    ],
)
def test_a_figure_and_its_interval(mean, half, style, unit, text):
    assert with_interval(mean, half, style, unit) == text


def test_the_learner_with_a_memory_too():
    result = run(ER(learning_rate=0.1, memory_size=5, replay_batch_size=2), stream(), model=small, progress=False)
    assert repr(result).startswith("Result(er on ")
    assert "±" not in repr(result), "one seed has no interval"


def test_the_axis_of_accuracies_ends_at_the_accuracies_that_there_can_be():
    widely = np.stack([np.full((3, 2), 0.9), np.full((3, 2), 0.1)])
    (axes,) = accuracy_of_run("it", widely).axes
    assert axes.get_ylim() == (0, 100)
