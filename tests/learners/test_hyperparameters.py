from __future__ import annotations

import dataclasses
import math
import re
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import perdure
from perdure.core import Rate, StreamInfo
from perdure.learners.hyperparameters import (
    check_hyperparameters,
    flag,
    hyperparameters,
    known_stream_info,
    numeric_hyperparameters,
    rate,
    required_and_known,
    stream_info_field,
)
from perdure.learners.mer import MER, MERAlgorithm6, MERAlgorithm7
from perdure.learners.online import Online

GOOD = {
    "learning_rate": 0.1,
    "memory_size": 5,
    "replay_batch_size": 3,
    "beta": 0.3,
    "gamma": 1.0,
    "batches_per_example": 2,
}
RATES = ["learning_rate", "beta", "gamma"]
COUNTS = ["memory_size", "replay_batch_size", "batches_per_example"]


def refused(**wrong):
    """Return the message that MER refuses a value with; the type checker of these tests must not come first."""
    with pytest.raises((TypeError, ValueError)) as error:
        MER.__check_init__(unchecked(**wrong))
    return error.type, str(error.value)


def unchecked(**wrong):
    """Return a MER that holds any value whatsoever."""
    learner = MER(**GOOD)
    for name, value in wrong.items():
        object.__setattr__(learner, name, value)
    return learner


@pytest.mark.parametrize("name", RATES)
@pytest.mark.parametrize(("value", "shown"), [(-0.1, "-0.1"), (float("nan"), "nan"), (float("inf"), "inf"), (-3, "-3")])
def test_a_rate_out_of_range_is_refused(name, value, shown):
    with pytest.raises(ValueError, match=f"^{name} = {shown}.*, expected a finite number ≥ 0$"):
        MER(**{**GOOD, name: value})


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize("value", [0, -1])
def test_a_count_below_one_is_refused(name, value):
    with pytest.raises(ValueError, match=f"^{name} = {value}, expected a whole number ≥ 1$"):
        MER(**{**GOOD, name: value})


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize("value", [2**31, 10**30])
def test_a_count_that_no_integer_of_a_program_holds_is_refused(name, value):
    with pytest.raises(ValueError, match=f"^{name} = {value}, expected a whole number ≥ 1, of at most 2,147,483,647$"):
        MER(**{**GOOD, name: value})


@pytest.mark.parametrize("name", RATES)
@pytest.mark.parametrize("value", [True, "0.1", None, 1j, [0.1]])
def test_a_rate_that_is_no_number_is_refused(name, value):
    kind, message = refused(**{name: value})
    assert kind is TypeError
    assert message == f"{name} = {value!r} is of type {type(value).__name__}, expected a finite number ≥ 0"


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize("value", [True, "3", None, 3.0, float("nan"), np.float32(2)])
def test_a_count_that_is_no_whole_number_is_refused(name, value):
    kind, message = refused(**{name: value})
    assert kind is TypeError
    assert message == f"{name} = {value!r} is of type {type(value).__name__}, expected a whole number ≥ 1"


@pytest.mark.parametrize("value", [jnp.asarray(3), np.asarray(3)])
def test_an_array_is_no_count(value):
    kind, message = refused(memory_size=value)
    assert kind is TypeError
    assert message.startswith("memory_size = ")
    assert message.endswith("expected a whole number ≥ 1")


class Bounded(Online):
    """`Online` with a rate that has a largest value and a default."""

    decay: float = rate("part that stays", default=0.5, maximum=1.0)


@pytest.mark.parametrize("value", [-0.1, 1.001, float("nan"), float("inf")])
def test_a_rate_above_its_maximum_is_refused(value):
    with pytest.raises(ValueError, match=rf"^decay = {value}, expected a number from 0 to 1$"):
        Bounded(0.1, decay=value)
    assert (Bounded(0.1).decay, Bounded(0.1, decay=1).decay) == (0.5, 1.0)


@pytest.mark.parametrize(("value", "shown"), [(-0.5, "-0.5"), (jnp.nan, "nan")])
def test_a_rate_in_an_array_is_held_to_its_range_too(value, shown):
    with pytest.raises(ValueError, match=f"^beta = {shown}, expected a finite number ≥ 0$"):
        MER(**{**GOOD, "beta": jnp.asarray(value)})


@pytest.mark.parametrize("value", [1, np.int64(1), np.int32(1), 1.0, np.float64(1), np.float32(1)])
def test_numbers_of_any_kind_become_float_rates(value):
    learner = MER(**{**GOOD, "gamma": value})
    assert type(learner.gamma) is float
    assert learner.gamma == 1


@pytest.mark.parametrize("value", [0, 0.0, 2.5])
def test_a_rate_may_be_zero_or_above_one(value):
    assert Online(learning_rate=value).learning_rate == value


def test_numpy_counts_are_counts():
    learner = MER(**{**GOOD, "memory_size": np.int64(7)})
    assert type(learner.memory_size) is int
    assert learner.memory_size == 7


def test_every_learner_checks_its_own():
    with pytest.raises(ValueError, match=r"^learning_rate = -1"):
        Online(learning_rate=-1.0)
    with pytest.raises(ValueError, match=r"^current_example_weight = -2"):
        MERAlgorithm7(learning_rate=0.1, memory_size=2, replay_batch_size=1, gamma=1, current_example_weight=-2)


