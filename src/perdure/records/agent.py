"""The record of an agent's run, laid out as `perdure.records.folder` tells.

scores.parquet        every score that was evaluated, a row each
networks.safetensors  the networks at the end, leaves (seeds, ...)
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float64, Int64

from perdure.metrics.transfer import METRICS, Statistic, mean_and_interval, metrics_over_seeds
from perdure.records.errors import REPAIR, ResultsError, damaged
from perdure.records.folder import CONFIG, read_config, seeds_in
from perdure.records.measurements import LARGEST_SCORE
from perdure.records.summary import Summary, read_summary
from perdure.storage.reading import ContentError, checked, entry
from perdure.storage.tables import read_table, write_table

KIND = "agent"
NETWORKS = "networks.safetensors"
MAX_LEVELS = 500
"""Most levels of a run: an image of its figure could not hold more panels."""
MAX_STAGES = 10_000
_COLUMNS = {"seed": "int64", "frame": "int64", "level": "int64", "score": "float64"}

Scores = Float64[np.ndarray, "seeds times levels"]


@dataclass(frozen=True)
class AgentRecord:
    """An agent's run as its folder tells it."""

    folder: Path
    config: Mapping[str, Any]
    frames: Int64[np.ndarray, " times"] | None
    """Frames played at each evaluation; None while the run is unfinished."""
    scores: Scores | None
    """Mean scores; None while the run is unfinished."""
    summary: Summary | None
    """Its `examples_seen` are frames; None while the run is unfinished."""

    @classmethod
    def load(cls, folder: Path) -> AgentRecord:
        """Read the record in `folder`.

        Raises:
            ResultsError: if the folder holds no run of an agent, or a file of it is missing, damaged, of another format
                or at odds with the configuration.
        """
        config = read_config(folder)
        try:
            _check_config(config, folder)
        except ContentError as cause:
            raise damaged(cause) from cause
        summary = read_summary(folder, len(config["seeds"]))
        if summary is None:
            return cls(folder, config, None, None, None)
        scores = _read_scores(folder / "scores.parquet", config["seeds"], len(config["levels"]))
        return cls(folder, config, *scores, summary)

    @property
    def finished(self) -> bool:
        """Has the run written its summary?"""
        return self.summary is not None

    @property
    def agent(self) -> str:
        """Name of the agent."""
        return self.config["agent"]["name"]

    @property
    def environment(self) -> str:
        """Name of the environment."""
        return self.config["environment"]["name"]

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds of the run."""
        return tuple(self.config["seeds"])

    @property
    def title(self) -> str:
        """The run in a few words: "dqn-mer on catcher"."""
        return f"{self.agent} on {self.environment}"

    @property
    def groups(self) -> dict[str, list[int]]:
        """Levels of each game, or of each other group, of an environment that has several; empty for others."""
        names = self.config.get("groups", [])
        return {name: [level for level, its in enumerate(names) if its == name] for name in dict.fromkeys(names)}

    @property
    def stages(self) -> list[tuple[int, int]]:
        """Level, counted from 0, and number of frames of each stage."""
        return [(level, frames) for level, frames in self.config["stages"]]


def _check_config(config: Mapping[str, Any], folder: Path) -> None:
    where = folder / CONFIG
    if config["kind"] != KIND:
        raise ResultsError(f"{folder} holds a run of the kind {config['kind']}, expected one of an agent")
    agent = entry(config, "agent", dict, where)
    entry(agent, "name", str, f"{where}, 'agent'")
    entry(agent, "hyperparameters", dict, f"{where}, 'agent'")
    environment = entry(config, "environment", dict, where)
    entry(environment, "name", str, f"{where}, 'environment'")
    entry(environment, "observation", str, f"{where}, 'environment'")
    n_levels = len(entry(config, "levels", list, where))
    if not 1 <= n_levels <= MAX_LEVELS:
        raise ContentError(f"{where}, 'levels' has {n_levels:,} levels, expected 1 to {MAX_LEVELS}")
    groups = checked(config.get("groups", []), list, f"{where}, 'groups'")
    if groups and (len(groups) != n_levels or not all(isinstance(name, str) for name in groups)):
        raise ContentError(f"{where}, 'groups' is {groups!r}, expected a name for each of the {n_levels} levels")
    _check_stages(entry(config, "stages", list, where), n_levels, f"{where}, 'stages'")
    entry(entry(config, "network", dict, where), "name", str, f"{where}, 'network'")
    evaluation = entry(config, "evaluation", dict, where)
    for number in ("every", "episodes"):
        entry(evaluation, number, int, f"{where}, 'evaluation'")
    seeds_in(config, where)


def _check_stages(stages: Sequence[Any], n_levels: int, where: str) -> None:
    if not 1 <= len(stages) <= MAX_STAGES:
        raise ContentError(f"{where} has {len(stages):,} stages, expected 1 to {MAX_STAGES}")
    for stage in stages:
        if len(checked(stage, list, where)) != 2:
            raise ContentError(f"{where} has a stage of {len(stage)} values, expected a level and a number of frames")
        level, frames = (checked(number, int, where) for number in stage)
        if not 0 <= level < n_levels or frames < 1:
            raise ContentError(
                f"{where} has a stage of {frames} frames of level {level}, expected one frame or more of a level from "
                f"0 to {n_levels - 1}"
            )


def score_metrics(
    frames: Int64[np.ndarray, " times"], scores: Scores, stages: Sequence[tuple[int, int]]
) -> dict[str, Statistic]:
    """Return the transfer metrics of `perdure.metrics.transfer`, of scores in place of accuracies.

    The rows of the matrix are the scores before the first frame and at the end of each stage, its columns the levels in
    the order of the stages. Where a level comes twice there is no such matrix: all but the retained score are NaN, and
    that is the mean over the levels played.

    Args:
        frames: played at each evaluation.
        scores: mean score at each level.
        stages: level and number of frames of each.
    """
    order = [level for level, _ in stages]
    if len(set(order)) < len(order):
        played = sorted(set(order))
        nothing = mean_and_interval([np.nan] * len(scores))
        last = mean_and_interval(scores[:, -1, played].mean(axis=1))
        return {name: last if name == "retained_accuracy" else nothing for name in METRICS}
    ends = np.cumsum([0, *(length for _, length in stages)])
    matrices = scores[:, np.searchsorted(frames, ends)][:, :, order]
    # Scores know no bound, which accuracies have; the metrics of scores times a factor are that many times as large.
    largest = max(1.0, float(np.abs(matrices).max()))
    return {
        name: Statistic(
            largest * it.mean, largest * it.std, largest * it.ci95, tuple(largest * value for value in it.per_seed)
        )
        for name, it in metrics_over_seeds(matrices / largest).items()
    }


class GroupScores(NamedTuple):
    """Scores at the levels of one group, over seeds."""

    final: Statistic
    """Mean score at its levels after the last frame."""
    backward: Statistic
    """What has been added to it since the end of each level's own stage; NaN if a level has several stages or none."""


