"""A search small enough to be run many times, and what it computed."""

import functools

import pytest

import perdure.experiments.tuning.side_by_side as side_by_side
import perdure.experiments.tuning.tune as tuning
from perdure.streams.catalog import BenchmarkRecipe

RECIPE = BenchmarkRecipe("digits-rotations", {"tasks": 2, "examples_per_task": 40})
ER = {"memory_size": 20, "replay_batch_size": 4}


@pytest.fixture(scope="module")
def quick_tune(small_mlp):
    """`tune` with the small network and without the bar."""
    return functools.partial(tuning.tune, model=small_mlp, progress=False)


def scores_of(result):
    return {tuple(sorted(trial.hyperparameters.items())): trial.score.per_seed for trial in result.trials}


def count_learners(monkeypatch, before=lambda n_calls: None):
    """Return a list that grows by the number of learners each time that some are scored."""
    calls = []
    score = side_by_side.score_side_by_side

    def counting(streams, learners, *arguments):
        before(len(calls))
        scores = score(streams, learners, *arguments)
        calls.append(len(learners))
        return scores

    monkeypatch.setattr(tuning, "score_side_by_side", counting)
    return calls
