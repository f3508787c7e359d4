"""The record of a search for hyper-parameters, laid out as `perdure.records.folder` tells.

request.json   what was last requested: the values to try
trials.json    every combination that was tried, a row each; rewritten after every few
results.md     the page of what is finished so far, and results.html

The values to try may change from call to call: only combinations that were not tried yet are computed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from perdure.metrics.transfer import Statistic, mean_and_interval
from perdure.presets.learners import Preset
from perdure.records.errors import REPAIR, ResultsError, damaged
from perdure.records.folder import CONFIG, seeds_in
from perdure.records.measurements import LARGEST_SCORE
from perdure.records.requested import REQUEST, is_marked_finished, read_config_of, read_request
from perdure.shown import Drawing, InShort, Shown, counted, with_interval
from perdure.storage.files import write_json
from perdure.storage.reading import ContentError, checked, entry, read_json

KIND = "tuning"
TRIALS = "trials.json"

_NEAR_END = 0.1  # of an interval, on its logarithmic scale

Key = tuple[tuple[str, float | int], ...]
"""Hyper-parameters in alphabetical order."""


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


@dataclass(frozen=True, repr=False)
class TuningResult(Shown):
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

    def in_short(self) -> InShort:
        """Return what was searched, and the best combination with its score."""
        best = self.best
        chosen = {name: f"{value:g}" for name, value in best.hyperparameters.items() if name in self.space}
        score = {"retained accuracy": with_interval(100 * best.score.mean, 100 * best.score.ci95, ".1f", " %")}
        tried = counted(len(self.trials), "combination")
        title = f"{self.learner} on validation streams of {self.benchmark}, {tried}, {counted(len(self.seeds), 'seed')}"
        return InShort(f"{title}; the best", chosen | score)

    def rows(self) -> list[dict[str, Any]]:
        """Return a row for each combination, best first: hyper-parameters, and retained accuracy as a fraction."""
        return [
            {**it.hyperparameters, "retained_accuracy": it.score.mean, "ci95": it.score.ci95, "diverged": it.diverged}
            for it in self.trials
        ]

    def drawing(self) -> Drawing:
        """Return what draws how the score depends on the hyper-parameters."""
        return Drawing("perdure.report.tuning", "search_figure", (self,))

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


@dataclass(frozen=True)
class TuningRequest:
    """What was last requested of a search."""

    space: Mapping[str, Values]
    """Values to try of each hyper-parameter that was given, all combinations of them."""
    n_trials: int | None
    """How many combinations to draw at random instead; None for all of them."""
    combinations: Sequence[Mapping[str, float | int]]
    """All hyper-parameters of each combination."""

    def to_json(self) -> dict[str, Any]:
        """Return it as request.json has it."""
        space = {name: it._asdict() if isinstance(it, LogUniform) else list(it) for name, it in self.space.items()}
        return {"space": space, "trials": self.n_trials, "combinations": [dict(it) for it in self.combinations]}


@dataclass(frozen=True)
class TuningRecord:
    """A search as its folder tells it."""

    folder: Path
    config: Mapping[str, Any]
    request: TuningRequest
    trials: Mapping[Key, Trial]
    """All that were tried, those of earlier requests too."""
    finished: bool
    """Was every combination tried that was requested last?"""

    @classmethod
    def load(cls, folder: Path) -> TuningRecord:
        """Read the record in `folder`.

        Raises:
            ResultsError: if the folder holds no search, or a file of it is missing, damaged or of another format.
        """
        config = read_config_of(KIND, folder)
        try:
            _check_config(config, folder / CONFIG)
            request = _request(read_request(folder), folder / REQUEST)
        except ContentError as cause:
            raise damaged(cause) from cause
        record = cls(folder, config, request, read_trials(folder, len(config["seeds"])), is_marked_finished(folder))
        if record.finished and record.n_tried < len(request.combinations):
            raise ResultsError(f"{folder / TRIALS} lacks combinations of a finished search; {REPAIR}")
        return record

    @property
    def n_tried(self) -> int:
        """Combinations tried of those that were requested last."""
        return sum(key_of(it) in self.trials for it in self.request.combinations)

    @property
    def title(self) -> str:
        """The search in a few words: "mer on mnist-rotations"."""
        return f"{self.config['learner']['name']} on {self.config['benchmark']['name']}"

    @property
    def result(self) -> TuningResult:
        """What the search has found, of the combinations that were requested last.

        Raises:
            ResultsError: if none was tried yet.
        """
        tried = [self.trials[key] for key in map(key_of, self.request.combinations) if key in self.trials]
        if not tried:
            raise ResultsError(f"{self.folder} has tried no combination yet; resume it with perdure resume")
        return TuningResult(
            learner=self.config["learner"]["name"],
            benchmark=self.config["benchmark"]["name"],
            options=self.config["benchmark"]["options"],
            seeds=tuple(self.config["seeds"]),
            space=searched(self.request.space),
            trials=best_first(tried),
        )


def key_of(hyperparameters: Mapping[str, float | int]) -> Key:
    """Return what tells one combination from another."""
    return tuple(sorted(hyperparameters.items()))


def searched(space: Mapping[str, Values]) -> dict[str, Values]:
    """Return those hyper-parameters of which several values are tried."""
    return {name: values for name, values in space.items() if len(values) > 1}


def write_trials(folder: Path, trials: Sequence[Trial]) -> None:
    """Write trials.json, a row a combination.

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
    write_json(folder / TRIALS, {"trials": rows})


