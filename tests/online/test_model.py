"""The online model: one row or many, growth, classes and columns that appear."""

from contextlib import contextmanager

import jax
import numpy as np
import optax
import pytest

from perdure.learners.er import ER
from perdure.learners.gaussian import GaussianHead
from perdure.learners.gem import GEM
from perdure.learners.lda import LDA
from perdure.learners.mer import MER
from perdure.learners.multi_timescale import MultiTimescaleMER
from perdure.learners.online import Online
from perdure.learners.ridge import Ridge
from perdure.learners.slda import SLDA
from perdure.online.errors import RowError
from perdure.online.growth import widened
from perdure.online.methods import default_mixture
from perdure.online.model import OnlineModel
from perdure.online.rows import Rows

LEARNERS = {
    "online": Online(0.1),
    "adam": Online(0.01, optimizer=optax.adam),
    "er": ER(0.1, 20, 3),
    "er-balanced": ER(0.1, 20, 3, memory_rule="balanced"),
    "mer": MER(0.1, 20, 3, beta=0.3, gamma=0.5, batches_per_example=2, memory_rule="recent"),
    "multi-timescale-mer": MultiTimescaleMER(20, replay_batch_size=3),
    "slda": SLDA(0.1),
    "gaussian": GaussianHead(),
    "lda": LDA(0.1, 0.01),
    "ridge": Ridge(0.1, 0.01),
}


def model_of(name, **options):
    return OnlineModel(LEARNERS[name], hidden_sizes=(8,), **options)


@pytest.mark.parametrize("name", LEARNERS)
def test_many_rows_at_once_come_to_the_same_bits_as_one_by_one(name, table, rows_of, assert_same_state):
    columns, y = table
    rows = rows_of(**columns)
    together, alone = model_of(name), model_of(name)
    answers = together.predict_then_learn(rows, y).wait()
    for n in range(rows.n):
        place = np.asarray([n])
        known, before = alone.columns.to_json(), alone.predict(rows.take(place))[0]
        answer = alone.predict_then_learn(rows.take(place), y[n : n + 1]).wait()[0]
        np.testing.assert_array_equal(answer, answers[n, : len(answer)])
        # What came into being with the row had a part in its answer: columns, and where probabilities of several
        # networks are averaged, classes.
        averaged_and_new = name == "multi-timescale-mer" and len(answer) > len(before)
        if alone.columns.to_json() == known and not averaged_and_new:
            np.testing.assert_allclose(answer[: len(before)], before, atol=1e-5)
    assert_same_state(together, alone)


def test_predicting_changes_nothing(table, rows_of, assert_same_state):
    columns, y = table
    rows = rows_of(**columns)
    one, other = model_of("er"), model_of("er")
    for model in (one, other):
        model.learn(rows, y)
    one.predict(rows_of(size=np.asarray([1e9]), colour=["unheard of"]))
    assert_same_state(one, other)


@pytest.mark.long
def test_a_thousand_classes_cost_few_compilations_and_what_was_known_stays():
    rng = np.random.default_rng(0)
    model = OnlineModel(Online(0.05), hidden_sizes=(8,))
    probe = Rows(rng.normal(size=(3, 5)).astype(np.float32))
    model.learn(Rows(rng.normal(size=(1, 5)).astype(np.float32)), [0])
    width = model._n_capacity
    with compilations() as compiled:
        for label in range(1, 1000):
            x = rng.normal(size=(1, 5)).astype(np.float32)
            before = model.predict(probe)
            if label == width:  # what was known is answered as before by the wider model
                model.state = _grown(model, outputs_only=True)
                np.testing.assert_allclose(model.predict(probe), before, atol=1e-6)
                width = model._n_capacity
            model.learn(Rows(x), [label])
    answers = model.predict(probe)
    assert answers.shape == (3, 1000)
    np.testing.assert_allclose(answers.sum(axis=1), 1, rtol=1e-4)
    assert len(compiled) <= 12


