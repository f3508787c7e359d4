"""A small network, a stream of numbered examples, and learners that learn it, compiled once for all tests."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from perdure.core import Example, Info, Learner
from perdure.learners.replay import Draws
from perdure.models import MLP

KEY = jax.random.key(0)
N_OUTPUTS = 4


def example(n: int, task: int = 0, label: int | None = None) -> Example:
    """Return the n-th example, of class n modulo 4 unless a label is given."""
    x = np.random.default_rng(n).normal(size=3).astype(np.float32)
    y = n % N_OUTPUTS if label is None else label
    return Example(*map(jnp.asarray, (x, np.int32(y), np.int32(task))))


@functools.cache
def network() -> MLP:
    """Return the network before it learns."""
    return MLP(3, N_OUTPUTS, (5,), key=KEY)


@jax.jit
def observe(learner: Learner, state: Any, example: Example, key: jax.Array) -> tuple[Any, Info]:
    """Return what the learner's `observe` does."""
    return learner.observe(state, example, key)


@jax.jit
def observe_with(learner: Any, state: Any, example: Example, draws: Any) -> tuple[Any, Info]:
    """Return what the learner's `observe_with` does."""
    return learner.observe_with(state, example, draws)


@jax.jit
def update(learner: Any, state: Any, batch: Example, draws: Any) -> tuple[Any, jax.Array]:
    """Return what the learner's `update` does."""
    return learner.update(state, batch, draws)


def batch_of(*examples: Example) -> Example:
    """Return examples as a batch."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *examples)


def learned(learner: Learner, n: int = 7, task_length: int = 1000) -> Any:
    """Return the state after the first `n` examples, of which every `task_length` are a task."""
    state = learner.init(network(), example(0), KEY)
    for number in range(n):
        state, _ = observe(learner, state, example(number, number // task_length), jax.random.key(number))
    return state


def drawn(*batches: list[int], stored_in: int = 0) -> Draws:
    """Return draws of these slots."""
    return Draws(jnp.asarray(batches, jnp.int32), jnp.zeros((), jnp.int32), jnp.asarray(stored_in, jnp.int32))


def assert_close(one: Any, other: Any, rtol: float = 1e-5, atol: float = 1e-7) -> None:
    """Assert that two trees hold the same numbers, up to rounding."""
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=rtol, atol=atol), one, other)