def group_scores(record: AgentRecord) -> dict[str, GroupScores]:
    """Return the scores of a finished run, and what became of them, for each of its groups of levels."""
    assert record.frames is not None
    assert record.scores is not None
    played = [level for level, _ in record.stages]
    ends = np.searchsorted(record.frames, np.cumsum([frames for _, frames in record.stages]))
    found = {}
    for name, levels in record.groups.items():
        last = record.scores[:, -1, levels].mean(axis=1)
        backward = np.full_like(last, np.nan)
        if all(played.count(level) == 1 for level in levels):
            own = [record.scores[:, ends[played.index(level)], level] for level in levels]
            backward = last - np.mean(own, axis=0)
        found[name] = GroupScores(mean_and_interval(last), mean_and_interval(backward))
    return found


def write_scores(folder: Path, seeds: Sequence[int], frames: Int64[np.ndarray, " times"], scores: Scores) -> None:
    """Write scores.parquet: a row for every seed, evaluation and level.

    Raises:
        StorageError: if it cannot be written.
    """
    seed, time, level = np.indices(scores.shape).reshape(3, -1)
    columns = (np.asarray(seeds)[seed], np.asarray(frames)[time], level, scores.ravel())
    write_table(folder / "scores.parquet", dict(zip(_COLUMNS, columns, strict=True)))


def _read_scores(path: Path, seeds: Sequence[int], n_levels: int) -> tuple[Int64[np.ndarray, " times"], Scores]:
    try:
        seed, frame, level, score = read_table(path, _COLUMNS).values()
    except ContentError as cause:
        raise damaged(cause) from cause
    incomplete = ResultsError(f"{path} has not one row for each of the seeds, evaluations and levels; {REPAIR}")
    (known, run), (frames, time), (levels, place) = (np.unique(it, return_inverse=True) for it in (seed, frame, level))
    shape = (len(known), len(frames), len(levels))
    if known.tolist() != sorted(seeds) or levels.tolist() != list(range(n_levels)) or len(score) != math.prod(shape):
        raise incomplete
    if not (np.abs(score) <= LARGEST_SCORE).all():
        raise ResultsError(f"{path} has a score that is beyond ±{LARGEST_SCORE:g} or not a number; {REPAIR}")
    scores, found = np.full(shape, np.nan), np.zeros(shape, bool)
    scores[run, time, place], found[run, time, place] = score, True
    if not found.all():
        raise incomplete
    return frames, scores[np.argsort(np.argsort(seeds))]
