from __future__ import annotations

from itertools import pairwise

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perdure.models import MLP, Statistics
from perdure.updates import sequential
from perdure.updates.gradient import init_train_state
from perdure.updates.losses import cross_entropy, mean_squared_error
from perdure.updates.sequential import general_meta_steps, gram_meta_steps, meta_steps, optimized_meta_steps

FORMS = [gram_meta_steps, general_meta_steps]


class Batches:
    """Random batches and a random perceptron, in float64 unless told."""

    def __init__(self, s, k, d=5, hidden=(4, 3), seed=0, dtype: type = np.float64):
        rng = np.random.default_rng(seed)
        self.x: np.ndarray = rng.normal(size=(s, k, d)).astype(dtype)
        self.y: np.ndarray = rng.integers(0, 3, (s, k)).astype(np.int32)
        self.rates: np.ndarray = rng.uniform(0, 0.5, (s, k)).astype(dtype)
        self.meta_rate = 0.3
        sizes = [d, *hidden, 3]
        self.parameters = [
            (rng.normal(size=(out, into)).astype(dtype), rng.normal(size=out).astype(dtype))
            for into, out in pairwise(sizes)
        ]

    def without(self, mask):
        self.rates = np.where(mask, 0, self.rates)
        return self

    def model(self):
        *hidden, n_outputs = (len(bias) for _, bias in self.parameters)
        model = MLP(self.x.shape[-1], n_outputs, hidden, key=jax.random.key(0))
        leaves = [jnp.asarray(leaf) for layer in self.parameters for leaf in layer]
        return jax.tree.unflatten(jax.tree.structure(model), leaves)

    def arrays(self):
        return jnp.asarray(self.x), jnp.asarray(self.y), jnp.asarray(self.rates)

    def learnt(self, form, loss=cross_entropy):
        """Return the parameters after the batches, as a flat list."""
        program = jax.jit(lambda *arguments: form(*arguments, loss))  # a fresh one: `_GROUP_ROWS` may have changed
        return jax.tree.leaves(program(self.model(), *self.arrays(), self.meta_rate))


def cross_entropy_slope(logits, y):
    likely = np.exp(logits - logits.max())
    return likely / likely.sum() - (np.arange(len(logits)) == y)


def squared_error_slope(values, y):
    return 2 * (values - y) / len(values)


def by_hand(batches, loss_slope=cross_entropy_slope):
    """SGD by hand-derived back-propagation in NumPy, one example after another, then the Reptile step."""
    parameters = batches.parameters
    for x, y, rates in zip(batches.x, batches.y, batches.rates, strict=True):
        after = parameters
        for example in zip(x, y, rates, strict=True):
            after = sgd_step(after, *example, loss_slope)
        parameters = [
            tuple(old + batches.meta_rate * (new - old) for old, new in zip(*layers, strict=True))
            for layers in zip(parameters, after, strict=True)
        ]
    return [leaf for layer in parameters for leaf in layer]


def sgd_step(parameters, x, y, rate, loss_slope=cross_entropy_slope):
    activations = [x]
    for weight, bias in parameters[:-1]:
        activations.append(np.maximum(weight @ activations[-1] + bias, 0))
    delta = loss_slope(parameters[-1][0] @ activations[-1] + parameters[-1][1], y)
    after = []
    for (weight, bias), below in zip(reversed(parameters), reversed(activations), strict=True):
        after.append((weight - rate * np.outer(delta, below), bias - rate * delta))
        delta = (weight.T @ delta) * (below > 0)
    return after[::-1]


def assert_close(actual, expected, rtol):
    for one, other in zip(actual, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=rtol, atol=rtol)


