"""The record of evaluated representations, laid out as `perdure.records.folder` tells.

request.json     where the representations were, for resuming
evaluation.json  what each was worth; rewritten after every number of classes
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from perdure.records.errors import REPAIR, ResultsError, damaged
from perdure.records.folder import CONFIG
from perdure.records.requested import REQUEST, is_marked_finished, read_config_of, read_request
from perdure.storage.files import write_json
from perdure.storage.reading import ContentError, checked, entry, read_json

KIND = "evaluation"
EVALUATION = "evaluation.json"
PROTOCOL = ("runs", "order", "oracle", "fresh_head", "seed")
"""What all representations of an evaluation have in common, by its names in config.json."""
ORDERS = ("sorted", "random")
"""In which classes are shown: by their numbers, or in an order of each run's own."""

_LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class ClassResult:
    """What a representation was worth for a number of classes."""

    head: str
    """Name of what learned, one of those of `perdure.representation.heads`."""
    classes: int
    rate: float | None
    """Learning rate that the sweep has chosen; None for a head in closed form, which has none."""
    trajectory: Float[np.ndarray, " runs"]
    """Accuracies on the images that were learned, as fractions."""
    held_out: Float[np.ndarray, " runs"]
    """Accuracies on other images of the same classes."""


@dataclass(frozen=True)
class SineResult:
    """What a representation was worth for sine waves."""

    head: str
    """Name of what learned."""
    rate: float
    """Learning rate that the sweep has chosen; for ridge regression its penalty."""
    errors: Float[np.ndarray, "runs functions functions"]
    """Mean squared error after learning function i, of function j; NaN where it is not finite."""

    @property
    def so_far(self) -> Float[np.ndarray, "runs functions"]:
        """After each function, the mean of the errors of the functions learned so far."""
        learned = np.tril(np.ones(self.errors.shape[1:]))
        return (self.errors * learned).sum(axis=2) / learned.sum(axis=1)


@dataclass(frozen=True)
class Evaluation:
    """One representation, evaluated."""

    name: str
    """Of the representation, for tables and figures."""
    protocol: Mapping[str, Any]
    """What was requested: `runs`, `order`, `oracle`, `fresh_head`, `seed`."""
    results: Sequence[ClassResult] | Sequence[SineResult]
    """For each head and each number of classes; or for each head on sine waves."""


@dataclass(frozen=True)
class EvaluationRecord:
    """Evaluated representations as their folder tells it."""

    folder: Path
    config: Mapping[str, Any]
    representations: Sequence[str]
    """Names, files or folders, from which they can be loaded again."""
    evaluations: Sequence[Evaluation]
    """What is finished, in the order of the configuration; representations of which nothing is are left out."""
    finished: bool

    @classmethod
    def load(cls, folder: Path) -> EvaluationRecord:
        """Read the record in `folder`.

        Raises:
            ResultsError: if the folder holds no evaluation, or a file of it is missing, damaged or of another format.
        """
        config = read_config_of(KIND, folder)
        try:
            _check_config(config, folder / CONFIG)
            names = entry(read_request(folder), "representations", list, folder / REQUEST)
            names = [checked(name, str, f"{folder / REQUEST}, 'representations'") for name in names]
            evaluations = read_evaluations(folder, config)
        except ContentError as cause:
            raise damaged(cause) from cause
        record = cls(folder, config, names, evaluations, is_marked_finished(folder))
        if record.finished and record.n_done < record.n_parts:
            raise ResultsError(f"{folder / EVALUATION} lacks figures of a finished evaluation; {REPAIR}")
        return record

    @property
    def n_done(self) -> int:
        """Finished parts: heads with numbers of classes, and heads on sine waves."""
        return sum(len(it.results) for it in self.evaluations)

    @property
    def n_parts(self) -> int:
        """Parts that were requested."""
        representations, n_counts = self.config["representations"], len(self.config["classes"])
        return sum(len(it["heads"]) * (1 if is_of_sines(it) else n_counts) for it in representations)

    @property
    def title(self) -> str:
        """The representations in a few words."""
        return ", ".join(it["name"] for it in self.config["representations"])


def on_sines(evaluation: Evaluation) -> bool:
    """Tell whether an evaluation is on sine waves, not on classes."""
    return any(isinstance(it, SineResult) for it in evaluation.results)


def is_of_sines(description: Mapping[str, Any]) -> bool:
    """Tell whether a representation, as the configuration describes it, is evaluated on sine waves."""
    return description["network"]["encoder"]["kind"] == "dense"


def write_evaluations(folder: Path, evaluations: Sequence[Evaluation]) -> None:
    """Write evaluation.json.

    Raises:
        StorageError: if it cannot be written.
    """
    results = {it.name: [_to_json(result) for result in it.results] for it in evaluations}
    write_json(folder / EVALUATION, {"results": results})


