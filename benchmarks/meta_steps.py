"""Time of one SGD step of MER in its forms, on one machine in one process: ``python benchmarks/meta_steps.py``.

Both sides of each ratio alternate, each several times; the least time of each counts, as the least disturbed.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.table import Table

from perdure.core import Example
from perdure.experiments.supervised.program import Log, Progress, _advance_each, advance, named_keys
from perdure.learners.mer import MER
from perdure.models import MLP
from perdure.updates import sequential

REPEATS = 15
BATCHES = {10: 5, 25: 10, 100: 10}
"""Memories drawn (k − 1) → batches an example (s), as the published settings have them."""


def compiled(function: Callable[..., Any], *arguments: Any, **patches: Any) -> Callable[[], Any]:
    """Return a call of a function compiled while names of `perdure.updates.sequential` have other values."""
    with ExitStack() as stack:
        for name, value in patches.items():
            stack.enter_context(mock.patch.object(sequential, name, value))
        # A new function each time, or JAX would take the program traced under other values.
        program = jax.jit(lambda *them: function(*them)).lower(*arguments).compile()
    return lambda: jax.block_until_ready(program(*arguments))


def least_seconds(*calls: Callable[[], Any]) -> list[float]:
    """Return the least time of each call, alternating between them."""
    times = np.full((REPEATS, len(calls)), np.inf)
    for repeat in range(REPEATS):
        for number, call in enumerate(calls):
            began = time.perf_counter()
            call()
            times[repeat, number] = time.perf_counter() - began
    return times.min(axis=0).tolist()


def examples(n: int, rng: np.random.Generator) -> Example:
    """Return images of which a fifth of the pixels are inked, as MNIST's are."""
    pixels = rng.integers(1, 256, (n, 28, 28)) * (rng.random((n, 28, 28)) < 0.2)
    labels = rng.integers(0, 10, n)
    return Example(jnp.asarray(pixels, jnp.uint8), jnp.asarray(labels, jnp.int32), jnp.zeros(n, jnp.int32))


def forms(drawn: int, n_batches: int) -> dict[str, float]:
    """Return microseconds of one SGD step in each form of `meta_steps`."""
    rng = np.random.default_rng(0)
    n, k = 20, drawn + 1
    batches = examples(n * n_batches * k, rng)
    x, y = (leaf.reshape(n, n_batches, k, *leaf.shape[1:]) for leaf in batches[:2])
    rates = jnp.full((n_batches, k), 0.03)

    def learn(form: Callable[..., Any], model: MLP) -> MLP:
        def step(model: MLP, batch: tuple[Any, Any]) -> tuple[MLP, None]:
            return form(model, *batch, rates, 0.03), None

        return jax.lax.scan(step, model, (x, y))[0]

    model = MLP(784, 10, key=jax.random.key(0))
    gram, general = (partial(learn, form) for form in (sequential.gram_meta_steps, sequential.general_meta_steps))
    names = ("general", "gram, batch by batch", "gram, in one block", "gram, one step a turn", "gram")
    seconds = least_seconds(
        compiled(general, model),
        compiled(gram, model, _GROUP_ROWS=0),
        compiled(gram, model, _MOST_BLOCKS=1),
        compiled(gram, model, _UNROLL=1),
        compiled(gram, model),
    )
    return {name: 1e6 * it / (n * n_batches * k) for name, it in zip(names, seconds, strict=True)}


def single_seed() -> tuple[float, float]:
    """Return microseconds of one SGD step for one seed, under vmap and without."""
    rng = np.random.default_rng(0)
    learner = jax.tree.map(jnp.asarray, MER(0.1, 200, 10, beta=0.01, gamma=1.0, batches_per_example=5))
    stream, keys = examples(300, rng), named_keys(0)
    first = jax.tree.map(lambda leaf: leaf[0], stream)
    state = learner.init(MLP(784, 10, key=keys.model), first, keys.start)
    progress, keys = jax.tree.map(lambda leaf: leaf[None], (Progress(state, Log(jnp.zeros(300))), keys))
    stream = Example(stream.x[None], stream.y[None], stream.task)
    each: Any = 0
    one_for_all: Any = None
    axes = (None, 0, Example(x=each, y=each, task=one_for_all), 0, None, None)
    arguments = (learner, progress, stream, keys, jnp.int32(0), jnp.int32(300))
    seconds = least_seconds(
        compiled(jax.vmap(advance, axes), *arguments), compiled(partial(_advance_each, advance, axes), *arguments)
    )
    steps = 300 * 5 * 11
    return 1e6 * seconds[0] / steps, 1e6 * seconds[1] / steps


def main() -> None:
    """Print both tables."""
    table = Table("memories drawn", "form", "µs a step", "times faster than general", box=None)
    for drawn, n_batches in BATCHES.items():
        measured = forms(drawn, n_batches)
        for name, micros in measured.items():
            table.add_row(f"{drawn}", name, f"{micros:.2f}", f"{measured['general'] / micros:.2f}")
    Console().print(table)
    under_vmap, alone = single_seed()
    print(f"one seed, 10 memories drawn: {under_vmap:.2f} µs a step under vmap, {alone:.2f} without; ", end="")
    print(f"ratio {under_vmap / alone:.2f}")


if __name__ == "__main__":
    main()
