"""How tasks are made from one set of images: rotate, permute, subsample; pure and seeded."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int, Integer, Shaped
from PIL import Image

from perdure.core import Example

REPORTED_SEEDS = 5
"""Published figures are means over the streams of seeds 0 to REPORTED_SEEDS − 1."""


class StreamSize(NamedTuple):
    """How long a stream is."""

    tasks: int
    examples_per_task: int


def named_rng(seed: int, name: str) -> np.random.Generator:
    """Return the random generator of one purpose, independent of the generators of all other names.

    Because every purpose draws from its own generator, changing one (say, how many examples are drawn)
    leaves the others (say, the angles) as they were.

    Args:
        seed: of the run, ≥ 0.
        name: of the purpose, for example `"angles"` or `"subsets/3"`.

    Raises:
        ValueError: if the seed is negative.
    """
    if seed < 0:
        raise ValueError(f"seed is {seed}, expected 0 or more; choose a non-negative integer")
    purpose = int.from_bytes(hashlib.sha256(name.encode()).digest()[:16], "little")
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(purpose,)))


MAX_TASKS = 1000
"""Tasks that one set of images is mapped to: a stream of that many is some gigabytes."""


def check_task_count(n_tasks: Any, available: int | None = None) -> None:
    """Check that there is at least one task, and no more than there can be.

    Raises:
        TypeError: if it is no whole number.
        ValueError: if it is out of range.
    """
    if isinstance(n_tasks, bool) or not isinstance(n_tasks, int | np.integer):
        raise TypeError(f"number of tasks is {n_tasks!r}, expected a whole number; give an int")
    if n_tasks < 1 or (available is not None and n_tasks > available):
        expected = "1 or more" if available is None else f"1 to {available}"
        raise ValueError(f"number of tasks is {n_tasks}, expected {expected}; choose a number in that range")


def rotation_angles(rng: np.random.Generator, n_tasks: int) -> Float[np.ndarray, " tasks"]:
    """Draw one angle per task, in degrees: uniform inside the t-th of `n_tasks` equal bins of [0, 180).

    Source: MNIST Rotations of Lopez-Paz and Ranzato (2017), section 5.1.

    Raises:
        ValueError: if there is no task.
    """
    check_task_count(n_tasks)
    return (np.arange(n_tasks) + rng.uniform(size=n_tasks)) * (180 / n_tasks)


def rotation_map(angle_degrees: float, height: int, width: int) -> Int[np.ndarray, " pixels"]:
    """Return the pixel map of a counter-clockwise rotation on the same canvas, (height · width,), int32.

    Entry p is the source pixel of pixel p, or −1 where the source lies outside and the pixel is zero. The
    map is a rotated picture of the pixel numbers, so it does exactly what Pillow's nearest-neighbour
    rotation does to an image.
    """
    numbers = np.arange(1, height * width + 1, dtype=np.int32).reshape(height, width)
    rotated = Image.fromarray(numbers).rotate(angle_degrees, resample=Image.Resampling.NEAREST, fillcolor=0)
    return np.asarray(rotated, dtype=np.int32).ravel() - np.int32(1)


def permutation_map(rng: np.random.Generator, n_pixels: int) -> Int[np.ndarray, " pixels"]:
    """Return the pixel map of a random permutation, (n_pixels,), int32: entry p is the source of pixel p."""
    return rng.permutation(n_pixels).astype(np.int32)


def rotation_maps(
    seed: int, n_tasks: int, height: int, width: int, prefix: str = ""
) -> Int[np.ndarray, "tasks pixels"]:
    """Return one rotation map per task, at the seed's `rotation_angles`; `prefix` begins the generator's name.

    Raises:
        ValueError: if there is no task, or there are more than `MAX_TASKS`, or the seed is negative.
    """
    check_task_count(n_tasks, MAX_TASKS)
    angles = rotation_angles(named_rng(seed, f"{prefix}angles"), n_tasks)
    return np.stack([rotation_map(float(angle), height, width) for angle in angles])


def permutation_maps(seed: int, n_tasks: int, n_pixels: int, prefix: str = "") -> Int[np.ndarray, "tasks pixels"]:
    """Return one permutation map per task; task t is the same however many tasks there are.

    `prefix` begins the names of the generators that the permutations are drawn from.

    Raises:
        ValueError: if there is no task, or there are more than `MAX_TASKS`, or the seed is negative.
    """
    check_task_count(n_tasks, MAX_TASKS)
    generators = [named_rng(seed, f"{prefix}permutations/{task}") for task in range(n_tasks)]
    return np.stack([permutation_map(rng, n_pixels) for rng in generators])


def apply_pixel_map(
    images: Shaped[np.ndarray, "n height width"], pixel_map: Integer[np.ndarray, " pixels"]
) -> Shaped[np.ndarray, "n height width"]:
    """Return new images whose pixel p is the source pixel `pixel_map[p]`, or zero where that is −1."""
    mapped = images.reshape(len(images), -1)[:, np.maximum(pixel_map, 0)]
    mapped[:, pixel_map < 0] = 0
    return mapped.reshape(images.shape)


def check_subset_size(size: Any, n: int) -> None:
    """Check that `size` of n training examples can be drawn.

    Raises:
        TypeError: if it is no whole number.
        ValueError: unless 1 ≤ size ≤ n.
    """
    if isinstance(size, bool) or not isinstance(size, int | np.integer):
        raise TypeError(f"examples per task is {size!r}, expected a whole number; give an int")
    if not 1 <= size <= n:
        raise ValueError(
            f"examples per task is {size}, expected 1 to {n}, the number of training examples; "
            "choose a number in that range"
        )


def draw_subset(rng: np.random.Generator, n: int, size: int) -> Int[np.ndarray, " size"]:
    """Draw `size` of the numbers 0..n−1 without replacement, in random order.

    A smaller subset from an equal generator is the beginning of a larger one.

    Raises:
        ValueError: unless 1 ≤ size ≤ n.
    """
    check_subset_size(size, n)
    return rng.permutation(n)[:size]


def draw_subsets(
    seed: int, tasks: Integer[np.ndarray, " tasks"], n: int, size: int, prefix: str = ""
) -> list[Int[np.ndarray, " size"]]:
    """Draw a subset of 0..n−1 for each of the tasks, in random order, each from its own generator.

    Args:
        seed: of the stream, ≥ 0.
        tasks: numbers of the tasks.
        n: how many there are to draw from.
        size: of each subset.
        prefix: begins the generators' names.

    Raises:
        ValueError: unless 1 ≤ size ≤ n.
    """
    return [draw_subset(named_rng(seed, f"{prefix}subsets/{task}"), n, size) for task in tasks]


def complete_order(task_order: Sequence[int] | None, n_tasks: int) -> Int[np.ndarray, " tasks"]:
    """Return the order in which to show the tasks: as given, or 0, 1, 2, … if none is.

    Raises:
        ValueError: if the order does not hold each task number exactly once.
    """
    order = list(range(n_tasks)) if task_order is None else list(task_order)
    if sorted(order) != list(range(n_tasks)):
        raise ValueError(
            f"task_order is {order}, expected each of the {n_tasks} task numbers 0 to {n_tasks - 1} "
            "exactly once; correct the order or the number of tasks"
        )
    return np.asarray(order)


def mapped_stream(
    images: Shaped[np.ndarray, "n height width"],
    labels: Integer[np.ndarray, " n"],
    maps: Integer[np.ndarray, "tasks pixels"],
    subsets: Sequence[Integer[np.ndarray, " _"]],
) -> Example:
    """Return the stream that shows, task after task, `images[subsets[t]]` through `maps[t]`.

    Args:
        images: base images.
        labels: of the images.
        maps: one pixel map per task.
        subsets: for each task, which images it shows, in order.

    Returns:
        Example: x (N, height, width) of the images' dtype, y and task (N,) int32; N is the sum of the
            subsets' sizes.
    """
    parts = [apply_pixel_map(images[subset], one) for subset, one in zip(subsets, maps, strict=True)]
    sizes = [len(subset) for subset in subsets]
    return Example(
        x=np.concatenate(parts),
        y=labels[np.concatenate(subsets)].astype(np.int32),
        task=np.repeat(np.arange(len(sizes), dtype=np.int32), sizes),
    )
