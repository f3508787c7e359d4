"""The record of a search for hyper-parameters: search.json in one folder, with every combination that was tried.

The file holds what decides a score (learner, benchmark, model, seeds, data) and a row a combination. It is written anew
after every few combinations, so that a search that was stopped, or is given more values, computes only what is missing.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from perdure.metrics.transfer import Statistic, mean_and_interval
from perdure.presets.learners import Preset
from perdure.records.errors import ResultsError
from perdure.storage.files import make_folder, write_json

FORMAT = 1
"""Version of the layout; a record of another format is refused, not guessed at."""

_FILE = "search.json"
_NEAR_END = 0.1  # of an interval, on its logarithmic scale
_REPAIR = "delete the folder and search again, or restore the file from a copy"


class LogUniform(NamedTuple):
    """Where random search draws a rate from: its logarithm is uniform, 0 < low < high."""

    low: float
    high: float


Values = tuple[float | int, ...] | LogUniform
"""What a search tries of one hyper-parameter."""


@dataclass(frozen=True)
class Trial:
    """One combination of hyper-parameters and how it did."""

    hyperparameters: Mapping[str, float | int]
    """All of the learner's."""
    score: Statistic
    """Retained accuracy on the validation streams, a fraction; NaN for seeds that diverged."""

    @property
    def diverged(self) -> bool:
        """Did a seed come to NaN or infinity?"""
        return math.isnan(self.score.mean)


@dataclass(frozen=True)
class TuningResult:
    """What a search has tried and found."""

    learner: str
    benchmark: str
    options: Mapping[str, Any]
    """Of the benchmark."""
    seeds: tuple[int, ...]
    """Of the validation streams."""
    space: Mapping[str, Values]
    """Values tried of each hyper-parameter of which there were several."""
    trials: tuple[Trial, ...]
    """Best first, those that diverged last."""

    @property
    def best(self) -> Trial:
        """The trial of the highest mean score."""
        return self.trials[0]

    @property
    def preset(self) -> Preset:
        """The best combination as a preset."""
        values = self.best.hyperparameters
        memory_size = values.get("memory_size")
        return Preset(
            learner=self.learner,
            benchmark=self.benchmark,
            memory_size=None if memory_size is None else int(memory_size),
            hyperparameters=values,
            source=f"tuned by perdure tune on validation streams, seeds {', '.join(map(str, self.seeds))}",
            retained_accuracy=None,
            options=self.options,
        )


def best_first(trials: Sequence[Trial]) -> tuple[Trial, ...]:
    """Return the trials by falling mean score, those that diverged last; equals stay in order."""
    return tuple(sorted(trials, key=lambda trial: math.inf if trial.diverged else -trial.score.mean))


def edge_notes(result: TuningResult) -> list[str]:
    """Return a sentence for each chosen value that lies at the edge of those tried, where better ones may lie beyond.

    Of an interval the outer tenths of its logarithmic scale are its edges.
    """
    found = [(name, _edge(result.best.hyperparameters[name], tried)) for name, tried in result.space.items()]
    return [
        f"{name} = {result.best.hyperparameters[name]:g} lies at the {edge} edge of what was tried; "
        f"better values may lie beyond: extend it with {'larger' if edge == 'upper' else 'smaller'} ones"
        for name, edge in found
        if edge is not None
    ]


def _edge(chosen: float | int, tried: Values) -> str | None:
    if isinstance(chosen, bool):
        return None
    if isinstance(tried, LogUniform):
        place = math.log(chosen / tried.low) / math.log(tried.high / tried.low)
        is_lowest, is_highest = place < _NEAR_END, place > 1 - _NEAR_END
    else:
        is_lowest, is_highest = chosen == min(tried), chosen == max(tried)
    if is_highest:
        return "upper"
    smallest = 1 if isinstance(chosen, int) else 0  # of all counts, and of all rates
    return "lower" if is_lowest and chosen > smallest else None


def open_search(folder: Path, config: Mapping[str, Any]) -> list[Trial]:
    """Make `folder` the home of the search `config`, and return the trials that are already there.

    Raises:
        ResultsError: if the folder holds a search of another configuration, or its record is damaged.
        StorageError: if the folder cannot be made.
    """
    make_folder(folder)
    path = folder / _FILE
    if not path.exists():
        return []
    try:
        content = json.loads(path.read_bytes())
        there, trials = {name: content[name] for name in config}, [_trial(row) for row in content["trials"]]
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as cause:
        raise ResultsError(f"{path} cannot be read as the record of a search ({cause!r}); {_REPAIR}") from cause
    wanted = json.loads(json.dumps(config))
    differing = [name for name in wanted if there[name] != wanted[name]]
    if differing:
        lines = "\n".join(f"  {name}: {there[name]} there, {wanted[name]} asked for" for name in differing)
        raise ResultsError(
            f"{folder} holds a search of another configuration:\n{lines}\n"
            "Give this search another folder with --out, or delete that one"
        )
    return trials


def save_search(folder: Path, config: Mapping[str, Any], trials: Sequence[Trial]) -> None:
    """Write search.json.

    Raises:
        StorageError: if it cannot be written.
    """
    rows = [
        {
            "hyperparameters": dict(trial.hyperparameters),
            "retained_accuracy": [None if math.isnan(score) else score for score in trial.score.per_seed],
        }
        for trial in trials
    ]
    write_json(folder / _FILE, {**config, "trials": rows})


def _trial(row: Mapping[str, Any]) -> Trial:
    scores = [np.nan if score is None else float(score) for score in row["retained_accuracy"]]
    values = row["hyperparameters"]
    if not all(isinstance(value, int | float) for value in values.values()):
        raise ValueError(f"hyper-parameters {values} are not all numbers")
    return Trial(values, mean_and_interval(scores))
