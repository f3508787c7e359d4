"""Where all commands print, and the options that several have.

Nothing that is printed is read as markup: names, paths and labels come from users.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer
from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.segment import Segment
from rich.table import Table

from perdure.cli.spelling import as_typed
from perdure.machine.status import STATUS

if TYPE_CHECKING:
    from perdure.execution.pool import Engine

_PLAIN: dict[str, Any] = {"markup": False, "emoji": False, "highlight": False}
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_WIDEST = 160
"""Characters of a line in a file."""
_UNBOUNDED = 1_000_000
"""Characters of a line that any table fits."""
OUTPUT = Console(**_PLAIN)
_ERRORS = Console(stderr=True, **_PLAIN)

DataDir = Annotated[
    Path | None, typer.Option(help="Folder to look for raw data files in, before $PERDURE_DATA and the user's cache.")
]
Previous = Annotated[
    bool, typer.Option("--previous", help="If the newest checkpoint is damaged, resume from the one before it.")
]
Quiet = Annotated[bool, typer.Option("--quiet", help="Show no progress.")]
Log = Annotated[
    str | None,
    typer.Option(
        "--log", help="Also log to: csv, jsonl, tensorboard, mlflow, wandb; separated by commas.", show_default="none"
    ),
]
Tasks = Annotated[int | None, typer.Option(help="Number of tasks.", show_default="of the benchmark")]
ExamplesPerTask = Annotated[
    int | None, typer.Option(help="Training examples of each task.", show_default="of the benchmark")
]
Degrees = Annotated[
    float | None,
    typer.Option(help="Of digits-turning and mnist-turning: by how much images turn in all.", show_default="180"),
]
Model = Annotated[
    str | None,
    typer.Option(
        help="Network: benchmark_mlp, omniglot_convnet, reduced_resnet18, or your own: my_net.py:Net.",
        show_default="of the benchmark",
    ),
]
Hidden = Annotated[
    str | None,
    typer.Option(help="Units of a perceptron's hidden layers, as 256,256.", show_default="of the benchmark"),
]
FileLabel = Annotated[str | None, typer.Option("--label", help="Of a file: column of the labels.", show_default="y")]
FileTask = Annotated[
    str | None,
    typer.Option("--task", help="Of a file: column of the tasks.", show_default="classes are the tasks, two each"),
]
FileFeatures = Annotated[
    str | None,
    typer.Option(
        "--features",
        help="Of a file: array, or column of lists, of the inputs.",
        show_default="x of a .npz file, else all other columns",
    ),
]
FileTest = Annotated[
    str | None, typer.Option("--test", help="Of a file: file of the tests, with the same columns.", show_default="none")
]
EvaluateEvery = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Examples between two tests of all tasks seen so far, for metrics over time.",
        show_default="at the ends of tasks only",
    ),
]
EvaluateOn = Annotated[
    int | None,
    typer.Option(min=1, help="Test examples of each task that count in --evaluate-every.", show_default="all"),
]

Workers = Annotated[int | None, typer.Option(min=1, help="Runs at a time.", show_default="one per CPU core")]
Ray = Annotated[
    str | None,
    typer.Option(
        help="Run on the Ray cluster at this address: HOST:PORT, auto or local (needs the extra ray).",
        show_default="on this machine",
    ),
]


def cluster_of(ray: str | None) -> Engine | None:
    """Return the Ray cluster at an address, None if there is no address.

    Raises:
        RayError: if Ray is not installed, or no cluster answers.
    """
    from perdure.execution.ray_cluster import RayCluster

    return None if ray is None else RayCluster(ray)


def engine_of(workers: int | None, ray: str | None) -> Engine:
    """Return where runs run: processes of this machine, or tasks of a Ray cluster.

    Raises:
        ValueError: if both are given.
        RayError: if Ray is not installed, or no cluster answers.
    """
    from perdure.execution.processes import Processes
    from perdure.machine.cores import usable_cpus

    if ray is not None and workers is not None:
        raise ValueError(
            f"--workers {workers} is for this machine, and --ray {ray} decides itself; leave one of them out"
        )
    return cluster_of(ray) or Processes(workers or usable_cpus())


def sizes_given(text: str | None) -> tuple[int, ...] | None:
    """Return the sizes of hidden layers in "256,256".

    Raises:
        ValueError: unless they are whole numbers ≥ 1.
    """
    if text is None:
        return None
    parts = [it.strip() for it in text.split(",")]
    if not all(it.isdecimal() and int(it) for it in parts):
        raise ValueError(f"--hidden is {text!r}, expected the units of each hidden layer, as 256,256")
    return tuple(map(int, parts))


def say(text: str) -> None:
    """Print lines of text as they are."""
    show(text, soft_wrap=True)


def show(what: RenderableType, *, soft_wrap: bool = False) -> None:
    """Print a text or whatever Rich can print."""
    STATUS.clear()
    OUTPUT.print(_Harmless(what), soft_wrap=soft_wrap)


def print_table(table: Table | Group) -> None:
    """Print a table whole: a narrow terminal may wrap its lines, but no number is cut off."""
    STATUS.clear()
    Console(width=_wide_enough(table, max(OUTPUT.width, 100)), **_PLAIN).print(_Harmless(table))


def table_as_text(table: RenderableType) -> str:
    """Return a table as plain text, no wider than it has to be."""
    text = Console(file=io.StringIO(), width=_wide_enough(table, _WIDEST), color_system=None, **_PLAIN)
    with text.capture() as captured:
        text.print(_Harmless(table))
    return "".join(f"{line.rstrip()}\n" for line in captured.get().splitlines())


class _Harmless(NamedTuple):
    """Shows a text or table without the control characters of names, which would steer the terminal."""

    what: RenderableType

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        """Render it, as Rich asks for it."""
        for segment in console.render(self.what, options):
            yield segment if segment.control else segment._replace(text=_CONTROL.sub("", segment.text))


def _wide_enough(table: RenderableType, width: int) -> int:
    """Return a width, or that of which the table's words and numbers have need if it is larger."""
    return max(width, OUTPUT.measure(table, options=OUTPUT.options.update_width(_UNBOUNDED)).minimum)


def note(text: str) -> None:
    """Print a remark where errors go."""
    complain(text, "note:", "bold yellow")


def complain(text: str, first: str = "", style: str = "bold red") -> None:
    """Print a text where errors go, after a first word in a style of its own; options are named as they are typed."""
    STATUS.clear()
    if first:
        _ERRORS.print(first, end=" ", style=style)
    _ERRORS.print(_Harmless(as_typed(text)), soft_wrap=True)
