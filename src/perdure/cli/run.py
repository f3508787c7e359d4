"""perdure run and resume, results and report: making records, and looking at them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from perdure.cli.console import OUTPUT, DataDir, ExamplesPerTask, Previous, Quiet, Tasks, note, print_table
from perdure.cli.learners import Learners, learner_command
from perdure.machine.signals import signals_later
from perdure.streams.catalog import benchmark_names


class _LearnersToRun(Learners):
    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        return learner_command(cmd_name, _run)


run_app = typer.Typer(
    cls=_LearnersToRun,
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Train a learner on a benchmark and measure what it retains: perdure run LEARNER BENCHMARK.",
)


def _run(
    learner_name: str,
    given: dict[str, float | int],
    benchmark: Annotated[
        str | None,
        typer.Argument(help=f"One of: {', '.join(benchmark_names())}.", show_default="that of --data-file"),
    ] = None,
    *,
    data_file: Annotated[
        Path | None,
        typer.Option(
            help="A .pt file of GEM's and MER's authors to learn from (needs the extra torch).", show_default="none"
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Number of seeds, side by side.")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="First seed.")] = 0,
    tasks: Tasks = None,
    examples_per_task: ExamplesPerTask = None,
    task_order: Annotated[
        str | None, typer.Option(help="Tasks in the order to show them, as 2,0,1.", show_default="0,1,2,…")
    ] = None,
    validation: Annotated[
        bool,
        typer.Option("--validation", help="A stream to choose hyper-parameters on; no published test images."),
    ] = False,
    full_matrix: Annotated[
        bool, typer.Option("--full-matrix", help="Test all tasks after each, for forward transfer and forgetting too.")
    ] = False,
    alignment: Annotated[
        bool,
        typer.Option("--alignment", help="Log dot product and cosine with a past example's gradient at every example."),
    ] = False,
    preset: Annotated[
        Path | None, typer.Option(help="TOML file of presets, such as perdure tune writes.", show_default="built in")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the record.", show_default="in runs/")] = None,
    checkpoint_seconds: Annotated[float, typer.Option(min=0, help="Time between checkpoints.")] = 30.0,
    data_dir: DataDir = None,
    previous: Previous = False,
    quiet: Quiet = False,
) -> None:
    with signals_later():
        from perdure.execution.drive import Driving
        from perdure.experiments.supervised.plan import choose_learner
        from perdure.experiments.supervised.run import run_of
        from perdure.experiments.supervised.spec import run_spec
        from perdure.records.folder import is_finished

    options = {
        "tasks": tasks,
        "examples_per_task": examples_per_task,
        "task_order": _numbers(task_order),
        "validation": validation or None,
    }
    recipe = _recipe(benchmark, data_file, {name: it for name, it in options.items() if it is not None}, data_dir)
    learner, notes = choose_learner(learner_name, recipe.name, given, preset, options=recipe.options)
    for remark in notes:
        note(remark)
    spec = run_spec(
        learner,
        recipe,
        seeds=range(seed, seed + seeds),
        evaluation="full" if full_matrix else "needed",
        alignment=alignment,
    )
    folder = out or spec.default_folder()
    if is_finished(folder, spec.config):
        OUTPUT.print("finished before; delete the folder to run it again", highlight=False)
    else:
        how = Driving(checkpoint_seconds=checkpoint_seconds, previous=previous, progress=not quiet)
        run_of(spec, how, folder)
    _report_run(folder)


def _recipe(benchmark: str | None, data_file: Path | None, options: dict[str, Any], data_dir: Path | None) -> Any:
    """Return what makes the benchmark of a seed."""
    from perdure.streams.catalog import BenchmarkRecipe
    from perdure.streams.torch_file import DataFileRecipe

    if (benchmark is None) == (data_file is None):
        raise ValueError(
            f"the benchmark is {benchmark} and --data-file {data_file}, expected one of the two; "
            f"name one of {', '.join(benchmark_names())}, or give a file"
        )
    if data_file is not None:
        return DataFileRecipe(data_file, options)
    return BenchmarkRecipe(str(benchmark), options, data_dir)


def _numbers(text: str | None) -> list[int] | None:
    """Return the numbers in "2,0,1"."""
    if text is None:
        return None
    if not all(number.strip().isdecimal() for number in text.split(",")):
        raise ValueError(f"--task-order is {text!r}, expected task numbers separated by commas, as 2,0,1")
    return [int(number) for number in text.split(",")]


def _report_run(folder: Path) -> None:
    """Show what came of a finished run."""
    from perdure.records.learner import RunRecord
    from perdure.report.figures import save_figures
    from perdure.report.tables import comparison_table

    record = RunRecord.load(folder)
    print_table(comparison_table([record]))
    save_figures([record], folder / "figures")
    OUTPUT.print(f"record and figures: {folder}", highlight=False, soft_wrap=True)


def resume(
    folder: Annotated[Path, typer.Argument(help="Folder of a run that was stopped.")],
    data_dir: DataDir = None,
    previous: Previous = False,
    quiet: Quiet = False,
) -> None:
    """Go on with a run that was stopped; it ends as if it had not been."""
    with signals_later():
        from perdure.execution.drive import Driving
        from perdure.experiments.supervised.plan import resume_run
        from perdure.records.learner import RunRecord

    if not RunRecord.load(folder).finished:
        resume_run(folder, data_dir, Driving(previous=previous, progress=not quiet))
    _report_run(folder)


def results(
    root: Annotated[Path, typer.Argument(help="Folder that holds the folders of runs.")] = Path("runs"),
) -> None:
    """List runs, finished and unfinished."""
    from perdure.records.run import list_runs
    from perdure.report.tables import runs_table

    print_table(runs_table(list_runs(root)))


def report(
    folders: Annotated[list[Path], typer.Argument(help="Folders of finished runs.")],
    figures: Annotated[Path | None, typer.Option(help="Folder to draw figures in.", show_default="none drawn")] = None,
) -> None:
    """Compare runs: a table beside the published figures, and figures as PNG and SVG."""
    from perdure.records.learner import RunRecord
    from perdure.report.figures import save_figures
    from perdure.report.notes import comparison_notes
    from perdure.report.tables import comparison_table

    records = [RunRecord.load(folder) for folder in folders]
    if unfinished := [str(record.folder) for record in records if not record.finished]:
        raise ValueError(f"not finished: {', '.join(unfinished)}; go on with perdure resume first, or leave them out")
    print_table(comparison_table(records))
    for remark in comparison_notes(records):
        note(remark)
    if figures is not None:
        for path in save_figures(records, figures):
            OUTPUT.print(str(path), highlight=False, soft_wrap=True)
