"""perdure resume, results and report: continuing runs, listing them, comparing them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from perdure.cli.commands import command, examples
from perdure.cli.console import DataDir, Previous, Quiet, note, print_table, say
from perdure.machine.signals import loading


def report_run(folder: Path) -> None:
    """Draw the figures of a finished run and show its table."""
    with loading():
        from perdure.records.learner import RunRecord
        from perdure.report.figures import save_figures
        from perdure.report.tables import comparison_table

    record = RunRecord.load(folder)
    save_figures([record], folder / "figures")
    print_table(comparison_table([record]))
    say(f"record and figures: {folder}")


def resume(
    folder: Annotated[Path, typer.Argument(help="Folder of a run that was stopped.")],
    data_dir: DataDir = None,
    previous: Previous = False,
    quiet: Quiet = False,
) -> None:
    """Continue a run that was stopped; it ends as if it had never been stopped."""
    with loading():
        from perdure.execution.drive import Driving
        from perdure.experiments.supervised.plan import resume_run
        from perdure.records.learner import RunRecord

    if not RunRecord.load(folder).finished:
        resume_run(folder, data_dir, Driving(previous=previous, progress=not quiet))
    report_run(folder)


def results(
    root: Annotated[Path, typer.Argument(help="Folder that holds the folders of runs.")] = Path("runs"),
) -> None:
    """List runs, finished and unfinished."""
    with loading():
        from perdure.records.run import list_runs
        from perdure.report.tables import runs_table

    print_table(runs_table(list_runs(root)))


def report(
    folders: Annotated[list[Path], typer.Argument(help="Folders of finished runs.")],
    figures: Annotated[Path | None, typer.Option(help="Folder to draw figures in.", show_default="none drawn")] = None,
) -> None:
    """Compare runs: a table beside the published figures, and figures as PNG and SVG."""
    with loading():
        from perdure.records.learner import RunRecord
        from perdure.report.figures import save_figures
        from perdure.report.notes import comparison_notes
        from perdure.report.tables import comparison_table

    records = [RunRecord.load(folder) for folder in folders]
    if unfinished := [str(record.folder) for record in records if not record.finished]:
        raise ValueError(f"not finished: {', '.join(unfinished)}; continue with perdure resume first, or leave them out")
    drawn = [] if figures is None else save_figures(records, figures)
    print_table(comparison_table(records))
    for remark in comparison_notes(records):
        note(remark)
    for path in drawn:
        say(str(path))


resume_command = command(resume, epilog=examples("perdure resume runs/mer"))
results_command = command(results, epilog=examples("perdure results", "perdure results other/runs"))
report_command = command(
    report, epilog=examples("perdure report runs/online runs/er runs/mer --figures runs/figures")
)