def read_evaluations(folder: Path, config: Mapping[str, Any]) -> list[Evaluation]:
    """Return what is finished of an evaluation with this configuration; nothing if nothing was written yet.

    Raises:
        ContentError: if evaluation.json is damaged or at odds with the configuration.
    """
    path = folder / EVALUATION
    if not path.exists():
        return []
    results = entry(read_json(path), "results", dict, path)
    protocol = {name: config[name] for name in PROTOCOL}
    evaluations = []
    for representation in config["representations"]:
        name = representation["name"]
        if name not in results:
            continue
        where = f"{path}, 'results', {name!r}"
        read = _sine_result if is_of_sines(representation) else _class_result
        rows = [checked(row, dict, where) for row in checked(results[name], list, where)]
        found: Any = [read(row, config, representation["heads"], where) for row in rows]
        if len({(it.head, getattr(it, "classes", None)) for it in found}) < len(found):
            raise ContentError(f"{where} has a head twice with as many classes, expected each once")
        evaluations.append(Evaluation(name, protocol, found))
    return evaluations


def _to_json(result: ClassResult | SineResult) -> dict[str, Any]:
    if isinstance(result, SineResult):
        errors = [[_numbers_to_json(row) for row in run] for run in result.errors.tolist()]
        return {"head": result.head, "rate": result.rate, "errors": errors}
    return {
        "head": result.head,
        "classes": result.classes,
        "rate": result.rate,
        "trajectory": _numbers_to_json(result.trajectory.tolist()),
        "held_out": _numbers_to_json(result.held_out.tolist()),
    }


def _numbers_to_json(numbers: Sequence[float]) -> list[float | None]:
    return [it if math.isfinite(it) else None for it in numbers]


def _class_result(row: Mapping[str, Any], config: Mapping[str, Any], heads: Sequence[str], where: str) -> ClassResult:
    head, classes = _head(row, heads, where), entry(row, "classes", int, where)
    if classes not in config["classes"]:
        raise ContentError(f"{where}, 'classes' is {classes}, expected one of {config['classes']} of {CONFIG}")
    parts = (_numbers(entry(row, name, list, where), config["runs"], where) for name in ("trajectory", "held_out"))
    rate = None if row.get("rate", 0) is None else float(entry(row, "rate", float, where))
    return ClassResult(head, classes, rate, *(np.array(it, np.float32) for it in parts))


def _head(row: Mapping[str, Any], heads: Sequence[str], where: str) -> str:
    head = entry(row, "head", str, where)
    if head not in heads:
        raise ContentError(f"{where}, 'head' is {head!r}, expected one of {heads} of {CONFIG}")
    return head


def _sine_result(row: Mapping[str, Any], config: Mapping[str, Any], heads: Sequence[str], where: str) -> SineResult:
    runs, n_runs = entry(row, "errors", list, where), config["runs"]
    n_functions = len(runs[0]) if runs and isinstance(runs[0], list) else 0
    if len(runs) != n_runs or n_functions == 0:
        raise ContentError(f"{where}, 'errors' has {len(runs)} runs, expected {n_runs} of {CONFIG}")
    errors = []
    for run in runs:
        rows = checked(run, list, f"{where}, 'errors'")
        if len(rows) != n_functions:
            raise ContentError(f"{where}, 'errors' has {len(rows)} rows in a run, expected {n_functions}")
        errors.append([_numbers(checked(it, list, f"{where}, 'errors'"), n_functions, where) for it in rows])
    rate = float(entry(row, "rate", float, where))
    return SineResult(_head(row, heads, where), rate, np.array(errors, np.float32))


def _numbers(values: Sequence[Any], length: int, where: str) -> list[float]:
    if len(values) != length:
        raise ContentError(f"{where} has a list of length {len(values)}, expected {length}")
    numbers = [math.nan if it is None else float(checked(it, float, where)) for it in values]
    if any(abs(it) > _LARGEST for it in numbers):
        raise ContentError(f"{where} has {max(map(abs, numbers)):g}, expected numbers that fit 32 bits")
    return numbers


def _check_config(config: Mapping[str, Any], where: Path) -> None:
    names = set()
    for it in entry(config, "representations", list, where):
        place = f"{where}, 'representations'"
        names.add(entry(checked(it, dict, place), "name", str, place))
        encoder = entry(entry(it, "network", dict, place), "encoder", dict, f"{place}, 'network'")
        entry(encoder, "kind", str, f"{place}, 'network', 'encoder'")
        entry(it, "sha256", str, place)
        for head in entry(it, "heads", list, place):
            checked(head, str, f"{place}, 'heads'")
    if len(names) < len(config["representations"]) or not names:
        raise ContentError(f"{where}, 'representations' is empty or has a name twice, expected different ones")
    for count in entry(config, "classes", list, where):
        checked(count, int, f"{where}, 'classes'")
    if entry(config, "runs", int, where) < 1:
        raise ContentError(f"{where}, 'runs' is {config['runs']}, expected a whole number ≥ 1")
    entry(config, "seed", int, where)
    if entry(config, "order", str, where) not in ORDERS:
        raise ContentError(f"{where}, 'order' is {config['order']!r}, expected one of {', '.join(ORDERS)}")
    entry(config, "fresh_head", bool, where)
    if "oracle" not in config or config["oracle"] is not None:
        entry(config, "oracle", int, where)
