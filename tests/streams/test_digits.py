"""The digits that come with scikit-learn."""

import numpy as np
from sklearn.datasets import load_digits as load_with_sklearn

from perdure.streams.digits import last_of_each_class, load_digits


def test_digits_are_those_of_scikit_learn():
    images, labels = map(np.asarray, load_with_sklearn(return_X_y=True))
    is_test = last_of_each_class(labels)
    for mine, chosen in zip(load_digits(), (~is_test, is_test), strict=True):
        np.testing.assert_array_equal(mine.y, labels[chosen])
        pixels = np.rint(images[chosen] * (255 / 16)).reshape(-1, 8, 8)
        np.testing.assert_array_equal(mine.x, pixels)
