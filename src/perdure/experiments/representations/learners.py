"""Continual learners on top of fixed representations of Omniglot, through the ordinary contract.

Source of protocol and published figures: Javed & White (2019), Table 2.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import PRNGKeyArray, Shaped

from perdure.core import Example, Learner
from perdure.execution.job import DivergedError, run
from perdure.execution.progress import count_progress
from perdure.experiments.representations.evaluate import evaluation_images, features_by_class
from perdure.learners.er import ER
from perdure.learners.ewc import EWC
from perdure.learners.mer import MER
from perdure.learners.online import Online
from perdure.machine.signals import InterruptedRunError
from perdure.models import MLP
from perdure.records.describe import digest
from perdure.records.feature_learners import LearnerCell, LearnersAsked, load_cells, save_cells
from perdure.representation.class_protocol import N_TRAIN
from perdure.representation.file import load_representation
from perdure.representation.network import ConvEncoder, Representation, he_head
from perdure.streams.arrays import from_arrays
from perdure.streams.benchmark import Benchmark
from perdure.streams.omniglot import load_omniglot

MEMORY_SIZE = 200
RATES = (0.1, 0.03, 0.01, 0.003, 0.001, 0.0003)
TASKS = {"1×50": (1, 50), "5×20": (5, 20)}
"""Classes a task, and number of tasks."""
_VALIDATION_SEEDS = (0, 1)

_LEARNERS: Mapping[str, Callable[[float], Learner[Any]]] = {
    "online": Online,
    "ewc": partial(EWC, fisher_examples=10, strength=10.0),
    "er": partial(ER, memory_size=MEMORY_SIZE, replay_batch_size=10),
    "mer": partial(MER, memory_size=MEMORY_SIZE, replay_batch_size=10, beta=0.1, gamma=1.0, batches_per_example=5),
}
"""From a learning rate to the learner."""

_PUBLISHED = {
    ("1×50", "online"): {"raw": (4.64, 2.61), "oml": (64.72, 2.57), "pretraining": (21.16, 2.71)},
    ("1×50", "er"): {"raw": (52.56, 2.12), "oml": (68.16, 3.12), "pretraining": (36.72, 3.06)},
    ("1×50", "mer"): {"raw": (54.88, 4.12), "oml": (76.00, 2.07), "pretraining": (62.76, 2.16)},
    ("1×50", "ewc"): {"raw": (5.08, 2.47), "oml": (64.44, 3.13), "pretraining": (18.72, 3.97)},
    ("5×20", "online"): {"raw": (1.40, 0.43), "oml": (55.32, 2.25), "pretraining": (11.80, 1.92)},
    ("5×20", "er"): {"raw": (24.32, 5.37), "oml": (60.92, 2.41), "pretraining": (37.44, 1.67)},
    ("5×20", "mer"): {"raw": (29.02, 4.01), "oml": (62.05, 2.19), "pretraining": (42.05, 3.71)},
    ("5×20", "ewc"): {"raw": (2.04, 0.35), "oml": (56.03, 3.20), "pretraining": (10.03, 1.53)},
}


class _Inputs(NamedTuple):
    """What the learners learn from, and with which network."""

    kind: str
    validation: Shaped[np.ndarray, "classes images ..."]
    evaluation: Shaped[np.ndarray, "classes images ..."]
    model: Callable[[Example, int, PRNGKeyArray], Any]


def compare_learners(
    names: Sequence[str],
    *,
    raw: bool,
    seeds: int,
    record: Path | None = None,
    data_dir: Path | None = None,
    show: bool = False,
) -> list[LearnerCell]:
    """Return the retained accuracy of every learner on every representation, for both task sizes.

    The learning rate is chosen for each by retained accuracy on background characters, over two seeds, among those with
    which no seed diverges; the figures are of evaluation characters. 15 drawings of a character are learned, 5 are held
    out.

    Args:
        names: of representations of Omniglot.
        raw: also a network of the first representation's architecture that learns the images from scratch.
        seeds: of each figure; a seed chooses classes, weights and draws.
        record: JSON file that is written after every figure; those that it holds already are not measured again.
        data_dir: folder to search first for raw data files.
        show: show a progress bar.

    Raises:
        ResultsError: if the record is damaged, or holds a comparison of other representations or seeds.
        InterruptedRunError: after Ctrl-C or SIGTERM; figures that were measured before are in the record.
        StorageError: if the record cannot be written.
    """
    given = [_on_features(name, data_dir) for name in names]
    if raw:
        given.append(_on_images(names[0], data_dir))
    asked = LearnersAsked(seeds, tuple((it.kind, digest((it.validation, it.evaluation))) for it in given))
    cells = [] if record is None else load_cells(record, asked)
    wanted = [(it, tasks, learner) for it in given for tasks in TASKS for learner in _LEARNERS]
    with count_progress("learners on representations", len(cells), len(wanted), "cells", show=show) as tell:
        for inputs, tasks, learner in wanted[len(cells) :]:
            try:
                cells.append(_cell(inputs, tasks, learner, seeds))
            except InterruptedRunError as stopped:
                kept = "nothing was kept" if record is None else "the same command goes on"
                message = f"stopped after {len(cells)} of {len(wanted)} figures; {kept}"
                raise InterruptedRunError(message, stopped.signal_number) from stopped
            if record is not None:
                save_cells(record, asked, cells)
            tell(len(cells), 0.0, f"{inputs.kind}, {tasks}, {learner}")
    return cells


def class_tasks_benchmark(
    examples: Shaped[np.ndarray, "classes images ..."], classes_each: int, n_tasks: int, seed: int
) -> Benchmark:
    """Return the benchmark that shows classes drawn by a seed, task after task; labels count them in that order."""
    chosen = np.random.default_rng(seed).permutation(len(examples))[: classes_each * n_tasks]

    def part(images: slice) -> list[tuple[np.ndarray, np.ndarray]]:
        tasks = []
        for task in range(n_tasks):
            labels = np.arange(classes_each * task, classes_each * (task + 1))
            shown = examples[chosen[labels], images]
            tasks.append((shown.reshape(-1, *shown.shape[2:]), np.repeat(labels, shown.shape[1])))
        return tasks

    n_outputs = classes_each * n_tasks
    return from_arrays(part(slice(N_TRAIN)), part(slice(N_TRAIN, None)), name="omniglot-classes", n_outputs=n_outputs)


def _cell(inputs: _Inputs, tasks: str, learner: str, seeds: int) -> LearnerCell:
    def retained(rate: float, examples: np.ndarray, chosen: Sequence[int]) -> tuple[float, ...] | None:
        """Return the retained accuracy of each seed, or None if one diverges: such a rate is no choice."""
        benchmark = partial(class_tasks_benchmark, examples, *TASKS[tasks])
        try:
            result = run(_LEARNERS[learner](rate), benchmark, seeds=chosen, model=inputs.model, progress=False)
        except DivergedError:
            return None
        return result.metrics["retained_accuracy"].per_seed

    validated = {rate: retained(rate, inputs.validation, _VALIDATION_SEEDS) for rate in RATES}
    means = {rate: float(np.mean(figures)) for rate, figures in validated.items() if figures is not None}
    published = _PUBLISHED[tasks, learner].get(inputs.kind)
    for rate in sorted(means, key=means.__getitem__, reverse=True):
        if (figures := retained(rate, inputs.evaluation, range(seeds))) is not None:
            return LearnerCell(inputs.kind, learner, tasks, rate, figures, published)
    raise DivergedError(f"{learner} on {inputs.kind}, {tasks}, diverges at all rates from {RATES[-1]} to {RATES[0]}")


def _on_features(name: str, data_dir: Path | None) -> _Inputs:
    trained = load_representation(name)
    encoder = _convolutional(trained.model, name)
    method = trained.metadata["training"]["method"]
    kind = "oml" if method["name"] == "OML" else "pretraining" if method["sparsity"] is None else "sr-nn"
    background = load_omniglot(encoder.input_shape[1], splits=["background"], data_dir=data_dir).images
    parts = (background, evaluation_images(encoder, data_dir))
    features = (np.asarray(features_by_class(trained.model, images)) for images in parts)
    return _Inputs(kind, *features, model=linear_head)


def _on_images(name: str, data_dir: Path | None) -> _Inputs:
    encoder = _convolutional(load_representation(name).model, name)
    background = load_omniglot(encoder.input_shape[1], splits=["background"], data_dir=data_dir).images
    width, strides = encoder.biases[0].shape[0], encoder.strides
    model = partial(whole_network, width=width, strides=strides)
    return _Inputs("raw", background, evaluation_images(encoder, data_dir), model)


def _convolutional(model: Representation, name: str) -> ConvEncoder:
    if not isinstance(model.encoder, ConvEncoder):
        raise ValueError(f"{name} is a representation of sine waves, expected one of images; name one of Omniglot")
    return model.encoder


def linear_head(example: Example, n_outputs: int, key: PRNGKeyArray) -> MLP:
    """Return a linear layer on features like `example.x`."""
    return he_head(np.size(example.x), (), n_outputs, key)


def whole_network(
    example: Example, n_outputs: int, key: PRNGKeyArray, *, width: int, strides: tuple[int, ...]
) -> Representation:
    """Return encoder and linear head for images like `example.x`, both of which learn."""
    encoder_key, head_key = jax.random.split(key)
    encoder = ConvEncoder(np.shape(example.x), width, strides, key=encoder_key)
    return Representation(encoder, he_head(encoder.n_features, (), n_outputs, head_key))
