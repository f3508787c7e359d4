"""Small tables to learn."""

import jax
import numpy as np
import pytest

from perdure.online.columns import Table
from perdure.online.rows import Rows


def as_arrays(state):
    """Return the arrays of a state, to be compared bit for bit."""
    return [np.asarray(leaf) for leaf in jax.tree.leaves(state)]


@pytest.fixture
def assert_same_state():
    def check(one, other):
        first, second = (as_arrays(it.state) for it in (one, other))
        assert len(first) == len(second)
        for a, b in zip(first, second, strict=True):
            np.testing.assert_array_equal(a, b)
        assert one.classes == other.classes
        assert one.columns.to_json() == other.columns.to_json()

    return check


@pytest.fixture
def rows_of():
    """From columns by name to rows."""

    def make(**columns):
        return Rows(Table(columns, len(next(iter(columns.values())))))

    return make


@pytest.fixture
def table():
    """Rows of numbers, categories and missing values, with classes of which some come late."""
    rng = np.random.default_rng(0)
    n = 60
    size = rng.normal(50, 20, n)
    size[rng.random(n) < 0.2] = np.nan
    colour = [str(it) for it in rng.choice(["red", "green", "blue", "grey"], n)]
    when = 1.7e9 + np.arange(n)
    y = np.where(np.nan_to_num(size, nan=50) > 50, "large", "small").astype(object)
    y[40::7] = "late"
    return {"size": size, "colour": colour, "when": when}, y
