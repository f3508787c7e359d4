"""iCaRL with a perceptron, against its formulae; tests/learners/test_icarl_reference.py has the recorded run."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from scipy import stats

from perdure.core import Example, StreamInfo
from perdure.learners.icarl import ICaRL, draw_exemplars
from perdure.memory.exemplars import no_exemplars, plan_exemplars
from perdure.models import MLP
from perdure.updates.gradient import predict_batch
from perdure.updates.losses import MASKED

RATE, STRENGTH, BATCH, MEMORY = 0.1, 1.5, 4, 14
CLASS_TASKS = (0, 1, 0, 1, 1, 2, 2)
SIZES = (6, 9, 8)
KEY = jax.random.key(0)
# Of class 2 there are two, of class 4 one, which is less than their shares.
LABELS = [*[0, 2, 0, 0, 2, 0], *[1, 3, 1, 3, 1, 3, 4, 1, 3], *[5, 6, 5, 6, 6, 5, 5, 6]]

pytestmark = [pytest.mark.long, pytest.mark.usefixtures("x64")]


def icarl(**changes):
    stream_info = StreamInfo(len(CLASS_TASKS), len(SIZES), SIZES, CLASS_TASKS)
    values = {
        "learning_rate": RATE,
        "memory_size": MEMORY,
        "strength": STRENGTH,
        "batch_size": BATCH,
        "stream_info": stream_info,
    }
    return ICaRL(**{**values, **changes})


def stream_of(seed=0):
    x = np.random.default_rng(seed).normal(size=(len(LABELS), 3))
    task = np.repeat(np.arange(len(SIZES), dtype=np.int32), SIZES)
    return jax.tree.map(jnp.asarray, Example(x, np.asarray(LABELS, np.int32), task))


def network(seed=0):
    return MLP(3, 7, (5,), key=jax.random.key(seed))


def learn(learner, model, stream, key):
    """Return the states before the first example and after each, leaves (N + 1, ...)."""
    start = learner.init(model, at(stream, 0), key)

    def step(state, numbered):
        n, example = numbered
        state, _ = learner.observe(state, example, jax.random.fold_in(key, n))
        return state, state

    after = jax.lax.scan(step, start, (jnp.arange(len(stream.y)), stream))[1]
    return jax.tree.map(lambda first, rest: jnp.concatenate([first[None], rest]), start, after)


@functools.cache
def learned():
    return jax.jit(lambda model, stream: learn(icarl(), model, stream, KEY))(network(), stream_of())


def at(tree, n):
    return jax.tree.map(lambda leaf: leaf[n], tree)


def flat(tree):
    return np.asarray(ravel_pytree(tree)[0])


def chosen_of(state, label):
    """Return the exemplars of a class in order of choice, and the outputs stored for them."""
    plan = plan_exemplars(CLASS_TASKS, SIZES, MEMORY)
    slots = plan.starts[label] + np.arange(state.exemplars.held[label])
    return np.asarray(state.exemplars.x)[slots], np.asarray(state.exemplars.outputs)[slots]


def test_a_step_is_made_when_a_batch_is_complete_or_the_task_ends():
    weights = [flat(at(learned().model, n)) for n in range(len(LABELS) + 1)]
    moved = [n for n in range(1, len(weights)) if (weights[n] != weights[n - 1]).any()]
    assert moved == [4, 6, 10, 14, 15, 19, 23]


@pytest.mark.parametrize("rows", [slice(0, 4), slice(4, 6)], ids=["whole", "rest"])
def test_in_the_first_task_a_step_is_down_the_mean_cross_entropy_within_the_task(rows):
    before, after = (at(learned().model, n) for n in (rows.start, rows.stop))
    np.testing.assert_allclose(flat(after), flat(before) - RATE * flat(jax.grad(own_loss)(before, rows)), atol=1e-12)


def own_loss(model, rows):
    """The mean cross entropy of a batch, over the outputs of its task alone."""
    stream = stream_of()
    task = int(stream.task[rows.start])
    members = np.flatnonzero(np.asarray(CLASS_TASKS) == task)
    logits = jax.nn.log_softmax(jax.vmap(model)(stream.x[rows])[:, members])
    return -jnp.mean(logits[jnp.arange(len(logits)), np.searchsorted(members, stream.y[rows])])


def test_a_later_step_also_distils_each_past_task_on_one_exemplar_a_class():
    """The released code's form: strength · classes · the mean over all entries of p (log p − log q)."""
    stream, rows = stream_of(), slice(19, 23)
    state, drawn = at(learned(), 22), np.asarray([3, 1, 0, 1, 0, 0, 0], np.int32)
    after, _ = jax.jit(icarl().observe_with)(state, at(stream, 22), jnp.asarray(drawn))

    def loss(model):
        total = own_loss(model, rows)
        for task in (0, 1):
            members = np.flatnonzero(np.asarray(CLASS_TASKS) == task)
            x, before = (np.stack([chosen_of(state, it)[part][drawn[it]] for it in members]) for part in (0, 1))
            p = jax.nn.softmax(jnp.asarray(before)[:, members])
            q = jax.nn.softmax(jax.vmap(model)(jnp.asarray(x))[:, members])
            total += STRENGTH * len(members) * jnp.mean(p * (jnp.log(p) - jnp.log(q)))
        return total

    expected = flat(state.model) - RATE * flat(jax.grad(loss)(state.model))
    np.testing.assert_allclose(flat(after.model), expected, rtol=0, atol=1e-12)
    plain, _ = jax.jit(icarl(strength=0.0).observe_with)(state, at(stream, 22), jnp.asarray(drawn))
    assert np.abs(flat(plain.model) - expected).max() > 1e-5, "distillation is felt"


