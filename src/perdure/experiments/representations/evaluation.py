"""Evaluations of representations that leave a record, and resume from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Shaped

from perdure.execution.apart import Part, do_apart, part_folder, remove_parts, when_free
from perdure.execution.parts import Advanced, Finished, keeps, parts_progress
from perdure.execution.pool import Engine
from perdure.execution.progress import Watch, say
from perdure.experiments.representations.evaluate import (
    check_classes,
    check_sine_heads,
    closed_form_results,
    drawn_classes,
    evaluate_sines,
    evaluation_images,
    features_by_class,
    n_runs,
    sgd_results,
    sine_rates,
)
from perdure.experiments.representations.evaluation_spec import EvaluationSpec, evaluation_spec
from perdure.records.describe import digest
from perdure.records.errors import damaged
from perdure.records.evaluation import (
    PROTOCOL,
    ClassResult,
    Evaluation,
    EvaluationRecord,
    SineResult,
    read_evaluations,
    write_evaluations,
)
from perdure.records.folder import RunFolder, is_finished, own_folder
from perdure.records.requested import note_request, write_finished
from perdure.representation.class_protocol import RATES
from perdure.representation.heads import SGD
from perdure.representation.network import DenseEncoder, Representation, learning_network
from perdure.storage.reading import ContentError

Images = Mapping[tuple[int, ...], Shaped[np.ndarray, "classes images h w"]]
"""Evaluation images by the shape that encoders take."""
_ENCODED_TOGETHER = 50
"""Classes: progress is reported in between."""


def evaluate_all(
    spec: EvaluationSpec,
    folder: Path | None = None,
    *,
    data_dir: Path | None = None,
    progress: bool | Watch = True,
    engine: Engine | None = None,
) -> list[Evaluation]:
    """Do or resume an evaluation, and return what each representation was worth.

    Args:
        spec: what to evaluate.
        folder: where the record goes; what it has already is not evaluated again. None keeps nothing.
        data_dir: folder to search first for raw data files.
        progress: show a progress bar; or a function to which progress is reported.
        engine: where, each part a job: a head with a number of classes, or a head on sine waves; it needs a folder.
            None evaluates in this process.

    Raises:
        PartsError: if a job of an engine fails.
        ValueError: if a representation does not fit the images, or there are too few classes.
        DataError: if data files cannot be found or downloaded.
        InterruptedRunError: after Ctrl-C or SIGTERM; what was finished is in the folder.
        ResultsError: if the folder holds another run.
        FolderInUseError: if another process owns the folder.
        StorageError: if the record cannot be written.
    """
    images = _images(spec, data_dir)
    if folder is None:
        return _evaluate_missing(spec, images, [], None, progress)
    with own_folder(folder, spec.config) as home:
        checksums = {f"omniglot evaluation {shape}": digest(it) for shape, it in images.items()}
        home.begin(f"evaluation of {', '.join(spec.models)}", checksums)
        note_request(home, {"representations": list(spec.places)})
        try:
            known = read_evaluations(folder, home.config)
        except ContentError as cause:
            raise damaged(cause) from cause
        if home.finished:
            say(f"these are the figures of the finished evaluation in {folder}; delete it to run again", show=progress)
            return known
        if engine is None:
            evaluations = _evaluate_missing(spec, images, known, home, progress)
        else:
            evaluations = _evaluate_apart(spec, known, home, engine, data_dir, progress)
        if home.is_there():
            home.log(f"finished: {len(evaluations)} representations evaluated")
            write_finished(home, {"representations": len(evaluations)})
        return evaluations


def resume_evaluation(
    folder: Path, data_dir: Path | None = None, *, progress: bool | Watch = True, engine: Engine | None = None
) -> list[Evaluation]:
    """Resume the evaluation in a folder; see `evaluate_all`.

    Raises:
        ResultsError: if the folder holds no evaluation, or its representations have changed since.
        RepresentationError: if a representation is no longer where it was.
    """
    record = EvaluationRecord.load(folder)
    config = record.config
    options = {name: config[name] for name in PROTOCOL}
    heads = {it["name"]: it["heads"] for it in config["representations"]}
    spec = evaluation_spec(record.representations, config["classes"], heads=heads, **options)
    return evaluate_all(spec, folder, data_dir=data_dir, progress=progress, engine=engine)


def _images(spec: EvaluationSpec, data_dir: Path | None) -> Images:
    """Return the images that representations of images are evaluated on, and check that they fit."""
    images: dict[tuple[int, ...], np.ndarray] = {}
    for name, model in spec.models.items():
        if not isinstance(model.encoder, DenseEncoder):
            shape = model.encoder.input_shape
            if shape not in images:
                images[shape] = evaluation_images(model.encoder, data_dir)
            options = {"runs": spec.runs, "iid_passes": spec.oracle}
            check_classes(model, images[shape], spec.classes, heads=spec.heads[name], **options)
        else:
            check_sine_heads(spec.heads[name], oracle=spec.oracle is not None)
    return images


def _evaluate_missing(
    spec: EvaluationSpec,
    images: Images,
    known: Sequence[Evaluation],
    home: RunFolder | None,
    progress: bool | Watch,
) -> list[Evaluation]:
    """Return evaluations of all representations, which are kept as they are finished."""
    results: dict[str, Any] = {it.name: it.results for it in known}

    def how_far() -> Finished:
        return Finished(_n_parts(spec, results), _n_parts(spec), "parts")

    def evaluations() -> list[Evaluation]:
        return [Evaluation(name, spec.protocol, results[name]) for name in spec.models if name in results]

    label = f"evaluation of {', '.join(spec.models)}"
    with parts_progress(label, _n_runs(spec, results), "runs", how_far, folder=home, show=progress) as advanced:
        for name in spec.models:
            for so_far in _new_results(spec, name, images, results.get(name), advanced):
                results[name] = so_far
                if home is not None and keeps(home):
                    write_evaluations(home.path, evaluations())
    return evaluations()


def _evaluate_apart(
    spec: EvaluationSpec,
    known: Sequence[Evaluation],
    home: RunFolder,
    engine: Engine,
    data_dir: Path | None,
    progress: bool | Watch,
) -> list[Evaluation]:
    """Return evaluations of all representations, each part of which is a job of an engine."""
    found: dict[Any, Any] = {(it.name, *_part_of(result)): result for it in known for result in it.results}
    alone = {key: it for key, it in _alone(spec).items() if key not in found}
    folders = {key: "-".join(str(it) for it in key if it is not None) for key in alone}

    def evaluations() -> list[Evaluation]:
        results = {
            name: [found[key] for key in _alone(spec) if key[0] == name and key in found] for name in spec.models
        }
        return [Evaluation(name, spec.protocol, its) for name, its in results.items() if its]

    def collect() -> None:
        new = {key: it for key, it in alone.items() if key not in found}
        for key, its in new.items():
            folder = part_folder(home, folders[key])
            if is_finished(folder, its.config):
                (found[key],) = read_evaluations(folder, its.config)[0].results
        if new.keys() & found.keys() and keeps(home):
            write_evaluations(home.path, evaluations())

    parts = [
        Part(folders[key], it.config, float(_n_runs(it, {})), partial(_evaluate_in_folder, it, data_dir))
        for key, it in alone.items()
    ]
    try:
        do_apart(home, parts, engine, show=progress is True, after_each=collect)
    finally:
        collect()
    remove_parts(home)
    return evaluations()


def _alone(spec: EvaluationSpec) -> dict[tuple[str, str, int | None], EvaluationSpec]:
    """Return the parts of an evaluation by representation, head and number of classes, None for sine waves."""
    parts: dict[tuple[str, str, int | None], EvaluationSpec] = {}
    for (name, model), place in zip(spec.models.items(), spec.places, strict=True):
        for head in spec.heads[name]:
            own = replace(spec, models={name: model}, places=[place], heads={name: [head]})
            if isinstance(model.encoder, DenseEncoder):
                parts[name, head, None] = own
            else:
                parts |= {(name, head, count): replace(own, classes=[count]) for count in spec.classes}
    return parts


def _part_of(result: ClassResult | SineResult) -> tuple[str, int | None]:
    return result.head, result.classes if isinstance(result, ClassResult) else None


def _evaluate_in_folder(spec: EvaluationSpec, data_dir: Path | None, folder: Path, watch: Watch) -> None:
    """Do or resume an evaluation, in a worker."""
    when_free(lambda: evaluate_all(spec, folder, data_dir=data_dir, progress=watch))


def _new_results(
    spec: EvaluationSpec, name: str, images: Images, known: Any, advanced: Advanced
) -> Iterator[list[ClassResult] | list[SineResult]]:
    """Yield the results of a representation each time that one is added to those known."""
    model = spec.models[name]
    if not isinstance(model.encoder, DenseEncoder):
        found = {(it.head, it.classes): it for it in known or []}
        wanted = [(head, count) for head in spec.heads[name] for count in spec.classes]
        if missing := [it for it in wanted if it not in found]:
            features = _features(spec, model, images[model.encoder.input_shape], wanted, advanced)
            for head, count in missing:
                found[head, count] = _class_result(spec, model, features, head, count, advanced)
                yield [found[it] for it in wanted if it in found]
        return
    of_head = {it.head: it for it in known or []}
    for head in spec.heads[name]:
        if head not in of_head:
            options: dict[str, Any] = {"fresh": spec.fresh_head, "oracle": spec.oracle is not None, "seed": spec.seed}
            of_head[head] = evaluate_sines(model, runs=spec.runs, head=head, **options, report=advanced)
            yield [of_head[it] for it in spec.heads[name] if it in of_head]


def _features(
    spec: EvaluationSpec,
    model: Representation,
    images: Shaped[np.ndarray, "classes images h w"],
    parts: Sequence[tuple[str, int]],
    advanced: Advanced,
) -> Float[Array, "classes images d"]:
    """Return the features of the classes that any part, a head with a number of classes, shows; zeros for the others.

    All parts count, also those that are finished: an encoder's last digits depend on what is encoded together.
    """
    options: dict[str, Any] = {"runs": spec.runs, "order": spec.order, "seed": spec.seed}
    shown = np.unique(
        np.concatenate([drawn_classes(len(images), count, head=head, **options) for head, count in parts])
    )
    features = np.zeros((0,))
    for start in range(0, len(shown), _ENCODED_TOGETHER):
        advanced(0, f"encoding drawings of {start} of {len(shown)} classes")
        which = shown[start : start + _ENCODED_TOGETHER]
        encoded = np.asarray(features_by_class(model, images[which]))
        if not start:
            features = np.zeros((*images.shape[:2], encoded.shape[-1]), encoded.dtype)
        features[which] = encoded
    advanced(0)
    return jnp.asarray(features)


def _class_result(
    spec: EvaluationSpec, model: Representation, features: Array, head: str, count: int, advanced: Advanced
) -> ClassResult:
    """Return what a head was worth for a number of classes."""
    options: dict[str, Any] = {"runs": spec.runs, "order": spec.order, "seed": spec.seed, "report": advanced}
    if head == SGD:
        network = learning_network(model, len(features))
        (result,) = sgd_results(network, features, [count], iid_passes=spec.oracle, **options)
    else:
        (result,) = closed_form_results(head, model, features, [count], **options)
    return result


def _n_parts(spec: EvaluationSpec, results: Mapping[str, Any] | None = None) -> int:
    """Return how many results there are to be, or how many there are."""
    if results is not None:
        return sum(len(its) for its in results.values())
    of_numbers = {name for name, it in spec.models.items() if isinstance(it.encoder, DenseEncoder)}
    return sum(len(heads) * (1 if name in of_numbers else len(spec.classes)) for name, heads in spec.heads.items())


def _n_runs(spec: EvaluationSpec, results: Mapping[str, Any]) -> int:
    """Return how many runs are still to do."""
    total = 0
    for name, model in spec.models.items():
        if not isinstance(model.encoder, DenseEncoder):
            found = {(it.head, it.classes) for it in results.get(name, [])}
            for head in spec.heads[name]:
                missing = sum((head, count) not in found for count in spec.classes)
                total += missing * (n_runs(RATES, spec.runs) if head == SGD else spec.runs)
        else:
            missing_heads = set(spec.heads[name]) - {it.head for it in results.get(name, [])}
            total += sum(n_runs(sine_rates(head), spec.runs) for head in missing_heads)
    return total
