"""The record of evaluated representations: one JSON file, from which tables and figures are made without JAX."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from perdure.records.run import misspelt, read_record
from perdure.storage.files import write_json

FORMAT = 1


@dataclass(frozen=True)
class ClassResult:
    """What a representation was worth for a number of classes."""

    classes: int
    rate: float
    """Learning rate that the sweep has chosen."""
    trajectory: Float[np.ndarray, " runs"]
    """Accuracies on the images that were learned, as fractions."""
    held_out: Float[np.ndarray, " runs"]
    """Accuracies on other images of the same classes."""


@dataclass(frozen=True)
class SineResult:
    """What a representation was worth for sine waves."""

    rate: float
    errors: Float[np.ndarray, "runs functions functions"]
    """Mean squared error after learning function i, of function j."""

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
    """What was asked for."""
    results: Sequence[ClassResult] | SineResult
    """For each number of classes; or for the sine waves."""


def save_evaluations(path: Path, evaluations: Sequence[Evaluation]) -> None:
    """Write evaluations to a JSON file.

    Raises:
        StorageError: if it cannot be written.
    """
    write_json(path, {"format": FORMAT, "evaluations": [_to_json(it) for it in evaluations]})


def load_evaluations(path: Path) -> list[Evaluation]:
    """Return what was saved.

    Raises:
        ResultsError: if the file cannot be read, or is of another format.
    """
    content = read_record(path, FORMAT)
    try:
        return [_from_json(it) for it in content["evaluations"]]
    except (KeyError, TypeError, ValueError) as cause:
        raise misspelt(path, cause) from cause


def _to_json(evaluation: Evaluation) -> dict[str, Any]:
    results = evaluation.results
    if isinstance(results, SineResult):
        content: Any = {"rate": results.rate, "errors": results.errors.tolist()}
    else:
        content = [
            {
                "classes": it.classes,
                "rate": it.rate,
                "trajectory": it.trajectory.tolist(),
                "held_out": it.held_out.tolist(),
            }
            for it in results
        ]
    return {"name": evaluation.name, "protocol": dict(evaluation.protocol), "results": content}


def _from_json(content: Mapping[str, Any]) -> Evaluation:
    results = content["results"]
    if isinstance(results, dict):
        read: Any = SineResult(float(results["rate"]), np.array(results["errors"], np.float32))
    else:
        read = [
            ClassResult(
                int(it["classes"]),
                float(it["rate"]),
                np.array(it["trajectory"], np.float32),
                np.array(it["held_out"], np.float32),
            )
            for it in results
        ]
    return Evaluation(str(content["name"]), content["protocol"], read)
