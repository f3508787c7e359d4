"""The record of an agent's run, laid out as that of a learner's (see `perdure.records.run`).

agent.json            what was asked; written first
environment.json      versions and machine
log.txt               what happened when
scores.parquet        every score that was evaluated, a row each
networks.safetensors  the networks at the end, leaves (seeds, ...)
summary.json          metrics and cost; written last, so a folder without it is an unfinished run
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float64, Int64

from perdure.metrics.transfer import METRICS, Statistic, mean_and_interval, metrics_over_seeds
from perdure.records.measurements import REPAIR, ResultsError, read_table
from perdure.records.run import Summary, read_record, read_summary
from perdure.storage.files import write_atomically

FORMAT = 1
"""Version of the layout; a record of another format is refused, not guessed at."""
CONFIG = "agent.json"
NETWORKS = "networks.safetensors"
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
        path = folder / CONFIG
        if not path.exists():
            raise ResultsError(f"{folder} holds no {CONFIG}, so no run of an agent; give the folder of one")
        config = read_record(path, FORMAT)
        if not {"agent", "environment", "levels", "stages", "network", "seeds", "evaluation"} <= config.keys():
            raise ResultsError(
                f"{path} lacks an agent, environment, levels, stages, network, seeds or evaluation; {REPAIR}"
            )
        summary = read_summary(folder / "summary.json")
        if summary is None:
            return cls(folder, config, None, None, None)
        return cls(folder, config, *_read_scores(folder / "scores.parquet", config["seeds"]), summary)

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
    def stages(self) -> list[tuple[int, int]]:
        """Level, counted from 0, and number of frames of each stage."""
        return [(level, frames) for level, frames in self.config["stages"]]


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


def write_scores(folder: Path, seeds: Sequence[int], frames: Int64[np.ndarray, " times"], scores: Scores) -> None:
    """Write scores.parquet: a row for every seed, evaluation and level.

    Raises:
        StorageError: if it cannot be written.
    """
    seed, time, level = np.indices(scores.shape).reshape(3, -1)
    columns = (np.asarray(seeds)[seed], np.asarray(frames)[time], level, scores.ravel())
    table = pd.DataFrame(dict(zip(_COLUMNS, columns, strict=True))).astype(_COLUMNS)
    write_atomically(folder / "scores.parquet", lambda file: table.to_parquet(file, index=False))


def _read_scores(path: Path, seeds: Sequence[int]) -> tuple[Int64[np.ndarray, " times"], Scores]:
    table = read_table(path, _COLUMNS)
    frames = np.unique(table["frame"].to_numpy())
    shape = (len(seeds), len(frames), len(np.unique(table["level"].to_numpy())))
    if len(table) != np.prod(shape) or set(table["seed"]) != set(seeds):
        raise ResultsError(f"{path} has not one row for each of the seeds, evaluations and levels; {REPAIR}")
    ordered = table.sort_values(["seed", "frame", "level"])["score"].to_numpy(float).reshape(shape)
    return frames, ordered[np.argsort(np.argsort(seeds))]
