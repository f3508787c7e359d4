"""The contract between streams, learners and everything that runs them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Integer, PRNGKeyArray, PyTree, Shaped

from perdure.fields import Rate as Rate
from perdure.fields import declare_plain_fields

AnyArray = Array | np.ndarray
"""Streams live in NumPy until they are learned from."""


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
    """What a method may know of its stream beforehand.

    A learner that needs it declares a field ``stream_info: StreamInfo | None = stream_info_field()``, which a run fills
    in before `init`.
    """

    n_outputs: int
    """Number of classes, or of targets for regression."""
    n_tasks: int
    """Number of tasks; 1 where they are hidden."""
    task_sizes: tuple[int, ...] | None
    """Training examples of each task; None where they are hidden, or seeds that run side by side differ in them."""
    class_tasks: tuple[int, ...] | None = None
    """For each output the only task that shows its class; None if some class is shown by several tasks, or by none, or
    tasks are hidden."""


class Info(NamedTuple):
    """What one observation reports. It is logged, never carried on; what nobody logs costs nothing once compiled."""

    loss: Float[Array, ""]
    """Loss on the arriving example before the update."""
    outputs: Float[Array, " outputs"]
    """What the learner predicts for the arriving example before the update."""
    extra: Mapping[str, Shaped[Array, ""]] = {}
    """Whatever else a method wants logged: scalars by name, the same names for every example."""


class Learner(eqx.Module, Generic[State]):
    """A continual-learning method: a frozen record of hyper-parameters with four pure methods.

    A field that is annotated as `float`, `int`, `bool` or `str` is a hyper-parameter, also where it is not declared as
    one by `perdure.learn.rate` or another function that says what it means and which values it takes.

    The state is a NamedTuple whose leaves are all arrays, so it can be scanned over, vmapped over seeds and
    saved bit for bit. Float hyper-parameters may be traced arrays, so that learners that differ only in their rates
    run side by side in one program.
    """

    needs_task: ClassVar[bool]
    """Does the method read `example.task`?"""
    vectorized: ClassVar[bool] = True
    """Do seeds run side by side by vmap? Else one after another: for methods whose branches save much work, since under
    vmap all seeds take all branches."""
    costly_outputs: ClassVar[bool] = False
    """Is answering far more work than learning? Then a run does not ask for `Info.outputs` before each example, and
    reports no prequential accuracy."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        declare_plain_fields(cls)

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
    def answering(self, state: State) -> PyTree:
        """Return the part of the state whose parameters answer: the network that `predict` asks, or what stands for it.

        It must be a part of the state itself, such as ``state.model`` or ``state.average``, and not computed from it,
        so that other parameters can be put in its place (``eqx.tree_at(learner.answering, state, others)``).
        """

    @abstractmethod
    def predict(self, state: State, x: Any, task: Any) -> Float[Array, "batch outputs"]:
        """Return logits, or values, for a batch of inputs.

        Args:
            state: a state of the learner.
            x: inputs, (batch, ...).
            task: number of the task of each, (batch,); ignored unless `needs_task`.
        """


def check_example(example: Example, stream_info: StreamInfo) -> Example:
    """Return the example, or several with a leading axis, unchanged if a learner can learn from it.

    `Learner.observe` is pure and checks no values: one NaN makes every weight NaN for good. Where examples come from
    outside, learn from checked ones: ``learner.observe(state, check_example(example, stream_info), key)``.

    Raises:
        TypeError: if inputs are neither `uint8` nor floats, targets neither integers nor floats, or tasks no integers.
        ValueError: naming the first number that is not finite in the precision of learning, label that is no output,
            or task that the stream does not have; or if there is not one target for each output.
    """
    x, y, task = map(np.asarray, example)
    if x.dtype != np.uint8:
        check_finite("x", x)
    if np.issubdtype(y.dtype, np.integer):
        _check_range("y", y, stream_info.n_outputs, "label", "outputs")
    else:
        check_finite("y", y)
        if y.shape[-1:] != (stream_info.n_outputs,):
            raise ValueError(
                f"y has shape {y.shape}, expected {stream_info.n_outputs} numbers for each example, one for each "
                "output; labels of classes must be integers: y.astype('int32')"
            )
    _check_range("task", task, stream_info.n_tasks, "task number", "tasks")
    return example


def check_finite(name: str, values: np.ndarray) -> None:
    """Check that all numbers are finite in the precision of learning.

    Raises:
        TypeError: if they are no floats.
        ValueError: naming the first that is not finite.
    """
    if not np.issubdtype(values.dtype, np.floating):
        raise TypeError(f"{name} has dtype {values.dtype}, expected floats; convert it: {name}.astype('float32')")
    learned = jnp.zeros(()).dtype
    with np.errstate(over="ignore"):
        bad = np.asarray(~np.isfinite(values.astype(learned)))
    if bad.any():
        where, value = _first(name, values, bad)
        fits = f" that fits {learned}" if np.isfinite(value) else ""
        raise ValueError(f"{where} is {value}, expected a finite number{fits}; clean or drop the example")


def _check_range(name: str, values: np.ndarray, n: int, what: str, of_which: str) -> None:
    if not np.issubdtype(values.dtype, np.integer):
        raise TypeError(f"{name} has dtype {values.dtype}, expected integers; convert it: {name}.astype('int32')")
    bad = np.asarray((values < 0) | (values >= n))
    if bad.any():
        where, value = _first(name, values, bad)
        raise ValueError(
            f"{where} is {value}, expected a {what} from 0 to {n - 1}, as there are {n} {of_which}; correct or drop "
            "the example"
        )


def _first(name: str, values: np.ndarray, bad: np.ndarray) -> tuple[str, Any]:
    """Return the place of the first bad value, as it would be typed, and the value."""
    place = tuple(map(int, np.unravel_index(int(bad.argmax()), bad.shape)))
    return name + (f"[{', '.join(map(str, place))}]" if place else ""), values[place]


def as_features(x: Shaped[AnyArray, ...]) -> Float[Array, ...]:
    """Return `x` as floats: `uint8` pixels are divided by 255, floats pass unchanged.

    Pixels stay integers in streams and memories (a quarter of the space) and are converted at use.

    Raises:
        TypeError: if `x` is neither `uint8` nor a float array.
    """
    given, x = getattr(x, "dtype", None), jnp.asarray(x)
    if x.dtype == jnp.uint8:
        return x.astype(jnp.zeros(()).dtype) / 255
    if jnp.issubdtype(x.dtype, jnp.floating):
        return x
    remedy = "x.astype('float32')"
    if jnp.issubdtype(x.dtype, jnp.integer):
        remedy = (
            "x.astype('uint8') if they are pixels from 0 to 255, which are divided by 255, or x.astype('float32') if "
            "they are other numbers"
        )
    raise TypeError(
        f"inputs have dtype {given or x.dtype}, expected uint8 pixels (0..255) or floats; convert them: {remedy}"
    )
