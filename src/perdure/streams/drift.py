"""A stream that changes gradually: images turn a little with each example, so that no task begins or ends."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Int

from perdure.core import Example
from perdure.streams.benchmark import Benchmark, LabelledSet, PixelMapSets
from perdure.streams.tasks import (
    apply_pixel_map,
    check_subset_size,
    check_task_count,
    draw_subset,
    named_rng,
    rotation_map,
)
from perdure.streams.validation import stream_prefix, validation_split

MAX_ANGLES = 1_000
"""Different angles of a turning stream at most; of 180 degrees, steps of less than a fifth of a degree."""


def turning_benchmark(
    name: str,
    train: LabelledSet,
    test: LabelledSet,
    *,
    seed: int,
    n_outputs: int,
    tasks: int,
    examples_per_task: int,
    degrees: float | int,
    validation: bool = False,
) -> Benchmark:
    """Return the benchmark whose images turn continuously, each example a little further than the one before.

    The stream shows `tasks` · `examples_per_task` images, drawn without replacement in random order; if there are not
    as many, all of them again in another order. Tasks are stretches of equal length between which nothing happens: they
    are hidden, and serve evaluation only. Each is tested on all test images, turned by the angle in its middle.

    Source: rotations as Lopez-Paz and Ranzato (2017), section 5.1; here they leave no boundaries.

    Args:
        name: of the benchmark.
        train: training images, x (n, height, width).
        test: test images.
        seed: of the images and their order, ≥ 0.
        n_outputs: number of classes.
        tasks: number of stretches, ≥ 1.
        examples_per_task: examples of each, 1 to the number of training images.
        degrees: by how much images turn over the whole stream, −3600 to 3600.
        validation: train and test on training images only, three quarters and a quarter of them; order and draws are
            others than any reported stream's.

    Raises:
        ValueError: if an argument is out of range.
    """
    check_task_count(tasks, MAX_ANGLES)
    check_subset_size(examples_per_task, len(train.y))
    if not -3600 <= degrees <= 3600:
        raise ValueError(f"degrees is {degrees}, expected -3600 to 3600; choose a number in that range")
    if validation:
        trained, tested = validation_split(len(train.y), (), examples_per_task)
        train, test = (LabelledSet(train.x[part], train.y[part]) for part in (trained, tested))
        examples_per_task = min(examples_per_task, len(train.y))
    n_examples = tasks * examples_per_task
    n_passes = -(-n_examples // len(train.y))
    prefix = stream_prefix(validation)
    passes = [draw_subset(named_rng(seed, f"{prefix}turning/{n}"), len(train.y), len(train.y)) for n in range(n_passes)]
    shown = np.concatenate(passes)[:n_examples]
    height, width = train.x.shape[1:]
    turned = [
        apply_pixel_map(train.x[some], rotation_map(start * degrees / n_examples, height, width))
        for some, start in _by_angle(shown)
    ]
    x = np.concatenate(turned)
    stream = Example(x, train.y[shown].astype(np.int32), np.repeat(np.arange(tasks, dtype=np.int32), examples_per_task))
    middles = (np.arange(tasks) + 0.5) * (degrees / tasks)
    maps = np.stack([rotation_map(float(angle), height, width) for angle in middles])
    return Benchmark(name, stream, PixelMapSets(test.x, test.y.astype(np.int32), maps), n_outputs, hides_tasks=True)


def _by_angle(shown: Int[np.ndarray, " n"]) -> Iterator[tuple[Int[np.ndarray, " some"], int]]:
    """Yield the images of each angle, in order, and the position of the first of them."""
    start = 0
    for some in np.array_split(shown, min(MAX_ANGLES, len(shown))):
        yield some, start
        start += len(some)
