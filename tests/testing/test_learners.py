"""The conformance check of learners catches planted faults and tells them in words."""

from __future__ import annotations

import random
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from perdure.core import Info, Learner, Rate, StreamInfo
from perdure.learners.gaussian import GaussianHead
from perdure.learners.hyperparameters import rate, stream_info_field
from perdure.learners.online import Online
from perdure.testing import ConformanceError, check_learner
from perdure.updates.losses import cross_entropy, mean_squared_error


class Around(Learner[Any]):
    """`Online` inside a learner that has no fault; the faulty ones below each spoil one of its methods."""

    needs_task: ClassVar[bool] = False

    learning_rate: Rate = rate("learning rate")

    def inner(self):
        return Online(self.learning_rate)

    def init(self, model, example, key):
        return spoiled(self, "init", self.inner().init(model, example, key), key)

    def observe(self, state, example, key):
        return spoiled(self, "observe", (state, example, *self.inner().observe(state, example, key)), key)[-2:]

    def answering(self, state):
        return spoiled(self, "answering", self.inner().answering(state), None)

    def predict(self, state, x, task):
        return spoiled(self, "predict", self.inner().predict(state, x, task), task)


FAULTS: dict[type, dict[str, Any]] = {}
"""For each faulty class, what spoils a method's result."""


def spoiled(learner, method, result, more):
    spoil = FAULTS.get(type(learner), {}).get(method)
    return result if spoil is None else spoil(learner, result, more)


def faulty(**spoils):
    """Return a learner with faults: for each method a function of the learner, the result and the key or task."""
    made = type("Faulty", (Around,), {"__module__": __name__, "__doc__": "Faulty."})
    FAULTS[made] = spoils
    return made(0.2)


def moved(tree, by):
    return jax.tree.map(lambda leaf: leaf + jnp.asarray(by, leaf.dtype), tree)


def learns_nothing(learner, result, key):
    before, _, _, info = result
    return before, info


def draws_while_traced(learner, result, key):
    *_, state, info = result
    return state._replace(model=moved(state.model, 1e-3 * np.random.default_rng().normal())), info


def moves_the_global_generator(learner, result, key):
    np.random.normal()  # noqa: NPY002
    return result


def draws_from_python(learner, result, key):
    *_, state, info = result
    return state._replace(model=moved(state.model, 1e-3 * random.random())), info


def comes_to_nan(learner, result, key):
    *_, state, info = result
    return state._replace(model=moved(state.model, np.nan)), info


def changes_a_dtype(learner, result, key):
    *_, state, info = result
    return state._replace(model=jax.tree.map(lambda leaf: leaf.astype(jnp.float16), state.model)), info


def reads_the_task(learner, result, key):
    _, example, state, info = result
    return state._replace(model=moved(state.model, 0.01 * example.task.astype(jnp.float32))), info


def unlearns(learner, result, key):
    before, _, after, info = result
    return after._replace(model=jax.tree.map(lambda a, b: 2 * a - b, before.model, after.model)), info


def ignores_its_rate(learner, result, key):
    before, example, _, _ = result
    return Online(0.2).observe(before, example, key)


def reports_no_info(learner, result, key):
    *_, state, info = result
    return state, info.loss


def reports_other_outputs(learner, result, key):
    *_, state, info = result
    return state, Info(info.loss, info.outputs[:3])


def reports_the_loss(taken):
    """Return a fault: the loss reported is a function of the outputs before, those after the update, and the label."""

    def reports(learner, result, key):
        _, example, state, info = result
        loss = taken(info.outputs, state.model(example.x), example.y)
        return state, info._replace(loss=loss)

    return reports


def is_compiled_for_each_rate(learner, result, key):
    float(learner.learning_rate)
    return result


