"""Learners that are called without hyper-parameters."""

import dataclasses
import gc

import jax
import pytest

from perdure.experiments.supervised.plan import choose_learner
from perdure.learners.catalog import CATALOG, learner_class
from perdure.learners.defaults import Taken, taken_defaults
from perdure.learners.er import ER
from perdure.learners.mer import MER
from perdure.presets.learners import DEFAULTS_FROM, find_default


@pytest.mark.parametrize("name", CATALOG)
def test_every_learner_is_made_without_arguments(name):
    learner = learner_class(name)()
    preset = find_default(name)
    values = {} if preset is None or taken_defaults(learner) is None else preset.hyperparameters
    assert {it: getattr(learner, it) for it in values} == values
    benchmark = preset.benchmark if preset else DEFAULTS_FROM[0]
    if values:
        assert choose_learner(name, benchmark, {}).learner == learner


def test_what_is_given_stays_and_the_rest_is_known():
    mer = MER(0.2, memory_size=30)
    assert (mer.learning_rate, mer.memory_size, mer.beta) == (0.2, 30, 0.03)
    rest = {"beta": 0.03, "gamma": 1.0, "replay_batch_size": 10, "batches_per_example": 5}
    assert taken_defaults(mer) == Taken("digits-rotations", rest)
    assert taken_defaults(MER(0.2, 30, 10, beta=0.03, gamma=1.0, batches_per_example=5)) is None
    assert taken_defaults(dataclasses.replace(mer, beta=0.1)) is None


def test_a_learner_with_defaults_is_the_same_program():
    made, given = ER(), ER(0.1, 200, 10)
    assert made == given
    assert jax.tree.structure(made) == jax.tree.structure(given)


def test_nothing_is_remembered_of_learners_that_are_gone():
    from perdure.learners.defaults import _TAKEN

    gc.collect()
    before = len(_TAKEN)
    made = [ER() for _ in range(5)]
    assert len(_TAKEN) == before + 5
    del made
    gc.collect()
    assert len(_TAKEN) == before


def test_usual_values_that_no_search_has_chosen_are_marked_as_such():
    taken = taken_defaults(learner_class("icarl")())
    assert taken is not None
    assert taken.chosen_for is None
    assert (
        "they are usual values; choose better: perdure tune icarl digits-split"
        in choose_learner("icarl", "digits-split", {}).notes[0]
    )


@pytest.mark.parametrize("memory_size", ["200", 20.5, None])
def test_a_memory_size_that_is_none_is_told(memory_size):
    with pytest.raises(TypeError, match=r"memory_size = .* expected a"):
        ER(memory_size=memory_size)
