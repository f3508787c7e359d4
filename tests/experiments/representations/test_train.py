"""Training representations: what the folder holds, resuming bit for bit, what is refused."""

import json
import re
import shutil
import signal
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tensorboardX.proto.event_pb2 import Event  # pyright: ignore[reportAttributeAccessIssue]

from perdure.core import PerdureWarning
from perdure.execution.job import DivergedError
from perdure.execution.loggers import observers
from perdure.experiments.representations import job
from perdure.experiments.representations.job import TrainingJob
from perdure.experiments.representations.train import train_representation
from perdure.machine.signals import InterruptedRunError
from perdure.records.errors import ResultsError
from perdure.representation.domains import ImageClasses, SinePool, split_classes
from perdure.representation.episodes import ClassEpisodes, SineEpisodes
from perdure.representation.oml import OML
from perdure.representation.pretraining import Pretraining
from perdure.streams.sine import draw_sines
from tests.conftest import first_short


def image_domain(seed=0):
    images = np.random.default_rng(seed).integers(0, 256, (12, 8, 9, 9), dtype=np.uint8)
    training, held_out = split_classes(images, 3)
    episodes = ClassEpisodes(classes=2, images_each=2, query_each=2, random_images=3)
    return ImageClasses(training, held_out, episodes, width=4, strides=(2, 1), n_outputs=12, validation_runs=1)


def sine_domain():
    episodes = SineEpisodes(functions=2, steps_each=3, batch_size=4, numbers=3)
    return SinePool(draw_sines(10, jax.random.key(0)), episodes, widths=(8, 8), validation_runs=1)


METHODS = [OML(0.1, 0.01), OML(0.1, 0.01, first_order=True), Pretraining(0.01, sparsity=0.1, batch_size=8)]


def weights(trained):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(trained.model)]


@pytest.mark.parametrize("method", first_short(METHODS))
@pytest.mark.parametrize("domain", [image_domain, sine_domain])
def test_every_method_trains_on_every_domain(domain, method, tmp_path):
    trained = train_representation(domain(), method, steps=7, folder=tmp_path / "t", validate_every=3, progress=False)
    untrained = train_representation(domain(), method, steps=0, folder=tmp_path / "u", progress=False)
    assert all(np.isfinite(leaf).all() for leaf in weights(trained))
    assert trained.metadata["training"]["steps"] == 7
    assert [leaf.shape for leaf in weights(trained)] == [leaf.shape for leaf in weights(untrained)]


@pytest.mark.parametrize(("domain", "what"), [(image_domain, "accuracy"), (sine_domain, "error")])
def test_progress_is_in_accuracies_or_in_errors_that_are_positive(domain, what, tmp_path):
    updates = []
    options: dict[str, Any] = {"validate_every": 2, "progress": updates.append}
    train_representation(domain(), METHODS[0], steps=4, folder=tmp_path / "t", **options)
    words = rf"loss \d+\.\d+, {what} \d+\.\d+ → \d+\.\d+, best validation \d+\.\d+"
    assert re.fullmatch(words, updates[-1].words)


