"""Runs of agents as a table for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from rich import box
from rich.table import Table
from rich.text import Text

from perdure.metrics.transfer import Statistic, mean_and_interval
from perdure.named import resume_command
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
            raise ResultsError(f"{record.folder} is unfinished; resume it with `{resume_command(record.folder)}`")
        for part in ("environment", "levels", "stages", "evaluation"):
            if record.config[part] != records[0].config[part]:
                raise ResultsError(
                    f"{record.folder} and {records[0].folder} differ in their {part}: {record.config[part]} and "
                    f"{records[0].config[part]}; compare runs of one game and schedule"
                )


def agents_table(records: Sequence[AgentRecord]) -> Table:
    """Return a row for each run: scores at the end at each level and over all, and what was lost since each level.

    Of games that are played in turn, a run has a row for each game, and one for all levels.

    Raises:
        ResultsError: as `check_comparable`.
    """
    check_comparable(records)
    table = Table(
        box=box.SIMPLE_HEAD,
        caption="Mean score of the greedy policy after the last frame, ± the 95 % half width over seeds. Backward: "
        "what later levels have added to the score at the end of each level's own stage. Time without evaluation.",
    )
    table.add_column("Run", overflow="fold")
    if records[0].groups:
        table.add_column("Levels")
    by_level = [] if records[0].groups else [f"L{level}" for level in range(len(records[0].config["levels"]))]
    measured = (
        ["Score", "Backward", "Frames/s", "State"] if records[0].groups else ["All levels", "Backward", "Frames/s"]
    )
    for header in (*by_level, *measured):
        table.add_column(header, justify="right", no_wrap=True)
    for record in records:
        for row in _rows_of_groups(record) if record.groups else [_row_of_levels(record)]:
            table.add_row(*row)
    return table


def _row_of_levels(record: AgentRecord) -> list[Text | str]:
    assert record.scores is not None
    by_level = [f"{value:.1f}" for value in record.scores[:, -1].mean(axis=0)]
    return [Text(record.folder.name), *by_level, *_over_all(record), _speed(record)]


def _rows_of_groups(record: AgentRecord) -> list[list[Text | str]]:
    assert record.summary is not None
    of_groups = group_scores(record).items()
    rows = [[Text(name), _with_interval(it.final), _with_interval(it.backward), "", ""] for name, it in of_groups]
    state = f"{record.summary.state_bytes / 1e6:.1f} MB"
    rows.append(["all", *_over_all(record), _speed(record), state])
    names = [Text(record.folder.name), *[""] * (len(rows) - 1)]
    return [[name, *row] for name, row in zip(names, rows, strict=True)]


def _over_all(record: AgentRecord) -> list[str]:
    """Return the score over all levels at the end, and what was lost."""
    assert record.scores is not None
    assert record.summary is not None
    score = mean_and_interval(record.scores[:, -1].mean(axis=1))
    return [_with_interval(score), _with_interval(record.summary.metrics["backward_transfer"])]


def _speed(record: AgentRecord) -> str:
    """Return the frames of all seeds played in a second."""
    assert record.summary is not None
    seconds = record.summary.training_seconds
    return f"{record.summary.examples_seen * len(record.seeds) / seconds:,.0f}" if seconds > 0 else DASH


def _with_interval(statistic: Statistic) -> str:
    if np.isnan(statistic.mean):
        return DASH
    return f"{statistic.mean:.2f}" + ("" if np.isnan(statistic.ci95) else f" ± {statistic.ci95:.2f}")