@pytest.mark.long
@settings(max_examples=6, deadline=None)
@given(
    s=st.integers(1, 4),
    k=st.integers(1, 5),
    d=st.integers(1, 6),
    hidden=st.lists(st.integers(1, 5), min_size=1, max_size=3),
    data=st.data(),
)
def test_both_forms_equal_back_propagation_by_hand(s, k, d, hidden, data):
    with jax.enable_x64(True):
        batches = Batches(s, k, d, hidden)
        programs = [jax.jit(form) for form in FORMS]
        model, x, y = batches.model(), jnp.asarray(batches.x), jnp.asarray(batches.y)
        for _ in range(5):
            absent = data.draw(st.lists(st.booleans(), min_size=s * k, max_size=s * k))
            batches.rates = Batches(s, k, seed=data.draw(st.integers(0, 99))).rates
            batches.without(np.reshape(absent, (s, k)))
            batches.meta_rate = data.draw(st.sampled_from([0.0, 0.03, 0.5, 1.0, 1.5]))
            for program in programs:
                learnt = program(model, x, y, jnp.asarray(batches.rates), batches.meta_rate)
                assert_close(jax.tree.leaves(learnt), by_hand(batches), rtol=1e-12)


@pytest.mark.parametrize("hidden", [(4,), (4, 2, 3)])
def test_forms_agree_in_float32(hidden):
    batches = Batches(3, 5, hidden=hidden, dtype=np.float32)
    gram, general = (batches.learnt(form) for form in FORMS)
    assert {leaf.dtype for leaf in gram} == {jnp.dtype(jnp.float32)}
    assert_close(gram, general, rtol=2e-5)
    assert_close(gram, by_hand(batches), rtol=2e-5)


def test_forms_agree_for_pixels(x64):
    batches = Batches(2, 3)
    pixels = np.random.default_rng(1).integers(0, 256, batches.x.shape, dtype=np.uint8)
    batches.x = pixels
    learnt = [batches.learnt(form) for form in FORMS]
    batches.x = pixels / 255
    for leaves in learnt:
        assert_close(leaves, by_hand(batches), rtol=1e-12)


@pytest.mark.parametrize("rows", [1, 6, 9, 1000])
def test_grouping_never_changes_the_result(rows, monkeypatch, x64):
    batches = Batches(6, 3)
    monkeypatch.setattr(sequential, "_GROUP_ROWS", rows)
    assert_close(batches.learnt(gram_meta_steps), by_hand(batches), rtol=1e-12)


@pytest.mark.parametrize(
    ("k", "rows", "most"), [(7, 1, 7), (7, 3, 4), (7, 1, 2), (7, 7, 4), (101, 34, 4), (150, 34, 4)]
)
def test_blocks_never_change_the_result(k, rows, most, monkeypatch, x64):
    batches = Batches(2, k)
    batches.rates /= k
    monkeypatch.setattr(sequential, "_GROUP_ROWS", 0)  # each batch for itself
    monkeypatch.setattr(sequential, "_BLOCK_ROWS", rows)
    monkeypatch.setattr(sequential, "_MOST_BLOCKS", most)
    assert_close(batches.learnt(gram_meta_steps), by_hand(batches), rtol=1e-12)


@pytest.mark.parametrize("form", FORMS)
def test_a_meta_rate_of_one_is_sgd_on_one_example_after_another(form, x64):
    batches = Batches(2, 4)
    batches.meta_rate = 1.0
    parameters = batches.parameters
    for example in zip(batches.x.reshape(8, -1), batches.y.ravel(), batches.rates.ravel(), strict=True):
        parameters = sgd_step(parameters, *example)
    assert_close(batches.learnt(form), [leaf for layer in parameters for leaf in layer], rtol=1e-12)


@pytest.mark.parametrize("form", FORMS)
def test_a_meta_rate_of_zero_leaves_the_weights_as_they_were(form):
    batches = Batches(2, 4, dtype=np.float32)
    batches.meta_rate = 0.0
    for leaf, before in zip(batches.learnt(form), jax.tree.leaves(batches.model()), strict=True):
        np.testing.assert_array_equal(leaf, before)


