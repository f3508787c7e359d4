"""The record of a learner on a benchmark, laid out as `perdure.records.folder` tells.

accuracy.parquet   every accuracy that was evaluated, a row each; absent where there are no test sets
alignment.parquet  gradient alignment over the stream, a row each seed and window; if it was logged
over-time.parquet  accuracy within tasks, a row each seed, evaluation and task seen; if it was requested
classes.parquet    the same of each class on all tasks seen
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isnan
from pathlib import Path
from typing import Any

from perdure.records.errors import REPAIR, ResultsError, damaged
from perdure.records.folder import CONFIG, read_config, read_environment, seeds_in
from perdure.records.measurements import AlignmentCurves, Matrices, read_accuracy, read_alignment
from perdure.records.over_time import AccuracyOverTime, has_over_time, read_over_time
from perdure.records.summary import Summary, read_summary
from perdure.storage.reading import ContentError, entry, shortened

KIND = "learner"
_LONGEST_NAME = 500


@dataclass(frozen=True)
class RunRecord:
    """A learner's run as its folder tells it."""

    folder: Path
    config: Mapping[str, Any]
    environment: Mapping[str, Any] | None
    """None until it is written."""
    accuracy: Matrices | None
    """One accuracy matrix per seed (seeds, T + 1, T), as in `perdure.metrics.transfer`; None until written, and for a
    stream without test sets."""
    alignment: AlignmentCurves | None
    """Gradient alignment over the stream; None if it was not logged, or until written."""
    over_time: AccuracyOverTime | None
    """Accuracy within tasks; None if it was not requested, or until written."""
    summary: Summary | None
    """None while the run is unfinished."""

    @classmethod
    def load(cls, folder: Path) -> RunRecord:
        """Read the record in `folder`.

        Raises:
            ResultsError: if the folder holds no learner's run, or a file of it is missing, damaged, of another format
                or at odds with the configuration.
        """
        config = read_config(folder)
        try:
            _check_config(config, folder)
        except ContentError as cause:
            raise damaged(cause) from cause
        accuracy, alignment = folder / "accuracy.parquet", folder / "alignment.parquet"
        summary = read_summary(folder, len(config["seeds"]))
        if summary is not None and not accuracy.exists() and not isnan(summary.metrics["retained_accuracy"].mean):
            raise ResultsError(f"{folder} has a summary.json but no accuracy.parquet; {REPAIR}")
        return cls(
            folder=folder,
            config=config,
            environment=read_environment(folder),
            accuracy=read_accuracy(accuracy, config["seeds"]) if accuracy.exists() else None,
            alignment=read_alignment(alignment, config["seeds"]) if alignment.exists() else None,
            over_time=read_over_time(folder, config["seeds"]) if has_over_time(folder) else None,
            summary=summary,
        )

    @property
    def finished(self) -> bool:
        """Has the run written its summary?"""
        return self.summary is not None

    @property
    def learner(self) -> str:
        """Name of the learner, cut to the length that a figure can show."""
        return shortened(self.config["learner"]["name"], _LONGEST_NAME)

    @property
    def benchmark(self) -> str:
        """Name of the benchmark, cut to the length that a figure can show."""
        return shortened(self.config["benchmark"]["name"], _LONGEST_NAME)

    @property
    def memory_size(self) -> int | None:
        """Examples the learner may keep; None for a learner without memory."""
        return self.config["learner"]["hyperparameters"].get("memory_size")

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds of the run."""
        return tuple(self.config["seeds"])

    @property
    def label(self) -> str:
        """Learner and memory in a few words: "mer, memory 200"."""
        return self.learner if self.memory_size is None else f"{self.learner}, memory {self.memory_size}"

    @property
    def title(self) -> str:
        """The run in a few words: "mer, memory 200, on mnist-rotations"."""
        return f"{self.label}, on {self.benchmark}"


def _check_config(config: Mapping[str, Any], folder: Path) -> None:
    where = folder / CONFIG
    if config["kind"] != KIND:
        raise ResultsError(f"{folder} holds a run of the kind {config['kind']}, expected one of a learner")
    learner = entry(config, "learner", dict, where)
    entry(learner, "name", str, f"{where}, 'learner'")
    hyperparameters = entry(learner, "hyperparameters", dict, f"{where}, 'learner'")
    if "memory_size" in hyperparameters:
        entry(hyperparameters, "memory_size", int, f"{where}, 'learner'")
    benchmark = entry(config, "benchmark", dict, where)
    entry(benchmark, "name", str, f"{where}, 'benchmark'")
    entry(benchmark, "options", dict, f"{where}, 'benchmark'")
    entry(entry(config, "model", dict, where), "name", str, f"{where}, 'model'")
    entry(config, "evaluation", str, where)
    entry(config, "alignment", bool, where)
    seeds_in(config, where)