@pytest.mark.parametrize(("end", "held"), [(5, [0] * 7), (6, [4, 0, 2, 0, 0, 0, 0]), (23, [4, 2, 2, 2, 1, 2, 2])])
def test_each_class_of_a_task_that_ends_gets_its_share_or_what_it_has(end, held):
    """Shares are 14 / 2 in the first task, 14 / 5 in the second, 14 / 7 in the last; what is held is not cut down."""
    np.testing.assert_array_equal(learned().exemplars.held[end], held)


@pytest.mark.parametrize(("end", "task"), [(6, 0), (15, 1), (23, 2)])
def test_exemplars_are_herded_on_the_outputs_of_the_tasks_classes(end, task):
    stream, state = stream_of(), at(learned(), end)
    members = np.flatnonzero(np.asarray(CLASS_TASKS) == task)
    for label in members:
        x = np.asarray(stream.x)[np.asarray(stream.y) == label]
        features = np.asarray(predict_batch(state.model, jnp.asarray(x)))[:, members]
        mean, chosen = features.mean(axis=0), []
        for _ in range(int(state.exemplars.held[label])):
            left = [n for n in range(len(x)) if n not in chosen]
            chosen.append(min(left, key=lambda n: np.linalg.norm(mean - features[[*chosen, n]].mean(axis=0))))
        np.testing.assert_array_equal(chosen_of(state, label)[0], x[chosen])


def test_when_a_task_ends_the_outputs_for_all_exemplars_are_stored_anew():
    for end in (6, 15, 23):
        state = at(learned(), end)
        for label in np.flatnonzero(state.exemplars.held):
            x, outputs = chosen_of(state, label)
            np.testing.assert_allclose(outputs, predict_batch(state.model, jnp.asarray(x)), rtol=0, atol=1e-12)
    earlier, later = (chosen_of(at(learned(), end), 0) for end in (6, 23))
    np.testing.assert_array_equal(earlier[0], later[0])
    assert (earlier[1] != later[1]).all()


