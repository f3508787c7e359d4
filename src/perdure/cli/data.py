"""perdure data: the raw files."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.table import Table

from perdure.cli.console import OUTPUT, DataDir, print_table

data_app = typer.Typer(no_args_is_help=True, help="List, fetch and verify the raw data files.")


@data_app.command("list")
def list_data(data_dir: DataDir = None) -> None:
    """List the data sets, their files and where they are."""
    from perdure.streams.raw.files import dataset_names, status

    _print_status({name: status(name, data_dir) for name in dataset_names()})


@data_app.command("fetch")
def fetch_data(name: Annotated[str, typer.Argument(help="Name of the data set.")], data_dir: DataDir = None) -> None:
    """Download what is missing of a data set, and verify all of it."""
    from perdure.streams.raw.files import fetch

    for path in fetch(name, data_dir):
        OUTPUT.print(str(path), highlight=False, soft_wrap=True)


@data_app.command("verify")
def verify_data(name: Annotated[str, typer.Argument(help="Name of the data set.")], data_dir: DataDir = None) -> None:
    """Check the content of a data set's files; exit status 1 if one is missing or wrong."""
    from perdure.streams.raw.files import verify

    rows = verify(name, data_dir)
    _print_status({name: rows})
    if any(row.state not in ("verified", "built in") for row in rows):
        raise typer.Exit(1)


def _print_status(datasets: dict[str, list[Any]]) -> None:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    for header in ("Data set", "File", "State", "Where"):
        table.add_column(header, overflow="fold")
    for name, rows in datasets.items():
        for row in rows:
            table.add_row(name, row.file, row.state, "" if row.where is None else str(row.where))
    print_table(table)
