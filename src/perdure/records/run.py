"""The record of a run: one folder with what was asked, where it ran, what was measured and what came of it.

config.json        what was asked; written first
environment.json   versions, machine and data
log.txt            what happened when
accuracy.parquet   every accuracy that was evaluated, a row each
alignment.parquet  gradient alignment over the stream, a row each seed and window; if it was logged
summary.json       metrics and cost; written last, so a folder without it is an unfinished run
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from perdure._version import __version__
from perdure.machine.cores import usable_cpus
from perdure.metrics.transfer import METRICS, Statistic
from perdure.records.measurements import (
    REPAIR,
    AlignmentCurves,
    Matrices,
    ResultsError,
    read_accuracy,
    read_alignment,
)
from perdure.storage.files import append_line, make_folder, write_json

FORMAT = 1
"""Version of the layout; a record of another format is refused, not guessed at."""

ALIGNMENTS = ("gradient_alignment", "gradient_alignment_after_update", "gradient_cosine")
"""Names of the metrics that a run has only if it was asked for them."""

_LIBRARIES = ("jax", "jaxlib", "numpy", "equinox")


@dataclass(frozen=True)
class Summary:
    """What came of a finished run, over its seeds."""

    metrics: Mapping[str, Statistic]
    """Transfer metrics as fractions, NaN where not evaluated, and `ALIGNMENTS` if they were logged."""
    training_seconds: float
    """Time in training, all seeds together, compilation and evaluation apart."""
    compile_seconds: float
    peak_memory_bytes: int
    """Largest memory of the process."""
    examples_seen: int
    """Examples learned from, per seed."""


@dataclass(frozen=True)
class RunRecord:
    """A run as its folder tells it."""

    folder: Path
    config: Mapping[str, Any]
    environment: Mapping[str, Any] | None
    """None until it is written."""
    accuracy: Matrices | None
    """One accuracy matrix a seed (seeds, T + 1, T), as in `perdure.metrics.transfer`; None until written."""
    alignment: AlignmentCurves | None
    """Gradient alignment over the stream; None if it was not logged, or until written."""
    summary: Summary | None
    """None while the run is unfinished."""

    @classmethod
    def load(cls, folder: Path) -> RunRecord:
        """Read the record in `folder`.

        Raises:
            ResultsError: if the folder holds no run, or a file of it is missing, damaged, of another format
                or at odds with the configuration.
        """
        config = _read_config(folder)
        environment = folder / "environment.json"
        accuracy, alignment = folder / "accuracy.parquet", folder / "alignment.parquet"
        summary = read_summary(folder / "summary.json")
        if summary is not None and not accuracy.exists():
            raise ResultsError(f"{folder} has a summary.json but no accuracy.parquet; {REPAIR}")
        return cls(
            folder=folder,
            config=config,
            environment=read_json(environment) if environment.exists() else None,
            accuracy=read_accuracy(accuracy, config["seeds"]) if accuracy.exists() else None,
            alignment=read_alignment(alignment, config["seeds"]) if alignment.exists() else None,
            summary=summary,
        )

    @property
    def finished(self) -> bool:
        """Has the run written its summary?"""
        return self.summary is not None

    @property
    def learner(self) -> str:
        """Name of the learner."""
        return self.config["learner"]["name"]

    @property
    def benchmark(self) -> str:
        """Name of the benchmark."""
        return self.config["benchmark"]["name"]

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


def config_digest(config: Mapping[str, Any]) -> str:
    """Return 8 hexadecimal digits that name a configuration, whatever the order of its keys.

    They begin the SHA-256 of the canonical JSON (sorted keys, no spaces, ASCII).
    """
    canonical = json.dumps(config, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:8]


def open_folder(folder: Path, config: Mapping[str, Any]) -> None:
    """Make `folder` the home of the run `config`, or check that it already is.

    Raises:
        ResultsError: if the folder holds a run of another configuration; the message lists what differs.
        StorageError: if the folder cannot be made or written.
    """
    if not (folder / "config.json").exists():
        make_folder(folder)
        write_config(folder, config)
        return
    refuse_another(folder, _read_config(folder), config)


def refuse_another(folder: Path, config_there: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    """Check that a folder's configuration is the one asked for.

    Raises:
        ResultsError: if they differ; the message lists what.
    """
    there, wanted = _flatten(config_there), _flatten(json.loads(json.dumps(config)))
    differing = sorted(key for key in there.keys() | wanted.keys() if there.get(key) != wanted.get(key))
    if differing:
        lines = [f"  {key}: {there.get(key)} there, {wanted.get(key)} asked for" for key in differing]
        raise ResultsError(
            f"{folder} holds a run of another configuration:\n"
            + "\n".join(lines)
            + "\nGive this run another folder with --out, or delete that one"
        )


def is_finished(folder: Path, config: Mapping[str, Any]) -> bool:
    """Tell whether `folder` holds the run `config`, finished.

    Raises:
        ResultsError: if the folder holds a run of another configuration.
    """
    if not (folder / "config.json").exists():
        return False
    open_folder(folder, config)
    return RunRecord.load(folder).finished


def write_config(folder: Path, config: Mapping[str, Any]) -> None:
    """Write config.json.

    Raises:
        StorageError: if it cannot be written.
    """
    write_json(folder / "config.json", config)


def write_environment(folder: Path, device: str, data_checksums: Mapping[str, str]) -> None:
    """Write environment.json: versions, platform, CPUs, and what the caller knows.

    Args:
        folder: the run's folder.
        device: the device in words, "cpu" or "NVIDIA H200", say.
        data_checksums: checksum of each benchmark, by name.

    Raises:
        StorageError: if it cannot be written.
    """
    versions = {"python": platform.python_version(), "perdure": __version__}
    versions |= {library: metadata.version(library) for library in _LIBRARIES}
    environment = {
        "versions": versions,
        "platform": platform.platform(),
        "cpu_count": os.cpu_count(),
        "usable_cpus": usable_cpus(),
        "device": device,
        "data_checksums": dict(data_checksums),
    }
    write_json(folder / "environment.json", environment)


def check_data(folder: Path, data_checksums: Mapping[str, str]) -> None:
    """Check that a run that goes on sees the data that it began with.

    Raises:
        ResultsError: if environment.json has other checksums, or is missing or damaged.
    """
    began_with = read_json(folder / "environment.json").get("data_checksums")
    if began_with != dict(data_checksums):
        raise ResultsError(
            f"{folder} was begun on other data: {began_with} there, {dict(data_checksums)} now; "
            "go on with the data of its beginning, or give this run another folder"
        )


def write_summary(folder: Path, summary: Summary) -> None:
    """Write summary.json, which marks the run as finished.

    Raises:
        StorageError: if it cannot be written.
    """
    content = {
        "status": "finished",
        **{name: _statistic_to_json(statistic) for name, statistic in summary.metrics.items()},
        "training_seconds": summary.training_seconds,
        "compile_seconds": summary.compile_seconds,
        "peak_memory_bytes": summary.peak_memory_bytes,
        "examples_seen": summary.examples_seen,
    }
    write_json(folder / "summary.json", content)


def append_log(folder: Path, line: str) -> None:
    """Append one line to log.txt, after the time in UTC to the second.

    Raises:
        StorageError: if it cannot be written.
    """
    now = datetime.now(UTC).isoformat(timespec="seconds")
    append_line(folder / "log.txt", f"{now} {line}")


def list_runs(root: Path) -> list[RunRecord]:
    """Return the runs in `root` itself and in the folders directly below, by name, finished or not.

    What holds no config.json is not a run and is passed over.

    Raises:
        ResultsError: if `root` is not a folder, or a run's record is damaged.
    """
    if not root.is_dir():
        raise ResultsError(f"{root} is not a folder; expected one that holds runs. Give the --out of a run")
    folders = [root, *sorted(path for path in root.iterdir() if path.is_dir())]
    return [RunRecord.load(folder) for folder in folders if (folder / "config.json").exists()]


def _flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the leaves of nested mappings by dotted path; an absent leaf and null are the same."""
    leaves: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            leaves |= _flatten(value, f"{prefix}{key}.")
        else:
            leaves[prefix + key] = value
    return leaves


