"""perdure check: does an own learner keep the contract?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer
from rich.table import Table
from rich.text import Text

from perdure.cli.commands import examples, group
from perdure.cli.console import print_table, say
from perdure.cli.learners import learner_commands, own_learner_command

if TYPE_CHECKING:
    from perdure.learners.hyperparameters import Hyperparameter
    from perdure.testing.report import Report


def _check(
    learner_name: str,
    given: dict[str, float | int],
) -> None:
    from perdure.experiments.supervised.plan import choose_learner
    from perdure.testing.learners import check_learner
    from perdure.testing.report import ConformanceError

    learner = choose_learner(learner_name, CHOSEN_ON, {**_tried(learner_name), **given}).learner
    try:
        report = check_learner(learner)
    except ConformanceError as failed:
        report = failed.report
    print_table(_table(report))
    n_passed = len(report.outcomes) - len(report.failures)
    say(f"\n{report.subject}: {n_passed} of {len(report.outcomes)} checks passed")
    if report.failures:
        raise typer.Exit(1)


CHOSEN_ON = "digits-rotations"
"""Hyper-parameters that are not given are those of this benchmark: nothing is learned from it here."""


def _tried(learner_name: str) -> dict[str, Any]:
    """Return values for the hyper-parameters of an own learner that have no default: some that are allowed."""
    from perdure.learners.catalog import CATALOG, learner_class
    from perdure.learners.hyperparameters import hyperparameters, required_and_known

    if learner_name in CATALOG:
        return {}
    cls = learner_class(learner_name)
    required, _ = required_and_known(cls)
    known = {it.name: it for it in hyperparameters(cls)}
    return {name: _value_of(known[name]) for name in required if known[name].kind in _VALUES}


_VALUES = {float: 0.05, int: 3, bool: False}


def _value_of(known: Hyperparameter) -> Any:
    return max(known.minimum, _VALUES[known.kind])


def _table(report: Report) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    for header in ("Checked", "", "Why"):
        table.add_column(header, overflow="fold")
    told: dict[str, str] = {}  # one mistake may fail many checks: it is told once
    for it in report.outcomes:
        if it.problem is None:
            table.add_row(Text(it.name), Text("passed", style="green"))
            continue
        first = told.setdefault(it.problem, it.name)
        why = it.problem if first == it.name else f"as “{first}”"
        table.add_row(Text(it.name), Text("failed", style="bold red"), Text(why))
    return table


_EXAMPLES = ["perdure check NAME", "perdure check NAME --learning-rate 0.1"]

check_app = group(
    "learner",
    learner_commands(_check, {"": ["perdure check NAME"]}),
    other=own_learner_command(_check, _EXAMPLES),
    help="Check that a learner keeps the contract, and that it learns: perdure check my_method.py:MyLearner. It learns "
    "small made-up streams; exit status 1 if something fails.",
    epilog=examples("perdure check my_method.py:MyLearner", "perdure check mer"),
)
