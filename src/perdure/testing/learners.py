"""Does a learner keep its contract, and does it learn?"""

from __future__ import annotations

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
from perdure.models import MLP
from perdure.streams.benchmark import Benchmark
from perdure.testing.rates import other_values, rates_of, replaced, still, with_rates
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
from perdure.updates.losses import or_cross_entropy

_ROUNDING = 1e-4
"""Differences that the order of operations explains."""


def check_learner(learner: Learner[Any]) -> Report:
    """Put a learner, perdure's or your own, through the conformance table, and return what was found.

    It learns small made-up streams of images of 2 × 3 and ten classes, with a perceptron: one task, several tasks, one
    example a task, one label only, integer pixels, one example that keeps coming. It is checked that

    * its state is a NamedTuple of arrays and keeps shapes and dtypes; `observe` reports a loss, and the outputs before
      the update;
    * the loss reported is that of the outputs reported, or another one of the example that is taken before the update;
    * predictions come from what `answering` returns, a part of the state, and from examples it remembers; `predict`
      returns a row of logits for each input, the same alone and among others;
    * numbers stay finite, and it learns: predictions change, and an example that keeps coming becomes more probable;
    * all chance comes from the key: nothing else is drawn, also while a program is traced;
    * compiled, uncompiled, in a loop, beside other seeds and beside other rates it comes to the same;
    * task numbers matter if and only if it declares `needs_task`; every rate matters; nothing is compiled again for
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
        "predictions are a row of logits for each input": case.check_predictions,
        "predictions come from what answers, a part of the state": case.check_answering,
        "other parameters that answer bring their predictions with them": case.check_other_answering,
        "the outputs reported are what it predicts before it learns": case.check_outputs,
        "the loss reported is that before it learns": case.check_loss,
        **{f"numbers stay finite: {kind}": partial(case.check_finite, kind) for kind in KINDS},
        "it learns: predictions change": case.check_predictions_change,
        "it learns: an example that keeps coming becomes more probable": case.check_learns_one,
        "observing is pure: the key decides all chance": case.check_chance,
        "compiled equals uncompiled": case.check_uncompiled,
        "a loop, with other seeds and rates beside, equals one observation after another": case.check_side_by_side,
        "every rate matters": case.check_rates_matter,
        "task numbers matter only to those that declare needs_task": case.check_tasks,
        "nothing is compiled again for other rates, tasks and keys": case.check_compilations,
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
        self._n_traced = 0
        self._observe = jax.jit(self._traced)
        self._predict = jax.jit(lambda learner, *arguments: learner.predict(*arguments))
        self._trajectories: dict[str, tuple[Any, Info]] = {}

    def _traced(self, learner: Learner[Any], *arguments: Any) -> tuple[Any, Info]:
        self._n_traced += 1
        return learner.observe(*arguments)

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
        if kind not in self._trajectories:
            self._trajectories[kind] = self._trajectory(learner, self._start(learner, stream), stream, self._key)
        return learner, stream, *self._trajectories[kind]

    def _trajectory(self, learner: Learner[Any], state: Any, stream: Example, key: PRNGKeyArray) -> tuple[Any, Info]:
        """Return all states and reports, of one observation after another; an example's key is folded from its place.

        One program serves streams of all lengths, so that the checks compile little.
        """
        learner, passed = jax.tree.map(jnp.asarray, learner), []
        for n in range(len(stream.y)):
            state, info = self._observe(learner, state, _pick(stream, n), jax.random.fold_in(key, n))
            passed.append((state, info))
        return jax.tree.map(lambda *leaves: np.stack(leaves), *passed)

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
        learner, stream, states, _ = self._learned("two tasks")
        state = jax.tree.map(jnp.asarray, _pick(states, -1))
        answering = learner.answering(state)
        held = {id(leaf) for leaf in jax.tree.leaves(state)}
        if not all(id(leaf) in held for leaf in jax.tree.leaves(answering)):
            raise Nonconformity("answering returned arrays that the state does not hold; return a part of the state")
        emptied = eqx.tree_at(learner.answering, state, jax.tree.map(jnp.zeros_like, answering))
        if not differs(*(self._predict(learner, it, stream.x, stream.task) for it in (state, emptied))):
            raise Nonconformity("predictions are the same when all that answers is set to zero; return all of it")
        restored = eqx.tree_at(learner.answering, emptied, answering)
        expect_equal(restored, state, "putting the answering parameters back into the state does not restore it")

    def check_other_answering(self) -> None:
        """What was learned must all be replaced with `answering`; what was remembered need not be."""
        learner, stream, states, _ = self._learned("two tasks")
        start, end = (jax.tree.map(jnp.array, it) for it in (self._start(learner, stream), _pick(states, -1)))
        memories = self._memories(learner, stream, start)
        for given, state in ((start, end), (end, start)):
            swapped = eqx.tree_at(learner.answering, state, learner.answering(given))
            remembering = jax.tree.map(lambda one, other, it: other if it else one, given, state, memories)
            expected = eqx.tree_at(learner.answering, remembering, learner.answering(given))
            expect_equal(
                self._predict(learner, swapped, stream.x, stream.task),
                self._predict(learner, expected, stream.x, stream.task),
                "with what answering returns of another state in its place, predictions are not those of that state; "
                "answering leaves out a part that is learned: return all of it",
            )

    def _memories(self, learner: Learner[Any], stream: Example, start: Any) -> Any:
        """Return for each array of the state whether it is a memory: it moves though nothing is learned, or counts."""
        unmoved = replaced(learner, still(learner))
        states, _ = self._trajectory(unmoved, start, stream, self._key)
        end = _pick(states, -1)
        has_learned = differs(learner.answering(start), learner.answering(end))
        return jax.tree.map(
            lambda first, last: (
                not jnp.issubdtype(first.dtype, jnp.floating) or (differs(first, last) and not has_learned)
            ),
            start,
            end,
        )

    def check_loss(self) -> None:
        learner, stream, states, infos = self._learned("two tasks")
        loss = or_cross_entropy(getattr(learner, "loss", None))
        if np.allclose(infos.loss, jax.vmap(loss)(infos.outputs, stream.y), rtol=_ROUNDING, atol=_ROUNDING):
            return
        # Some learners report another loss, of another network say; but that too is of the example, before the update.
        if np.ptp(infos.loss) <= _ROUNDING:
            raise Nonconformity(
                f"observe reports the same loss, {infos.loss[0]:.3g}, for all examples; expected that of the outputs"
            )
        unmoved = jax.tree.map(jnp.asarray, replaced(learner, still(learner)))
        for n in range(len(stream.y)):
            before = _pick(states, n - 1) if n else self._start(learner, stream)
            after, info = self._observe(unmoved, before, _pick(stream, n), jax.random.fold_in(self._key, n))
            if "learning_rate" in rates_of(learner) or not differs(learner.answering(before), learner.answering(after)):
                why = "observe reports another loss when nothing is learned; it must be that before the update"
                expect_equal(infos.loss[n], info.loss, why, _ROUNDING)

    def check_outputs(self) -> None:
        for kind in ("two tasks", "pixels"):
            learner, stream, states, infos = self._learned(kind)
            for n in range(len(stream.y)):
                before = _pick(states, n - 1) if n else self._start(learner, stream)
                expected = self._predict(learner, before, stream.x[n : n + 1], stream.task[n : n + 1])[0]
                why = "observe reports other outputs than predict returns before the update"
                expect_equal(infos.outputs[n], expected, why, _ROUNDING)

    def check_predictions(self) -> None:
        for kind in ("two tasks", "pixels"):
            learner, stream = self._on(kind)
            state = self._start(learner, stream)
            mixed = slice(3, 7)  # two examples of each task
            logits = self._predict(learner, state, stream.x[mixed], stream.task[mixed])
            if logits.shape != (4, N_OUTPUTS) or logits.dtype.kind != "f":
                found = f"{logits.dtype}{list(logits.shape)}"
                raise Nonconformity(f"predict returned {found} for 4 inputs, expected floats [4, {N_OUTPUTS}]")
            alone = [self._predict(learner, state, stream.x[n : n + 1], stream.task[n : n + 1]) for n in range(3, 7)]
            expect_equal(logits, np.concatenate(alone), "an input is predicted otherwise among others", _ROUNDING)

    def check_finite(self, kind: str) -> None:
        *_, states, infos = self._learned(kind)
        expect_finite((states, infos), f"learning from the stream '{kind}'")

    def check_predictions_change(self) -> None:
        learner, stream, states, _ = self._learned("two tasks")
        one, other = (
            self._predict(learner, it, stream.x, stream.task)
            for it in (self._start(learner, stream), _pick(states, -1))
        )
        if not differs(one, other):
            raise Nonconformity("predictions are the same before and after learning; expected it to learn something")

    def check_learns_one(self) -> None:
        learner, stream, states, _ = self._learned("one example that keeps coming")
        states = [self._start(learner, stream), _pick(states, -1)]
        label = int(np.asarray(stream.y)[0])
        before, after = (
            float(jax.nn.softmax(self._predict(learner, it, stream.x[:1], stream.task[:1]))[0, label]) for it in states
        )
        if not after > before:
            raise Nonconformity(
                f"the probability of the label of an example that came {len(stream.y)} times went from {before:.3g} to "
                f"{after:.3g}; expected it to rise"
            )

    def check_chance(self) -> None:
        learner, *arguments = self._midway()
        held = jax.tree.map(np.array, arguments)
        once, again = (self._observe(learner, *arguments, self._key) for _ in range(2))
        expect_equal(once, again, "observe gives other results for the same arguments")
        expect_equal(held, arguments, "observe changes what it is given")
        # A new function each time, so that JAX traces again.
        expect_no_hidden_chance(
            lambda: jax.jit(partial(learner.observe)).lower(*arguments, self._key).as_text(), "observe"
        )
        expect_no_hidden_chance(lambda: learner.init(self._network, arguments[1], self._key), "init")

    def check_uncompiled(self) -> None:
        learner, state, example = self._midway()
        compiled = self._observe(learner, state, example, self._key)
        plain = learner.observe(state, example, self._key)
        expect_equal(compiled, plain, "compiled and uncompiled differ", _ROUNDING)

    def check_side_by_side(self) -> None:
        learner, stream = self._on("two tasks")
        learners = [jax.tree.map(jnp.asarray, with_rates(learner, scale)) for scale in (1.0, 0.7, 0.5)]
        streams = [stream._replace(x=np.roll(stream.x, n, axis=0)) for n in range(3)]
        models = [jax.tree.map(lambda leaf, n=n: leaf * np.float32(1 + n / 10), self._network) for n in range(3)]
        states = [learner.init(model, _pick(it, 0), self._key) for model, it in zip(models, streams, strict=True)]
        keys = jax.random.split(self._key, 3)
        stacked = (jax.tree.map(lambda *leaves: jnp.stack(leaves), *it) for it in (learners, states, streams))
        together = jax.jit(jax.vmap(_learn))(*stacked, keys)
        for n in range(3):
            alone = self._trajectory(learners[n], states[n], streams[n], keys[n])
            why = "a compiled loop, beside other seeds and rates, comes to something else"
            expect_equal(_pick(together, n), alone, why, _ROUNDING)

    def check_rates_matter(self) -> None:
        learner, stream, states, _ = self._learned("two tasks")
        end = _pick(states, -1)
        answers = self._predict(learner, end, stream.x, stream.task)

        def matters(change: dict[str, float]) -> bool:
            other = replaced(learner, change)
            others, _ = self._trajectory(other, self._start(other, stream), stream, self._key)
            other_end = _pick(others, -1)
            return differs(end, other_end) or differs(answers, self._predict(other, other_end, stream.x, stream.task))

        for rate, value in rates_of(learner).items():
            # A threshold that no example of a small stream reaches matters only at strongly other values.
            others = other_values(learner, rate)
            if not any(matters({rate: other}) for other in others):
                listed = ", ".join(f"{it:g}" for it in others)
                raise Nonconformity(f"{rate} = {value:g} comes to the same as {listed}; expected it to matter")

    def check_tasks(self) -> None:
        learner, stream = self._on("five tasks")
        renumbered = stream._replace(task=np.random.default_rng(0).permutation(stream.task))
        one, other = (self._trajectory(learner, self._start(learner, it), it, self._key) for it in (stream, renumbered))
        answers = [jax.tree.map(np.asarray, learner.answering(_pick(states, -1))) for states, _ in (one, other)]
        matter = differs(*answers) or differs(one[1], other[1])
        if matter and not learner.needs_task:
            raise Nonconformity("other task numbers come to something else, but needs_task is False; declare it True")
        if not matter and learner.needs_task:
            raise Nonconformity("other task numbers come to the same, but needs_task is True; declare it False")

    def check_compilations(self) -> None:
        learner, stream, *_ = self._learned("five tasks")
        state, n_before = self._start(learner, stream), self._n_traced
        for n, scale in enumerate([1.0, 0.5, 0.0]):
            one = jax.tree.map(jnp.asarray, with_rates(learner, scale))
            state, _ = self._observe(one, state, _pick(stream, 4 * n), jax.random.key(n))
        if self._n_traced > n_before:
            raise Nonconformity(
                f"observe was compiled {self._n_traced - n_before} times more for three examples with other rates, "
                "tasks and keys; expected once for all: keep shapes and dtypes, and make rates leaves "
                "(perdure.learn.rate)"
            )

    def check_rate_of_zero(self) -> None:
        if "learning_rate" not in rates_of(self._learner):
            return
        learner, stream = self._on("one task")
        unmoved = replaced(learner, {"learning_rate": 0.0})
        start = self._start(unmoved, stream)
        states, _ = self._trajectory(unmoved, start, stream, self._key)
        expect_equal(
            unmoved.answering(start),
            unmoved.answering(_pick(states, -1)),
            "with learning_rate = 0 what answers has moved",
        )


def _learn(learner: Learner[Any], state: Any, stream: Example, key: PRNGKeyArray) -> Any:
    """Return all states and reports of the training loop, in which an example's key is folded from its position."""

    def step(state: Any, numbered: Any) -> Any:
        n, example = numbered
        state, info = learner.observe(state, example, jax.random.fold_in(key, n))
        return state, (state, info)

    return jax.lax.scan(step, state, (jnp.arange(len(stream.y)), stream))[1]


def _pick(stacked: Any, n: int) -> Any:
    return jax.tree.map(lambda leaf: np.asarray(leaf)[n, ...], stacked)


def _describe(learner: Learner[Any]) -> None:
    describe_learner(learner)
