"""The meta-test of regression: sine waves one after another, on features that stay as they are.

Source: Javed & White (2019), section 4.1, and their released code.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from perdure.core import Rate
from perdure.learners.head import Head
from perdure.models import MLP
from perdure.representation.network import Representation, encode, fresh_head, n_inputs, network_head
from perdure.representation.online import learn_online
from perdure.streams.sine import draw_sines, sine_examples
from perdure.updates.losses import mean_squared_error


class SineTrajectory(NamedTuple):
    """How long a trajectory is."""

    functions: int = 10
    steps_each: int = 40
    batch_size: int = 32
    test_examples: int = 9600
    """Of each function."""


def sine_run(
    model: Representation, trajectory: SineTrajectory, rate: Rate, key: PRNGKeyArray, *, fresh: bool, oracle: bool
) -> Float[Array, "functions functions"]:
    """Return the mean squared error after learning function i, of function j, for each i and j; see `sine_runs`."""
    return sine_runs(model, trajectory, jnp.asarray(rate)[None], key, fresh=fresh, oracle=oracle)[0]


def sine_runs(
    model: Representation,
    trajectory: SineTrajectory,
    rates: Float[Array, " rates"],
    key: PRNGKeyArray,
    *,
    fresh: bool,
    oracle: bool,
) -> Float[Array, "rates functions functions"]:
    """Return, for each rate, the mean squared error after learning function i, of function j, for each i and j.

    Features, which take most of the time, are computed once for all rates.

    Args:
        model: encoder, which stays as it is, and head, which learns.
        trajectory: how long it is.
        rates: learning rates of SGD on the head.
        key: draws the functions and their examples, and the head's weights if they are redrawn.
        fresh: redraw the head's weights?
        oracle: show the batches in random order? Then every row but the last says little.
    """
    *data_keys, head_key, order_key = jax.random.split(key, 5)
    shown = shown_sines(model, trajectory, data_keys, order_key if oracle else None)
    head = fresh_head(network_head(model), head_key) if fresh else network_head(model)
    return jax.lax.map(lambda rate: errors_after_each(head, *shown, rate), rates)


def closed_form_sine_runs(
    model: Representation,
    trajectory: SineTrajectory,
    make_head: Callable[[Array], Head[Any]],
    penalties: Float[Array, " penalties"],
    key: PRNGKeyArray,
) -> Float[Array, "penalties functions functions"]:
    """Return, for each penalty, the mean squared error after learning function i, of function j, for each i and j.

    Features, which take most of the time, are computed once for all penalties.

    Args:
        model: whose encoder stays as it is.
        trajectory: how long it is; its batches are of no matter.
        make_head: returns the head in closed form that has a penalty; it learns numbers, from nothing.
        penalties: of the heads.
        key: draws the functions and their examples, those of `sine_runs`.
    """
    *data_keys, head_key, _ = jax.random.split(key, 5)
    features, y, test_features, test_y = shown_sines(model, trajectory, data_keys)
    n, d = len(features), features.shape[-1]

    def errors(penalty: Array) -> Float[Array, "functions functions"]:
        head = make_head(penalty)

        def learn(state: Any, function: tuple[Any, ...]) -> tuple[Any, Float[Array, " functions"]]:
            after = head.learn_all(state, *function)
            outputs = head.scores(after, test_features.reshape(-1, d)).reshape(test_y.shape)
            return after, jnp.mean((outputs - test_y) ** 2, axis=(1, 2))

        start = head.start(d, 1, features.dtype, head_key)
        return jax.lax.scan(learn, start, (features.reshape(n, -1, d), y.reshape(n, -1, 1)))[1]

    return jax.lax.map(errors, penalties)


def shown_sines(
    model: Representation, trajectory: SineTrajectory, keys: Sequence[Array] | Array, order_key: Array | None = None
) -> tuple[
    Float[Array, "functions k b d"],
    Float[Array, "functions k b 1"],
    Float[Array, "functions n d"],
    Float[Array, "functions n 1"],
]:
    """Return features and targets, to learn in batches and to test, of functions that the keys draw.

    Args:
        model: the representation.
        trajectory: how many.
        keys: draw the functions, what is learned of them and what is tested.
        order_key: shuffles the batches; None leaves them function after function.
    """
    sine_key, train_key, test_key = keys
    n, b = trajectory.functions, trajectory.batch_size
    sines, number = draw_sines(n, sine_key), jnp.arange(n)
    n_numbers = n_inputs(model.encoder) - 1
    x, y = sine_examples(sines, number, n_numbers, trajectory.steps_each * b, train_key)
    x, y = x.reshape(-1, b, x.shape[-1]), y.reshape(-1, b, 1)
    if order_key is not None:
        order = jax.random.permutation(order_key, len(x))
        x, y = x[order], y[order]
    test_x, test_y = sine_examples(sines, number, n_numbers, trajectory.test_examples, test_key)
    features, test_features = (encode(model.encoder, it.reshape(-1, it.shape[-1])) for it in (x, test_x))
    features = features.reshape(n, -1, b, features.shape[-1])
    return features, y.reshape(n, -1, b, 1), test_features.reshape(*test_x.shape[:2], -1), test_y


def errors_after_each(
    head: MLP,
    features: Float[Array, "functions k b d"],
    y: Float[Array, "functions k b 1"],
    test_features: Float[Array, "functions n d"],
    test_y: Float[Array, "functions n 1"],
    rate: Rate,
) -> Float[Array, "functions functions"]:
    """Return the mean squared error after learning function i, of function j, for each i and j."""

    def learn(head: MLP, function: tuple[Any, ...]) -> tuple[MLP, Float[Array, " functions"]]:
        features, y = function
        after = learn_online(head, features, y, rate, optax.sgd, mean_squared_error)
        outputs = jax.vmap(jax.vmap(after))(test_features)
        return after, jnp.mean((outputs - test_y) ** 2, axis=(1, 2))

    return jax.lax.scan(learn, head, (features, y))[1]
