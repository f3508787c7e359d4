"""The representations that come with perdure."""

from importlib import resources

import jax
import numpy as np
import pytest

from perdure.experiments.representations.evaluate import evaluate_classes, evaluate_sines, evaluation_images
from perdure.representation.blocks import BlockEncoder
from perdure.representation.file import load_representation, shipped_representations
from perdure.representation.network import ConvEncoder
from perdure.representation.sine_protocol import SineTrajectory

pytestmark = [pytest.mark.long, pytest.mark.optimized]

NAMES = [
    "omniglot-small",
    "omniglot-small-anml",
    "omniglot-small-gemcl",
    "omniglot-small-pretraining",
    "omniglot-small-prototypes",
    "omniglot-small-sr-nn",
    "sine",
    "sine-pretraining",
    "sine-sr-nn",
]


def test_all_are_there():
    assert shipped_representations() == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_each_tells_how_it_came_about(name):
    model, facts = load_representation(name)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(model))
    assert facts["command"].startswith(("perdure oml train ", "perdure features train "))
    assert facts["training"]["steps"] > 0


def test_all_files_together_are_small():
    folder = resources.files("perdure.representation") / "trained"
    assert sum(len((folder / f"{name}.safetensors").read_bytes()) for name in NAMES) < 12e6


def test_prototypes_know_many_characters_after_one_pass(real_omniglot_dir):
    model = load_representation("omniglot-small-prototypes").model
    assert isinstance(model.encoder, BlockEncoder)
    images = evaluation_images(model.encoder, real_omniglot_dir)
    (result,) = evaluate_classes(model, images, [200], runs=2, head="nearest-mean")
    assert result.held_out.mean() > 0.93


def test_new_characters_are_learned_in_one_pass(real_omniglot_dir):
    encoder = load_representation("omniglot-small").model.encoder
    assert isinstance(encoder, ConvEncoder)
    images = evaluation_images(encoder, real_omniglot_dir)
    scores = {
        name: evaluate_classes(load_representation(name).model, images, [10], runs=6, rates=(0.003, 0.0003))[0]
        for name in ("omniglot-small", "omniglot-small-pretraining")
    }
    assert scores["omniglot-small"].trajectory.mean() > 0.9
    assert scores["omniglot-small"].held_out.mean() > scores["omniglot-small-pretraining"].held_out.mean() + 0.2


def test_new_functions_are_learned_one_after_another():
    trajectory = SineTrajectory(test_examples=320)
    errors = {
        name: evaluate_sines(load_representation(name).model, runs=5, rates=(0.003,), trajectory=trajectory)
        for name in ("sine", "sine-pretraining")
    }
    final = {name: it.so_far[:, -1].mean() for name, it in errors.items()}
    assert final["sine"] < 0.36
    assert 4 * final["sine"] < final["sine-pretraining"]
