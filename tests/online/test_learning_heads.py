"""A head in closed form that only learns does not compute what it would have answered, and learns the same bits."""

import jax
import numpy as np
import pytest

from perdure.learners.closed_form import CLOSED_FORM
from perdure.online import model as online_model
from perdure.online.rows import Rows
from perdure.online.settings import ModelSettings
from tests.conftest import first_short

N = 150


def model_of(method):
    return ModelSettings(method, standardize=False, allow_missing=False).new_model()


@pytest.mark.parametrize("d", first_short([20, 3]))
@pytest.mark.parametrize("method", CLOSED_FORM)
def test_learning_with_answers_and_without_comes_to_the_same_bits(method, d):
    rng = np.random.default_rng(d)
    x, y = rng.normal(size=(N, d)).astype(np.float32), rng.integers(0, 20, N).tolist()
    answering, silent = model_of(method), model_of(method)
    answering.predict_then_learn(Rows(x), y)
    silent.learn(Rows(x), y)
    for one, other in zip(*(jax.tree.leaves(it.state) for it in (answering, silent)), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(("method", "is_silent"), [("lda", True), ("er", False)])
def test_answers_are_left_out_where_they_cost(method, is_silent, monkeypatch):
    model, used = model_of(method), []
    program_of = online_model.program_of

    def watched(*arguments, **options):
        program = program_of(*arguments, **options)
        return program._replace(
            learn=lambda *given: used.append("answers") or program.learn(*given),
            only_learn=lambda *given: used.append("none") or program.only_learn(*given),
        )

    monkeypatch.setattr(online_model, "program_of", watched)
    x = np.eye(4, dtype=np.float32)
    model.learn(Rows(x), [0, 1, 0, 1])
    model.predict_then_learn(Rows(x), [0, 1, 0, 1])
    assert used == (["none", "answers"] if is_silent else ["answers", "answers"])
