"""The command line: it parses, calls and prints, and knows nothing else.

JAX is imported by the commands that compute, not by ``--help``.
"""

from __future__ import annotations

import inspect
import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
import typer.core
from rich.console import Console
from rich.table import Table

from perdure._version import __version__
from perdure.experiments.interrupt import InterruptedRunError, signals_later
from perdure.learners.catalog import CATALOG
from perdure.streams.catalog import benchmark_names

_OUTPUT = Console()
_ERRORS = Console(stderr=True)


class _Commands(typer.core.TyperGroup):
    """The commands in the order in which a newcomer needs them."""

    def list_commands(self, ctx: Any) -> list[str]:
        return ["run", "resume", "results", "report", "reproduce", "data"]


class _Learners(typer.core.TyperGroup):
    """A command for each learner, with an option for each of its hyper-parameters, made when it is asked for."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(CATALOG)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        return _run_command(cmd_name)


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="Learning from a stream that changes, one example at a time, without forgetting.",
    epilog="Begin with:  perdure run mer digits-rotations",
)
run_app = typer.Typer(
    cls=_Learners,
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Train a learner on a benchmark and measure what it retains: perdure run LEARNER BENCHMARK.",
)
data_app = typer.Typer(no_args_is_help=True, help="List, fetch and verify the raw data files.")
app.add_typer(run_app, name="run")
app.add_typer(data_app, name="data")

DataDir = Annotated[Path | None, typer.Option(help="Folder to look for raw data files in, before $PERDURE_DATA.")]
Previous = Annotated[
    bool, typer.Option("--previous", help="Pass over a damaged checkpoint: go on from the one before.")
]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress bar.")]


def main() -> None:
    """Run the command line; errors are one message and exit status 2, unless ``--debug`` asks for the traceback."""
    debug = "--debug" in sys.argv
    try:
        app(args=[argument for argument in sys.argv[1:] if argument != "--debug"], prog_name="perdure")
    except InterruptedRunError as stopped:
        _ERRORS.print(str(stopped), markup=False, highlight=False, soft_wrap=True)
        sys.exit(128 + stopped.signal_number)
    except Exception as error:
        if debug:
            raise
        _ERRORS.print("[bold red]error:[/]", end=" ")
        _ERRORS.print(str(error) or type(error).__name__, markup=False, highlight=False, soft_wrap=True)
        sys.exit(2)


def _print_table(table: Table) -> None:
    """Print a table whole: a narrow terminal may wrap its lines, but no number is cut off."""
    Console(width=max(_OUTPUT.width, 100)).print(table)


def _show_version(wanted: bool) -> None:
    if wanted:
        _OUTPUT.print(f"perdure {__version__}", highlight=False)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Version.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    pass


def _run_command(learner_name: str) -> Any:
    """Return the command that runs one learner."""
    with signals_later():
        from perdure.learners.catalog import learner_class
        from perdure.learners.hyperparameters import hyperparameters

        known = hyperparameters(learner_class(learner_name))

    def command(**options: Any) -> None:
        given = {it.name: options.pop(it.name) for it in known}
        _run(learner_name, {name: value for name, value in given.items() if value is not None}, **options)

    chosen = [
        inspect.Parameter(
            it.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[it.kind | None, _hyperparameter_option(it.help)],
        )
        for it in known
    ]
    common = list(inspect.signature(_run, eval_str=True).parameters.values())[2:]
    command.__signature__ = inspect.Signature([common[0], *chosen, *common[1:]])  # pyright: ignore[reportFunctionMemberAccess]
    command.__doc__ = inspect.getdoc(learner_class(learner_name))
    single = typer.Typer(add_completion=False, rich_markup_mode="rich", pretty_exceptions_enable=False)
    single.command(learner_name, short_help=CATALOG[learner_name].summary)(command)
    return typer.main.get_command(single)


def _hyperparameter_option(text: str) -> Any:
    return typer.Option(help=text, show_default="of the preset", rich_help_panel="Hyper-parameters")


def _run(
    learner_name: str,
    given: dict[str, float | int],
    benchmark: Annotated[str, typer.Argument(help=f"One of: {', '.join(benchmark_names())}.")],
    *,
    seeds: Annotated[int, typer.Option(min=1, help="Number of seeds, side by side.")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="First seed.")] = 0,
    tasks: Annotated[int | None, typer.Option(help="Number of tasks.", show_default="of the benchmark")] = None,
    examples_per_task: Annotated[
        int | None, typer.Option(help="Training examples of each task.", show_default="of the benchmark")
    ] = None,
    task_order: Annotated[
        str | None, typer.Option(help="Tasks in the order to show them, as 2,0,1.", show_default="0,1,2,…")
    ] = None,
    full_matrix: Annotated[
        bool, typer.Option("--full-matrix", help="Test all tasks after each, for forward transfer and forgetting too.")
    ] = False,
    alignment: Annotated[
        bool,
        typer.Option("--alignment", help="Log dot product and cosine with a past example's gradient at every example."),
    ] = False,
    out: Annotated[Path | None, typer.Option(help="Folder of the record.", show_default="in runs/")] = None,
    checkpoint_seconds: Annotated[float, typer.Option(min=0, help="Time between checkpoints.")] = 30.0,
    data_dir: DataDir = None,
    previous: Previous = False,
    quiet: Quiet = False,
) -> None:
    with signals_later():
        from perdure.experiments.plan import choose_learner, default_folder
        from perdure.experiments.results import is_finished
        from perdure.experiments.run import run
        from perdure.experiments.session import describe_run
        from perdure.models import benchmark_mlp
        from perdure.streams.catalog import BenchmarkRecipe

    options = {"tasks": tasks, "examples_per_task": examples_per_task, "task_order": _numbers(task_order)}
    recipe = BenchmarkRecipe(benchmark, {name: it for name, it in options.items() if it is not None}, data_dir)
    learner, notes = choose_learner(learner_name, benchmark, given)
    for note in notes:
        _ERRORS.print(f"[bold yellow]note:[/] {note}", highlight=False)
    arguments = {
        "learner": learner,
        "benchmark": recipe,
        "seeds": range(seed, seed + seeds),
        "evaluation": "full" if full_matrix else "needed",
        "alignment": alignment,
    }
    config = describe_run(**arguments, model=benchmark_mlp)
    folder = out or default_folder(config)
    if is_finished(folder, config):
        _OUTPUT.print("finished before; delete the folder to run it again", highlight=False)
    else:
        arguments |= {"checkpoint_seconds": checkpoint_seconds, "previous": previous, "progress": not quiet}
        run(folder=folder, **arguments)
    _report_run(folder)


def _numbers(text: str | None) -> list[int] | None:
    """Return the numbers in "2,0,1"."""
    if text is None:
        return None
    if not all(number.strip().isdecimal() for number in text.split(",")):
        raise ValueError(f"--task-order is {text!r}, expected task numbers separated by commas, as 2,0,1")
    return [int(number) for number in text.split(",")]


def _report_run(folder: Path) -> None:
    """Show what came of a finished run."""
    from perdure.experiments.results import RunRecord
    from perdure.report.figures import save_figures
    from perdure.report.tables import comparison_table

    record = RunRecord.load(folder)
    _print_table(comparison_table([record]))
    save_figures([record], folder / "figures")
    _OUTPUT.print(f"record and figures: {folder}", highlight=False, soft_wrap=True)


@app.command()
def resume(
    folder: Annotated[Path, typer.Argument(help="Folder of a run that was stopped.")],
    data_dir: DataDir = None,
    previous: Previous = False,
    quiet: Quiet = False,
) -> None:
    """Go on with a run that was stopped; it ends as if it had not been."""
    with signals_later():
        from perdure.experiments.plan import arguments_of
        from perdure.experiments.results import RunRecord
        from perdure.experiments.run import run

    record = RunRecord.load(folder)
    if not record.finished:
        run(**arguments_of(record, data_dir), previous=previous, progress=not quiet)
    _report_run(folder)


@app.command()
def results(
    root: Annotated[Path, typer.Argument(help="Folder that holds the folders of runs.")] = Path("runs"),
) -> None:
    """List runs, finished and unfinished."""
    from perdure.experiments.results import list_runs
    from perdure.report.tables import runs_table

    _print_table(runs_table(list_runs(root)))


@app.command()
def report(
    folders: Annotated[list[Path], typer.Argument(help="Folders of finished runs.")],
    figures: Annotated[Path | None, typer.Option(help="Folder to draw figures in.", show_default="none drawn")] = None,
) -> None:
    """Compare runs: a table beside the published figures, and figures as PNG and SVG."""
    from perdure.experiments.results import RunRecord
    from perdure.report.figures import save_figures
    from perdure.report.tables import comparison_table

    records = [RunRecord.load(folder) for folder in folders]
    if unfinished := [str(record.folder) for record in records if not record.finished]:
        raise ValueError(f"not finished: {', '.join(unfinished)}; go on with perdure resume first, or leave them out")
    _print_table(comparison_table(records))
    if figures is not None:
        for path in save_figures(records, figures):
            _OUTPUT.print(str(path), highlight=False, soft_wrap=True)


@app.command()
def reproduce(
    study: Annotated[str, typer.Argument(help="The study: mer.")],
    cells: Annotated[
        str | None,
        typer.Option(help="Cells, separated by commas: rotations-200, …", show_default="those that take minutes"),
    ] = None,
    seeds: Annotated[int, typer.Option(min=2, help="Number of seeds of each run.")] = 5,
    out: Annotated[Path, typer.Option(help="Folder of the runs' folders.")] = Path("runs"),
    page: Annotated[Path | None, typer.Option(help="Markdown page to write.", show_default="none")] = None,
    data_dir: DataDir = None,
    quiet: Quiet = False,
) -> None:
    """Measure published cells with their published hyper-parameters, and set paper and measurement side by side."""
    if study != "mer":
        raise ValueError(f"there is no study {study!r}, expected: mer")
    with signals_later():
        from perdure.experiments.files import write_atomically
        from perdure.experiments.reproduce import DEFAULT_CELLS, find_cells, measure_cells
    from perdure.report.page import results_page
    from perdure.report.tables import comparison_table

    chosen = find_cells(cells.split(",") if cells else DEFAULT_CELLS)
    records = measure_cells(chosen, seeds, out, data_dir, progress=not quiet)
    _print_table(comparison_table(records))
    if page is not None:
        command = shlex.join(["perdure", *sys.argv[1:]])
        write_atomically(page, results_page(records, command).encode())


@data_app.command("list")
def list_data(data_dir: DataDir = None) -> None:
    """List the data sets, their files and where they are."""
    from perdure.streams.files import dataset_names, status

    _print_status({name: status(name, data_dir) for name in dataset_names()})


@data_app.command("fetch")
def fetch_data(name: Annotated[str, typer.Argument(help="Name of the data set.")], data_dir: DataDir = None) -> None:
    """Download what is missing of a data set, and verify all of it."""
    from perdure.streams.files import fetch

    for path in fetch(name, data_dir):
        _OUTPUT.print(str(path), highlight=False, soft_wrap=True)


@data_app.command("verify")
def verify_data(name: Annotated[str, typer.Argument(help="Name of the data set.")], data_dir: DataDir = None) -> None:
    """Check the content of a data set's files; exit status 1 if one is missing or wrong."""
    from perdure.streams.files import verify

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
    _print_table(table)
