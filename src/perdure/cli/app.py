"""The commands, and what happens to their errors."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Annotated, Any

import typer
import typer.core

from perdure._version import __version__
from perdure.cli.announcement import asks_for_help
from perdure.cli.commands import LazyCommand, examples, group
from perdure.cli.console import complain, note, say
from perdure.cli.jax_settings import configure_jax
from perdure.cli.spelling import speak_of
from perdure.machine.limits import check_memory_limits
from perdure.machine.signals import InterruptedRunError
from perdure.machine.status import STATUS
from perdure.own import own_line


def _from(module: str, name: str) -> Callable[[], Any]:
    """Return what loads a group, or a command made of a function, from a module of this package."""

    def load() -> Any:
        found = getattr(import_module(f"perdure.cli.{module}"), name)
        return typer.main.get_command(found) if isinstance(found, typer.Typer) else found

    return load


COMMANDS = {
    "run": LazyCommand("Train a learner on a benchmark and measure what it retains.", _from("run", "run_app")),
    "stream": LazyCommand(
        "Answer and learn the rows of a file one by one, with several methods side by side.",
        _from("stream", "stream_command"),
    ),
    "model": LazyCommand("Keep a model in a folder, and teach it for ever.", _from("model", "model_app")),
    "serve": LazyCommand("Serve the models of a folder over HTTP.", _from("serve", "serve_command")),
    "teach": LazyCommand("Teach a classifier in the browser.", _from("teach", "teach_command")),
    "new": LazyCommand("Begin own code: write a file that runs, to be changed.", _from("new", "new_app")),
    "check": LazyCommand("Check that a learner, yours too, keeps the contract.", _from("check", "check_app")),
    "resume": LazyCommand("Continue a run that was stopped.", _from("resume", "resume_command")),
    "tune": LazyCommand("Choose a learner's hyper-parameters on validation streams.", _from("tune", "tune_app")),
    "results": LazyCommand("List runs of every kind, finished and unfinished.", _from("report", "results_command")),
    "report": LazyCommand("Show and compare finished runs: tables, and figures.", _from("report", "report_command")),
    "compare": LazyCommand(
        "Compare methods on one benchmark: accuracy, cost, table, figures and page.",
        _from("compare", "compare_command"),
    ),
    "reproduce": LazyCommand(
        "Measure a published study, beside its published figures.", _from("reproduce", "reproduce_command")
    ),
    "features": LazyCommand(
        "Features made for learning on top of them: train, evaluate, visualize.", _from("features", "features_app")
    ),
    "rl": LazyCommand("Agents in games that get harder: train, compare, play.", _from("rl", "rl_app")),
    "data": LazyCommand("List, fetch and verify the raw data files.", _from("data", "data_app")),
}
"""In the order in which a newcomer needs them."""


_COMPUTING = (
    "run",
    "check",
    "stream",
    "model",
    "serve",
    "teach",
    "resume",
    "tune",
    "compare",
    "reproduce",
    "features",
    "oml",
    "rl",
)
"""Commands that load JAX."""
_FORMER_NAMES = {"oml": "features"}
"""Names that still work, of commands that have others now."""


def _show_version(wanted: bool) -> bool:
    if wanted:
        say(f"perdure {__version__}")
        raise typer.Exit
    return wanted


def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    pass


app = group(
    "command",
    COMMANDS,
    former_names=_FORMER_NAMES,
    callback=_options,
    help="Learn from a stream that changes, one example at a time, without forgetting.",
    epilog=examples(
        "perdure run mer digits-rotations",
        "perdure results",
        "perdure run mer --help",
    ),
)


def run_command_line(arguments: Sequence[str]) -> None:
    """Run a command; errors are one message and exit status 2, unless ``--debug`` asks for the traceback."""
    warnings.showwarning = _show_warning
    speak_of({})
    configure_jax()
    try:
        if not asks_for_help(arguments):
            check_memory_limits(jax=any(it in arguments for it in _COMPUTING))
        app(args=[argument for argument in arguments if argument != "--debug"], prog_name="perdure")
    except InterruptedRunError as stopped:
        complain(str(stopped))
        sys.exit(128 + stopped.signal_number)
    except Exception as error:
        if "--debug" in arguments:
            raise
        complain(_in_words(error), "error:")
        sys.exit(2)
    finally:
        STATUS.clear()


def _in_words(error: Exception) -> str:
    """Return an error as a message; one that own code has raised with its kind and its line."""
    where = own_line(error)
    message = str(error) or type(error).__name__
    return f"{type(error).__name__}: {message}{where}" if where else message


def _show_warning(message: Warning | str, *_: Any) -> None:
    note(str(message))
