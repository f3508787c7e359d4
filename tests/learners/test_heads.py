"""Heads in closed form: each is what its formula says of all examples at once, whatever their order."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm, t
from sklearn.covariance import shrunk_covariance
from sklearn.linear_model import Ridge as RidgeOfScikit
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import NearestCentroid

from perdure.core import Example, StreamInfo
from perdure.learners import fourier_ridge
from perdure.learners.fourier_ridge import RandomFourierRidge
from perdure.learners.gaussian import GaussianHead
from perdure.learners.head import Fitted
from perdure.learners.lda import LDA
from perdure.learners.nearest_mean import NearestMean
from perdure.learners.ridge import Ridge
from perdure.learners.slda import SLDA
from perdure.updates.losses import MASKED
from perdure.updates.scatter import matrix, no_scatter, with_row, with_rows
from tests.conftest import first_short

KEY = jax.random.key(0)
N, D, CLASSES = 150, 7, 5
EXACT = {
    "nearest mean": NearestMean(),
    "gaussian": GaussianHead(2.0, 0.3),
    "gaussian, mode": GaussianHead(2.0, 0.3, predictive=False),
    "lda": LDA(0.1),
    "ridge": Ridge(0.01),
    "ridge on random features": Ridge(0.01, random_features=30),
    "ridge on random Fourier features": RandomFourierRidge(15, 0.5, 0.01),
}
"""Heads for which the order of the examples does not matter."""
PARTS = [
    pytest.param((150,), id="at once", marks=pytest.mark.long),
    pytest.param((1,) * 150, id="one by one", marks=pytest.mark.long),
    pytest.param((70, 1, 1, 78), id="some at once"),
]
"""Of the examples, each learned at once."""
each_exact_head = pytest.mark.parametrize("head", EXACT.values(), ids=EXACT)


def name_of(head):
    return type(head).__name__


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


def data(seed=0, n=N):
    """Return inputs, labels of four of five classes, and other inputs."""
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.resize(np.asarray([0, 1, 2, 4]), n)).astype(np.int32)
    mixed = rng.normal(size=(D, D))
    x = rng.normal(size=(n, D)) @ mixed + 2 * rng.normal(size=(CLASSES, D))[y]
    return x, y, rng.normal(size=(20, D)) @ mixed


def started(head, n_outputs=CLASSES):
    return head.start(D, n_outputs, jnp.float64, KEY)


def one_by_one(head, x, y, state=None):
    step = jax.jit(head.learn)
    state = started(head) if state is None else state
    for row, label in zip(x, y, strict=True):
        state = step(state, jnp.asarray(row), jnp.asarray(label))
    return state


def at_once(head, x, y, state=None):
    return head.learn_all(started(head) if state is None else state, jnp.asarray(x), jnp.asarray(y))


def scores(head, state, x):
    return np.asarray(head.scores(state, jnp.asarray(x)))


def relative(scored):
    """Return scores of the classes that were seen, without what is common to the classes of an input."""
    seen = np.asarray(scored)[:, [0, 1, 2, 4]]
    return seen - seen.mean(axis=1, keepdims=True)


@each_exact_head
def test_the_order_does_not_matter_and_all_at_once_is_one_by_one(head):
    x, y, other = data()
    expected = scores(head, one_by_one(head, x, y), other)
    shuffled = np.random.default_rng(1).permutation(N)
    np.testing.assert_allclose(scores(head, one_by_one(head, x[shuffled], y[shuffled]), other), expected, rtol=1e-7)
    np.testing.assert_allclose(scores(head, at_once(head, x, y), other), expected, rtol=1e-7)
    half = at_once(head, x[:40], y[:40])
    np.testing.assert_allclose(scores(head, at_once(head, x[40:], y[40:], half), other), expected, rtol=1e-7)
    np.testing.assert_allclose(scores(head, one_by_one(head, x[40:], y[40:], half), other), expected, rtol=1e-7)


def test_the_published_streaming_lda_learns_in_the_order_given():
    x, y, other = data()
    head = SLDA(0.1)
    np.testing.assert_allclose(
        scores(head, at_once(head, x, y), other), scores(head, one_by_one(head, x, y), other), rtol=1e-9
    )
    backwards = scores(head, one_by_one(head, x[::-1], y[::-1]), other)
    assert not np.allclose(backwards, scores(head, one_by_one(head, x, y), other), rtol=1e-3)


@pytest.mark.long
@each_exact_head
def test_a_class_may_appear_at_the_end(head):
    x, y, other = data()
    late = np.argsort(y == 4, kind="stable")
    np.testing.assert_allclose(
        scores(head, one_by_one(head, x[late], y[late]), other),
        scores(head, one_by_one(head, x, y), other),
        rtol=1e-7,
    )


@pytest.mark.parametrize("head", list(EXACT.values())[:4], ids=list(EXACT)[:4])
def test_a_class_that_was_never_seen_is_ruled_out(head):
    x, y, other = data()
    np.testing.assert_array_equal(scores(head, one_by_one(head, x, y), other)[:, 3], MASKED)
    before = scores(head, started(head), other)
    assert np.isfinite(before).all()
    assert (before == before[:, :1]).all(), "no class is preferred before the first example"


def test_nearest_mean_is_that_of_scikit_learn():
    x, y, other = data()
    state = one_by_one(NearestMean(), x, y)
    peer = NearestCentroid().fit(x, y)
    np.testing.assert_allclose(state.mean[np.asarray([0, 1, 2, 4])], peer.centroids_, rtol=1e-9)
    np.testing.assert_array_equal(scores(NearestMean(), state, other).argmax(axis=1), peer.predict(other))


def test_lda_is_the_discriminant_of_the_shrunk_covariance_of_all_examples():
    x, y, other = data()
    means = np.stack([x[y == label].mean(axis=0) for label in (0, 1, 2, 4)])
    within = sum(np.cov(x[y == label], rowvar=False, bias=True) * (y == label).sum() for label in (0, 1, 2, 4)) / N
    inverse = np.linalg.inv(shrunk_covariance(within, 0.1))
    distances = np.stack([np.einsum("ni,ij,nj->n", other - m, inverse, other - m) for m in means], axis=1)
    found = relative(scores(LDA(0.1), one_by_one(LDA(0.1), x, y), other))
    np.testing.assert_allclose(found, -distances / 2 + distances.mean(axis=1, keepdims=True) / 2, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("discount", [0.5, 0.97])
@pytest.mark.parametrize("parts", PARTS)
def test_discounted_lda_is_that_of_the_weighted_examples(discount, parts):
    x, y, other = data()
    weights = discount ** np.arange(N - 1, -1, -1.0)
    own = [y == label for label in (0, 1, 2, 4)]
    means = np.stack([weights[it] @ x[it] / weights[it].sum() for it in own])
    away = [x[it] - mean for it, mean in zip(own, means, strict=True)]
    within = sum((weights[it, None] * far).T @ far for it, far in zip(own, away, strict=True)) / weights.sum()
    inverse = np.linalg.inv(shrunk_covariance(within, 0.1))
    prior = np.log([weights[it].sum() for it in own])
    expected = other @ inverse @ means.T - np.einsum("ci,ij,cj->c", means, inverse, means) / 2 + prior
    head = LDA(0.1, 1 - discount, priors=True)
    state = started(head)
    for start, n in zip(np.cumsum([0, *parts]), parts, strict=False):
        learn = at_once if n > 1 else one_by_one
        state = learn(head, x[start : start + n], y[start : start + n], state)
    found = relative(scores(head, state, other))
    np.testing.assert_allclose(found, expected - expected.mean(axis=1, keepdims=True), rtol=1e-6, atol=1e-9)


def test_a_class_long_past_is_still_known():
    head = LDA(0.1, 0.5)
    x, y, other = data()
    late = np.argsort(y != 4, kind="stable")
    state = one_by_one(head, np.tile(x[late], (9, 1)), np.concatenate([y[late], np.resize(y[y != 4], 8 * N)]))
    assert (scores(head, state, other)[:, 4] > MASKED).all()


@pytest.mark.parametrize("predictive", [True, False])
def test_gaussian_scores_are_the_densities_of_the_posterior(predictive):
    x, y, other = data()
    shape, rate = 2.0, 0.3
    expected = []
    for label in (0, 1, 2, 4):
        own = x[y == label]
        n, mean = len(own), own.mean(axis=0)
        a, b = shape + n / 2, rate + ((own - mean) ** 2).sum(axis=0) / 2
        if predictive:
            expected.append(t.logpdf(other, 2 * a, mean, np.sqrt(b * (n + 1) / (a * n))).sum(axis=1))
        else:
            expected.append(norm.logpdf(other, mean, np.sqrt(b / (a - 0.5))).sum(axis=1))
    head = GaussianHead(shape, rate, predictive=predictive)
    expected = np.stack(expected, axis=1)
    found = relative(scores(head, one_by_one(head, x, y), other))
    np.testing.assert_allclose(found, expected - expected.mean(axis=1, keepdims=True), rtol=1e-7, atol=1e-9)


def test_gaussian_without_a_prior_is_naive_bayes():
    x, y, other = data()
    head = GaussianHead(0.5, 0.0, predictive=False)  # at the mode, variances are then the examples' own
    peer = GaussianNB(priors=[0.25] * 4, var_smoothing=0).fit(x, y)
    found = jax.nn.softmax(head.scores(one_by_one(head, x, y), jnp.asarray(other))[:, jnp.asarray([0, 1, 2, 4])])
    np.testing.assert_allclose(found, peer.predict_proba(other), rtol=1e-6, atol=1e-12)


def test_a_gaussian_knows_a_class_from_one_example_far_away():
    head = GaussianHead(1.0, 1.0)
    x = jnp.asarray(np.stack([np.full(D, 1e8), np.zeros(D)]))
    state = at_once(head, x, np.asarray([0, 1], np.int32))
    found = scores(head, state, x)
    assert np.isfinite(found).all()
    np.testing.assert_array_equal(found.argmax(axis=1), [0, 1])


@pytest.mark.parametrize("labels", [True, False], ids=["classes", "numbers"])
def test_ridge_is_that_of_scikit_learn(labels):
    x, y, other = data()
    targets = np.eye(CLASSES)[y] if labels else np.stack([x @ np.arange(D), np.sin(x[:, 0])], axis=1) + 3
    penalty = 0.01 * np.cov(x, rowvar=False, bias=True).trace() * N / D
    peer = RidgeOfScikit(penalty).fit(x, targets)
    head = Ridge(0.01)
    state = one_by_one(head, x, y if labels else targets, started(head, targets.shape[1]))
    np.testing.assert_allclose(scores(head, state, other), peer.predict(other), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("labels", [True, False], ids=["classes", "numbers"])
@pytest.mark.parametrize("discount", [0.5, 0.97, 1.0])
@pytest.mark.parametrize("parts", PARTS)
def test_discounted_ridge_is_the_regression_with_those_weights(labels, discount, parts):
    x, y, other = data()
    targets = np.eye(CLASSES)[y] if labels else np.stack([x @ np.arange(D), np.sin(x[:, 0])], axis=1) + 3
    weights = discount ** np.arange(N - 1, -1, -1.0)
    mean = weights @ x / weights.sum()
    penalty = 0.01 * (weights @ (x - mean) ** 2).mean()
    peer = RidgeOfScikit(penalty).fit(x, targets, sample_weight=weights)
    head = Ridge(0.01, 1 - discount)
    state = started(head, targets.shape[1])
    given = y if labels else targets
    for start, n in zip(np.cumsum([0, *parts]), parts, strict=False):
        learn = at_once if n > 1 else one_by_one
        state = learn(head, x[start : start + n], given[start : start + n], state)
    np.testing.assert_allclose(scores(head, state, other), peer.predict(other), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("forgetting", [0.0, 0.01])
@pytest.mark.parametrize("numbers", [False, True], ids=["classes", "numbers"])
def test_blocks_of_fourier_features_come_to_the_regression_on_all_of_them(numbers, forgetting, monkeypatch):
    """Two whole blocks, and some examples that wait; then others at once."""
    monkeypatch.setattr(fourier_ridge, "_BLOCK", 40)
    x, y, other = data()
    given = np.stack([x @ np.arange(D), np.sin(x[:, 0])], axis=1) if numbers else y
    head = RandomFourierRidge(15, 0.5, 0.01, forgetting)
    state = started(head, 2 if numbers else CLASSES)
    state = at_once(head, x[97:], given[97:], one_by_one(head, x[:97], given[:97], state))
    angles = [it @ np.asarray(state.frequencies) / 0.5 for it in (x, other)]
    z, z_other = (np.concatenate([np.cos(it), np.sin(it)], axis=1) / 15**0.5 for it in angles)
    weights = (1 - forgetting) ** np.arange(N - 1, -1, -1.0)
    penalty = 0.01 * (weights @ (z - weights @ z / weights.sum()) ** 2).mean()
    peer = RidgeOfScikit(penalty).fit(z, given if numbers else np.eye(CLASSES)[y], sample_weight=weights)
    np.testing.assert_allclose(scores(head, state, other), peer.predict(z_other), rtol=1e-6, atol=1e-9)


def test_the_loss_on_an_example_is_of_all_before_it(monkeypatch):
    monkeypatch.setattr(fourier_ridge, "_BLOCK", 40)
    x, y, _ = data()
    heads = Ridge(0.01, 0.02), RandomFourierRidge(15, 0.5, 0.01, 0.02)
    example = jnp.asarray(x[97]), jnp.asarray(y[97])
    plain, fourier = (head.loss_before(one_by_one(head, x[:97], y[:97]), *example) for head in heads)
    np.testing.assert_allclose(plain, fourier, rtol=1e-12)


def test_products_of_fourier_features_are_the_gaussian_kernel():
    x, _, _ = data()
    n, scale = 100_000, 0.7
    frequencies = jax.random.normal(KEY, (D, n)) / D**0.5  # as `start` draws them
    none = jnp.zeros(0)
    fitted = Fitted(none[None], none, none, frequencies)
    z = np.asarray(RandomFourierRidge(n, scale).features(fitted, jnp.asarray(x[:30])))
    distances = ((x[:30, None] - x[None, :30]) ** 2).sum(axis=-1)
    np.testing.assert_allclose(z @ z.T, np.exp(-distances / (2 * D * scale**2)), rtol=0, atol=0.02)


def test_more_than_half_is_not_forgotten_at_once():
    with pytest.raises(ValueError, match=r"forgetting = 0.6, expected a number from 0 to 0.5"):
        Ridge(0.01, 0.6)


def test_random_features_are_cut_off_projections():
    x, y, other = data()
    head = Ridge(0.01, random_features=30)
    state = one_by_one(head, x, y)
    plain = Ridge(0.01)
    cut = [np.maximum(it @ np.asarray(state.random), 0) for it in (x, other)]
    same = plain.learn_all(plain.start(30, CLASSES, jnp.float64, KEY), jnp.asarray(cut[0]), jnp.asarray(y))
    np.testing.assert_allclose(scores(head, state, other), scores(plain, same, cut[1]), rtol=1e-7)


@pytest.mark.parametrize("head", first_short([LDA(0.1), SLDA(), Ridge(), NearestMean(), GaussianHead()]), ids=name_of)
def test_it_learns_through_the_contract_of_learners_too(head: Any):
    x, y, other = data(n=130)  # more than two blocks of rows
    stream = Example(x.reshape(-1, 7, 1), y, np.zeros(len(y), np.int32))
    learner = replace(head, stream_info=StreamInfo(CLASSES, 1, (130,)))
    example = jax.tree.map(lambda leaf: leaf[0], stream)
    observe = jax.jit(lambda state, example: learner.observe(state, example, KEY)[0])
    state = learner.init(None, example, KEY)
    for row in range(130):
        state = observe(state, jax.tree.map(lambda leaf, row=row: leaf[row], stream))
    expected = scores(head, one_by_one(head, x, y), other)
    np.testing.assert_allclose(learner.predict(state, other.reshape(-1, 7, 1), None), expected, rtol=1e-7)


@pytest.mark.parametrize("head", [NearestMean(), GaussianHead(), LDA(), SLDA()], ids=name_of)
def test_numbers_as_targets_are_refused(head: Any):
    learner = replace(head, stream_info=StreamInfo(3, 1, (9,)))
    example = Example(np.zeros(2, np.float32), np.zeros(3, np.float32), np.zeros((), np.int32))
    with pytest.raises(TypeError, match=r"got y of dtype float32, expected integer labels; for regression use ridge"):
        learner.init(None, example, KEY)


@pytest.mark.parametrize("n", [0, 1, 63, 64, 65, 200])
def test_a_scatter_is_exact_at_any_time(n):
    rows = np.random.default_rng(0).normal(size=(n, 3))
    scatter = no_scatter(3, jnp.float64)
    for row in rows:
        scatter = with_row(scatter, jnp.asarray(row))
    np.testing.assert_allclose(matrix(scatter), rows.T @ rows, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(matrix(with_rows(scatter, jnp.asarray(rows))), 2 * rows.T @ rows, rtol=1e-12, atol=1e-12)


def test_a_kernel_has_a_length_scale():
    with pytest.raises(ValueError, match=r"length_scale = 0.0, expected"):
        RandomFourierRidge(length_scale=0.0)
