"""Does a learner keep its contract, and does it learn?"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import cached_property, partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray

from perdure.core import Example, Info, Learner
from perdure.experiments.supervised.spec import describe_learner, prepare
from perdure.learners.hyperparameters import hyperparameters
from perdure.models import MLP
from perdure.streams.benchmark import Benchmark
from perdure.testing.report import (
    Nonconformity,
    Report,
    differs,
    examined,
    expect_equal,
    expect_finite,
    expect_no_hidden_chance,
    expect_same_forms,
)
from perdure.testing.streams import KINDS, N_OUTPUTS, small_benchmark

_ROUNDING = 1e-4
"""Differences that the order of operations explains."""


def check_learner(learner: Learner[Any]) -> Report:
    """Put a learner, perdure's or your own, through the conformance table, and return what was found.

    It learns small made-up streams of images of 2 × 3 and ten classes, with a perceptron: one task, several tasks, one
    example a task, one label only, integer pixels, one example that keeps coming. It is checked that

    * its state is a NamedTuple of arrays and keeps shapes and dtypes; `observe` reports a loss and outputs;
    * `predict` returns a row of logits for each input, the same alone and among others;
    * numbers stay finite, and it learns: predictions change, and an example that keeps coming becomes more probable;
    * all chance comes from the key: nothing else is drawn, also while a program is traced;
    * compiled, uncompiled, in a loop, beside other seeds and beside other rates it comes to the same;
    * task numbers matter if and only if it declares `needs_task`; every rate matters; nothing is compiled anew for
      other rates, tasks and keys;
    * a rate of zero leaves what answers as it was; a record can describe it.

    Args:
        learner: with its hyper-parameters; one that needs information about its stream need not have it.

    Raises:
        TypeError: if it is not a `Learner`.
        ConformanceError: telling in words what fails.
    """
    if not isinstance(learner, Learner):
        raise TypeError(f"learner is {learner!r}, expected a Learner with its hyper-parameters, such as Online(0.1)")
    case = _Case(learner)
    checks: dict[str, Callable[[], None]] = {
        "the state is a NamedTuple of arrays": case.check_state,
        "observing keeps shapes and dtypes, and reports loss and outputs": case.check_observe,
        "what answers is a part of the state": case.check_answering,
        "predictions are a row of logits for each input": case.check_predictions,
        **{f"numbers stay finite: {kind}": partial(case.check_finite, kind) for kind in KINDS},
        "it learns: predictions change": case.check_predictions_change,
        "it learns: an example that keeps coming becomes more probable": case.check_learns_one,
        "observing is pure: the key decides all chance": case.check_chance,
        "compiled equals uncompiled": case.check_uncompiled,
        "a loop equals one observation after another": case.check_loop,
        "seeds side by side equal each alone": case.check_seeds,
        "rates side by side equal each alone": case.check_rates_side_by_side,
        "every rate matters": case.check_rates_matter,
        "task numbers matter only to those that declare needs_task": case.check_tasks,
        "nothing is compiled anew for other rates, tasks and keys": case.check_compilations,
        "a rate of zero leaves what answers as it was": case.check_rate_of_zero,
        "a record can describe it": lambda: _describe(learner),
    }
    return examined(type(learner).__name__, checks)


class _Case:
    """A learner on small streams."""

    def __init__(self, learner: Learner[Any]):
        self._learner = learner
        self._key = jax.random.key(7)
        self._network = MLP(6, N_OUTPUTS, (4,), key=jax.random.key(0))

    @cached_property
    def _class_tasks(self) -> bool:
        """Does it need classes that belong to tasks? Those that do say so when they begin."""
        benchmark = small_benchmark("two tasks", class_tasks=False)
        try:
            self._start(prepare(self._learner, benchmark), benchmark.train)
        except ValueError as error:
            if "class" in str(error):
                return True
            raise
        return False

    def _on(self, kind: str) -> tuple[Learner[Any], Example]:
        """Return the learner, with what a run would fill in, and the stream."""
        benchmark = self._benchmark(kind)
        return prepare(self._learner, benchmark), benchmark.train

    def _benchmark(self, kind: str) -> Benchmark:
        return small_benchmark(kind, class_tasks=self._class_tasks)

    def _start(self, learner: Learner[Any], stream: Example) -> Any:
        return learner.init(self._network, _pick(stream, 0), self._key)

    def _learned(self, kind: str) -> tuple[Learner[Any], Example, Any, Info]:
        """Return the learner, its stream, and all states and reports, leaves (N, ...)."""
        learner, stream = self._on(kind)
        return learner, stream, *_trajectory(learner, self._start(learner, stream), stream, self._key)

    def _midway(self) -> tuple[Learner[Any], Any, Example]:
        """Return the learner, its state after six examples of two tasks, and the seventh."""
        learner, stream, states, _ = self._learned("two tasks")
        return learner, jax.tree.map(jnp.asarray, _pick(states, 5)), _pick(stream, 6)

    def check_state(self) -> None:
        for kind in ("two tasks", "pixels"):
            state = self._start(*self._on(kind))
            if not hasattr(type(state), "_fields"):
                raise Nonconformity(f"init returned a {type(state).__name__}, expected a NamedTuple of arrays")
            for path, leaf in jax.tree_util.tree_leaves_with_path(state):
                if not isinstance(leaf, jax.Array):
                    where = jax.tree_util.keystr(path, simple=True, separator=".")
                    raise Nonconformity(f"the state holds {leaf!r} at {where}, expected arrays of JAX only")

    def check_observe(self) -> None:
        for kind in ("two tasks", "pixels"):
            learner, stream = self._on(kind)
            state = self._start(learner, stream)
            after, info = jax.eval_shape(learner.observe, state, _pick(stream, 0), self._key)
            expect_same_forms(state, after, "observe")
            if not isinstance(info, Info):
                raise Nonconformity(f"observe reported a {type(info).__name__}, expected an Info")
            found = (info.loss.shape, info.outputs.shape, *(it.shape for it in info.extra.values()))
            expected = ((), (N_OUTPUTS,), *(() for _ in info.extra))
            if found != expected:
                raise Nonconformity(
                    f"observe reported loss, outputs and extra numbers of shapes {found}, expected {expected}"
                )

    def check_answering(self) -> None:
        learner, state, example = self._midway()
        replaced = jax.tree.map(lambda leaf: leaf, learner.answering(state))
        again = eqx.tree_at(learner.answering, state, replaced)
        x, task = example.x[None], np.asarray([example.task])
        one, other = learner.predict(state, x, task), learner.predict(again, x, task)
        expect_equal(one, other, "putting the answering parameters back into the state changes predictions")

    def check_predictions(self) -> None:
        for kind in ("two tasks", "pixels"):
            learner, stream = self._on(kind)
            state = self._start(learner, stream)
            mixed = slice(3, 7)  # two examples of each task
            logits = jax.jit(learner.predict)(state, stream.x[mixed], stream.task[mixed])
            if logits.shape != (4, N_OUTPUTS) or logits.dtype.kind != "f":
                found = f"{logits.dtype}{list(logits.shape)}"
                raise Nonconformity(f"predict returned {found} for 4 inputs, expected floats [4, {N_OUTPUTS}]")
            alone = [jax.jit(learner.predict)(state, stream.x[n : n + 1], stream.task[n : n + 1]) for n in range(3, 7)]
            expect_equal(logits, np.concatenate(alone), "an input is predicted otherwise among others", _ROUNDING)

    def check_finite(self, kind: str) -> None:
        *_, states, infos = self._learned(kind)
        expect_finite((states, infos), f"learning from the stream '{kind}'")

    def check_predictions_change(self) -> None:
        learner, stream, states, _ = self._learned("two tasks")
        one, other = (
            self._predictions(learner, it, stream) for it in (self._start(learner, stream), _pick(states, -1))
        )
        if not differs(one, other):
            raise Nonconformity("predictions are the same before and after learning; expected it to learn something")

    def check_learns_one(self) -> None:
        learner, stream, states, _ = self._learned("one example that keeps coming")
        states = [self._start(learner, stream), _pick(states, -1)]
        label = int(np.asarray(stream.y)[0])
        before, after = (
            float(jax.nn.softmax(learner.predict(it, stream.x[:1], stream.task[:1]))[0, label]) for it in states
        )
        if not after > before:
            raise Nonconformity(
                f"the probability of the label of an example that came {len(stream.y)} times went from {before:.3g} to "
                f"{after:.3g}; expected it to rise"
            )

    def check_chance(self) -> None:
        learner, state, example = self._midway()
        held = jax.tree.map(np.array, (state, example))
        # A new function each time, so that JAX traces anew.
        expect_no_hidden_chance(lambda: jax.jit(partial(learner.observe))(state, example, self._key), "observe")
        expect_equal(held, (state, example), "observe changes what it is given")
        expect_no_hidden_chance(lambda: learner.init(self._network, example, self._key), "init")

    def check_uncompiled(self) -> None:
        learner, state, example = self._midway()
        compiled = jax.jit(learner.observe)(state, example, self._key)
        with jax.disable_jit():
            plain = learner.observe(state, example, self._key)
        expect_equal(compiled, plain, "compiled and uncompiled differ", _ROUNDING)

    def check_loop(self) -> None:
        learner, stream, states, infos = self._learned("two tasks")
        state, observe = self._start(learner, stream), jax.jit(learner.observe)
        for n in range(len(stream.y)):
            state, info = observe(state, _pick(stream, n), jax.random.fold_in(self._key, n))
            found, expected = (state, info), (_pick(states, n), _pick(infos, n))
            expect_equal(found, expected, "a loop comes to something else", _ROUNDING)

    def check_seeds(self) -> None:
        learner, stream = self._on("two tasks")
        streams = [stream._replace(x=np.roll(stream.x, n, axis=0)) for n in range(3)]
        models = [jax.tree.map(lambda leaf, n=n: leaf * np.float32(1 + n / 10), self._network) for n in range(3)]
        states = [learner.init(model, _pick(it, 0), self._key) for model, it in zip(models, streams, strict=True)]
        keys = jax.random.split(self._key, 3)
        stacked = (jax.tree.map(lambda *leaves: np.stack(leaves), *it) for it in (states, streams))
        together = jax.jit(jax.vmap(_learn, in_axes=(None, 0, 0, 0)))(learner, *stacked, keys)
        for n in range(3):
            alone = _trajectory(learner, states[n], streams[n], keys[n])
            expect_equal(_pick(together, n), alone, "a seed learns otherwise beside others than alone", _ROUNDING)

    def check_rates_side_by_side(self) -> None:
        learner, stream = self._on("two tasks")
        scales = np.asarray([0.5, 1.0])
        learners = [_with_rates(learner, float(scale)) for scale in scales]
        stacked = jax.tree.map(lambda *leaves: np.asarray(leaves, np.float32), *learners)
        state = self._start(learner, stream)
        together = jax.jit(jax.vmap(_learn, in_axes=(0, None, None, None)))(stacked, state, stream, self._key)
        for n, one in enumerate(learners):
            alone = _trajectory(one, state, stream, self._key)
            expect_equal(_pick(together, n), alone, "a rate learns otherwise beside others than alone", _ROUNDING)

    def check_rates_matter(self) -> None:
        learner, stream, states, _ = self._learned("two tasks")
        for rate, value in _rates(learner).items():
            other = _replaced(learner, {rate: value / 2 if value else 0.1})
            others, _ = _trajectory(other, self._start(other, stream), stream, self._key)
            if not differs(_pick(states, -1), _pick(others, -1)):
                raise Nonconformity(f"{rate} = {value:g} and half of it come to the same; expected it to matter")

    def check_tasks(self) -> None:
        learner, stream = self._on("five tasks")
        renumbered = stream._replace(task=np.random.default_rng(0).permutation(stream.task))
        one, other = (_trajectory(learner, self._start(learner, it), it, self._key) for it in (stream, renumbered))
        answers = [jax.tree.map(np.asarray, learner.answering(_pick(states, -1))) for states, _ in (one, other)]
        matter = differs(*answers) or differs(one[1], other[1])
        if matter and not learner.needs_task:
            raise Nonconformity("other task numbers come to something else, but needs_task is False; declare it True")
        if not matter and learner.needs_task:
            raise Nonconformity("other task numbers come to the same, but needs_task is True; declare it False")

    def check_compilations(self) -> None:
        learner, stream = self._on("five tasks")
        traced = 0

        def observe(learner: Learner[Any], *arguments: Any) -> Any:
            nonlocal traced
            traced += 1
            return learner.observe(*arguments)

        compiled, state = jax.jit(observe), self._start(learner, stream)
        for n, scale in enumerate([1.0, 0.5, 0.0]):
            one = jax.tree.map(jnp.asarray, _with_rates(learner, scale))
            state, _ = compiled(one, state, _pick(stream, 4 * n), jax.random.key(n))
        if traced > 1:
            raise Nonconformity(
                f"observe was compiled {traced} times for three examples with other rates, tasks and keys; expected "
                "once: keep shapes and dtypes, and make rates leaves (perdure.learn.rate)"
            )

    def check_rate_of_zero(self) -> None:
        if "learning_rate" not in _rates(self._learner):
            return
        learner, stream = self._on("one task")
        still = _replaced(learner, {"learning_rate": 0.0})
        start = self._start(still, stream)
        states, _ = _trajectory(still, start, stream, self._key)
        expect_equal(
            still.answering(start),
            still.answering(_pick(states, -1)),
            "with learning_rate = 0 what answers has moved",
        )

    def _predictions(self, learner: Learner[Any], state: Any, stream: Example) -> Any:
        return jax.jit(learner.predict)(state, stream.x, stream.task)


def _learn(learner: Learner[Any], state: Any, stream: Example, key: PRNGKeyArray) -> Any:
    """Return all states and reports of the training loop, in which an example's key is folded from its position."""

    def step(state: Any, numbered: Any) -> Any:
        n, example = numbered
        state, info = learner.observe(state, example, jax.random.fold_in(key, n))
        return state, (state, info)

    return jax.lax.scan(step, state, (jnp.arange(len(stream.y)), stream))[1]


_trajectory = jax.jit(_learn)


def _pick(stacked: Any, n: int) -> Any:
    return jax.tree.map(lambda leaf: np.asarray(leaf)[n, ...], stacked)


def _rates(learner: Learner[Any]) -> dict[str, float]:
    return {it.name: float(getattr(learner, it.name)) for it in hyperparameters(learner) if it.kind is float}


def _with_rates(learner: Learner[Any], scale: float) -> Learner[Any]:
    return _replaced(learner, {name: scale * value for name, value in _rates(learner).items()})


def _replaced(learner: Learner[Any], values: dict[str, float]) -> Learner[Any]:
    return dataclasses.replace(learner, **values)


def _describe(learner: Learner[Any]) -> None:
    describe_learner(learner)
