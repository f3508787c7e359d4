"""perdure results and report: runs of every kind, listed, and each kind's tables and figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from perdure.cli.commands import command, examples
from perdure.cli.console import note, print_table, say, table_as_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from perdure.report.blocks import Block, Table


class Format(StrEnum):
    """What tables are written in."""

    table = "table"
    markdown = "markdown"
    csv = "csv"
    latex = "latex"
    html = "html"


class Report(NamedTuple):
    """What there is to show of runs of one kind."""

    tables: Sequence[Any]
    notes: Sequence[str] = ()
    figures: Sequence[Path] = ()
    """Files that were written."""
    page: Callable[[], list[Block]] | None = None
    """The same as a page; None for the tables as they are."""
    values: Sequence[Table] | None = None
    """The same with all digits; None for the tables of the page."""
    representations: Sequence[Path] = ()
    """Files of the trained representations."""
    pictures: Callable[[], list[tuple[Figure, str]]] | None = None
    """Figures with their captions for a page that is made of the tables; None if there are none."""


class Choices(NamedTuple):
    """What is shown of runs, and how."""

    figures: Path | None = None
    """Folder to draw figures in; None draws none."""
    baseline: str | None = None
    """What other runs are held against; None for what is usual."""


def results(
    root: Annotated[Path, typer.Argument(help="Folder that holds the folders of runs.")] = Path("runs"),
) -> None:
    """List runs of every kind, finished and unfinished."""
    from perdure.records.listing import list_records
    from perdure.report.tables import runs_table

    found = list_records(root)
    if not found:
        note(f"{root} holds no runs; give the folder that holds the folders of runs, or begin one with perdure run")
        return
    print_table(runs_table(found))


def report(
    folders: Annotated[list[Path], typer.Argument(help="Folders of finished runs, of any kind.")],
    figures: Annotated[Path | None, typer.Option(help="Folder to draw figures in.", show_default="none drawn")] = None,
    format_: Annotated[
        Format, typer.Option("--format", help="An aligned table, or text for pages, spreadsheets and papers.")
    ] = Format.table,
    out: Annotated[Path | None, typer.Option(help="File to write.", show_default="standard output")] = None,
    baseline: Annotated[
        str | None,
        typer.Option(
            help="Learner, run or folder that others on its streams are held against.", show_default="er, or the first"
        ),
    ] = None,
) -> None:
    """Show what came of runs, those of one kind side by side: tables, and figures as PNG and SVG.

    Runs of learners on the same streams are also held against a baseline, seed by seed.
    """
    from perdure.records.listing import load_record

    records = [load_record(folder) for folder in {it.resolve(): it for it in folders}.values()]
    if unfinished := [str(record.folder) for record in records if not record.finished]:
        raise ValueError(f"not finished: {', '.join(unfinished)}; resume them with perdure resume, or leave them out")
    kinds = dict.fromkeys(record.config["kind"] for record in records)
    if baseline is not None and not {"learner", "methods"} & set(kinds):
        raise ValueError(f"--baseline is {baseline}, but none of the folders holds a run of a learner; leave it out")
    choices = Choices(figures, baseline)
    reports = [_BY_KIND[kind]([it for it in records if it.config["kind"] == kind], choices) for kind in kinds]
    if format_ is Format.table and out is None:
        _show(reports)
    else:
        _write(_in_format(reports, format_), out)
    for it in reports if out is not None or format_ is Format.table else []:
        for path in it.figures:
            say(str(path))


def report_run(folder: Path) -> None:
    """Draw the figures of a finished run of any kind in its folder, then show its tables."""
    from perdure.records.listing import load_record

    record = load_record(folder)
    shown = _BY_KIND[record.config["kind"]]([record], Choices(folder / "figures"))
    _show([shown])
    for path in shown.representations:
        say(f"representation: {path}")
    say(f"{'record and figures' if shown.figures else 'record'}: {folder}")


def _show(reports: Sequence[Report]) -> None:
    for it in reports:
        for table in it.tables:
            print_table(table)
        for remark in it.notes:
            note(remark)


def _in_format(reports: Sequence[Report], format_: Format) -> str:
    """Return reports as text in a format."""
    from perdure.report.blocks import Table
    from perdure.report.csv_file import csv_file
    from perdure.report.html import html_page
    from perdure.report.latex import latex_page
    from perdure.report.markdown import markdown_page
    from perdure.report.translation import headed

    if format_ is Format.table:
        return "\n".join(table_as_text(table) for it in reports for table in it.tables)
    if format_ is Format.csv:
        tables = [
            [it for it in _page(one) if isinstance(it, Table)] if one.values is None else one.values for one in reports
        ]
        return csv_file([table for own in tables for table in own])
    with_pictures = format_ is Format.html
    blocks = headed([block for it in reports for block in _page(it, with_pictures=with_pictures)], "Runs")
    return {Format.markdown: markdown_page, Format.latex: latex_page, Format.html: html_page}[format_](blocks)


def _page(report: Report, *, with_pictures: bool = False) -> list[Block]:
    from perdure.report.blocks import Paragraph, Picture
    from perdure.report.figures.style import image_of
    from perdure.report.translation import translated

    if report.page is not None:
        return report.page()
    drawn = report.pictures() if with_pictures and report.pictures is not None else []
    return [
        *translated(report.tables),
        *(Paragraph(f"Note: {it}.", is_literal=True) for it in report.notes),
        *(Picture(image_of(figure, "svg"), caption) for figure, caption in drawn),
    ]


def _write(text: str, out: Path | None) -> None:
    """Write text into a file, or to standard output as it is."""
    from perdure.storage.files import make_folder, write_atomically

    if out is None:
        say(text.removesuffix("\n"))
        return
    make_folder(out.parent)
    write_atomically(out, text.encode())
    say(str(out))


def _learners(records: Sequence[Any], choices: Choices) -> Report:
    from perdure.report.blocks import Paragraph
    from perdure.report.differences import differences_legend, differences_table, pairings
    from perdure.report.figures import save_figures
    from perdure.report.runs import runs_blocks, runs_notes, values_of_runs
    from perdure.report.tables import comparison_table
    from perdure.report.terminal_page import terminal_page

    drawn = [] if choices.figures is None else save_figures(records, choices.figures)
    found = pairings(records, choices.baseline)
    tables: list[Any] = [comparison_table(records)]
    differences = differences_table(found, records)
    if differences is not None:
        tables.append(terminal_page([Paragraph(f"\n{differences_legend(found)}\n"), differences]))
    return Report(
        tables,
        runs_notes(records, found),
        drawn,
        partial(runs_blocks, records, found),
        [values_of_runs(records, found)],
    )


def _searches(records: Sequence[Any], choices: Choices) -> Report:
    from perdure.records.tuning import edge_notes
    from perdure.report.tuning import save_search_figure, search_figure, trials_table

    results = [record.result for record in records]
    sound = [it for it in results if not it.best.diverged]
    places = _places(records, choices.figures)
    drawn = [path for folder, it in zip(places, results, strict=False) for path in save_search_figure(it, folder)]
    return Report(
        [trials_table(it) for it in results],
        [it for result in results for it in edge_notes(result)],
        drawn,
        pictures=lambda: [(search_figure(it), "Retained accuracy by hyper-parameter.") for it in sound],
    )


def _studies(records: Sequence[Any], choices: Choices) -> Report:
    from perdure.report.study import study_blocks
    from perdure.report.terminal_page import terminal_page

    pages = [
        study_blocks(it.tables, it.timing, it.command, study=it.config["study"], quick=it.config["quick"])
        for it in records
    ]
    blocks = [block for page in pages for block in page]
    return Report([terminal_page(page) for page in pages], page=lambda: blocks)


def _trainings(records: Sequence[Any], choices: Choices) -> Report:
    from perdure.records.representation import NETWORK
    from perdure.report.representations import training_table

    return Report([training_table(records)], representations=[it.folder / NETWORK for it in records])


def _evaluations(records: Sequence[Any], choices: Choices) -> Report:
    from perdure.report.figures.representations import evaluation_figures, save_evaluation_figures
    from perdure.report.representations import evaluation_tables

    places = _places(records, choices.figures)
    drawn = [
        path
        for folder, record in zip(places, records, strict=False)
        for path in save_evaluation_figures(record.evaluations, folder)
    ]
    captions = {"classes": "Accuracy against the number of classes learned.", "sine": "Errors on sine waves."}
    return Report(
        [table for record in records for table in evaluation_tables(record.evaluations)],
        figures=drawn,
        pictures=lambda: [
            (figure, captions[name]) for record in records for name, figure in evaluation_figures(record.evaluations)
        ],
    )


def _comparisons(records: Sequence[Any], choices: Choices) -> Report:
    from perdure.report.representations import learners_table

    return Report([learners_table(record.figures) for record in records])


def _agents(records: Sequence[Any], choices: Choices) -> Report:
    from perdure.report.agents import agents_table
    from perdure.report.figures.agents import scores_over_frames
    from perdure.report.figures.saving import save_figure

    drawn: list[Path] = []
    if choices.figures is not None:
        drawn += save_figure(scores_over_frames(records), choices.figures / "scores-over-frames")
    caption = "Score at each level as frames go by."
    return Report([agents_table(records)], figures=drawn, pictures=lambda: [(scores_over_frames(records), caption)])


def _streams(records: Sequence[Any], choices: Choices) -> Report:
    from perdure.report.figures.prequential import prequential_curves
    from perdure.report.figures.saving import save_figure
    from perdure.report.prequential import prequential_notes, prequential_table

    places = _places(records, choices.figures)
    drawn = [
        path
        for folder, record in zip(places, records, strict=False)
        for path in save_figure(prequential_curves(record), folder / "prequential")
    ]
    notes = [it for record in records for it in prequential_notes(record)]
    return Report(
        [prequential_table(record) for record in records],
        notes,
        drawn,
        pictures=lambda: [
            (prequential_curves(it), f"How right the answers to {it.config['name']} were.") for it in records
        ],
    )


def _embeddings(records: Sequence[Any], choices: Choices) -> Report:
    from perdure.report.embeddings import embeddings_table
    from perdure.report.figures.embeddings import methods_on_embeddings
    from perdure.report.figures.saving import save_figure

    places = _places(records, choices.figures)
    drawn = [
        path
        for folder, record in zip(places, records, strict=False)
        for path in save_figure(methods_on_embeddings(record), folder / "embeddings")
    ]
    return Report(
        [embeddings_table(record) for record in records],
        figures=drawn,
        pictures=lambda: [(methods_on_embeddings(it), "Accuracy of the methods on the features.") for it in records],
    )


def _methods(records: Sequence[Any], choices: Choices) -> Report:
    from perdure.report.comparison import best_first, comparison_blocks, comparison_table
    from perdure.report.differences import pairings
    from perdure.report.figures import save_figures
    from perdure.report.notes import comparison_notes
    from perdure.report.runs import values_of_runs
    from perdure.report.terminal_page import terminal_page

    records = [it.with_baseline(choices.baseline) for it in records]
    places = _places(records, choices.figures)
    drawn = [
        path
        for folder, record in zip(places, records, strict=False)
        for path in save_figures(best_first(record.runs), folder)
    ]
    tables = [terminal_page([comparison_table(best_first(it.runs), it.request.baseline)]) for it in records]
    notes = [it for record in records for it in comparison_notes(record.runs)]
    values = [values_of_runs(best_first(it.runs), pairings(it.runs, it.request.baseline)) for it in records]
    return Report(tables, notes, drawn, lambda: [block for it in records for block in comparison_blocks(it)], values)


def _places(records: Sequence[Any], figures: Path | None) -> list[Path]:
    """Return a folder for the figures of each of several runs that are drawn alone; none if none are drawn."""
    if figures is None:
        return []
    if len(records) == 1:
        return [figures]
    from perdure.report.figures.saving import file_names

    return [figures / name for name in file_names([record.folder.name for record in records])]


_BY_KIND: Mapping[str, Callable[[Sequence[Any], Choices], Report]] = {
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
report_command = command(
    report,
    epilog=examples(
        "perdure report runs/online runs/er runs/mer --figures runs/figures",
        "perdure report runs/online runs/er --format latex --out table.tex",
        "perdure report runs/online runs/er runs/mer --baseline online",
    ),
)