def read_json(path: Path) -> dict[str, Any]:
    """Return the object that a JSON file holds.

    Raises:
        ResultsError: if it cannot be read, or holds something else.
    """
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError) as cause:
        raise ResultsError(f"{path} cannot be read as JSON ({cause}); {REPAIR}") from cause
    if not isinstance(content, dict):
        raise ResultsError(f"{path} holds a {type(content).__name__}, expected a JSON object; {REPAIR}")
    return content


def read_record(path: Path, version: int) -> dict[str, Any]:
    """Return the object that a JSON file of a record holds.

    Raises:
        ResultsError: if it cannot be read, or its format is another version.
    """
    content = read_json(path)
    if content.get("format") != version:
        raise ResultsError(
            f"{path} has format {content.get('format')!r}, expected {version}; "
            "read it with the version of perdure that wrote it"
        )
    return content


def misspelt(path: Path, cause: Exception) -> ResultsError:
    """Return the error to raise where a field of a record is missing or of another type."""
    return ResultsError(f"{path} lacks or misspells a field ({type(cause).__name__}: {cause}); {REPAIR}")


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    if not path.exists():
        raise ResultsError(f"{folder} holds no config.json, so no run; give the folder of a run")
    config = read_record(path, FORMAT)
    if not _describes_a_run(config):
        raise ResultsError(f"{path} lacks a learner's name and hyperparameters, a benchmark's name, or seeds; {REPAIR}")
    return config


