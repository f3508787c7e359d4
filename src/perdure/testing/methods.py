"""Does a method that trains representations keep its contract, and does it learn?"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray

from perdure.records.describe import describe
from perdure.representation.domains import Domain, ImageClasses, SinePool, split_classes
from perdure.representation.episodes import ClassEpisodes, SineEpisodes
from perdure.representation.oml import Measured, Method
from perdure.streams.sine import draw_sines
from perdure.testing.report import (
    Nonconformity,
    Report,
    examined,
    expect_equal,
    expect_finite,
    expect_no_hidden_chance,
    expect_same_forms,
)
from perdure.updates.gradient import TrainState, init_train_state

_KEY = 3
_STEPS = 60
_EPISODES = 16


def check_method(method: Method, domain: Domain | None = None) -> Report:
    """Put a method that trains representations through the conformance table, and return what was found.

    It is checked that a step keeps shapes and dtypes, that its numbers are finite, that its key decides all chance,
    that seeds side by side equal each alone, that a record can describe it, and that it learns: that after some steps
    the loss which it makes small is smaller.

    Args:
        method: with its hyper-parameters.
        domain: on which it learns; None for a small one of images, made up, or of sine waves if images do not fit.

    Raises:
        ConformanceError: telling in words what fails.
    """
    case = _Case(method, tiny_images() if domain is None else domain)
    checks: dict[str, Callable[[], None]] = {
        "a step keeps shapes and dtypes and measures three numbers": case.check_forms,
        "numbers stay finite": case.check_finite,
        "a step is pure: the key decides all chance": case.check_chance,
        "seeds side by side equal each alone": case.check_side_by_side,
        "a record can describe it": lambda: _describe(method),
        "it learns: the loss falls": case.check_learns,
    }
    return examined(type(method).__name__, checks)


def tiny_images() -> ImageClasses:
    """Return twelve made-up classes of images that differ, 9 × 9."""
    rng = np.random.default_rng(0)
    templates = rng.integers(0, 200, (12, 1, 9, 9))
    images = (templates + rng.integers(0, 56, (12, 8, 9, 9))).astype(np.uint8)
    training, held_out = split_classes(images, 3)
    episodes = ClassEpisodes(2, 2, 2, 3)
    return ImageClasses(training, held_out, episodes, width=8, strides=(2, 1), n_outputs=12, validation_runs=1)


def tiny_sines() -> SinePool:
    """Return a pool of ten sine waves."""
    episodes = SineEpisodes(functions=2, steps_each=3, batch_size=4, numbers=3)
    return SinePool(draw_sines(10, jax.random.key(0)), episodes, widths=(16, 16), validation_runs=1)


class _Case:
    """A method on a domain."""

    def __init__(self, method: Method, domain: Domain):
        self._method, self._domain = jax.tree.map(jnp.asarray, (method, domain))
        self._start = init_train_state(method.new_model(domain, jax.random.key(_KEY)), method.optimizer())
        # Compiled once for all checks: most of their time goes there.
        self._compiled = jax.jit(self._step)
        self._side_by_side = jax.jit(jax.vmap(self._step, (None, 0)))

    def _step(self, now: TrainState, key: PRNGKeyArray) -> tuple[TrainState, Measured]:
        return self._method.step(now, self._domain, key)

    def check_forms(self) -> None:
        after, measured = jax.eval_shape(self._step, self._start, jax.random.key(0))
        expect_same_forms(self._start, after, "a step")
        if not isinstance(measured, Measured) or {leaf.shape for leaf in jax.tree.leaves(measured)} != {()}:
            raise Nonconformity(f"a step returned {measured}, expected the state and a Measured of three numbers")

    def check_finite(self) -> None:
        expect_finite(self._trained, "training")

    def check_chance(self) -> None:
        arguments = self._start, jax.random.key(1)
        # A new function each time, so that JAX traces again.
        expect_no_hidden_chance(lambda: jax.jit(partial(self._step)).lower(*arguments).as_text(), "a step")

    def check_side_by_side(self) -> None:
        keys = jax.random.split(jax.random.key(2), _EPISODES)
        together = self._side_by_side(self._start, keys)
        for place in range(3):
            alone = self._compiled(self._start, keys[place])
            one = jax.tree.map(lambda leaf, place=place: leaf[place], together)
            expect_equal(one, alone, "a seed learns otherwise beside others than alone", tolerance=2e-4)

    def check_learns(self) -> None:
        before, after = (self._mean_loss(it) for it in (self._start, self._trained))
        if not after < before:
            raise Nonconformity(
                f"the loss is {before:.4g} before {_STEPS} steps and {after:.4g} after them, on the same draws; "
                "expected it to fall"
            )

    @cached_property
    def _trained(self) -> TrainState:
        now = self._start
        for n in range(_STEPS):
            now, _ = self._compiled(now, jax.random.fold_in(jax.random.key(_KEY), n))
        return now

    def _mean_loss(self, now: TrainState) -> float:
        keys = jax.random.split(jax.random.key(99), _EPISODES)
        return float(jnp.mean(self._side_by_side(now, keys)[1].loss))


def _describe(method: Method) -> None:
    describe(method, "method")
