"""Heads in single precision: features that are constant, large or far from zero, and scatters of zero."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from perdure.learners.gaussian import GaussianHead
from perdure.learners.head import Head
from perdure.learners.lda import LDA
from perdure.learners.nearest_mean import NearestMean
from perdure.learners.ridge import Ridge
from perdure.learners.slda import SLDA

KEY = jax.random.key(0)
D, CLASSES = 12, 6
WAYS = ("one by one", "at once", "some at once")
each_way = pytest.mark.parametrize("way", WAYS)


def data(n_each: int = 50, d: int = D, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return inputs, float64, and their classes, one after another; features differ in their deviation."""
    rng = np.random.default_rng(seed)
    y = np.repeat(np.arange(CLASSES, dtype=np.int32), n_each)
    return 2 * rng.normal(size=(CLASSES, d))[y] + rng.normal(size=(len(y), d)) * np.linspace(0.3, 3, d), y


def learned(head: Head[Any], x: np.ndarray, y: np.ndarray, way: str = "one by one", dtype: Any = jnp.float32) -> Any:
    """Return the state after all examples."""
    rows, labels = jnp.asarray(x, dtype), jnp.asarray(y)
    state = head.start(x.shape[1], CLASSES, dtype, KEY)
    n_single = {"one by one": len(x), "at once": 0, "some at once": 70}[way]

    def step(state: Any, example: Any) -> Any:
        return head.learn(state, *example), None

    state = jax.jit(lambda: jax.lax.scan(step, state, (rows[:n_single], labels[:n_single]))[0])()
    return state if n_single == len(x) else head.learn_all(state, rows[n_single:], labels[n_single:])


def relative(scores: Any) -> np.ndarray:
    """Return scores without what is common to the classes of an input."""
    scores = np.asarray(scores, float)
    return scores - scores.mean(axis=1, keepdims=True)


def scored(head: Head[Any], state: Any, x: np.ndarray, dtype: Any = jnp.float32) -> np.ndarray:
    return relative(head.scores(state, jnp.asarray(x, dtype)))


def exactly(head: Head[Any], x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the scores in double precision."""
    with jax.enable_x64(True):
        return scored(head, learned(head, x, y, dtype=jnp.float64), x, jnp.float64)


@each_way
@pytest.mark.parametrize("forgetting", [0.0, 0.01])
@pytest.mark.parametrize("kind", [LDA, Ridge], ids=["lda", "ridge"])
def test_constant_features_change_nothing(kind, forgetting, way):
    head = kind(forgetting=forgetting)
    x, y = data()
    constant = np.concatenate([x, np.full((len(x), 200), 0.1)], axis=1)
    expected = scored(head, learned(head, x, y, way), x)
    found = scored(head, learned(head, constant, y, way), constant)
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-4 * np.abs(expected).max())


@each_way
def test_features_that_are_constant_in_each_class_have_no_variance(way):
    x, y = data()
    x[:, 3] = 1000.1 + 0.3 * y
    state = learned(GaussianHead(), x, y, way)
    np.testing.assert_array_equal(state.means.mean[:, 3], x[::50, 3].astype(np.float32))
    np.testing.assert_array_equal(state.squares[:, 3], 0)


FAR = [NearestMean(), GaussianHead(), GaussianHead(predictive=False), LDA()]


@pytest.mark.parametrize("head", FAR, ids=["nearest-mean", "gaussian", "gaussian-map", "lda"])
def test_features_far_from_zero_are_told_apart(head):
    x, y = data(d=64)
    x = np.round(x * 64) / 64 + 4096  # exact in single precision
    found, expected = scored(head, learned(head, x, y), x), exactly(head, x, y)
    np.testing.assert_array_equal(found.argmax(axis=1), expected.argmax(axis=1))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-3 * np.abs(expected).max())


SINGULAR = [LDA(shrinkage=0.0), SLDA(shrinkage=0.0), Ridge(penalty=0.0)]


@pytest.mark.parametrize("head", SINGULAR, ids=["lda", "slda", "ridge"])
@pytest.mark.parametrize("n", [1, 2, 3])
def test_heads_that_are_not_shrunk_answer_from_the_first_example_on(head, n):
    """With 256 features that are alike in pairs, rounding makes the covariance have eigenvalues below zero."""
    x = np.repeat(np.random.default_rng(0).normal(size=(n, 2)), 128, axis=1)
    found = head.scores(learned(head, x, np.arange(n, dtype=np.int32)), jnp.asarray(x, jnp.float32))
    assert np.isfinite(found).all()


def test_lda_without_a_scatter_takes_the_nearest_mean():
    head, x = LDA(shrinkage=0.0), np.asarray([[0.0, 0.0], [4.0, 4.0]])
    found = head.scores(learned(head, x, np.arange(2, dtype=np.int32)), jnp.asarray(x, jnp.float32))
    np.testing.assert_allclose(found[:, 0] - found[:, 1], [16, -16], rtol=1e-5)


@pytest.mark.parametrize("scale", [1e6, 1e15])
def test_a_gaussian_tells_classes_with_one_example_apart_however_large_features_are(scale):
    x, y = data(n_each=1)
    others = scale * (x + 2 * np.random.default_rng(1).normal(size=(20, *x.shape)))
    expected = -2 * np.log1p((others[:, :, None] - scale * x[None]) ** 2 / 4).sum(axis=-1)
    head = GaussianHead()
    found = scored(head, learned(head, scale * x, y), others.reshape(-1, D))
    np.testing.assert_allclose(found, relative(expected.reshape(-1, CLASSES)), rtol=0, atol=1e-2)


def test_a_gaussian_has_the_gradient_of_its_scores():
    head, (x, y) = GaussianHead(), data(n_each=3)
    x, y = jnp.asarray(30 * x, jnp.float32), jnp.asarray(y)

    def one(x):
        return head.scores(head.learn_all(head.start(D, CLASSES, x.dtype, KEY), x, y), x)[0, 1] / 10

    with jax.enable_x64(True):
        step, found = 1e-5 * jnp.eye(D)[0], jax.grad(one)(jnp.asarray(x, jnp.float64))[0, 0]
        wide = jnp.asarray(x, jnp.float64)
        expected = (one(wide.at[0].add(step)) - one(wide.at[0].add(-step))) / 2e-5
        np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("head", [GaussianHead(1.0, 0.0), GaussianHead(1.0, 1.0, predictive=False)])
def test_a_feature_that_is_always_zero_does_no_harm(head):
    x, y = data()
    with_zeros = np.column_stack([x, np.zeros(len(x))])
    found, expected = (relative(head.scores(learned(head, its, y), jnp.asarray(its))) for its in (with_zeros, x))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-3)


def test_a_mode_that_is_none_is_refused():
    with pytest.raises(ValueError, match=r"prior_shape = 0.0 and predictive is False, .* give a prior_shape above 0"):
        GaussianHead(0.0, 1.0, predictive=False)
