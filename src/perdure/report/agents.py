"""Runs of agents as a table for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from rich import box
from rich.table import Table
from rich.text import Text

from perdure.metrics.transfer import Statistic, mean_and_interval
from perdure.records.agent import AgentRecord, group_scores
from perdure.records.errors import ResultsError
from perdure.report.tables import DASH


def check_comparable(records: Sequence[AgentRecord]) -> None:
    """Check that runs can stand beside one another.

    Raises:
        ResultsError: if a run is unfinished, or they played different games, levels or schedules.
    """
    for record in records:
        if record.summary is None:
            raise ResultsError(f"{record.folder} is unfinished; resume it with `perdure resume {record.folder}`")
        for part in ("environment", "levels", "stages", "evaluation"):
            if record.config[part] != records[0].config[part]:
                raise ResultsError(
                    f"{record.folder} and {records[0].folder} differ in their {part}: {record.config[part]} and "
                    f"{records[0].config[part]}; compare runs of one game and schedule"
                )


def agents_table(records: Sequence[AgentRecord]) -> Table:
    """Return a row for each run: scores at the end at each level and over all, and what was lost since each level.

    Of games that are played in turn, the scores are those of each game, with what was lost of it.

    Raises:
        ResultsError: as `check_comparable`.
    """
    check_comparable(records)
    groups = records[0].groups
    parts = [header for name in groups for header in (name, "Backward")]
    parts = parts or [f"L{level}" for level in range(len(records[0].config["levels"]))]
    table = Table(
        box=box.SIMPLE_HEAD,
        caption="Mean score of the greedy policy after the last frame, ± the 95 % half width over seeds. Backward: "
        "what later levels have added to the score at the end of each level's own stage. Time without evaluation.",
    )
    table.add_column("Run")
    for header in (*parts, "All levels", "Backward", "Frames/s", *(["State"] if groups else [])):
        table.add_column(header, justify="right", no_wrap=True)
    for record in records:
        assert record.scores is not None
        assert record.summary is not None
        last = record.scores[:, -1]
        of_groups = [_with_interval(it) for scores in group_scores(record).values() for it in scores]
        by_level = of_groups or [f"{value:.1f}" for value in last.mean(axis=0)]
        everything = _with_interval(mean_and_interval(last.mean(axis=1)))
        backward = _with_interval(record.summary.metrics["backward_transfer"])
        state = [f"{record.summary.state_bytes / 1e6:.1f} MB"] if groups else []
        table.add_row(Text(record.folder.name), *by_level, everything, backward, _speed(record), *state)
    return table


def _speed(record: AgentRecord) -> str:
    """Return the frames of all seeds played in a second."""
    assert record.summary is not None
    seconds = record.summary.training_seconds
    return f"{record.summary.examples_seen * len(record.seeds) / seconds:,.0f}" if seconds > 0 else DASH


def _with_interval(statistic: Statistic) -> str:
    if np.isnan(statistic.mean):
        return DASH
    return f"{statistic.mean:.2f}" + ("" if np.isnan(statistic.ci95) else f" ± {statistic.ci95:.2f}")
