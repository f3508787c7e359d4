"""Small tables to learn."""

import subprocess
import sys
from pathlib import Path

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


@pytest.fixture(scope="session")
def killed_at():
    """A function that does something of `killed.py` and dies at a step: from the step, what, and its arguments.

    It returns None where it was killed, else the number of steps that there were.
    """
    command = [sys.executable, Path(__file__).with_name("killed.py")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        orders, answers = process.stdin, process.stdout
        assert orders is not None
        assert answers is not None

        def run(step, name, *arguments):
            print(step, name, *arguments, file=orders, flush=True)
            answer = answers.readline().split()
            assert answer[0] != "failed"
            return None if answer[0] == "killed" else int(answer[1])

        yield run
        orders.close()