@pytest.mark.parametrize("name", LEARNERS)
def test_a_wider_model_predicts_the_same(name, rows_of):
    rng = np.random.default_rng(0)
    rows = rows_of(a=rng.normal(size=50), b=rng.normal(size=50))
    y = [int(it) for it in rng.integers(0, 16, 50)]
    y[:16] = range(16)
    model = model_of(name)
    model.learn(rows, y)
    before = model.predict(rows)
    width = model._n_capacity
    assert width == 16
    model.state = _grown(model)
    assert model._n_capacity > width
    np.testing.assert_allclose(model.predict(rows), before, atol=1e-5)


def _grown(model, *, outputs_only=False):
    columns = len(model.state.scaled) * (1 if outputs_only else 4)
    return widened(model.state, model._initial((columns,), 4 * model._n_capacity)())


@contextmanager
def compilations():
    """Yield a list of the times that compiling takes while a block runs."""
    times, listens = [], [True]

    def note(event: str, duration_secs: float, **_: object) -> None:
        if event == "/jax/core/compile/backend_compile_duration" and listens:
            times.append(duration_secs)

    jax.monitoring.register_event_duration_secs_listener(note)
    yield times
    listens.clear()


@pytest.mark.long
def test_experts_learn_side_by_side(table, rows_of):
    columns, y = table
    mixture = default_mixture(40, "reservoir", (8,))
    model = OnlineModel(mixture, hidden_sizes=(8,))
    rows = rows_of(**columns)
    model.learn(rows, y)
    weights = model.expert_weights
    assert tuple(weights) == mixture.names
    assert sum(weights.values()) == pytest.approx(1)
    np.testing.assert_allclose(model.predict(rows).sum(axis=1), 1, rtol=1e-5)


def test_numbers_are_learned(rows_of):
    rng = np.random.default_rng(0)
    a = rng.normal(size=2000)
    y = 1e6 + 3e4 * a
    model = OnlineModel(Online(0.03), hidden_sizes=(8,), regression=True)
    answers = model.predict_then_learn(rows_of(a=a), y).wait()
    assert np.abs(answers[1500:, 0] - y[1500:]).mean() < 0.3 * np.abs(y - y.mean()).mean()


def test_a_bad_row_teaches_nothing(table, rows_of, assert_same_state):
    columns, y = table
    one, other = model_of("er"), model_of("er")
    for model in (one, other):
        model.learn(rows_of(**columns), y)
    with pytest.raises(RowError, match="row 1, column 'size' is inf"):
        one.learn(rows_of(size=np.asarray([1.0, np.inf]), new=["x", "y"]), ["a", "b"])
    with pytest.raises(RowError, match="2 rows and 1 targets"):
        one.learn(rows_of(size=np.asarray([1.0, 2.0])), ["a"])
    assert_same_state(one, other)


def test_methods_that_must_know_tasks_are_refused():
    with pytest.raises(ValueError, match="GEM must be told which task each example belongs to"):
        OnlineModel(GEM(0.1, 10, margin=0.5))


def test_images_keep_their_shape():
    images = np.random.default_rng(0).integers(0, 256, (20, 4, 4), dtype=np.uint8)
    model = OnlineModel(Online(0.1), hidden_sizes=(8,))
    model.learn(Rows(images), ["a", "b"] * 10)
    assert model.predict(Rows(images)).shape == (20, 2)
    with pytest.raises(RowError, match=r"inputs have shape \(5, 5\), expected \(4, 4\)"):
        model.learn(Rows(np.zeros((1, 5, 5), np.uint8)), ["a"])


def test_states_are_kept_and_restored(table, rows_of, assert_same_state):
    columns, y = table
    rows = rows_of(**columns)
    model, again = model_of("er"), model_of("er")
    model.learn(rows, y)
    again.restore(*model.to_arrays())
    for one in (model, again):
        one.learn(rows, y)
    assert_same_state(model, again)
    assert jax.tree.leaves(model.state)