def test_predicts_the_nearest_mean_of_exemplars_among_the_classes_of_the_task():
    state = at(learned(), 23)
    x = jnp.asarray(np.random.default_rng(5).normal(size=(12, 3)))
    task = np.arange(12) % 3
    predicted = np.asarray(jax.jit(icarl().predict)(state, x, jnp.asarray(task)))
    outputs = np.asarray(predict_batch(state.model, x))
    for n in range(12):
        for label, of_task in enumerate(CLASS_TASKS):
            mean = predict_batch(state.model, jnp.asarray(chosen_of(state, label)[0])).mean(axis=0)
            expected = -np.linalg.norm(outputs[n] - mean) if of_task == task[n] else MASKED
            np.testing.assert_allclose(predicted[n, label], expected, rtol=1e-12)


def test_before_a_task_has_exemplars_its_classes_are_all_alike():
    predicted = icarl().predict(at(learned(), 6), jnp.ones((2, 3)), jnp.asarray([1, 2]))
    np.testing.assert_allclose(predicted[0], np.where(np.equal(CLASS_TASKS, 1), 1 / 3, MASKED), rtol=1e-12)
    np.testing.assert_allclose(predicted[1], np.where(np.equal(CLASS_TASKS, 2), 1 / 2, MASKED), rtol=1e-12)


def test_a_class_that_never_shows_is_never_predicted():
    stream = stream_of()
    stream = stream._replace(y=jnp.where(stream.y == 4, 1, stream.y))
    last = at(jax.jit(lambda: learn(icarl(), network(), stream, KEY))(), -1)
    np.testing.assert_array_equal(last.exemplars.held, [4, 2, 2, 2, 0, 2, 2])
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(last))
    predicted = icarl().predict(last, stream.x, jnp.ones(len(LABELS), int))
    np.testing.assert_array_equal(predicted[:, 4], MASKED)


def test_seeds_side_by_side_equal_each_alone():
    streams, models = [stream_of(seed) for seed in range(3)], [network(seed) for seed in range(3)]
    keys = jax.random.split(KEY, 3)
    axes: Any = (0, 0, None)
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *streams)._replace(task=streams[0].task)
    together = jax.jit(jax.vmap(functools.partial(learn, icarl()), in_axes=(0, Example(*axes), 0)))(
        jax.tree.map(lambda *leaves: jnp.stack(leaves), *models), stacked, keys
    )
    alone = jax.jit(functools.partial(learn, icarl()))
    for n in range(3):
        expected = alone(models[n], streams[n], keys[n])
        jax.tree.map(lambda a, b, n=n: np.testing.assert_allclose(a[n], b, rtol=0, atol=1e-12), together, expected)


def test_draws_are_uniform_over_what_each_class_holds():
    memory = no_exemplars(at(stream_of(), 0), plan_exemplars(CLASS_TASKS, SIZES, MEMORY))
    memory = memory._replace(held=jnp.asarray([4, 0, 3, 1, 0, 2, 1], jnp.int32))
    keys = jax.random.split(KEY, 20_000)
    drawn = np.asarray(jax.jit(jax.vmap(functools.partial(draw_exemplars, memory)))(keys))
    assert drawn[:, [1, 3, 4, 6]].max() == 0
    table = np.zeros((4, 3, 2))
    np.add.at(table, tuple(drawn[:, [0, 2, 5]].T), 1)
    assert stats.chisquare(table.ravel()).pvalue > 1e-4


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stream_info": None}, r"ICaRL does not know its stream.*stream_info=perdure\.learn\.StreamInfo"),
        ({"stream_info": StreamInfo(7, 3, SIZES)}, r"class_tasks is None; use a benchmark that has them"),
        ({"memory_size": 6}, r"memory_size = 6 for 7 classes.*at least 7"),
    ],
)
def test_what_it_cannot_learn_from_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        icarl(**changes).init(network(), at(stream_of(), 0), KEY)