def _describes_a_run(config: Mapping[str, Any]) -> bool:
    learner, benchmark, seeds = (config.get(key) for key in ("learner", "benchmark", "seeds"))
    return (
        isinstance(learner, dict)
        and isinstance(learner.get("name"), str)
        and isinstance(learner.get("hyperparameters"), dict)
        and isinstance(benchmark, dict)
        and isinstance(benchmark.get("name"), str)
        and isinstance(seeds, list)
        and len(seeds) > 0
        and all(isinstance(seed, int) for seed in seeds)
    )


def _statistic_to_json(statistic: Statistic) -> dict[str, Any]:
    return {
        "mean": _null_if_nan(statistic.mean),
        "std": _null_if_nan(statistic.std),
        "ci95": _null_if_nan(statistic.ci95),
        "per_seed": [_null_if_nan(value) for value in statistic.per_seed],
    }


def _null_if_nan(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _statistic_from_json(content: Mapping[str, Any]) -> Statistic:
    mean, std, ci95 = (_nan_if_null(content[name]) for name in ("mean", "std", "ci95"))
    return Statistic(mean, std, ci95, tuple(_nan_if_null(value) for value in content["per_seed"]))


def _nan_if_null(value: float | None) -> float:
    return float("nan") if value is None else float(value)


def read_summary(path: Path) -> Summary | None:
    """Return what summary.json tells, None if it is not there.

    Raises:
        ResultsError: if it is damaged.
    """
    if not path.exists():
        return None
    content = read_json(path)
    try:
        names = [*METRICS, *(name for name in ALIGNMENTS if name in content)]
        return Summary(
            {name: _statistic_from_json(content[name]) for name in names},
            float(content["training_seconds"]),
            float(content["compile_seconds"]),
            int(content["peak_memory_bytes"]),
            content["examples_seen"],
        )
    except (KeyError, TypeError, ValueError) as cause:
        raise misspelt(path, cause) from cause
