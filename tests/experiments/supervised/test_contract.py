"""What a learner may return, told before anything is compiled."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from perdure.core import Example, Info, Learner
from perdure.experiments.supervised.contract import check_contract
from perdure.experiments.supervised.run import run
from perdure.experiments.supervised.spec import run_spec
from perdure.learners.online import Online, OnlineState
from perdure.streams.arrays import from_arrays

KEY = jax.random.key(0)
EXAMPLE = Example(jnp.zeros(2), jnp.zeros((), jnp.int32), jnp.zeros((), jnp.int32))


class State(NamedTuple):
    model: jax.Array
    seen: jax.Array


STATE = State(jnp.zeros((3, 2)), jnp.zeros((), jnp.int32))
INFO = Info(jnp.zeros(()), jnp.zeros(3))


class Own(Learner):
    """Keeps the contract, unless told to return something else."""

    observed: object = None
    logits: object = None

    needs_task = False

    def init(self, model, example, key) -> Any:
        return STATE

    def observe(self, state, example, key) -> Any:
        return (state._replace(seen=state.seen + 1), INFO) if self.observed is None else self.observed

    def answering(self, state) -> Any:
        return state.model

    def predict(self, state, x, task) -> Any:
        return x @ state.model.T if self.logits is None else self.logits


def test_a_learner_that_keeps_the_contract_passes():
    check_contract(Own(), STATE, EXAMPLE, 3, KEY)


@pytest.mark.parametrize(
    ("learner", "message"),
    [
        (Own(observed=STATE), r"Own\.observe returned State, expected a pair: the new state and an Info"),
        (Own(observed=(STATE, jnp.zeros(()))), "expected a pair: the new state and an Info"),
        (
            Own(observed=(STATE._replace(seen=jnp.zeros(())), INFO)),
            r"made state\.seen float32\[\] of int32\[\]; the state must keep its shapes and dtypes",
        ),
        (Own(observed=(STATE.model, INFO)), r"made state\S* (absent|float32)"),
        (
            Own(observed=(STATE, INFO._replace(loss=jnp.zeros(3)))),
            r"whose loss is .*float32\[3\].*expected .* shape \(\)",
        ),
        (Own(observed=(STATE, INFO._replace(outputs=jnp.zeros(4)))), r"whose outputs is .*\[4\].*, expected .* \(3,\)"),
        (Own(observed=(STATE, INFO._replace(outputs=None))), r"whose outputs is \{\}, expected one array"),
        (Own(observed=(STATE, INFO._replace(extra={"norm": jnp.zeros(2)}))), r"whose extra\['norm'\] is .*\[2\]"),
        (Own(logits=jnp.zeros(3)), r"expected one array of logits, \[1, 3\]"),
        (Own(logits=jnp.zeros((1, 4))), "the benchmark has 3 outputs"),
    ],
)
def test_what_breaks_the_contract_is_named(learner, message):
    with pytest.raises(TypeError, match=message):
        check_contract(learner, STATE, EXAMPLE, 3, KEY)


def test_a_state_of_other_things_than_arrays_is_refused():
    with pytest.raises(TypeError, match=r"at \.model, expected arrays only"):
        check_contract(Online(0.1), OnlineState(jax.nn.relu, ()), EXAMPLE, 3, KEY)


BENCHMARK = from_arrays([(np.zeros((4, 2), np.float32), [0, 1, 0, 1])], [(np.zeros((4, 2), np.float32), [0, 1, 0, 1])])


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"learner": Online}, TypeError, "expected a Learner with its hyper-parameters"),
        ({"learner": "online"}, TypeError, "learner is 'online'"),
        ({"benchmark": "digits-rotations"}, TypeError, r"BenchmarkRecipe\('digits-rotations'\)"),
        ({"model": 3}, TypeError, "model is 3"),
        ({"evaluation": "ful"}, ValueError, "evaluation = 'ful', expected one of 'needed', 'full'"),
    ],
)
def test_arguments_of_the_wrong_kind_are_told(arguments, error, message):
    with pytest.raises(error, match=message):
        unchecked(run_spec)(**({"learner": Online(0.1), "benchmark": BENCHMARK} | arguments))


def test_a_time_between_checkpoints_that_makes_no_sense_is_told():
    with pytest.raises(ValueError, match=r"checkpoint_seconds = -1\.0, expected a number ≥ 0"):
        run(Online(0.1), BENCHMARK, progress=False, checkpoint_seconds=-1.0)


def unchecked(function):
    """Return a function without the type checks that only tests have."""
    return getattr(function, "__wrapped__", function)
