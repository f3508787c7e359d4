"""The command line: it parses, calls and prints, and knows nothing else.

JAX is imported by the commands that compute, not by ``--help``.
"""

from __future__ import annotations

import sys
import warnings
from typing import Annotated, Any

import typer
import typer.core

from perdure._version import __version__
from perdure.cli.console import ERRORS, OUTPUT, note
from perdure.cli.data import data_app
from perdure.cli.jax_settings import configure_jax
from perdure.cli.oml import oml_app
from perdure.cli.reproduce import reproduce
from perdure.cli.rl import rl_app
from perdure.cli.run import report, results, resume, run_app
from perdure.cli.tune import tune_app
from perdure.machine.signals import InterruptedRunError


class _Commands(typer.core.TyperGroup):
    """The commands in the order in which a newcomer needs them."""

    def list_commands(self, ctx: Any) -> list[str]:
        return ["run", "resume", "tune", "results", "report", "reproduce", "oml", "rl", "data"]


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="Learning from a stream that changes, one example at a time, without forgetting.",
    epilog="Begin with:  perdure run mer digits-rotations",
)
app.add_typer(run_app, name="run")
app.add_typer(tune_app, name="tune")
app.add_typer(oml_app, name="oml")
app.add_typer(rl_app, name="rl")
app.add_typer(data_app, name="data")
for command in (resume, results, report, reproduce):
    app.command()(command)


def main() -> None:
    """Run the command line; errors are one message and exit status 2, unless ``--debug`` asks for the traceback."""
    debug = "--debug" in sys.argv
    warnings.showwarning = _show_warning
    configure_jax()
    try:
        app(args=[argument for argument in sys.argv[1:] if argument != "--debug"], prog_name="perdure")
    except InterruptedRunError as stopped:
        ERRORS.print(str(stopped), markup=False, highlight=False, soft_wrap=True)
        sys.exit(128 + stopped.signal_number)
    except Exception as error:
        if debug:
            raise
        ERRORS.print("[bold red]error:[/]", end=" ")
        ERRORS.print(str(error) or type(error).__name__, markup=False, highlight=False, soft_wrap=True)
        sys.exit(2)


def _show_warning(message: Warning | str, *_: Any) -> None:
    note(str(message))


def _show_version(wanted: bool) -> bool:
    if wanted:
        OUTPUT.print(f"perdure {__version__}", highlight=False)
        raise typer.Exit
    return wanted


@app.callback()
def _options(
    version: Annotated[bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Version.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    pass
