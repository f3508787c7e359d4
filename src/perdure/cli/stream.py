"""perdure stream: methods answer and learn the rows of a file, one by one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from perdure.cli.commands import command, examples
from perdure.cli.console import Quiet, say
from perdure.cli.report import report_run


def stream(
    file: Annotated[
        str, typer.Argument(help="CSV (.csv, .tsv), Parquet or NDJSON (.ndjson, .jsonl) file; - for standard input.")
    ],
    label: Annotated[str, typer.Option(help="Column of the classes, or of the numbers with --regression.")],
    regression: Annotated[bool, typer.Option("--regression", help="Learn numbers, not classes.")] = False,
    methods: Annotated[
        str,
        typer.Option(
            help="Methods side by side: auto, online, er, mer, averaged-er, multi-timescale-mer, "
            "nearest-mean, gaussian, lda, slda, ridge."
        ),
    ] = "auto",
    memory_size: Annotated[int, typer.Option(min=1, help="Rows that a method with a memory keeps.")] = 2_000,
    memory_rule: Annotated[
        str, typer.Option(help="What a memory keeps: reservoir, ring, recent or balanced.")
    ] = "reservoir",
    delay: Annotated[int, typer.Option(min=0, help="Rows that come before a row's target is known.")] = 0,
    window: Annotated[int, typer.Option(min=1, help="Rows of the windowed curve.")] = 500,
    seed: Annotated[int, typer.Option(min=0, help="Seed of all chance.")] = 0,
    out: Annotated[Path | None, typer.Option(help="Folder of the record.", show_default="in runs/")] = None,
    quiet: Quiet = False,
) -> None:
    """Answer each row of a file, then learn it; show how right the answers were, with several methods side by side."""
    from perdure.online.methods import METHODS
    from perdure.online.stream import StreamSpec, methods_given, run_stream
    from perdure.online.teaching import rows_of
    from perdure.records.folder import is_finished

    spec = StreamSpec(
        source=file,
        label=label,
        methods=methods_given(methods, METHODS),
        regression=regression,
        memory_size=memory_size,
        memory_rule=memory_rule,
        delay=delay,
        window=window,
        seed=seed,
    )
    folder = out or spec.default_folder()
    if is_finished(folder, spec.config):
        say("finished before; delete the folder to run it again")
    with rows_of(file):
        run_stream(spec, folder, progress=not quiet)
    report_run(folder)


stream_command = command(
    stream,
    epilog=examples(
        "perdure stream sensors.csv --label state",
        "perdure stream sensors.csv --label state --methods auto,online,er,mer",
        "perdure stream prices.parquet --label price --regression --delay 24",
        "zcat events.ndjson.gz | perdure stream - --label kind",
    ),
)
