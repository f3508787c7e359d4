"""Which combinations of hyper-parameters a search tries."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.experiments.tuning.space import complete_space, grid_points, parse_values, random_points
from perdure.learners.hyperparameters import hyperparameters
from perdure.learners.independent import Independent
from perdure.learners.mer import MER
from perdure.records.tuning import LogUniform

KNOWN = {it.name: it for it in [*hyperparameters(MER), *hyperparameters(Independent)]}


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("beta", "0.1", (0.1,)),
        ("beta", "0.01, 3e-2,1", (0.01, 0.03, 1.0)),
        ("beta", "1e-3..0.5", LogUniform(0.001, 0.5)),
        ("beta", ".1 .. 1.", LogUniform(0.1, 1.0)),
        ("memory_size", "10,200", (10, 200)),
        ("from_previous", "true,no", (True, False)),
    ],
)
def test_values_as_text(name, text, expected):
    values = parse_values(KNOWN[name], text)
    assert values == expected
    assert type(values) is type(expected)
    assert list(map(type, values)) == list(map(type, expected))


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("beta", "", "--beta is '', expected numbers separated by commas, as 0.01,0.03"),
        ("beta", "0.1,,0.2", "--beta is '0.1,,0.2'"),
        ("beta", "high", "--beta is 'high'"),
        ("beta", "0.1..", "--beta is '0.1..'"),
        ("beta", "0.1..0.2..0.3", "--beta is"),
        ("memory_size", "0.5", "--memory-size is '0.5', expected whole numbers separated by commas, as 10,25"),
        ("from_previous", "1", "--from-previous is '1', expected true and false separated by commas, as true,false"),
    ],
)
def test_other_text_is_refused(name, text, message):
    with pytest.raises(ValueError, match=message):
        parse_values(KNOWN[name], text)


def test_a_space_holds_each_value_once():
    space = complete_space(MER, {"beta": [0.1, 0.2, 0.1], "gamma": np.array([1.0]), "memory_size": 5})
    assert space == {"beta": (0.1, 0.2), "gamma": (1.0,), "memory_size": (5,)}


@pytest.mark.parametrize(("low", "high"), [(0, 1), (1, 0.1), (0.1, 0.1), (-1, 1), (0.1, math.inf), (math.nan, 1)])
def test_an_interval_must_have_positive_ends_in_order(low, high):
    with pytest.raises(ValueError, match=r"beta is given as the interval .*, expected 0 < low < high"):
        complete_space(MER, {"beta": LogUniform(low, high)})


def test_a_count_has_no_interval():
    with pytest.raises(TypeError, match=r"memory_size is given as the interval 1..5, but is no rate"):
        complete_space(MER, {"memory_size": LogUniform(1, 5)})


def test_a_grid_is_every_combination():
    assert grid_points({"a": (1, 2), "b": (3,), "c": (4, 5)}) == [
        {"a": 1, "b": 3, "c": 4},
        {"a": 1, "b": 3, "c": 5},
        {"a": 2, "b": 3, "c": 4},
        {"a": 2, "b": 3, "c": 5},
    ]


@given(low=st.floats(1e-6, 10), factor=st.floats(1.001, 1e4), n=st.integers(2, 20), more=st.integers(0, 20))
def test_random_points_lie_in_the_space_and_more_begin_with_fewer(low, factor, n, more):
    space = {"rate": LogUniform(low, low * factor), "count": (1, 2, 3)}
    points = random_points(space, n + more)
    assert random_points(space, n) == points[: len(random_points(space, n))]
    for point in points:
        assert low <= point["rate"] <= low * factor
        assert point["count"] in (1, 2, 3)
    assert len({tuple(point.items()) for point in points}) == len(points)


def test_random_rates_are_uniform_in_their_logarithm_and_lists_are_drawn_evenly():
    points = random_points({"rate": LogUniform(1e-4, 1.0), "flag": (True, False)}, 4000)
    logarithms = np.log10([point["rate"] for point in points])
    # Beyond 5 standard errors about one in two million draws.
    assert np.mean(logarithms) == pytest.approx(-2, abs=5 * 4 / math.sqrt(12 * len(points)))
    assert np.mean(logarithms < -3) == pytest.approx(0.25, abs=5 * math.sqrt(3 / 16 / len(points)))
    assert np.mean([point["flag"] for point in points]) == pytest.approx(0.5, abs=5 * 0.5 / math.sqrt(len(points)))


@pytest.mark.parametrize("n", [1, 0, -3])
def test_too_few_random_points_to_choose_from_are_refused(n):
    with pytest.raises(ValueError, match=f"the number of trials is {n}, expected 2 or more"):
        random_points({"rate": (1.0,)}, n)
