"""`perdure.reptile` beside plain loops: what it must be equal to, and what it must leave alone."""

from __future__ import annotations

from inspect import unwrap
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perdure import reptile
from perdure.models import MLP
from perdure.updates.gradient import example_gradient, sgd_step
from perdure.updates.reptile import reptile_step

INSIDE = {
    "sgd": optax.sgd(0.1),
    "momentum": optax.sgd(0.1, momentum=0.9),
    "adam": optax.adam(0.05),
    "adamw": optax.adamw(0.05, weight_decay=0.1),
    "chain": optax.chain(optax.clip_by_global_norm(0.5), optax.adam(0.05)),
}


@pytest.fixture(autouse=True)
def as_optax_users_have_it():
    """Optax counts on JAX's own promotion."""
    with jax.numpy_dtype_promotion("standard"):
        yield


def weights(dtype=None):
    rng = np.random.default_rng(3)
    return {
        "layer": (jnp.asarray(rng.normal(size=(3, 2)), dtype), jnp.asarray(rng.normal(size=2), dtype)),
        "scale": jnp.asarray(rng.normal(), dtype),
        "absent": None,
    }


def gradients(n, like):
    """Return n gradients, leaves (n, ...)."""
    rng = np.random.default_rng(4)
    return jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=(n, *leaf.shape)), leaf.dtype), like)


def scanned(optimizer, params, grads):
    """Return weights after a step for each gradient, in one compiled program, and the weights after each."""

    def step(carry, grads):
        params, state = carry
        updates, state = optimizer.update(grads, state, params)
        params = optax.apply_updates(params, updates)
        return (params, state), params

    return jax.jit(lambda: jax.lax.scan(step, (params, optimizer.init(params)), grads)[1])()


def looped(inside, params, grads, every, rate):
    """Return the same by a plain loop of NumPy around the optimizer inside."""
    state, start, trajectory = inside.init(params), params, []
    for n in range(len(jax.tree.leaves(grads)[0])):
        updates, state = inside.update(jax.tree.map(lambda it, n=n: it[n], grads), state, params)
        params = jax.tree.map(lambda p, u: np.asarray(p) + np.asarray(u), params, updates)
        if (n + 1) % every == 0:
            now = rate((n + 1) // every - 1) if callable(rate) else rate
            params = jax.tree.map(lambda a, b, now=now: a + now * (b - a), start, params)
            start = params
        trajectory.append(params)
    return jax.tree.map(lambda *its: np.stack(its), *trajectory)


def assert_close(found, expected, rtol, atol=0.0):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=rtol, atol=atol), found, expected)


@pytest.mark.parametrize("name", INSIDE)
@pytest.mark.parametrize(("every", "rate"), [(1, 0.3), (3, 0.3), (4, 0.0), (5, 1.5)])
def test_equals_a_plain_loop(x64, name, every, rate):
    params = weights()
    grads = gradients(17, params)
    found = scanned(reptile(INSIDE[name], every=every, rate=rate), params, grads)
    assert_close(found, looped(INSIDE[name], params, grads, every, rate), rtol=1e-9, atol=1e-12)


def test_the_rate_may_follow_a_schedule_of_rounds(x64):
    params, rate = weights(), optax.linear_schedule(1.0, 0.0, 4)
    grads = gradients(18, params)
    found = scanned(reptile(optax.sgd(0.1), every=3, rate=rate), params, grads)
    expected = looped(optax.sgd(0.1), params, grads, 3, lambda round: max(0.0, 1 - round / 4))
    assert_close(found, expected, rtol=1e-9, atol=1e-12)


@settings(max_examples=8)
@given(every=st.integers(1, 6), name=st.sampled_from(sorted(INSIDE)))
def test_a_rate_of_one_is_the_optimizer_itself(every, name):
    params = weights(jnp.float32)
    grads = gradients(8, params)
    found = scanned(reptile(INSIDE[name], every=every, rate=1.0), params, grads)
    jax.tree.map(np.testing.assert_array_equal, found, scanned(INSIDE[name], params, grads))


