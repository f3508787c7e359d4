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
from perdure.execution.job import DivergedError
from perdure.execution.parts import Advanced, Finished, keeps, parts_progress
from perdure.execution.progress import ProgressUpdate, Watch, say
from perdure.experiments.representations.evaluate import evaluation_images, features_by_class
from perdure.experiments.supervised.run import run
from perdure.experiments.supervised.spec import RUNS, describe_learner
from perdure.learners.er import ER
from perdure.learners.ewc import EWC
from perdure.learners.head import Head
from perdure.learners.lda import LDA
from perdure.learners.mer import MER
from perdure.learners.nearest_mean import NearestMean
from perdure.learners.online import Online
from perdure.models import MLP
from perdure.records.comparison import (
    KIND,
    ComparisonRecord,
    ComparisonRequest,
    FeatureSet,
    LearnerFigure,
    read_figures,
    write_figures,
)
from perdure.records.describe import digest, name_of
from perdure.records.errors import ResultsError, damaged
from perdure.records.folder import FORMAT, RunFolder, config_digest, own_folder
from perdure.records.requested import note_request, write_finished
from perdure.representation.class_protocol import N_TRAIN
from perdure.representation.file import load_representation, representation_place
from perdure.representation.network import ConvEncoder, Representation, he_head
from perdure.storage.reading import ContentError
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

_HEADS: Mapping[str, Head[Any]] = {"nearest-mean": NearestMean(), "lda": LDA()}
"""Learners that have no rate to choose."""

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

    @property
    def features(self) -> FeatureSet:
        """What the record says of it."""
        return FeatureSet(self.kind, digest((self.validation, self.evaluation)), name_of(self.model))


def compare_learners(
    names: Sequence[str],
    *,
    raw: bool,
    seeds: int,
    folder: Path | None = None,
    data_dir: Path | None = None,
    progress: bool | Watch = False,
) -> list[LearnerFigure]:
    """Return the retained accuracy of every learner on every representation, for both task sizes.

    The learning rate, unless they are heads in closed form, is chosen for each by retained accuracy on background
    characters, over two seeds, among those with which no seed diverges; the figures are of evaluation characters. 15
    drawings of a character are learned, 5 are held out.

    Args:
        names: of representations of Omniglot.
        raw: also a network of the first representation's architecture that learns the images from scratch.
        seeds: of each figure; a seed chooses classes, weights and draws.
        folder: where the record goes, written after every figure; those that it holds already are not measured again.
        data_dir: folder to search first for raw data files.
        progress: show a progress bar; or a function to which progress is reported.

    Raises:
        ValueError: if a representation is not of images, or two were trained by the same method.
        DivergedError: if a learner diverges at all rates.
        ResultsError: if the folder holds another run, or figures of other features of the same name.
        InterruptedRunError: after Ctrl-C or SIGTERM; figures that were measured before are in the folder.
        FolderInUseError: if another process owns the folder.
        StorageError: if the record cannot be written.
    """
    given = [_on_features(name, data_dir) for name in names]
    if raw:
        given.append(_on_images(names[0], data_dir))
    kinds = [it.kind for it in given]
    if len(set(kinds)) < len(kinds):
        raise ValueError(f"representations of the kinds {', '.join(kinds)} were given, expected one of each kind")
    if folder is None:
        return _measure_missing(given, seeds, [], None, progress)
    request = ComparisonRequest([representation_place(name) for name in names], raw, [it.features for it in given])
    with own_folder(folder, comparison_config(seeds)) as home:
        home.begin(f"learners on {', '.join(kinds)}", {})
        known = _known_figures(home, request.features, seeds)
        note_request(home, request.to_json())
        was_finished = home.finished
        figures = _measure_missing(given, seeds, known, home, progress)
        if was_finished:
            say(f"these are the figures of the finished comparison in {folder}; delete it to run again", show=progress)
        elif home.is_there():
            home.log(f"finished: {len(figures)} figures")
            write_finished(home, {"figures": len(figures)})
        return figures


def resume_comparison(
    folder: Path, data_dir: Path | None = None, *, progress: bool | Watch = True
) -> list[LearnerFigure]:
    """Resume the comparison in a folder; see `compare_learners`.

    Raises:
        ResultsError: if the folder holds no comparison, or its representations have changed since.
        RepresentationError: if a representation is no longer where it was.
    """
    record = ComparisonRecord.load(folder)
    return compare_learners(
        record.request.representations,
        raw=record.request.raw,
        seeds=len(record.config["seeds"]),
        folder=folder,
        data_dir=data_dir,
        progress=progress,
    )