ANSWERS_IN_PART = r"FAILED  other parameters that answer bring.*leaves out a part that is learned"
PLANTED = [
    ({"observe": learns_nothing}, r"FAILED  it learns: predictions change.*the same before and after"),
    ({"observe": unlearns}, r"FAILED  it learns: an example that keeps coming.*expected it to rise"),
    ({"observe": draws_while_traced}, r"FAILED  observing is pure.*draws from more than its key"),
    ({"observe": moves_the_global_generator}, r"FAILED  observing is pure.*global generator"),
    ({"observe": draws_from_python}, r"FAILED  observing is pure.*draws from more than its key"),
    ({"observe": comes_to_nan}, r"FAILED  numbers stay finite: one task.*NaN or infinity"),
    ({"observe": changes_a_dtype}, r"FAILED  observing keeps shapes and dtypes.*float16"),
    ({"observe": reads_the_task}, r"FAILED  task numbers matter only.*declare it True"),
    (
        {"observe": ignores_its_rate},
        r"FAILED  every rate matters.*rate = 0\.2 comes to the same as 0\.1, 0, 0\.0002, 1",
    ),
    (
        {"observe": reports_the_loss(lambda before, after, y: jnp.zeros(()))},
        r"FAILED  the loss reported.*the same loss, 0, for all examples",
    ),
    (
        {"observe": reports_the_loss(lambda before, after, y: jnp.full((), 2.3))},
        r"FAILED  the loss reported.*the same loss, 2\.3, for all examples",
    ),
    (
        {"observe": reports_the_loss(lambda before, after, y: cross_entropy(after, y))},
        r"FAILED  the loss reported.*another loss when nothing is learned; it must be that before",
    ),
    (
        {"observe": reports_the_loss(lambda before, after, y: mean_squared_error(after, jnp.zeros(10)))},
        r"FAILED  the loss reported.*another loss when nothing is learned; it must be that before",
    ),
    ({"observe": reports_no_info}, r"FAILED  observing keeps shapes and dtypes.*expected an Info"),
    ({"observe": reports_other_outputs}, r"FAILED  observing keeps.*shapes \(\(\), \(3,\)\), expected"),
    ({"observe": is_compiled_for_each_rate}, r"FAILED  a loop, with other seeds and rates"),
    ({"init": lambda learner, state, key: list(state)}, r"FAILED  the state is a NamedTuple"),
    ({"predict": lambda learner, logits, task: logits[:, :3]}, r"FAILED  predictions are a row of logits.*\[4, 10\]"),
    (
        {"predict": lambda learner, logits, task: logits - logits.mean(axis=0, keepdims=True)},
        r"FAILED  predictions.*among others",
    ),
    (
        {"answering": lambda learner, model, _: moved(model, 1)},
        r"FAILED  predictions come from what answers.*the state does not hold",
    ),
    ({"answering": lambda learner, model, _: model.layers[0]}, ANSWERS_IN_PART),
    ({"answering": lambda learner, model, _: model.layers[-1]}, ANSWERS_IN_PART),
    ({"answering": lambda learner, model, _: [it.bias for it in model.layers]}, ANSWERS_IN_PART),
]


def test_the_learner_around_which_faults_are_planted_has_none():
    report = check_learner(Around(0.2))
    assert report.failures == []
    assert "checks passed" in str(report)


@pytest.mark.long
@pytest.mark.parametrize(("spoils", "words"), PLANTED, ids=[f"{n}" for n in range(len(PLANTED))])
def test_a_planted_fault_is_caught_and_told_in_words(spoils, words):
    with pytest.raises(ConformanceError, match=f"(?s){words}"):
        check_learner(faulty(**spoils))


class PartOfGaussianHead(Learner[Any]):
    """Of several arrays that learn it says that one answers."""

    needs_task: ClassVar[bool] = False

    part: str = eqx.field(static=True)
    prior_rate: Rate = rate("rate of the prior", default=1.0)
    stream_info: StreamInfo | None = stream_info_field()

    def inner(self):
        return GaussianHead(1.0, self.prior_rate, stream_info=self.stream_info)

    def init(self, model, example, key):
        return self.inner().init(model, example, key)

    def observe(self, state, example, key):
        return self.inner().observe(state, example, key)

    def answering(self, state):
        return getattr(state, self.part)

    def predict(self, state, x, task):
        return self.inner().predict(state, x, task)


@pytest.mark.parametrize("part", ["means", "squares"])
def test_a_part_that_answering_leaves_out_is_caught_without_a_learning_rate(part):
    with pytest.raises(ConformanceError, match=f"(?s){ANSWERS_IN_PART}"):
        check_learner(PartOfGaussianHead(part))


class Thresholds(Learner[Any]):
    """Rates that no number of a small stream reaches, from above or from below, unless they are set far off."""

    needs_task: ClassVar[bool] = False

    largest: Rate = rate("largest gradient")
    smallest: Rate = rate("loss from which there is a step")
    share: Rate = rate("largest share of the weights that may move at once", maximum=1.0)

    def init(self, model, example, key):
        return Online(0.2).init(model, example, key)

    def observe(self, state, example, key):
        after, info = Online(0.2).observe(state, example, key)

        def bounded(before, after):
            step = jnp.clip(after - before, -0.2 * self.largest, 0.2 * self.largest)
            share = jnp.mean(jnp.abs(step) > 1e-9)
            return jnp.where((info.loss >= self.smallest) & (share <= self.share), before + step, before)

        return after._replace(model=jax.tree.map(bounded, state.model, after.model)), info

    def answering(self, state):
        return state.model

    def predict(self, state, x, task):
        return Online(0.2).predict(state, x, task)


@pytest.mark.parametrize(("largest", "smallest", "share"), [(1e3, 1e-6, 1.0), (50.0, 1e-3, 1.0), (1e7, 0.0, 1.0)])
def test_thresholds_that_a_small_stream_does_not_reach_are_no_fault(largest, smallest, share):
    assert check_learner(Thresholds(largest, smallest, share)).failures == []


unchecked = getattr(check_learner, "__wrapped__", check_learner)  # without the type checks that only tests have


def test_what_is_no_learner_is_refused():
    with pytest.raises(TypeError, match=r"expected a Learner with its hyper-parameters, such as Online\(0\.1\)"):
        unchecked(Online)  # pyright: ignore[reportArgumentType]
