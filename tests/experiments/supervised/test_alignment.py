"""Gradient alignment, as a run logs it."""

import warnings
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from perdure.core import Info, Learner, PerdureWarning
from perdure.experiments.supervised import run as running
from perdure.learners.online import Online
from perdure.records.learner import RunRecord
from perdure.records.summary import ALIGNMENTS
from perdure.streams.arrays import from_arrays
from perdure.updates.gradient import example_loss, predict_batch
from perdure.updates.losses import cross_entropy


@pytest.mark.long
def test_alignment_has_no_past_at_the_first_example_only(uninterrupted):
    before, after, cosines = uninterrupted.alignments
    for name, log in zip(ALIGNMENTS, (before, after, cosines), strict=True):
        assert np.isnan(log[:, 0]).all()
        assert np.isfinite(log[:, 1:]).all()
        expected = log[:, 1:].mean(axis=1, dtype=np.float64)
        np.testing.assert_allclose(uninterrupted.metrics[name].per_seed, expected, rtol=1e-12)
    assert (np.abs(cosines[:, 1:]) <= 1 + 1e-6).all()
    np.testing.assert_array_equal(np.sign(cosines), np.sign(before))
    assert (after[:, 1:] != before[:, 1:]).all()


@pytest.mark.long
def test_alignment_does_not_change_what_is_learned(quick_run, er, benchmark, uninterrupted, as_bytes):
    without = quick_run(er, benchmark, seeds=2, evaluation="full")
    assert as_bytes(without.states) == as_bytes(uninterrupted.states)
    assert as_bytes(without.losses) == as_bytes(uninterrupted.losses)


@pytest.mark.long
def test_alignment_with_itself_is_the_squared_gradient(quick_run, small_mlp):
    # One example again and again, nothing learned: every past example is the arriving one.
    x, y = np.full((5, 2, 3), 200, np.uint8), np.full(5, 1, np.int32)
    result = quick_run(Online(learning_rate=0.0), from_arrays([(x, y)], [(x, y)]), alignment=True)
    model = jax.tree.map(lambda leaf: leaf[0], result.states.model)

    def loss(model):
        return -jax.nn.log_softmax(model(jnp.asarray(x[0] / np.float32(255))))[1]

    squares = [np.sum(np.asarray(leaf, np.float64) ** 2) for leaf in jax.tree.leaves(jax.grad(loss)(model))]
    np.testing.assert_allclose(result.alignments.before[0, 1:], sum(squares), rtol=1e-5)
    np.testing.assert_allclose(result.alignments.cosine[0, 1:], 1, rtol=1e-5)


@pytest.mark.long
def test_alignment_after_the_update_by_hand(quick_run):
    """Two examples, one after the other: the past of the second is the first."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 2, 3)).astype(np.float32), np.asarray([0, 2], np.int32)
    benchmark = from_arrays([(x, y)], [(x, y)], n_outputs=3)
    result = quick_run(Online(learning_rate=0.3), benchmark, alignment=True)
    models = [
        jax.tree.map(lambda leaf: leaf[0], quick_run(Online(learning_rate=0.3), it).states.model)
        for it in (from_arrays([(x[:1], y[:1])], [(x, y)], n_outputs=3), benchmark)
    ]
    for model, found in zip(models, (result.alignments.before, result.alignments.after), strict=True):
        slopes = [jax.grad(lambda model, n=n: -jax.nn.log_softmax(model(x[n]))[y[n]])(model) for n in range(2)]
        pairs = zip(*map(jax.tree.leaves, slopes), strict=True)
        expected = sum(float(np.sum(np.asarray(one, np.float64) * np.asarray(other))) for one, other in pairs)
        assert found[0, 1] == pytest.approx(expected, rel=1e-4)
    assert result.alignments.before[0, 1] != pytest.approx(result.alignments.after[0, 1], rel=1e-2)


class FirstClassState(NamedTuple):
    model: Any


class FirstClass(Learner[FirstClassState]):
    """Learns nothing and answers with the first class, as iCaRL does with any as long as it has no exemplars."""

    needs_task: ClassVar[bool] = False

    def init(self, model, example, key):
        return FirstClassState(model)

    def observe(self, state, example, key):
        outputs = self.predict(state, example.x[None], None)[0]
        return state, Info(example_loss(state.model, example.x, example.y, cross_entropy), outputs)

    def answering(self, state):
        return state.model

    def predict(self, state, x, task):
        return 0 * jax.lax.stop_gradient(predict_batch(state.model, x)) + jnp.asarray([[1.0, 0.0, 0.0]])


@pytest.mark.parametrize("alignment", [True, False])
def test_a_learner_that_predicts_without_its_weights_is_warned_of(quick_run, benchmark, tmp_path, alignment):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        quick_run(FirstClass(), benchmark, alignment=alignment, folder=tmp_path)
    told = [it for it in caught if it.category is PerdureWarning]
    assert len(told) == alignment
    for it in told:
        assert str(it.message).startswith("the gradient alignment of FirstClass is 0 at every example: ")
        assert it.filename != running.__file__, "the warning points at the caller"
    assert RunRecord.load(tmp_path).finished
