"""Streams to choose hyper-parameters on, which share as little as can be with the streams that are reported."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from jaxtyping import Int, Integer

from perdure.streams.tasks import named_rng

PREFIX = "validation/"
TEST_SHARE = 4
"""One in so many of the images for validation is for its tests."""


def stream_prefix(validation: bool) -> str:
    """Return what the names of a stream's generators begin with, so that validation draws other numbers."""
    return PREFIX if validation else ""


def validation_split(
    n: int, reported: Iterable[Integer[np.ndarray, " _"]], wanted: int
) -> tuple[Int[np.ndarray, " train"], Int[np.ndarray, " test"]]:
    """Divide training images into those that validation trains on and those that it is tested on.

    Only images that no reported stream shows are used, as long as that leaves `wanted` to train on. If not, all
    training images are: validation then trains on images that reported streams train on too. A quarter is for
    testing; the published test images are for nothing but the reported figures. The split is the same for all seeds.

    Args:
        n: number of training images.
        reported: which of them the reported streams show.
        wanted: how many to train on at least.

    Returns:
        The numbers of the images to train on, fewer than `wanted` if there are not so many, and to test on.
    """
    is_unseen = np.ones(n, dtype=bool)
    for subset in reported:
        is_unseen[subset] = False
    unseen = np.flatnonzero(is_unseen)
    enough = len(unseen) >= TEST_SHARE and len(unseen) - len(unseen) // TEST_SHARE >= wanted
    shuffled = named_rng(0, f"{PREFIX}split").permutation(unseen if enough else np.arange(n))
    n_test = len(shuffled) // TEST_SHARE
    return shuffled[n_test:], shuffled[:n_test]
