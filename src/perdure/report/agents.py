"""Runs of agents as a table for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from rich import box
from rich.table import Table
from rich.text import Text

from perdure.metrics.transfer import Statistic, mean_and_interval
from perdure.records.agent import AgentRecord
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

    Raises:
        ResultsError: as `check_comparable`.
    """
    check_comparable(records)
    n_levels = len(records[0].config["levels"])
    table = Table(
        box=box.SIMPLE_HEAD,
        caption="Mean score of the greedy policy after the last frame, ± the 95 % half width over seeds. Backward: "
        "what later levels have added to the score at the end of each level's own stage. Time without evaluation.",
    )
    table.add_column("Run")
    for header in (*(f"L{level}" for level in range(n_levels)), "All levels", "Backward", "Frames/s"):
        table.add_column(header, justify="right", no_wrap=True)
    for record in records:
        assert record.scores is not None
        assert record.summary is not None
        last = record.scores[:, -1]
        by_level = (f"{value:.1f}" for value in last.mean(axis=0))
        everything = _with_interval(mean_and_interval(last.mean(axis=1)))
        backward = _with_interval(record.summary.metrics["backward_transfer"])
        table.add_row(Text(record.folder.name), *by_level, everything, backward, _speed(record))
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
