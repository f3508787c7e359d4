"""Training by ANML: resumed bit for bit, evaluated as published, and its presets."""

import dataclasses
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from perdure.experiments.representations.evaluate import evaluate_classes
from perdure.experiments.representations.job import TrainingJob, take_steps
from perdure.experiments.representations.plan import make_recipe
from perdure.experiments.representations.train import train_representation
from perdure.machine.signals import InterruptedRunError
from perdure.records.describe import describe
from perdure.representation.anml import ANML
from perdure.representation.domains import ImageClasses
from perdure.representation.episodes import ClassEpisodes
from perdure.testing.methods import tiny_images
from perdure.updates.gradient import init_train_state

METHOD = ANML(0.1, 0.002, width=6, gate_width=4, convolutions=2)
EPISODES = ClassEpisodes(classes=1, images_each=4, query_each=0, random_images=3, halves=False)


def anml_domain():
    tiny = tiny_images()
    images, held_out = (np.pad(it, [(0, 0), (0, 0), (1, 1), (1, 1)]) for it in (tiny.images, tiny.held_out))
    return ImageClasses(images, held_out, EPISODES, n_outputs=12, validation_runs=1)


def train(folder, steps=9):
    return train_representation(
        anml_domain(), METHOD, steps=steps, folder=folder, validate_every=4, checkpoint_seconds=0.0, progress=False
    )


def test_a_stopped_training_ends_bit_identical(tmp_path, act_at):
    whole = train(tmp_path / "whole")
    for position in (4, 8):
        act_at(position, lambda: signal.raise_signal(signal.SIGTERM), TrainingJob)
        with pytest.raises(InterruptedRunError, match=f"^stopped after {position} of 9 steps"):
            train(tmp_path / "stopped")
    stopped = train(tmp_path / "stopped")
    for one, other in zip(jax.tree.leaves(whole.model), jax.tree.leaves(stopped.model), strict=True):
        np.testing.assert_array_equal(one, other)
    assert whole.metadata["training"] == stopped.metadata["training"]
    assert whole.metadata["training"]["method"] == describe(METHOD, "method")


def test_it_is_evaluated_by_the_head_that_alone_learns_and_by_closed_forms():
    model, images = METHOD.new_model(anml_domain(), jax.random.key(0)), anml_domain().images
    results = {
        head: evaluate_classes(model, images, [5], head=head, runs=2, rates=[0.03, 0.01], n_train=6)[0]
        for head in ("sgd", "lda")
    }
    assert all(result.held_out.mean() > 0.5 for result in results.values())
    assert results["sgd"].rate in (0.03, 0.01)
    assert results["lda"].rate is None


@pytest.mark.real_data
@pytest.mark.long
def test_the_loss_falls_with_a_presets_episodes_and_rates(real_omniglot_dir):
    recipe = make_recipe("omniglot", "small", "anml", {}, real_omniglot_dir)
    assert isinstance(recipe.method, ANML)
    method = dataclasses.replace(recipe.method, width=24, gate_width=10)
    now = init_train_state(method.new_model(recipe.domain, jax.random.key(0)), method.optimizer())
    given, key = jax.tree.map(jnp.asarray, (method, recipe.domain)), jax.random.key(1)
    losses = []
    for start in (0, 20, 40):
        now, measured = take_steps(*given, now, key, jnp.asarray(start), jnp.asarray(start + 20))
        losses.append(float(measured.loss))
    assert losses[2] < losses[1] - 0.1 < losses[0] - 0.2


@pytest.mark.real_data
@pytest.mark.parametrize(("size", "widths"), [("paper", (256, 112)), ("small", None)])
def test_presets(size, widths, real_omniglot_dir):
    recipe = make_recipe("omniglot", size, "anml", {"first_order": True}, real_omniglot_dir)
    method, domain = recipe.method, recipe.domain
    assert isinstance(method, ANML)
    assert isinstance(domain, ImageClasses)
    assert (method.inner_rate, method.meta_rate, method.first_order) == (0.1, 0.001, True)
    assert domain.images.shape[2:] == (28, 28)
    assert domain.episodes == ClassEpisodes(1, 20, 0, 64, halves=False)
    if widths is not None:
        assert (method.width, method.gate_width) == widths
        assert recipe.steps == 20_000