def test_a_stopped_training_ends_bit_identical(tmp_path, act_at):
    def train(folder):
        return train_representation(
            image_domain(), METHODS[0], steps=9, folder=folder, validate_every=2, checkpoint_seconds=0.0, progress=False
        )

    whole = train(tmp_path / "whole")
    for position in (2, 4, 6, 8):  # after each validation
        act_at(position, lambda: signal.raise_signal(signal.SIGTERM), TrainingJob)
        with pytest.raises(InterruptedRunError, match=f"^stopped after {position} of 9 steps; resume with `perd"):
            train(tmp_path / "stopped")
    stopped = train(tmp_path / "stopped")
    for one, other in zip(weights(whole), weights(stopped), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_training_whose_folder_is_deleted_says_so_and_returns_its_network(tmp_path, act_at):
    def train(folder):
        return train_representation(
            sine_domain(), METHODS[0], steps=6, folder=folder, validate_every=2, checkpoint_seconds=0.0, progress=False
        )

    whole = train(tmp_path / "whole")
    act_at(4, lambda: shutil.rmtree(tmp_path / "deleted"), TrainingJob)
    with pytest.warns(PerdureWarning, match="deleted was deleted during the run: nothing more is kept of it"):
        deleted = train(tmp_path / "deleted")
    for one, other in zip(weights(whole), weights(deleted), strict=True):
        np.testing.assert_array_equal(one, other)
    assert deleted.metadata == whole.metadata
    assert not (tmp_path / "deleted").exists()


def test_a_finished_training_is_read_and_says_so(tmp_path, monkeypatch, capsys):
    def train():
        return train_representation(sine_domain(), METHODS[0], steps=4, folder=tmp_path)

    first = train()
    assert "finished training" not in capsys.readouterr().err
    monkeypatch.setattr(TrainingJob, "advance", lambda job, stop: 1 // 0)
    again = train()
    assert f"this is the finished training in {tmp_path}; delete it to train again\n" in capsys.readouterr().err
    for one, other in zip(weights(first), weights(again), strict=True):
        np.testing.assert_array_equal(one, other)


def test_tensorboard_reads_the_log(tmp_path):
    train_representation(sine_domain(), METHODS[0], steps=4, folder=tmp_path, validate_every=2, progress=False)
    content = next(tmp_path.glob("events.*")).read_bytes()
    tags, at = set(), 0
    while at < len(content):
        length = int.from_bytes(content[at : at + 8], "little")
        event = Event.FromString(content[at + 12 : at + 12 + length])
        tags |= {value.tag for value in event.summary.value}
        at += 16 + length
    assert {"training/loss", "training/before", "training/after", "validation/best_score"} <= tags


def test_training_needs_no_tensorboard(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)  # as if it were not installed
    monkeypatch.setattr(observers, "find_spec", lambda name: None)
    trained = train_representation(sine_domain(), METHODS[0], steps=2, folder=tmp_path, progress=False)
    assert trained.metadata["training"]["steps"] == 2
    assert not list(tmp_path.glob("events.*"))


def test_the_best_is_kept_and_patience_ends(tmp_path):
    # Rates that destroy: the network before training stays the best.
    trained = train_representation(
        sine_domain(), OML(1.0, 3.0, clip=1.0), steps=400, folder=tmp_path, validate_every=5, patience=3, progress=False
    )
    log = (tmp_path / "log.txt").read_text()
    assert "finished: 15 steps" in log or "finished: 20 steps" in log
    assert all(np.isfinite(leaf).all() for leaf in weights(trained))


def test_of_equally_good_networks_the_last_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(job, "_validate", lambda *given: jnp.ones(()))  # as good as can be from the start
    options = {"validate_every": 2, "progress": False}
    lengths = {
        n: train_representation(sine_domain(), METHODS[0], steps=n, folder=tmp_path / str(n), **options) for n in (2, 4)
    }
    assert any(np.any(one != other) for one, other in zip(*map(weights, lengths.values()), strict=True))
    trained = train_representation(
        sine_domain(), METHODS[0], steps=400, folder=tmp_path / "400", patience=2, **options
    )  # ends after two that are no better
    for one, other in zip(weights(trained), weights(lengths[4]), strict=True):
        np.testing.assert_array_equal(one, other)


def test_divergence_is_told(tmp_path):
    with pytest.raises(DivergedError, match=r"^training diverged: the loss is .*; lower the rates"):
        train_representation(sine_domain(), OML(1e30, 1e30), steps=50, folder=tmp_path, progress=False)
    assert not (tmp_path / "representation.safetensors").exists()


def test_another_training_in_the_folder(tmp_path):
    train_representation(sine_domain(), METHODS[0], steps=2, folder=tmp_path, progress=False)
    before = (tmp_path / "representation.safetensors").read_bytes()
    with pytest.raises(ResultsError, match=r"method.inner_rate: 0.1 there, 0.2 requested"):
        train_representation(sine_domain(), OML(0.2, 0.01), steps=2, folder=tmp_path, progress=False)
    assert (tmp_path / "representation.safetensors").read_bytes() == before


@pytest.mark.parametrize("values", [{"steps": -1}, {"seed": -1}, {"patience": 0}])
def test_numbers_out_of_range(values, tmp_path):
    with pytest.raises(ValueError, match=r"expected steps ≥ 0|seed is -1, expected 0 to"):
        train_representation(sine_domain(), METHODS[0], **({"steps": 1, "folder": tmp_path} | values))


def test_validation_classes_of_another_size():
    images = np.zeros((12, 8, 9, 9), np.uint8)
    with pytest.raises(ValueError, match="prepare both alike"):
        ImageClasses(images, images[:2, :, :8], ClassEpisodes(2, 2, 2, 3), strides=(2,))
    with pytest.raises(ValueError, match="at least one on either side"):
        split_classes(images, 12)


@pytest.mark.parametrize("shape", [(12, 8, 9, 9, 1), (12, 8, 9, 9, 3)])
def test_channels_that_come_last_are_named(shape, tmp_path):
    images = np.zeros(shape, np.uint8)
    domain = ImageClasses(images, images[:2], ClassEpisodes(2, 2, 2, 3), strides=(2,))
    with pytest.raises(ValueError, match=r"here the channels come last: move them with numpy.moveaxis\(x, -1, -3\)"):
        train_representation(domain, METHODS[0], steps=1, folder=tmp_path)


def test_pixels_that_are_not_finite_are_named():
    images = np.zeros((12, 8, 9, 9), np.float32)
    bad = images.copy()
    bad[3, 2, 1, 0] = np.nan
    for train, held_out, name in ((bad, images, "images"), (images, bad, "held_out")):
        with pytest.raises(ValueError, match=rf"{name}\[3, 2, 1, 0\] is nan, expected a finite number"):
            ImageClasses(train, held_out, ClassEpisodes(2, 2, 2, 3), strides=(2,))


def test_the_record_tells_what_was_requested(tmp_path):
    train_representation(image_domain(), METHODS[0], steps=1, folder=tmp_path, progress=False)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["domain"]["episodes"] == {
        "name": "ClassEpisodes",
        "classes": 2,
        "images_each": 2,
        "query_each": 2,
        "random_images": 3,
        "halves": True,
    }
    assert config["domain"]["images"]["array"] == "uint8[9, 8, 9, 9]"
    assert len(config["domain"]["images"]["sha256"]) == 32
    assert config["method"] == {
        "name": "OML",
        "inner_rate": 0.1,
        "meta_rate": 0.01,
        "first_order": False,
        "clip": None,
        "decay_steps": None,
    }
