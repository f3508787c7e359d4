"""The digits that come with the package."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import numpy as np
import pytest

from perdure.streams.digits import last_of_each_class, load_digits


def test_digits_are_those_of_scikit_learn():
    datasets = pytest.importorskip("sklearn.datasets")
    images, labels = map(np.asarray, datasets.load_digits(return_X_y=True))
    is_test = last_of_each_class(labels)
    for mine, chosen in zip(load_digits(), (~is_test, is_test), strict=True):
        np.testing.assert_array_equal(mine.y, labels[chosen])
        pixels = np.rint(images[chosen] * (255 / 16)).reshape(-1, 8, 8)
        np.testing.assert_array_equal(mine.x, pixels)


def test_digits_are_the_published_ones():
    """The digest is that of the digits which earlier figures were measured on."""
    digest = hashlib.sha256()
    for part in load_digits():
        digest.update(part.x.tobytes())
        digest.update(part.y.tobytes())
    assert digest.hexdigest() == "8fe89bf514e524ef75d58fd387b7631d9e57e87208b34e57ba29c8b02c5b0d81"
    assert [part.x.shape for part in load_digits()] == [(1442, 8, 8), (355, 8, 8)]
    assert [(part.x.dtype, part.y.dtype) for part in load_digits()] == [(np.uint8, np.int32)] * 2
    assert not any(array.flags.writeable for part in load_digits() for array in part)


def test_digits_need_no_scikit_learn():
    code = "import sys; sys.modules['sklearn'] = None; import perdure.streams.digits as d; d.load_digits()"
    subprocess.run([sys.executable, "-c", code], check=True)