def test_rates_are_leaves_and_counts_are_not():
    assert jax.tree.leaves(MER(**GOOD)) == [0.1, 0.3, 1.0]


def test_traced_rates_pass_whatever_their_value():
    learners = jax.vmap(lambda rate: MER(**{**GOOD, "beta": rate}))(jnp.asarray([0.1, -1.0]))
    np.testing.assert_array_equal(learners.beta, np.asarray([0.1, -1.0], np.float32))


def test_what_a_learner_declares():
    declared = {it.name: (it.kind, it.minimum) for it in hyperparameters(MER)}
    assert declared == {
        "learning_rate": (float, 0.0),
        "memory_size": (int, 1),
        "replay_batch_size": (int, 1),
        "memory_rule": (str, -math.inf),
        "beta": (float, 0.0),
        "gamma": (float, 0.0),
        "batches_per_example": (int, 1),
    }
    assert hyperparameters(MER(**GOOD)) == hyperparameters(MER)
    assert all(it.help for it in hyperparameters(MER))


def test_what_must_be_given():
    required, known = required_and_known(MERAlgorithm6)
    assert known == ["learning_rate", "memory_size", "replay_batch_size", "memory_rule", "gamma", "batches_per_example"]
    assert required == ["learning_rate", "memory_size", "replay_batch_size", "gamma"]


class Flagged(Online):
    """`Online` with a flag, told about its stream."""

    warm: bool = flag("begin warm", default=True)
    stream_info: StreamInfo | None = stream_info_field()


def test_a_flag_is_a_hyperparameter_that_shapes_the_program():
    assert [(it.name, it.kind) for it in hyperparameters(Flagged)] == [("learning_rate", float), ("warm", bool)]
    assert required_and_known(Flagged) == (["learning_rate"], ["learning_rate", "warm"])
    assert (Flagged(0.1).warm, Flagged(0.1, warm=False).warm) == (True, False)
    assert jax.tree.leaves(Flagged(0.1)) == [0.1]


@pytest.mark.parametrize("value", [1, 0, "yes", None, np.True_])
def test_a_flag_is_true_or_false(value):
    learner = Flagged(0.1)
    object.__setattr__(learner, "warm", value)
    with pytest.raises(TypeError, match=r"^warm = .* is of type .*, expected True or False$"):
        check_hyperparameters(learner)


def test_loss_optimizer_and_stream_info_are_no_hyperparameters():
    assert [it.name for it in hyperparameters(Online)] == ["learning_rate"]


def test_a_learner_that_has_not_been_told_of_its_stream_says_how():
    with pytest.raises(ValueError, match=r"^Flagged does not know its stream: its stream_info is None\. ") as error:
        known_stream_info(Flagged(0.1))
    (remedy,) = re.findall(r"use (dataclasses\.replace\(.*\)) with", str(error.value))
    learner = eval(remedy, {"dataclasses": dataclasses, "perdure": perdure, "learner": Flagged(0.1)})
    assert known_stream_info(learner) == StreamInfo(n_outputs=10, n_tasks=5, task_sizes=(100,) * 5)


class Plain(Online):
    """Fields that are annotated only, beside others that are no hyper-parameters; not a learner to be used."""

    share: float  # pyright: ignore[reportGeneralTypeIssues]
    of_rate: Rate = 1
    steps: int = 2
    backwards: bool = False
    part: str = "all"
    other: Any = 3
    perhaps: float | None = None
    fixed: ClassVar[int] = 7
    declared_otherwise: float = eqx.field(default=0.5)


def test_plain_fields_are_declared_by_their_annotation():
    own = {it.name: (it.kind, it.minimum, it.maximum) for it in hyperparameters(Plain) if it.name != "learning_rate"}
    assert own == {
        name: (kind, -math.inf, math.inf)
        for name, kind in {"share": float, "of_rate": float, "steps": int, "backwards": bool, "part": str}.items()
    }
    assert required_and_known(Plain)[0] == ["learning_rate", "share"]
    searched = [it.name for it in numeric_hyperparameters(Plain)]
    assert searched == ["learning_rate", "share", "of_rate", "steps", "backwards"]


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ({"share": math.nan}, ValueError, "share = nan, expected a finite number$"),
        ({"steps": 1.5}, TypeError, "steps = 1.5 is of type float, expected a whole number$"),
        ({"backwards": 1}, TypeError, "backwards = 1 is of type int, expected True or False"),
        ({"part": 3}, TypeError, "part = 3 is of type int, expected a text"),
    ],
)
def test_plain_fields_are_checked(values, error, message):
    with pytest.raises(error, match=message):
        Plain(0.1, **{"share": 1.0} | values)


def test_plain_numbers_are_leaves_and_what_shapes_the_program_is_not():
    counted: Any = np.int64(3)
    learner = Plain(0.1, share=-1, steps=counted)
    assert jax.tree.leaves((learner.share, learner.of_rate)) == [-1.0, 1.0]
    assert len(jax.tree.leaves(learner)) == 5
    assert type(learner.steps) is int
