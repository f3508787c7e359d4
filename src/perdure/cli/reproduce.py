"""perdure reproduce: a published study, measured."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from perdure.cli.commands import command, examples
from perdure.cli.console import DataDir, Quiet, Ray, Workers, complain, engine_of, say

if TYPE_CHECKING:
    from perdure.experiments.reproduction.measure import Measured
    from perdure.records.reproduction import ReproductionRecord


def reproduce(
    study: Annotated[str, typer.Argument(help="The study: mer or la-maml.")],
    table: Annotated[
        str,
        typer.Option(
            help="Tables, separated by commas: retained, alignment, variants, omniglot of mer; look-ahead of la-maml; "
            "or all."
        ),
    ] = "all",
    seeds: Annotated[
        int | None,
        typer.Option(
            min=2, help="Seeds of each run at most; the costliest runs have fewer.", show_default="of the study"
        ),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Run everything in minutes, on streams a twentieth as long.")
    ] = False,
    workers: Workers = None,
    ray: Ray = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the record.", show_default="runs/reproduce-STUDY, or …-quick")
    ] = None,
    page: Annotated[Path | None, typer.Option(help="Markdown page to write.", show_default="results.md in OUT")] = None,
    html: Annotated[Path | None, typer.Option(help="HTML page to write.", show_default="results.html in OUT")] = None,
    data_dir: DataDir = None,
    quiet: Quiet = False,
) -> None:
    """Measure a published study with its published hyper-parameters, and set paper and measurement side by side.

    What the folder already holds is not run again; after Ctrl-C the same command continues. If a run failed, the exit
    status is 1.
    """
    engine = engine_of(workers, ray)  # first: an address that does not answer is named at once
    from perdure.experiments.reproduction.measure import default_study_folder, measure
    from perdure.presets.studies import load_study

    measuring = load_study(study, seeds, quick=quick)
    root = out or default_study_folder(measuring)
    typed = shlex.join(["perdure", *sys.argv[1:]])
    pages = page or root / "results.md", html or root / "results.html"
    measured = measure(
        measuring,
        table.split(","),
        root,
        engine=engine,
        data_dir=data_dir,
        progress=not quiet,
        write_page=lambda record: save_study(record, typed, *pages),
    )
    write_pages(measured, typed, *pages)
    if measured.failures:
        raise typer.Exit(1)


def write_pages(measured: Measured, typed: str, page: Path, html: Path) -> None:
    """Write what was measured as Markdown and as HTML, and say what failed.

    Args:
        measured: the study.
        typed: the command, for the page.
        page: of Markdown.
        html: the same as HTML.
    """
    save_study(measured.record, typed, page, html)
    for path in (page, html):
        say(str(path))
    for failure in measured.failures:
        complain(f"{failure.name}: {failure.reason}", "failed:")


def save_study(record: ReproductionRecord, typed: str, page: Path, html: Path) -> None:
    """Write what is finished of a study as Markdown and as HTML."""
    from perdure.report.html import html_page
    from perdure.report.markdown import markdown_page
    from perdure.report.study import study_blocks
    from perdure.storage.files import make_folder, write_atomically

    names = {"study": record.config["study"], "quick": record.config["quick"]}
    blocks = study_blocks(record.tables, record.timing, typed, **names)
    for path, render in ((page, markdown_page), (html, html_page)):
        make_folder(path.parent)
        write_atomically(path, render(blocks).encode())


reproduce_command = command(
    reproduce,
    epilog=examples(
        "perdure reproduce mer --quick",
        "perdure reproduce mer --table retained,alignment --seeds 5",
        "perdure reproduce la-maml --page docs/la-maml.md",
    ),
)