@settings(max_examples=8)
@given(rate=st.floats(0, 2, width=32, allow_subnormal=False), learning_rate=st.floats(1e-3, 0.5))
def test_a_round_of_one_step_scales_it(rate, learning_rate):
    params = weights(jnp.float32)
    grads = gradients(6, params)
    found = scanned(reptile(optax.sgd(learning_rate), every=1, rate=rate), params, grads)
    assert_close(found, scanned(optax.sgd(learning_rate * rate), params, grads), rtol=1e-4, atol=1e-5)


@settings(max_examples=8)
@given(every=st.integers(1, 5), rate=st.floats(0, 1, width=32))
def test_after_a_round_all_is_between_its_ends(every, rate):
    params = weights(jnp.float32)
    grads = gradients(every, params)
    end = jax.tree.map(lambda it: it[-1], scanned(reptile(optax.sgd(0.1), every=every, rate=rate), params, grads))
    led = jax.tree.map(lambda it: it[-1], scanned(optax.sgd(0.1), params, grads))

    def check(start, found, led):
        low, high = np.minimum(start, led) - 1e-5, np.maximum(start, led) + 1e-5
        assert np.all((low <= found) & (found <= high))

    jax.tree.map(check, params, end, led)


def test_a_rate_of_zero_ends_every_round_where_it_began(x64):
    params = weights()
    path = scanned(reptile(optax.adam(0.1), every=4, rate=0.0), params, gradients(8, params))
    for end in (3, 7):
        assert_close(jax.tree.map(lambda it, end=end: it[end], path), params, rtol=1e-12)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float32])
def test_dtypes_stay(dtype):
    params = weights(dtype)
    optimizer = reptile(optax.adam(0.01), every=2, rate=0.5)
    state: Any = optimizer.init(params)
    assert {it.dtype for it in jax.tree.leaves(state.start)} == {jnp.dtype(dtype)}
    for n in range(4):
        grads = jax.tree.map(lambda it, n=n: it[n], gradients(4, params))
        updates, state = optimizer.update(grads, state, params)
        assert {it.dtype for it in jax.tree.leaves(updates)} == {jnp.dtype(dtype)}
        params = optax.apply_updates(params, updates)
        assert {it.dtype for it in jax.tree.leaves((params, state.start))} == {jnp.dtype(dtype)}
    assert int(state.rounds) == 2
    assert int(state.step) == 0


def test_weights_changed_between_rounds_are_where_the_next_one_begins(x64):
    """As when the caller clips weights, or reads a checkpoint of them."""
    optimizer, grads = reptile(optax.sgd(1.0), every=2, rate=0.5), jnp.asarray([1.0])
    params = jnp.asarray([10.0])
    state: Any = optimizer.init(params)
    for _ in range(2):
        updates, state = optimizer.update(grads, state, params)
        params = optax.apply_updates(params, updates)
    np.testing.assert_array_equal(params, [9.0])
    params = jnp.asarray([100.0])
    for _ in range(2):
        updates, state = optimizer.update(grads, state, params)
        params = optax.apply_updates(params, updates)
    np.testing.assert_array_equal(params, [99.0])


def test_wrapped_twice_it_is_algorithm_1_of_mer(x64):
    """β after each of s batches of k examples, γ after all of them; SGD on one example after another."""
    s, k, beta, gamma, learning_rate = 3, 4, 0.4, 0.6, 0.05
    rng = np.random.default_rng(5)
    model = MLP(6, 3, (5,), key=jax.random.key(1))
    x, y = rng.normal(size=(2 * s, k, 6)), rng.integers(0, 3, size=(2 * s, k))
    expected = model
    for first in (0, s):
        before = expected
        for batch in range(first, first + s):
            at_batch = expected
            for n in range(k):
                gradient = example_gradient(expected, jnp.asarray(x[batch, n]), jnp.asarray(y[batch, n]))
                expected = sgd_step(expected, gradient.grads, learning_rate)
            expected = reptile_step(at_batch, expected, beta)
        expected = reptile_step(before, expected, gamma)
    optimizer = reptile(reptile(optax.sgd(learning_rate), every=k, rate=beta), every=s * k, rate=gamma)
    params, rest = eqx.partition(model, eqx.is_inexact_array)
    state: Any = optimizer.init(params)
    for batch in range(2 * s):
        for n in range(k):
            found = eqx.combine(params, rest)
            gradient = example_gradient(found, jnp.asarray(x[batch, n]), jnp.asarray(y[batch, n]))
            updates, state = optimizer.update(gradient.grads, state, params)
            params = optax.apply_updates(params, updates)
    assert_close(params, eqx.filter(expected, eqx.is_inexact_array), rtol=1e-9, atol=1e-12)


