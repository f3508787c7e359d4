"""Small streams of scikit-learn's digits, for the runs of `small_runs.py`."""

from __future__ import annotations

import dataclasses
from functools import cache
from typing import Any

import numpy as np

from perdure import Benchmark, BenchmarkRecipe, from_arrays, make_benchmark

ROTATIONS = BenchmarkRecipe("digits-rotations", {"tasks": 3, "examples_per_task": 30})


@cache
def digits() -> tuple[Any, Any]:
    """Return x and y of all training digits and of all test digits, upright or nearly so."""
    shown = make_benchmark("digits-rotations", 0, tasks=1, examples_per_task=1442)
    return (np.asarray(shown.train.x), np.asarray(shown.train.y)), (shown.test[0].x, shown.test[0].y)


def digits_permutations(seed: int) -> Benchmark:
    """Return three tasks of 30 digits, each through a permutation of the pixels."""
    (x, y), (test_x, test_y) = digits()
    rng = np.random.default_rng(seed)
    train, test = [], []
    for _ in range(3):
        places, shown = rng.permutation(64), rng.permutation(len(y))[:30]
        train.append((x[shown].reshape(30, 64)[:, places].reshape(30, 8, 8), y[shown]))
        test.append((test_x.reshape(-1, 64)[:, places].reshape(-1, 8, 8), test_y))
    return from_arrays(train, test, name="digits-permutations", n_outputs=10)


def digits_classes(seed: int, *, per_task: int = 30, enlarged: int = 1, masked: bool = False) -> Benchmark:
    """Return three tasks of two digits each.

    Args:
        seed: of the digits shown and their order.
        per_task: digits of each task.
        enlarged: factor by which height and width grow; if not 1, pictures have an axis of channels.
        masked: is the task told, and are outputs of other tasks out of the question?
    """
    rng = np.random.default_rng(seed)

    def part(examples: tuple[np.ndarray, np.ndarray], most: int) -> list[tuple[np.ndarray, np.ndarray]]:
        x, y = examples
        parts = []
        for task in range(3):
            own = rng.permutation(np.flatnonzero(y // 2 == task))[:most]
            large = x[own].repeat(enlarged, axis=1).repeat(enlarged, axis=2)
            parts.append((x[own] if enlarged == 1 else large[:, None], y[own]))
        return parts

    shown, tested = digits()
    made = from_arrays(part(shown, per_task), part(tested, 60), name="digits-classes", n_outputs=6)
    return dataclasses.replace(made, class_tasks=(0, 0, 1, 1, 2, 2)) if masked else made


def digits_as_numbers(seed: int) -> Benchmark:
    """Return two tasks of regression: the brightness of a digit's rows, and of its columns."""
    (x, _), (test_x, _) = digits()
    shown = np.random.default_rng(seed).permutation(len(x))

    def pairs(pictures: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        return [(pictures, (pictures.mean(axis=axis) / 255).astype(np.float32)) for axis in (2, 1)]

    return from_arrays([(x[shown[:30]], pairs(x[shown[:30]])[0][1]), pairs(x[shown[30:60]])[1]], pairs(test_x[:100]))


@cache
def digit_pictures() -> np.ndarray:
    """Return 20 pictures of each digit."""
    (x, y), _ = digits()
    return np.stack([x[y == label][:20] for label in range(10)])
