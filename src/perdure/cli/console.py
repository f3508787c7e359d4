"""What all commands share: where they print, and options that several have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console, Group
from rich.table import Table

OUTPUT = Console()
ERRORS = Console(stderr=True)

DataDir = Annotated[Path | None, typer.Option(help="Folder to look for raw data files in, before $PERDURE_DATA.")]
Previous = Annotated[
    bool, typer.Option("--previous", help="Pass over a damaged checkpoint: go on from the one before.")
]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress bar.")]
Tasks = Annotated[int | None, typer.Option(help="Number of tasks.", show_default="of the benchmark")]
ExamplesPerTask = Annotated[
    int | None, typer.Option(help="Training examples of each task.", show_default="of the benchmark")
]


def note(text: str) -> None:
    """Print a remark where errors go."""
    ERRORS.print("[bold yellow]note:[/]", end=" ")
    ERRORS.print(text, markup=False, highlight=False, soft_wrap=True)


def print_table(table: Table | Group) -> None:
    """Print a table whole: a narrow terminal may wrap its lines, but no number is cut off."""
    Console(width=max(OUTPUT.width, 100)).print(table)
