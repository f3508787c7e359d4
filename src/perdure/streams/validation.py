"""Streams to choose hyper-parameters on, which share as little as can be with the streams that are reported."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
from jaxtyping import Int, Integer

from perdure.streams.tasks import REPORTED_SEEDS, check_subset_size, draw_subsets, named_rng

PREFIX = "validation/"
TEST_SHARE = 4
"""One in four of the images for validation is for its tests."""


def stream_prefix(validation: bool) -> str:
    """Return what the names of a stream's generators begin with, so that validation draws other numbers."""
    return PREFIX if validation else ""


def reported_subsets(
    n: int, requested: Mapping[int, int], default_size: Mapping[int, int]
) -> Iterator[Iterator[Int[np.ndarray, " _"]]]:
    """Yield which of n training images reported streams show: of default and requested size, then of the latter.

    Figures are reported of streams of the default size, and of others as they are requested.

    Args:
        n: number of training images.
        requested: number of each task and how many training examples are requested of it.
        default_size: number of each task and how many it has by default; all, if there are fewer.

    Raises:
        ValueError: unless 1 ≤ size ≤ n for each requested size.
    """
    for size in requested.values():
        check_subset_size(size, n)
    both = {task: min(size, n) for task, size in default_size.items()}
    # Of two sizes the larger one is enough: a smaller subset is the beginning of a larger one.
    both |= {task: max(size, both.get(task, 0)) for task, size in requested.items()}
    for sizes in (both, requested):
        yield _drawn(n, sizes)


def _drawn(n: int, sizes: Mapping[int, int]) -> Iterator[Int[np.ndarray, " _"]]:
    for seed in range(REPORTED_SEEDS):
        for task, size in sizes.items():
            yield from draw_subsets(seed, np.array([task]), n, size)


def validation_split(
    n: int, reported: Iterable[Iterable[Integer[np.ndarray, " _"]]], wanted: int
) -> tuple[Int[np.ndarray, " train"], Int[np.ndarray, " test"]]:
    """Divide training images into those that validation trains on and those that it is tested on.

    Only images that no reported stream shows are used, as long as that leaves `wanted` to train on. If not, all
    training images are: validation then trains on images that reported streams train on too. A quarter is for
    testing; the published test images are for nothing but the reported figures. The split is the same for all seeds.

    Args:
        n: number of training images.
        reported: which of them the reported streams show; one after another, until some leave enough.
        wanted: how many to train on at least.

    Returns:
        The numbers of the images to train on, fewer than `wanted` if there are fewer, and to test on.
    """
    used = np.arange(n)
    for subsets in reported:
        is_unseen = np.ones(n, dtype=bool)
        for subset in subsets:
            is_unseen[subset] = False
        unseen = np.flatnonzero(is_unseen)
        if len(unseen) >= TEST_SHARE and len(unseen) - len(unseen) // TEST_SHARE >= wanted:
            used = unseen
            break
    shuffled = named_rng(0, f"{PREFIX}split").permutation(used)
    n_test = len(shuffled) // TEST_SHARE
    return shuffled[n_test:], shuffled[:n_test]


def held_out_parts(task_ends: Int[np.ndarray, " tasks"], seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return for each task of a stream which examples to train on, in their order, and which quarter to test on.

    For streams that know no validation streams of their own. Of a task of one example there is no test.

    Args:
        task_ends: position just after the last example of each task.
        seed: of the draw.
    """
    starts = [0, *map(int, task_ends[:-1])]
    parts = []
    for task, (start, end) in enumerate(zip(starts, map(int, task_ends), strict=True)):
        shuffled = start + named_rng(seed, f"{PREFIX}held-out/{task}").permutation(end - start)
        n_test = max(1, len(shuffled) // TEST_SHARE) if len(shuffled) > 1 else 0
        parts.append((np.sort(shuffled[n_test:]), np.sort(shuffled[:n_test])))
    return parts