def read_trials(folder: Path, n_seeds: int) -> dict[Key, Trial]:
    """Return the trials in a folder by their hyper-parameters; none if nothing was tried yet.

    Raises:
        ResultsError: if trials.json is damaged, or has not a score for each of the seeds.
    """
    path = folder / TRIALS
    if not path.exists():
        return {}
    try:
        trials = [_trial(row, n_seeds, path) for row in entry(read_json(path), "trials", list, path)]
    except ContentError as cause:
        raise damaged(cause) from cause
    return {key_of(trial.hyperparameters): trial for trial in trials}


def _trial(row: Any, n_seeds: int, path: Path) -> Trial:
    where = f"{path}, 'trials'"
    row = checked(row, dict, where)
    scores = entry(row, "retained_accuracy", list, where)
    if len(scores) != n_seeds:
        raise ContentError(
            f"{where} has {len(scores)} scores of a combination, expected one for each of {n_seeds} seeds"
        )
    return Trial(
        _hyperparameters(entry(row, "hyperparameters", dict, where), where),
        mean_and_interval([math.nan if score is None else _score(score, where) for score in scores]),
    )


def _score(score: Any, where: str) -> float:
    """Return an accuracy or an R², which knows no lower bound but that its square must be a number."""
    score = float(checked(score, float, where))
    if not -LARGEST_SCORE <= score <= 1:
        raise ContentError(f"{where} has the score {score:g}, expected at most 1, and an accuracy or an R²")
    return score


def _hyperparameters(values: Mapping[str, Any], where: str) -> dict[str, float | int]:
    return {
        name: value if isinstance(value, bool) else checked(value, float, f"{where}, {name!r}")
        for name, value in values.items()
    }


def _check_config(config: Mapping[str, Any], where: Path) -> None:
    entry(entry(config, "learner", dict, where), "name", str, f"{where}, 'learner'")
    benchmark = entry(config, "benchmark", dict, where)
    entry(benchmark, "name", str, f"{where}, 'benchmark'")
    entry(benchmark, "options", dict, f"{where}, 'benchmark'")
    entry(entry(config, "model", dict, where), "name", str, f"{where}, 'model'")
    seeds_in(config, where)


def _request(content: Mapping[str, Any], where: Path) -> TuningRequest:
    space = entry(content, "space", dict, where)
    rows = entry(content, "combinations", list, where)
    combinations = [_hyperparameters(checked(row, dict, where), f"{where}, 'combinations'") for row in rows]
    tried = {name: _values(values, f"{where}, 'space', {name!r}") for name, values in space.items()}
    for row in combinations:
        if outside := [name for name, values in tried.items() if name not in row or not _among(row[name], values)]:
            raise ContentError(f"{where}, 'combinations' has a {outside[0]} that is not among those of 'space'")
    if not combinations:
        raise ContentError(f"{where}, 'combinations' is an empty list, expected at least one")
    n_trials = None if content.get("trials") is None else entry(content, "trials", int, where)
    return TuningRequest(tried, n_trials, combinations)


def _among(value: float | int, values: Values) -> bool:
    return values.low <= value <= values.high if isinstance(values, LogUniform) else value in values


def _values(values: Any, where: str) -> Values:
    if isinstance(values, dict):
        low, high = (float(entry(values, end, float, where)) for end in LogUniform._fields)
        if not 0 < low < high:
            raise ContentError(f"{where} is the interval {low:g}..{high:g}, expected 0 < low < high")
        return LogUniform(low, high)
    listed = checked(values, list, where)
    if not listed:
        raise ContentError(f"{where} is an empty list, expected values to try")
    return tuple(_hyperparameters({where: value}, where)[where] for value in listed)
