"""perdure results and report: runs of every kind, listed, and each kind's tables and figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from perdure.cli.commands import command, examples
from perdure.cli.console import note, print_table, say


class Report(NamedTuple):
    """What there is to show of runs of one kind."""

    tables: Sequence[Any]
    notes: Sequence[str] = ()
    figures: Sequence[Path] = ()
    """Files that were written."""


def results(
    root: Annotated[Path, typer.Argument(help="Folder that holds the folders of runs.")] = Path("runs"),
) -> None:
    """List runs of every kind, finished and unfinished."""
    from perdure.records.listing import list_records
    from perdure.report.tables import runs_table

    print_table(runs_table(list_records(root)))


def report(
    folders: Annotated[list[Path], typer.Argument(help="Folders of finished runs, of any kind.")],
    figures: Annotated[Path | None, typer.Option(help="Folder to draw figures in.", show_default="none drawn")] = None,
) -> None:
    """Show what came of runs, those of one kind side by side: tables, and figures as PNG and SVG."""
    from perdure.records.listing import load_record

    records = [load_record(folder) for folder in folders]
    if unfinished := [str(record.folder) for record in records if not record.finished]:
        raise ValueError(f"not finished: {', '.join(unfinished)}; resume them with perdure resume, or leave them out")
    kinds = dict.fromkeys(record.config["kind"] for record in records)
    reports = [_BY_KIND[kind]([it for it in records if it.config["kind"] == kind], figures) for kind in kinds]
    _show(reports)
    for it in reports:
        for path in it.figures:
            say(str(path))


def report_run(folder: Path) -> None:
    """Draw the figures of a finished run of any kind in its folder, then show its tables."""
    from perdure.records.listing import load_record

    record = load_record(folder)
    _show([_BY_KIND[record.config["kind"]]([record], folder / "figures")])
    say(f"record and figures: {folder}")


def _show(reports: Sequence[Report]) -> None:
    for it in reports:
        for table in it.tables:
            print_table(table)
        for remark in it.notes:
            note(remark)


def _learners(records: Sequence[Any], figures: Path | None) -> Report:
    from perdure.report.figures import save_figures
    from perdure.report.notes import comparison_notes
    from perdure.report.tables import comparison_table

    drawn = [] if figures is None else save_figures(records, figures)
    return Report([comparison_table(records)], comparison_notes(records), drawn)


def _searches(records: Sequence[Any], figures: Path | None) -> Report:
    from perdure.records.tuning import edge_notes
    from perdure.report.tuning import save_search_figure, trials_table

    results = [record.result for record in records]
    places = _places(records, figures)
    drawn = [path for folder, it in zip(places, results, strict=False) for path in save_search_figure(it, folder)]
    return Report([trials_table(it) for it in results], [it for result in results for it in edge_notes(result)], drawn)


def _studies(records: Sequence[Any], figures: Path | None) -> Report:
    from perdure.report.study import study_blocks
    from perdure.report.terminal_page import terminal_page

    pages = [
        study_blocks(it.tables, it.timing, it.command, study=it.config["study"], quick=it.config["quick"])
        for it in records
    ]
    return Report([terminal_page(page) for page in pages])


def _trainings(records: Sequence[Any], figures: Path | None) -> Report:
    from perdure.report.representations import training_table

    return Report([training_table(records)])


def _evaluations(records: Sequence[Any], figures: Path | None) -> Report:
    from perdure.report.figures.representations import save_evaluation_figures
    from perdure.report.representations import evaluation_tables

    places = _places(records, figures)
    drawn = [
        path
        for folder, record in zip(places, records, strict=False)
        for path in save_evaluation_figures(record.evaluations, folder)
    ]
    return Report([table for record in records for table in evaluation_tables(record.evaluations)], figures=drawn)


def _comparisons(records: Sequence[Any], figures: Path | None) -> Report:
    from perdure.report.representations import learners_table

    return Report([learners_table(record.figures) for record in records])


def _agents(records: Sequence[Any], figures: Path | None) -> Report:
    from perdure.report.agents import agents_table
    from perdure.report.figures.agents import scores_over_frames
    from perdure.report.figures.saving import save_figure

    table = agents_table(records)
    if figures is None:
        return Report([table])
    return Report([table], figures=list(save_figure(scores_over_frames(records), figures / "scores-over-frames")))


def _streams(records: Sequence[Any], figures: Path | None) -> Report:
    from perdure.report.figures.prequential import prequential_curves
    from perdure.report.figures.saving import save_figure
    from perdure.report.prequential import prequential_notes, prequential_table

    places = _places(records, figures)
    drawn = [
        path
        for folder, record in zip(places, records, strict=False)
        for path in save_figure(prequential_curves(record), folder / "prequential")
    ]
    notes = [it for record in records for it in prequential_notes(record)]
    return Report([prequential_table(record) for record in records], notes, drawn)


def _embeddings(records: Sequence[Any], figures: Path | None) -> Report:
    from perdure.report.embeddings import embeddings_table
    from perdure.report.figures.embeddings import methods_on_embeddings
    from perdure.report.figures.saving import save_figure

    places = _places(records, figures)
    drawn = [
        path
        for folder, record in zip(places, records, strict=False)
        for path in save_figure(methods_on_embeddings(record), folder / "embeddings")
    ]
    return Report([embeddings_table(record) for record in records], figures=drawn)


def _methods(records: Sequence[Any], figures: Path | None) -> Report:
    from perdure.report.comparison import best_first, comparison_table
    from perdure.report.figures import save_figures
    from perdure.report.notes import comparison_notes
    from perdure.report.terminal_page import terminal_page

    places = _places(records, figures)
    drawn = [
        path
        for folder, record in zip(places, records, strict=False)
        for path in save_figures(best_first(record.runs), folder)
    ]
    tables = [terminal_page([comparison_table(best_first(it.runs), it.request.baseline)]) for it in records]
    return Report(tables, [it for record in records for it in comparison_notes(record.runs)], drawn)


def _places(records: Sequence[Any], figures: Path | None) -> list[Path]:
    """Return a folder for the figures of each of several runs that are drawn alone; none if none are drawn."""
    if figures is None:
        return []
    if len(records) == 1:
        return [figures]
    from perdure.report.figures.saving import file_names

    return [figures / name for name in file_names([record.folder.name for record in records])]


_BY_KIND: Mapping[str, Callable[[Sequence[Any], Path | None], Report]] = {
    "learner": _learners,
    "tuning": _searches,
    "reproduction": _studies,
    "representation": _trainings,
    "evaluation": _evaluations,
    "comparison": _comparisons,
    "agent": _agents,
    "stream": _streams,
    "embeddings": _embeddings,
    "methods": _methods,
}

results_command = command(results, epilog=examples("perdure results", "perdure results other/runs"))
report_command = command(report, epilog=examples("perdure report runs/online runs/er runs/mer --figures runs/figures"))
