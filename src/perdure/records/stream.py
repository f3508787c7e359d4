"""The record of methods on a stream of rows, laid out as `perdure.records.folder` tells.

curves.parquet  accuracy, or mean absolute error, over the last rows: a row for every method and point
summary.json    rows, and of each method its metrics, the recall of every class and the rows at which its errors changed
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64

from perdure.metrics.prequential import CLASS_METRICS, NUMBER_METRICS
from perdure.records.errors import damaged
from perdure.records.folder import CONFIG, SUMMARY
from perdure.records.requested import read_config_of
from perdure.storage.files import write_json
from perdure.storage.reading import ContentError, checked, entry, read_json
from perdure.storage.tables import read_table, write_table

KIND = "stream"
_CURVES = "curves.parquet"
_COLUMNS = {"method": "int64", "row": "int64", "value": "float64"}


@dataclass(frozen=True)
class MethodResult:
    """What a method was worth on a stream."""

    method: str
    metrics: Mapping[str, float]
    """As `perdure.metrics.prequential` names them; NaN where there is nothing to measure."""
    recall: Mapping[str, float]
    """Of every class, by its text; empty for numbers."""
    drifts: Sequence[int]
    """Rows after which the errors changed."""
    seconds: float
    """Time spent learning and answering."""
    rows: Int64[np.ndarray, " points"]
    """Of the curve."""
    values: Float64[np.ndarray, " points"]
    """Accuracy, or mean absolute error, over the last rows."""


@dataclass(frozen=True)
class StreamRecord:
    """Methods on a stream as its folder tells it."""

    folder: Path
    config: Mapping[str, Any]
    results: Sequence[MethodResult]
    """In the order of the methods; none while the run is unfinished."""
    n_rows: int

    @classmethod
    def load(cls, folder: Path) -> StreamRecord:
        """Read the record in `folder`.

        Raises:
            ResultsError: if the folder holds no such run, or a file of it is missing, damaged or of another format.
        """
        config = read_config_of(KIND, folder)
        try:
            _check_config(config, folder)
            if not (folder / SUMMARY).exists():
                return cls(folder, config, [], 0)
            results, n_rows = _read_results(folder, config)
        except ContentError as cause:
            raise damaged(cause) from cause
        return cls(folder, config, results, n_rows)

    @property
    def finished(self) -> bool:
        """Has the run written its summary?"""
        return bool(self.results)

    @property
    def regression(self) -> bool:
        """Were numbers learned, not classes?"""
        return self.config["regression"]

    @property
    def best(self) -> MethodResult:
        """The method of the highest accuracy, or of the lowest mean absolute error."""
        if self.regression:
            return min(self.results, key=lambda it: it.metrics["mae"])
        return max(self.results, key=lambda it: it.metrics["accuracy"])

    @property
    def title(self) -> str:
        """The run in a few words: "auto, er on sensor.csv"."""
        return f"{', '.join(self.config['methods'])} on {self.config['name']}"


def write_results(folder: Path, results: Sequence[MethodResult], n_rows: int) -> None:
    """Write what methods have come to; the summary last, which marks the run as finished.

    Raises:
        StorageError: if something cannot be written.
    """
    curves = {
        "method": np.repeat(np.arange(len(results)), [len(it.rows) for it in results]),
        "row": np.concatenate([it.rows for it in results]),
        "value": np.concatenate([it.values for it in results]),
    }
    write_table(folder / _CURVES, curves)
    methods = {
        it.method: {
            "metrics": {name: None if np.isnan(value) else value for name, value in it.metrics.items()},
            "recall": dict(it.recall),
            "drifts": list(it.drifts),
            "seconds": it.seconds,
        }
        for it in results
    }
    write_json(folder / SUMMARY, {"status": "finished", "rows": n_rows, "methods": methods})


def _read_results(folder: Path, config: Mapping[str, Any]) -> tuple[list[MethodResult], int]:
    path = folder / SUMMARY
    content = read_json(path)
    methods = entry(content, "methods", dict, path)
    method, row, value = read_table(folder / _CURVES, _COLUMNS).values()
    names = NUMBER_METRICS if config["regression"] else CLASS_METRICS
    results = []
    for place, name in enumerate(config["methods"]):
        found, where = entry(methods, name, dict, f"{path}, 'methods'"), f"{path}, 'methods', {name!r}"
        measured = entry(found, "metrics", dict, where)
        metrics = {metric: _number_or_nan(measured, metric, f"{where}, 'metrics'") for metric in names}
        recall = {label: float(checked(it, float, where)) for label, it in entry(found, "recall", dict, where).items()}
        drifts = [checked(it, int, where) for it in entry(found, "drifts", list, where)]
        seconds = float(entry(found, "seconds", float, where))
        own = method == place
        results.append(MethodResult(name, metrics, recall, drifts, seconds, row[own], value[own]))
    return results, entry(content, "rows", int, path)


def _number_or_nan(content: Mapping[str, Any], name: str, where: str) -> float:
    if name in content and content[name] is None:
        return float("nan")
    return float(entry(content, name, float, where))


def _check_config(config: Mapping[str, Any], folder: Path) -> None:
    where = folder / CONFIG
    entry(config, "name", str, where)
    entry(config, "label", str, where)
    entry(config, "regression", bool, where)
    methods = entry(config, "methods", dict, where)
    if not methods:
        raise ContentError(f"{where}, 'methods' is empty, expected at least one")
    for number in ("window", "delay", "seed", "memory_size"):
        entry(config, number, int, where)
