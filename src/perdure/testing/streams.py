"""Small made-up streams for conformance checks."""

from __future__ import annotations

from typing import NamedTuple

import jax
import numpy as np

from perdure.core import Example
from perdure.streams.benchmark import Benchmark, LabelledSet

N_OUTPUTS = 10
SHAPE = (2, 3)


class Kind(NamedTuple):
    """A stream of random images of 2 × 3."""

    n_tasks: int
    per_task: int
    dtype: str = "float32"
    one_label: bool = False
    one_example: bool = False


KINDS = {
    "one task": Kind(1, 10),
    "two tasks": Kind(2, 5),
    "five tasks": Kind(5, 2),
    "one example a task": Kind(5, 1),
    "one label": Kind(2, 5, one_label=True),
    "pixels": Kind(2, 5, "uint8"),
    "one example that keeps coming": Kind(1, 20, one_example=True),
}


def small_benchmark(kind: str, *, class_tasks: bool) -> Benchmark:
    """Return the benchmark of one of `KINDS`, with classes that belong to tasks or with classes that all tasks have."""
    n_tasks, per_task, dtype, one_label, one_example = KINDS[kind]
    rng = np.random.default_rng(n_tasks)
    n = n_tasks * per_task
    pixels = dtype == "uint8"
    x = rng.integers(0, 256, (n, *SHAPE)).astype(dtype) if pixels else rng.normal(size=(n, *SHAPE)).astype(dtype)
    tasks = np.repeat(np.arange(n_tasks, dtype=np.int32), per_task)
    # Of no class are there two in a task of five: neither would be nearer to their mean, which rounding then decides.
    labels = np.resize(np.asarray([0, 0, 0, 0, 0] if one_label else [0, 1, 0, 2, 0], np.int32), n)
    labels %= N_OUTPUTS // n_tasks
    stream = Example(x, labels * n_tasks + tasks if class_tasks else labels, tasks)
    if one_example:
        stream = jax.tree.map(lambda leaf: np.repeat(leaf[:1], n, axis=0), stream)
    tests = [_tested(stream, task) for task in range(n_tasks)]
    owners = tuple(label % n_tasks for label in range(N_OUTPUTS)) if class_tasks else None
    return Benchmark("random", stream, tests, N_OUTPUTS, owners)


def _tested(stream: Example, task: int) -> LabelledSet:
    """Return the part of a stream that is of one task, to be tested on."""
    of_task = np.asarray(stream.task) == task
    return LabelledSet(np.asarray(stream.x)[of_task], np.asarray(stream.y)[of_task])