@pytest.mark.parametrize("form", FORMS)
def test_an_example_at_rate_zero_might_as_well_be_absent(form, x64):
    batches = Batches(2, 4).without(np.asarray([False, True, False, True]))
    shorter = Batches(2, 4)
    shorter.x, shorter.y, shorter.rates = (it[:, ::2] for it in (batches.x, batches.y, batches.rates))
    assert_close(batches.learnt(form), shorter.learnt(form), rtol=1e-12)


@pytest.mark.parametrize("form", FORMS)
def test_side_by_side_equals_alone(form, x64):
    several = [Batches(2, 3, seed=seed) for seed in range(3)]
    stacked = [jnp.stack([jnp.asarray(getattr(it, name)) for it in several]) for name in ("x", "y", "rates")]
    models = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(it.model() for it in several))
    together = jax.jit(jax.vmap(form, in_axes=(0, 0, 0, 0, None)))(models, *stacked, 0.3)
    for n, alone in enumerate(several):
        assert_close([leaf[n] for leaf in jax.tree.leaves(together)], by_hand(alone), rtol=1e-12)


def test_rates_may_be_traced(x64):
    batches = Batches(2, 3)
    program = jax.jit(gram_meta_steps)
    for meta_rate in (0.1, 0.7):
        batches.meta_rate = meta_rate
        learnt = program(batches.model(), batches.x, batches.y, jnp.asarray(batches.rates), jnp.asarray(meta_rate))
        assert_close(jax.tree.leaves(learnt), by_hand(batches), rtol=1e-12)


def test_any_other_model_takes_the_general_form(monkeypatch, x64):
    class Scaled(eqx.Module):
        network: MLP

        def __call__(self, x):
            return 2 * self.network(x)

    batches = Batches(2, 3)
    x, y, rates = batches.arrays()
    taken = meta_steps(Scaled(batches.model()), x, y, rates, 0.3)
    general = general_meta_steps(Scaled(batches.model()), x, y, rates, 0.3)
    assert_close(jax.tree.leaves(taken), jax.tree.leaves(general), rtol=0)
    monkeypatch.setattr(sequential, "general_meta_steps", None)  # a perceptron must not need it
    assert_close(batches.learnt(meta_steps), by_hand(batches), rtol=1e-12)


def with_targets(s, k):
    """Return batches whose y are numbers, one for each output."""
    batches = Batches(s, k)
    batches.y = np.random.default_rng(4).normal(size=(s, k, 3))
    return batches


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("s", "k"), [(1, 5), (4, 3)])
def test_another_loss_equals_back_propagation_by_hand(form, s, k, x64):
    batches = with_targets(s, k)
    batches.rates *= 0.1
    assert_close(batches.learnt(form, mean_squared_error), by_hand(batches, squared_error_slope), rtol=1e-12)


# --- other optimizers

optimized = jax.jit(optimized_meta_steps, static_argnums=(5, 6))


def by_adam(batches, loss):
    """Return model and state after Adam of optax on one example after another, absent ones left out."""
    adam, (x, y, weights) = optax.adam(0.05), batches.arrays()
    slope_of = jax.jit(lambda model, x, y, weight: jax.grad(lambda model: weight * loss(model(x), y))(model))
    model = batches.model()
    state = adam.init(model)
    update = jax.jit(adam.update)
    for s in range(len(x)):
        before = model
        for k in np.flatnonzero(weights[s]):
            with jax.numpy_dtype_promotion("standard"):
                updates, state = update(slope_of(model, x[s, k], y[s, k], weights[s, k]), state)
            model = jax.tree.map(jnp.add, model, updates)
        model = jax.tree.map(lambda old, new: old + batches.meta_rate * (new - old), before, model)
    return model, state


