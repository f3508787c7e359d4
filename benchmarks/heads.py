"""How long a head in closed form takes to learn one example: ``python benchmarks/heads.py``.

Each call comes from Python, as in a live stream, and is waited for: 1,024 features, 600 classes, all of which have
appeared. Beside it streaming LDA in plain PyTorch, written the obvious way: the mean of the class and the whole shared
covariance are updated with every example. Both sides in one process, in turn.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from perdure.cli.jax_settings import configure_jax

configure_jax()

import jax
import jax.numpy as jnp
import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from perdure.learners.closed_form import CLOSED_FORM

FEATURES, CLASSES, WARM, MEASURED, ROUNDS = 1024, 600, 700, 1000, 3
TARGET = 0.2
"""Milliseconds."""

Learn = Callable[[np.ndarray, int], None]


class Took(NamedTuple):
    """Milliseconds of one example."""

    median: float
    mean: float
    cpu: float


def of_head(head: Any) -> Learn:
    """Return what lets a head learn one example, and waits until it has."""
    state = head.start(FEATURES, CLASSES, jnp.float32, jax.random.key(0))
    program = jax.jit(head.learn, donate_argnums=0)

    def learn(x: np.ndarray, y: int) -> None:
        nonlocal state
        state = jax.block_until_ready(program(state, x, np.int32(y)))

    return learn


def of_torch() -> Learn:
    """Return the same for streaming LDA in PyTorch."""
    means, counts, covariance = torch.zeros(CLASSES, FEATURES), torch.zeros(CLASSES), torch.zeros(FEATURES, FEATURES)
    n_seen = 0

    def learn(x: np.ndarray, y: int) -> None:
        nonlocal covariance, n_seen
        away = torch.from_numpy(x) - means[y]
        delta = torch.outer(away, away) * (n_seen / (n_seen + 1))
        covariance = (n_seen * covariance + delta) / (n_seen + 1)
        means[y] += away / (counts[y] + 1)
        counts[y] += 1
        n_seen += 1

    return learn


def took(learn: Learn, examples: Iterator[tuple[np.ndarray, int]]) -> Took:
    """Return how long the next examples take."""
    times, cpu = [], time.process_time()
    for _ in range(MEASURED):
        x, y = next(examples)
        began = time.perf_counter()
        learn(x, y)
        times.append(1e3 * (time.perf_counter() - began))
    cpu = 1e3 * (time.process_time() - cpu) / MEASURED
    return Took(float(np.median(times)), float(np.mean(times)), cpu)


def examples() -> Iterator[tuple[np.ndarray, int]]:
    """Yield features and classes, each class in its turn."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(CLASSES, FEATURES)).astype(np.float32)
    n = 0
    while True:
        yield rows[(n * 7) % CLASSES], n % CLASSES
        n += 1


def measure() -> dict[str, Took]:
    """Return how long each side takes, the median of its rounds."""
    sides = {name: of_head(head) for name, head in CLOSED_FORM.items()} | {"streaming LDA in PyTorch": of_torch()}
    streams = {name: examples() for name in sides}
    for name, learn in sides.items():
        for _ in range(WARM):
            learn(*next(streams[name]))
    rounds = [{name: took(learn, streams[name]) for name, learn in sides.items()} for _ in range(ROUNDS)]
    return {name: Took(*np.median([its[name] for its in rounds], axis=0).tolist()) for name in sides}


if __name__ == "__main__":
    table = Table(box=None, pad_edge=False)
    table.add_column("Head")
    for header in ("Median ms", "Mean ms", "CPU ms"):
        table.add_column(header, justify="right")
    found = measure()
    for name, it in found.items():
        table.add_row(name, *(f"{value:.3f}" for value in it))
    Console().print(table)
    slowest = max(found[name].median for name in CLOSED_FORM)
    print(f"slowest head: {slowest:.3f} ms an example; target {TARGET} ms")
