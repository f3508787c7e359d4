from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from perdure.core import Example, Learner, StreamInfo, as_features, check_example
from perdure.learners.online import Online
from perdure.models import MLP


def test_pixels_become_fractions_of_255():
    pixels = np.arange(256, dtype=np.uint8)
    features = as_features(pixels)
    assert features.dtype == jnp.float32
    np.testing.assert_allclose(features, np.arange(256) / 255, rtol=1e-7)
    assert features[0] == 0
    assert features[255] == 1


def test_pixels_become_float64_where_that_is_enabled(x64):
    features = as_features(np.asarray([[51, 255]], np.uint8))
    assert features.dtype == jnp.float64
    np.testing.assert_array_equal(features, [[51 / 255, 1.0]])


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_floats_are_used_as_they_are(dtype):
    x = np.asarray([-3.5, 0.0, 300.0], dtype)
    features = as_features(x)
    assert features.dtype == jnp.dtype(dtype)
    np.testing.assert_array_equal(features, x)


def test_conversion_can_be_traced_and_batched():
    pixels = jnp.asarray([[0, 51], [102, 255]], jnp.uint8)
    np.testing.assert_allclose(jax.jit(jax.vmap(as_features))(pixels), [[0, 0.2], [0.4, 1]], rtol=1e-6)


@pytest.mark.parametrize("dtype", ["int32", "int8", "bool"])
def test_other_inputs_are_refused(dtype):
    with pytest.raises(TypeError, match=f"dtype {dtype}, expected uint8 pixels .*; convert them: .*astype"):
        as_features(np.ones(3, dtype))


def test_whole_numbers_are_not_to_be_made_floats_if_they_are_pixels():
    with pytest.raises(TypeError, match=r"int64.*x.astype\('uint8'\) if they are pixels from 0 to 255.*'float32'\) if"):
        as_features(np.arange(256))


def test_the_contract_alone_is_no_learner():
    with pytest.raises(TypeError, match="abstract"):
        Learner()  # pyright: ignore[reportAbstractUsage]


STREAM_INFO = StreamInfo(n_outputs=3, n_tasks=2, task_sizes=(4, 4))
GOOD = Example(np.zeros(2, np.float32), np.asarray(2, np.int32), np.asarray(1, np.int32))
MANY = Example(np.zeros((4, 2, 2), np.float32), np.asarray([0, 1, 2, 0]), np.asarray([0, 0, 1, 1]))
"""One example, and four at once."""


def changed(array, place, value):
    array = np.array(array)
    array[place] = value
    return array


@pytest.mark.parametrize(
    "example",
    [
        GOOD,
        MANY,
        GOOD._replace(x=np.zeros(2, np.uint8)),
        GOOD._replace(x=np.zeros(2)),
        GOOD._replace(y=np.zeros(3)),
        MANY._replace(y=np.zeros((4, 3), np.float32)),
    ],
)
def test_a_sound_example_passes_as_it_is(example):
    assert check_example(example, STREAM_INFO) is example
    check_example(jax.tree.map(jnp.asarray, example), STREAM_INFO)


@pytest.mark.parametrize(
    ("example", "message"),
    [
        (GOOD._replace(x=changed(GOOD.x, 1, np.nan)), r"^x\[1\] is nan, expected a finite number; clean or drop"),
        (MANY._replace(x=changed(MANY.x, (2, 0, 1), -np.inf)), r"^x\[2, 0, 1\] is -inf, expected a finite number;"),
        (GOOD._replace(x=np.asarray([0, 1e39])), r"^x\[1\] is 1e\+39, expected a finite number that fits float32;"),
        (GOOD._replace(y=np.asarray(5)), r"^y is 5, expected a label from 0 to 2, as there are 3 outputs; correct"),
        (GOOD._replace(y=np.asarray(-1)), r"^y is -1, expected a label from 0 to 2"),
        (MANY._replace(y=np.asarray([0, 1, 3, 9])), r"^y\[2\] is 3, expected a label"),
        (GOOD._replace(y=np.asarray([0, np.nan, 0])), r"^y\[1\] is nan, expected a finite number"),
        (GOOD._replace(y=np.zeros(2)), r"^y has shape \(2,\), expected 3 numbers for each example"),
        (GOOD._replace(y=np.asarray(1.0)), r"^y has shape \(\), .* labels of classes must be integers: y.astype"),
        (GOOD._replace(task=np.asarray(2)), r"^task is 2, expected a task number from 0 to 1, as there are 2 tasks"),
    ],
)
def test_an_example_that_would_spoil_a_learner_is_refused(example, message):
    with pytest.raises(ValueError, match=message):
        check_example(example, STREAM_INFO)


@pytest.mark.parametrize(
    ("example", "message"),
    [
        (GOOD._replace(x=np.zeros(2, np.int64)), r"^x has dtype int64, expected floats; convert it: x.astype"),
        (GOOD._replace(y=np.asarray("a")), r"^y has dtype <U1, expected floats"),
        (GOOD._replace(task=np.asarray(0.0)), r"^task has dtype float64, expected integers; convert it: task.astype"),
    ],
)
def test_an_example_of_other_kinds_of_numbers_is_refused(example, message):
    with pytest.raises(TypeError, match=message):
        check_example(example, STREAM_INFO)


def test_unchecked_examples_spoil_a_learner_which_checked_ones_cannot():
    learner = Online(learning_rate=0.1)
    state = learner.init(MLP(2, 3, (4,), key=jax.random.key(0)), GOOD, jax.random.key(1))
    bad = GOOD._replace(x=np.full(2, np.nan, np.float32))
    spoilt, _ = learner.observe(state, bad, jax.random.key(2))
    assert np.isnan(spoilt.model.layers[0].weight).all()
    with pytest.raises(ValueError, match="nan"):
        learner.observe(state, check_example(bad, STREAM_INFO), jax.random.key(2))
