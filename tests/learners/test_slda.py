"""Streaming LDA against a recorded run of its authors' code, and against sums over all examples at once."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from perdure.core import Example, StreamInfo
from perdure.learners.slda import SLDA, covariance
from perdure.memory.buffer import LARGEST_COUNT
from tests.conftest import reference_file
from tests.learners.conftest import Recording

KEY = jax.random.key(0)
STREAM_INFO = StreamInfo(n_outputs=3, n_tasks=1, task_sizes=(9,))


def learn(learner, stream, test_x):
    """Return states and scores of test inputs after each example, and what was reported."""
    state = learner.init(None, jax.tree.map(lambda leaf: leaf[0], stream), KEY)

    def step(state, example):
        after, info = learner.observe(state, example, KEY)
        return after, (after, info, learner.predict(after, test_x, None))

    return jax.tree.map(np.asarray, jax.jit(lambda: jax.lax.scan(step, state, stream)[1])())


@pytest.mark.reference
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(jnp.float64, 1e-10), (jnp.float32, 2e-6)], ids=["float64", "float32"]
)
def test_means_covariance_and_scores_are_those_recorded(dtype, tolerance):
    with jax.enable_x64(dtype is jnp.float64):
        run = Recording.read(reference_file("slda", "slda.npz"))
        numbers = run.numbers
        assert (numbers["n_base"], numbers["fit_batch"]) == (0, 1), "one example at a time from the start"
        learner = SLDA(float(numbers["hp_shrinkage_param"]), stream_info=run.stream_info())
        states, _, scores = learn(learner, run.stream(dtype), jnp.asarray(numbers["test_x"], dtype))
        covariances = jax.vmap(covariance)(jax.tree.map(jnp.asarray, states))
    np.testing.assert_array_equal(states.means.counts, numbers["after_count"])
    np.testing.assert_allclose(states.means.mean, numbers["after_mean"], rtol=0, atol=tolerance)
    np.testing.assert_allclose(covariances, numbers["after_covariance"], rtol=0, atol=tolerance)
    # Scores begin as large as 1 / shrinkage; single precision loses them before there are a few examples of each class.
    for n, recorded in enumerate(numbers["test_scores"]):
        if dtype is jnp.float64 or n > len(scores) // 2:
            error = 10 * tolerance * np.abs(recorded).max()
            np.testing.assert_allclose(scores[n], recorded, rtol=0, atol=error, err_msg=f"after example {n}")
    if dtype is jnp.float64:
        np.testing.assert_array_equal(scores.argmax(axis=-1), numbers["test_predictions"])
        probabilities = jax.nn.softmax(scores[-1])
        np.testing.assert_allclose(probabilities, numbers["final_test_probabilities"], rtol=0, atol=1e-5)


def stream_of(n=9):
    rng = np.random.default_rng(0)
    y = np.resize(np.asarray([0, 2], np.int32), n)
    x = rng.normal(size=(n, 2, 2)).astype(np.float32) + y[:, None, None]
    return Example(x, y, np.zeros(n, np.int32))


def test_means_are_those_of_all_examples_and_no_class_is_favoured_for_being_frequent():
    stream = stream_of()
    states, infos, scores = learn(SLDA(stream_info=STREAM_INFO), stream, stream.x)
    flat = stream.x.reshape(len(stream.y), -1)
    for label in (0, 2):
        np.testing.assert_allclose(states.means.mean[-1, label], flat[stream.y == label].mean(axis=0), rtol=1e-5)
    np.testing.assert_array_equal(scores[:, :, 1], 0)  # never seen
    np.testing.assert_allclose(infos.loss[0], np.sum(flat[0] ** 2) / 2, rtol=1e-6)
    last = jax.tree.map(lambda leaf: jnp.asarray(leaf[-1]), states)
    mean = np.asarray(last.means.mean, float)
    shrunk = 1e-4 * np.eye(4) + (1 - 1e-4) * np.asarray(covariance(last), float)
    distances = [np.einsum("ni,ij,nj->n", flat - m, np.linalg.inv(shrunk), flat - m) for m in mean]
    np.testing.assert_allclose(scores[-1] - scores[-1, :, :1], (distances[0] - np.asarray(distances)).T / 2, atol=2e-2)


@pytest.mark.parametrize("count", [LARGEST_COUNT - 1, LARGEST_COUNT])
def test_counts_stop_at_the_largest_integer_and_learning_goes_on(count):
    learner, stream = SLDA(stream_info=STREAM_INFO), stream_of(1)
    example = jax.tree.map(lambda leaf: leaf[0], stream)
    state = learner.init(None, example, KEY)
    state = state._replace(means=state.means._replace(counts=jnp.full(3, count, jnp.int32)))
    after, _ = learner.observe(state, example, KEY)
    np.testing.assert_array_equal(after.means.counts, [LARGEST_COUNT, count, count])
    moved = np.asarray(after.means.mean[0], float) * count
    np.testing.assert_allclose(moved, example.x.ravel(), rtol=1e-3)


def test_numbers_as_targets_are_refused():
    example = Example(np.zeros(2, np.float32), np.zeros(3, np.float32), np.zeros((), np.int32))
    with pytest.raises(TypeError, match=r"SLDA got y of dtype float32, expected integer labels; .*online or er"):
        SLDA(stream_info=STREAM_INFO).init(None, example, KEY)


@pytest.mark.parametrize("value", [-0.1, 1.5])
def test_the_shrinkage_is_a_part(value):
    with pytest.raises(ValueError, match=rf"^shrinkage = {value}, expected a number from 0 to 1$"):
        SLDA(value)
