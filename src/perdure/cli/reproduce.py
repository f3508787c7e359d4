"""perdure reproduce: a published study, measured."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from perdure.cli.commands import command, examples
from perdure.cli.console import DataDir, Quiet, complain, say
from perdure.machine.signals import loading


def reproduce(
    study: Annotated[str, typer.Argument(help="The study: mer.")],
    table: Annotated[
        str, typer.Option(help="Tables, separated by commas: retained, alignment, variants, omniglot; or all.")
    ] = "all",
    seeds: Annotated[
        int | None,
        typer.Option(min=2, help="Seeds of each run at most; the costliest runs have fewer.", show_default="of the study"),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Run everything in minutes, on streams a twentieth as long.")
    ] = False,
    workers: Annotated[int | None, typer.Option(min=1, help="Runs at a time.", show_default="one per CPU core")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the runs' folders.", show_default="runs, or runs/quick")
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
    with loading():
        from perdure.experiments.reproduction.measure import measure
        from perdure.machine.cores import usable_cpus
        from perdure.presets.studies import load_study
        from perdure.storage.files import make_folder, write_atomically

    root = out or Path("runs", "quick") if quick else out or Path("runs")
    measured = measure(
        load_study(study, seeds, quick=quick),
        table.split(","),
        root,
        workers=workers or usable_cpus(),
        data_dir=data_dir,
        progress=not quiet,
    )
    from perdure.report.html import html_page
    from perdure.report.markdown import markdown_page
    from perdure.report.study import study_blocks

    typed = shlex.join(["perdure", *sys.argv[1:]])
    blocks = study_blocks(measured.tables, measured.timing, typed, quick=quick)
    for path, render in ((page or root / "results.md", markdown_page), (html or root / "results.html", html_page)):
        make_folder(path.parent)
        write_atomically(path, render(blocks).encode())
        say(str(path))
    for failure in measured.failures:
        complain(f"{failure.name}: {failure.reason}", "failed:")
    if measured.failures:
        raise typer.Exit(1)


reproduce_command = command(
    reproduce,
    epilog=examples("perdure reproduce mer --quick", "perdure reproduce mer --table retained,alignment --seeds 5"),
)