def comparison_config(seeds: int) -> dict[str, Any]:
    """Return the config.json of a comparison: all that decides its figures but the representations."""
    learners = {name: describe_learner(make(RATES[0])) for name, make in _LEARNERS.items()}
    for described in learners.values():
        described["hyperparameters"].pop("learning_rate")  # chosen among the rates
    learners |= {name: describe_learner(it) for name, it in _HEADS.items()}
    return {
        "format": FORMAT,
        "kind": KIND,
        "learners": learners,
        "tasks": {name: list(sizes) for name, sizes in TASKS.items()},
        "rates": list(RATES),
        "seeds": list(range(seeds)),
        "validation_seeds": list(_VALIDATION_SEEDS),
    }


def default_comparison_folder(seeds: int, root: Path = RUNS) -> Path:
    """Return where a comparison goes unless told otherwise: one folder for each configuration."""
    return root / f"learners-{config_digest(comparison_config(seeds))}"


def _known_figures(home: RunFolder, features: Sequence[FeatureSet], seeds: int) -> list[LearnerFigure]:
    """Return the figures in a folder, none of which is of other features than those of the same name now."""
    try:
        known = read_figures(home.path, seeds)
    except ContentError as cause:
        raise damaged(cause) from cause
    now = {it.name: it for it in features}
    for it in known:
        wanted = now.get(it.representation, it.features)
        if it.features != wanted:
            raise ResultsError(
                f"{home.path} holds figures of {it.representation} with other features: {it.features} there, {wanted} "
                "requested; give this comparison another folder with --out, or delete that one"
            )
    return known


def _measure_missing(
    given: Sequence[_Inputs],
    seeds: int,
    known: Sequence[LearnerFigure],
    home: RunFolder | None,
    progress: bool | Watch,
) -> list[LearnerFigure]:
    """Return the figures requested, which are kept as they are measured."""
    features = {it.kind: it.features for it in given}
    by_key = {(it.representation, it.tasks, it.learner): it for it in known}
    wanted = [(it, tasks, learner) for it in given for tasks in TASKS for learner in (*_LEARNERS, *_HEADS)]
    missing = [it for it in wanted if (it[0].kind, *it[1:]) not in by_key]
    if not missing:
        return [by_key[it.kind, tasks, learner] for it, tasks, learner in wanted]

    def how_far() -> Finished:
        return Finished(sum((it.kind, *others) in by_key for it, *others in wanted), len(wanted), "figures")

    label, n_runs = "learners on representations", sum(1 if it[2] in _HEADS else len(RATES) + 1 for it in missing)
    with parts_progress(label, n_runs, "runs", how_far, folder=home, show=progress) as advanced:
        for inputs, tasks, learner in missing:
            by_key[inputs.kind, tasks, learner] = _figure(
                inputs, features[inputs.kind], tasks, learner, seeds, advanced
            )
            if home is not None and keeps(home):
                write_figures(home.path, list(by_key.values()))
    return [by_key[it.kind, tasks, learner] for it, tasks, learner in wanted]


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


def _figure(
    inputs: _Inputs, features: FeatureSet, tasks: str, learner: str, seeds: int, advanced: Advanced
) -> LearnerFigure:
    def retained(learns: Learner[Any], examples: np.ndarray, chosen: Sequence[int]) -> tuple[float, ...] | None:
        """Return the retained accuracy of each seed, or None if one diverges: such a rate is no choice."""
        benchmark = partial(class_tasks_benchmark, examples, *TASKS[tasks])
        try:
            result = run(learns, benchmark, seeds=chosen, model=inputs.model, progress=_still(advanced))
        except DivergedError:
            return None
        return result.metrics["retained_accuracy"].per_seed

    if learner in _HEADS:
        figures = retained(_HEADS[learner], inputs.evaluation, range(seeds))
        assert figures is not None  # nothing is learned by gradient steps
        advanced(1)
        return LearnerFigure(features, learner, tasks, None, figures, None)
    validated = {}
    for rate in RATES:
        validated[rate] = retained(_LEARNERS[learner](rate), inputs.validation, _VALIDATION_SEEDS)
        advanced(1)
    means = {rate: float(np.mean(figures)) for rate, figures in validated.items() if figures is not None}
    published = _PUBLISHED[tasks, learner].get(inputs.kind)
    for rate in sorted(means, key=means.__getitem__, reverse=True):
        if (figures := retained(_LEARNERS[learner](rate), inputs.evaluation, range(seeds))) is not None:
            advanced(1)
            return LearnerFigure(features, learner, tasks, rate, figures, published)
    raise DivergedError(f"{learner} on {inputs.kind}, {tasks}, diverges at all rates from {RATES[-1]} to {RATES[0]}")


def _still(advanced: Advanced) -> Watch:
    """Return what hears of the progress within a run, which moves no bar but notices stop requests."""

    def watch(update: ProgressUpdate) -> None:
        advanced(0)

    return watch


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
        raise ValueError(
            f"{name} has no encoder of plain convolutions, which the published comparison is about; name one that was "
            "trained on Omniglot by oml, pretraining or sr-nn"
        )
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
