"""What came of a finished run, over its seeds: summary.json."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from perdure.metrics.anytime import ANYTIME
from perdure.metrics.transfer import METRICS, Statistic, mean_and_interval
from perdure.records.errors import damaged
from perdure.records.folder import SUMMARY
from perdure.storage.files import write_json
from perdure.storage.reading import ContentError, checked, entry, read_json

PREQUENTIAL = "prequential_accuracy"
"""Name of the metric that a run on classes has: each arriving example was predicted before it was learned."""
ALIGNMENTS = ("gradient_alignment", "gradient_alignment_after_update", "gradient_cosine")
"""Names of the metrics that a run has only if they were requested."""


@dataclass(frozen=True)
class Summary:
    """What came of a finished run, over its seeds."""

    metrics: Mapping[str, Statistic]
    """Transfer metrics, NaN where not evaluated; `PREQUENTIAL` for classes; `ALIGNMENTS` and `ANYTIME` if requested."""
    training_seconds: float
    """Time in training, all seeds together, compilation and evaluation apart."""
    training_cpu_seconds: float
    """CPU time of the process meanwhile, all its threads together."""
    compile_seconds: float
    peak_memory_bytes: int
    """Largest memory of the process."""
    examples_seen: int
    """Examples learned from, or frames played, per seed."""
    state_bytes: int
    """Bytes of all that one seed keeps from one example, or frame, to the next: weights, optimizer, memory, sums."""


def write_summary(folder: Path, summary: Summary) -> None:
    """Write summary.json, which marks the run as finished.

    Raises:
        StorageError: if it cannot be written.
    """
    content = {
        "status": "finished",
        **{name: _statistic_to_json(statistic) for name, statistic in summary.metrics.items()},
        "training_seconds": summary.training_seconds,
        "training_cpu_seconds": summary.training_cpu_seconds,
        "compile_seconds": summary.compile_seconds,
        "peak_memory_bytes": summary.peak_memory_bytes,
        "examples_seen": summary.examples_seen,
        "state_bytes": summary.state_bytes,
    }
    write_json(folder / SUMMARY, content)


def read_summary(folder: Path, n_seeds: int) -> Summary | None:
    """Return what summary.json of a folder tells, None if it is not there.

    Raises:
        ResultsError: if it is damaged, or has metrics of another number of seeds.
    """
    path = folder / SUMMARY
    if not path.exists():
        return None
    try:
        content = read_json(path)
        names = [*METRICS, *(name for name in (PREQUENTIAL, *ALIGNMENTS, *ANYTIME) if name in content)]
        return Summary(
            {
                name: _statistic_from_json(entry(content, name, dict, path), n_seeds, f"{path}, {name!r}")
                for name in names
            },
            float(entry(content, "training_seconds", float, path)),
            float(entry(content, "training_cpu_seconds", float, path)),
            float(entry(content, "compile_seconds", float, path)),
            entry(content, "peak_memory_bytes", int, path),
            _at_least(1, content, "examples_seen", path),
            _at_least(0, content, "state_bytes", path),
        )
    except ContentError as cause:
        raise damaged(cause) from cause


def _statistic_to_json(statistic: Statistic) -> dict[str, Any]:
    return {
        "mean": _null_if_nan(statistic.mean),
        "std": _null_if_nan(statistic.std),
        "ci95": _null_if_nan(statistic.ci95),
        "per_seed": [_null_if_nan(value) for value in statistic.per_seed],
    }


def _at_least(least: int, content: Mapping[str, Any], name: str, where: object) -> int:
    value = entry(content, name, int, where)
    if value < least:
        raise ContentError(f"{where}, {name!r} is {value}, expected at least {least}")
    return value


def _statistic_from_json(content: Mapping[str, Any], n_seeds: int, where: str) -> Statistic:
    """Return a metric, whose mean, spread and interval must be those of its values."""
    if missing := [name for name in ("mean", "std", "ci95") if name not in content]:
        raise ContentError(f"{where} has no {missing[0]!r}, expected a number or null")
    mean, std, ci95 = (_nan_if_null(content[name], f"{where}, {name!r}") for name in ("mean", "std", "ci95"))
    per_seed = [_nan_if_null(it, f"{where}, 'per_seed'") for it in entry(content, "per_seed", list, where)]
    if len(per_seed) != n_seeds:
        raise ContentError(f"{where}, 'per_seed' is a list of length {len(per_seed)}, expected {n_seeds}, one a seed")
    with np.errstate(over="ignore", invalid="ignore"):
        expected = mean_and_interval(per_seed)
    rounding = 1e-9 * max(1.0, *map(abs, per_seed))
    for name, value in (("mean", mean), ("std", std), ("ci95", ci95)):
        if not np.isclose(value, getattr(expected, name), rtol=1e-6, atol=rounding, equal_nan=True):
            raise ContentError(f"{where}, {name!r} is {value}, expected {getattr(expected, name)}, as of 'per_seed'")
    return Statistic(mean, std, ci95, tuple(per_seed))


def _null_if_nan(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _nan_if_null(value: Any, where: str) -> float:
    return float("nan") if value is None else float(checked(value, float, where))
