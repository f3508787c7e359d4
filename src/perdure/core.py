"""The contract between streams, learners and everything that runs them."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Integer, PRNGKeyArray, PyTree, Shaped

AnyArray = Array | np.ndarray
"""Streams live in NumPy until they are learned from."""
Rate = float | Float[Array, ""]
"""A float hyper-parameter: a number, or an array that may be traced."""


class PerdureWarning(UserWarning):
    """What a careful colleague would say about an experiment that can be run but may mislead."""


State = TypeVar("State", bound=tuple)


class Example(NamedTuple):
    """One labelled example, or, with leading axes on every leaf, many of them.

    A stream is an `Example` whose leaves share a leading axis of length N, in order of arrival.
    """

    x: Shaped[AnyArray, ...]
    """Input: any shape; `uint8` are pixels 0..255 (see `as_features`), floats are used as they are."""
    y: Shaped[AnyArray, ...]
    """Class label, an integer 0 ≤ y < number of outputs; or, for regression, a float for each output."""
    task: Integer[AnyArray, ...]
    """Number of the task the example comes from, 0 ≤ task < number of tasks."""


class StreamInfo(NamedTuple):
    """What a method may know of its stream beforehand; a run tells it to learners that have a field `stream_info`."""

    n_tasks: int
    """Number of tasks."""
    task_sizes: tuple[int, ...]
    """Training examples of each task."""
    class_tasks: tuple[int, ...] | None = None
    """For each output the only task that shows its class; None if some class is shown by several tasks, or by none."""


class Info(NamedTuple):
    """What one observation reports. It is logged, never carried on."""

    loss: Float[Array, ""]
    """Loss on the arriving example before the update."""


class Learner(eqx.Module, Generic[State]):
    """A continual-learning method: a frozen record of hyper-parameters with three pure methods.

    The state is a NamedTuple whose leaves are all arrays, so it can be scanned over, vmapped over seeds and
    saved bit for bit. Its field `model` holds the network. Float hyper-parameters may be traced arrays, so
    that learners that differ only in their rates run side by side in one program.
    """

    needs_task: ClassVar[bool]
    """Does the method read `example.task`?"""
    vectorized: ClassVar[bool] = True
    """Do seeds run side by side by vmap? Else one after another: for methods whose branches save much work, since under
    vmap all seeds take all branches."""

    @abstractmethod
    def init(self, model: PyTree, example: Example, key: PRNGKeyArray) -> State:
        """Return the state before the first example.

        Args:
            model: network, a callable from one `x` to its outputs whose leaves are all arrays.
            example: one example, read for its shapes and dtypes only.
            key: random key for whatever the method itself must draw at the start.
        """

    @abstractmethod
    def observe(self, state: State, example: Example, key: PRNGKeyArray) -> tuple[State, Info]:
        """Learn from ONE example and return the new state and what there is to report."""

    @abstractmethod
    def predict(self, state: State, x: Any, task: Any) -> Float[Array, "batch outputs"]:
        """Return logits, or values, for a batch of inputs.

        Args:
            state: a state of the learner.
            x: inputs, (batch, ...).
            task: number of the task of each, (batch,); ignored unless `needs_task`.
        """


def as_features(x: Shaped[AnyArray, ...]) -> Float[Array, ...]:
    """Return `x` as floats: `uint8` pixels are divided by 255, floats pass unchanged.

    Pixels stay integers in streams and memories (a quarter of the space) and are converted at use.

    Raises:
        TypeError: if `x` is neither `uint8` nor a float array.
    """
    x = jnp.asarray(x)
    if x.dtype == jnp.uint8:
        return x.astype(jnp.zeros(()).dtype) / 255
    if jnp.issubdtype(x.dtype, jnp.floating):
        return x
    raise TypeError(
        f"inputs have dtype {x.dtype}, expected uint8 pixels (0..255) or floats; "
        "convert them, for example with x.astype('float32')"
    )