def test_weights_and_state_may_be_given_up_together():
    params = weights(jnp.float32)
    optimizer = reptile(optax.sgd(0.1), every=2, rate=0.5)
    state: Any = optimizer.init(params)
    step = jax.jit(lambda params, state: optimizer.update(params, state, params), donate_argnums=(0, 1))
    updates, _ = step(params, state)
    assert jax.tree.all(jax.tree.map(lambda it: bool(jnp.isfinite(it).all()), updates))


def test_it_is_a_part_of_optax_like_any_other(x64):
    """In a chain, for some of the weights only, with more arguments."""
    params = {"slow": jnp.asarray([1.0, 2.0]), "fast": jnp.asarray([3.0])}
    grads = gradients(4, params)
    both = optax.partition(
        {"slow": reptile(optax.sgd(0.1), every=2, rate=0.5), "fast": optax.sgd(0.1)}, {"slow": "slow", "fast": "fast"}
    )
    found = scanned(optax.chain(optax.scale(2.0), both), params, grads)
    doubled = jax.tree.map(lambda it: 2 * it, grads)
    np.testing.assert_allclose(found["fast"], scanned(optax.sgd(0.1), params, doubled)["fast"])
    np.testing.assert_allclose(found["slow"], looped(optax.sgd(0.1), params, doubled, 2, 0.5)["slow"])
    optimizer = reptile(optax.sgd(0.1), every=2, rate=0.5)
    optimizer.update(jnp.ones(1), optimizer.init(jnp.ones(1)), jnp.ones(1), value=jnp.asarray(0.5))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"every": 0, "rate": 0.3}, r"every = 0, expected a whole number of steps ≥ 1"),
        ({"every": 2.5, "rate": 0.3}, r"every = 2.5, expected a whole number of steps ≥ 1"),
        ({"every": float("nan"), "rate": 0.3}, r"every = nan, expected a whole number of steps ≥ 1"),
        ({"every": 5, "rate": -0.1}, r"rate = -0.1, expected a finite number ≥ 0; 1 leaves"),
        ({"every": 5, "rate": np.float32(-1)}, r"rate = .*-1.*, expected a finite number ≥ 0"),
        ({"every": 5, "rate": float("nan")}, r"rate = nan, expected a finite number ≥ 0"),
        ({"every": 5, "rate": float("inf")}, r"rate = inf, expected a finite number ≥ 0"),
    ],
)
def test_what_is_out_of_range_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        unwrap(reptile)(optax.sgd(0.1), **arguments)


@pytest.mark.parametrize(
    ("optimizer", "arguments", "message"),
    [
        (optax.adam, {"every": 5, "rate": 0.3}, r"expected an optimizer of optax with its learning rate"),
        (0.1, {"every": 5, "rate": 0.3}, r"optimizer is 0.1, expected an optimizer of optax"),
        (optax.sgd(0.1), {"every": None, "rate": 0.3}, r"every = None, expected a whole number of steps"),
        (optax.sgd(0.1), {"every": 5, "rate": None}, r"rate = None, expected a finite number"),
        (optax.sgd(0.1), {"every": 5, "rate": "0.3"}, r"rate = '0.3', expected a finite number"),
        (
            optax.sgd(0.1),
            {"every": 5, "rate": np.ones(2)},
            r"expected a finite number ≥ 0; 1 leaves .* Or give a schedule",
        ),
    ],
)
def test_what_is_of_another_kind_is_refused(optimizer, arguments, message):
    with pytest.raises(TypeError, match=message):
        unwrap(reptile)(optimizer, **arguments)  # without the check of types that only tests have


def test_weights_must_be_given():
    optimizer = reptile(optax.sgd(0.1), every=2, rate=0.5)
    with pytest.raises(ValueError, match=r"give them too: optimizer.update\(gradients, state, weights\)"):
        optimizer.update(jnp.ones(1), optimizer.init(jnp.ones(1)))
