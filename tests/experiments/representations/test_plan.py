"""From names to trainings."""

import pytest

from perdure.experiments.representations.plan import make_recipe
from perdure.representation.oml import OML
from perdure.representation.pretraining import Pretraining


def test_the_published_sine_training():
    recipe = make_recipe("sine", "paper", "oml", {})
    assert isinstance(recipe.method, OML)
    assert recipe.method.clip == 10
    assert recipe.method.decay_steps == recipe.steps


def test_a_decay_ends_with_the_steps():
    recipe = make_recipe("sine", "paper", "oml", {"steps": 7, "first_order": True})
    assert isinstance(recipe.method, OML)
    assert (recipe.steps, recipe.method.decay_steps, recipe.method.first_order) == (7, 7, True)


def test_baselines():
    plain, sparse = (make_recipe("sine", "paper", method, {"validate_every": 3}) for method in ("pretraining", "sr-nn"))
    assert isinstance(plain.method, Pretraining)
    assert isinstance(sparse.method, Pretraining)
    assert (plain.method.sparsity, sparse.method.sparsity) == (None, 0.1)
    assert plain.validate_every == 3
    assert make_recipe("sine", "paper", "scratch", {}).steps == 0


@pytest.mark.parametrize(
    ("names", "changes", "message"),
    [
        (("omniglot", "huge", "oml"), {}, "there is no preset for omniglot, size huge, method oml; there are:"),
        (("sine", "paper", "gem"), {}, "sine paper sr-nn"),
        (("sine", "paper", "pretraining"), {"inner_rate": 0.1}, "pretraining has no inner_rate; it has"),
    ],
)
def test_mistakes(names, changes, message):
    with pytest.raises(ValueError, match=message):
        make_recipe(names[0], names[1], names[2], changes)