@pytest.mark.parametrize("loss", [cross_entropy, mean_squared_error])
def test_an_optimizer_of_optax_equals_itself_by_hand(loss, x64):
    batches = Batches(3, 4) if loss is cross_entropy else with_targets(3, 4)
    batches.without(np.random.default_rng(5).random((3, 4)) < 0.3)
    adam = optax.adam(0.05)
    learnt = optimized(init_train_state(batches.model(), adam), *batches.arrays(), batches.meta_rate, adam, loss)
    model, state = by_adam(batches, loss)
    assert_close(jax.tree.leaves(learnt.model), jax.tree.leaves(model), rtol=1e-12)
    assert_close(jax.tree.leaves(learnt.optimizer), jax.tree.leaves(state), rtol=1e-12)
    assert int(jax.tree.leaves(learnt.optimizer)[0]) == np.count_nonzero(batches.rates)


def test_plain_sgd_as_an_optimizer_equals_the_other_forms(x64):
    batches, sgd = Batches(3, 4), optax.sgd(1.0)
    batches.without(np.random.default_rng(5).random((3, 4)) < 0.3)
    learnt = optimized(init_train_state(batches.model(), sgd), *batches.arrays(), batches.meta_rate, sgd, cross_entropy)
    assert_close(jax.tree.leaves(learnt.model), by_hand(batches), rtol=1e-12)


def test_an_absent_memory_leaves_model_and_optimizer_untouched(x64):
    """Once Adam has moments, even an example without gradient would move the weights."""
    adam, batches = optax.adam(0.05), Batches(2, 3)
    start = init_train_state(batches.model(), adam)
    underway = optimized(start, *batches.arrays(), 1.0, adam, cross_entropy)
    assert np.abs(jax.tree.leaves(underway.optimizer)[1]).max() > 0
    batches.without(True)
    after = optimized(underway, *batches.arrays(), 1.0, adam, cross_entropy)
    jax.tree.map(np.testing.assert_array_equal, after, underway)


# --- running statistics


def normalizing_by_hand(model, x, y, rates, meta_rate):
    """Return weight, mean and variance after the batches, in NumPy."""
    weight, mean, variance = (np.asarray(it) for it in (model.weight, *parts(model.statistics)))
    for xs, ys, rs in zip(x, y, rates, strict=True):
        before = [weight, mean, variance]
        for one, label, rate in zip(xs, ys, rs, strict=True):
            if rate == 0:
                continue
            row = ((one - one.mean(axis=0)) / np.sqrt(one.var(axis=0) + 0.1)).ravel()
            weight = weight - rate * np.outer(cross_entropy_slope(weight @ row, label), row)
            mean, variance = 0.9 * mean + 0.1 * one.mean(axis=0), 0.9 * variance + 0.1 * one.var(axis=0)
        after = [weight, mean, variance]
        weight, mean, variance = (old + meta_rate * (new - old) for old, new in zip(before, after, strict=True))
    return weight, mean, variance


def parts(statistics: Statistics):
    return statistics.mean, statistics.variance


@pytest.mark.parametrize("meta_rate", [0.3, 1.0])
@pytest.mark.parametrize("as_optimizer", [False, True])
def test_statistics_move_with_present_examples_and_are_interpolated(normalizing, meta_rate, as_optimizer):
    rng = np.random.default_rng(0)
    x, y, rates = rng.normal(size=(3, 4, 4, 2)), rng.integers(0, 3, (3, 4)).astype(np.int32), rng.uniform(0, 1, (3, 4))
    rates = np.where([[True, False, True, True], [False] * 4, [True, True, True, False]], rates, 0)
    arrays = tuple(map(jnp.asarray, (x, y, rates)))
    if as_optimizer:
        sgd = optax.sgd(1.0)
        learnt = optimized(init_train_state(normalizing, sgd), *arrays, meta_rate, sgd, cross_entropy).model
    else:
        learnt = jax.jit(meta_steps)(normalizing, *arrays, meta_rate)
    expected = normalizing_by_hand(normalizing, x, y, rates, meta_rate)
    assert_close((learnt.weight, *parts(learnt.statistics)), expected, rtol=1e-12)
