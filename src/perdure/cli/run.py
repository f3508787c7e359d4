"""perdure run: a learner learns a benchmark, and leaves a record."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import typer

from perdure.cli.commands import examples, group, required
from perdure.cli.console import (
    DataDir,
    Degrees,
    EvaluateEvery,
    EvaluateOn,
    ExamplesPerTask,
    FileFeatures,
    FileLabel,
    FileTask,
    FileTest,
    Hidden,
    Log,
    Model,
    Previous,
    Quiet,
    Ray,
    Tasks,
    cluster_of,
    note,
    say,
    sizes_given,
)
from perdure.cli.learners import learner_commands, own_learner_command
from perdure.cli.report import report_run
from perdure.cli.splits import with_split_options
from perdure.streams.catalog import BenchmarkRecipe, benchmark_names


@with_split_options
def _run(
    learner_name: str,
    given: dict[str, float | int],
    benchmark: Annotated[
        str | None,
        typer.Argument(
            help=f"One of: {', '.join(benchmark_names())}; or your own: my_stream.py:make, data.csv, data.parquet, "
            "data.npz, data.pt.",
            show_default="that of --data-file",
        ),
    ] = None,
    *,
    split: dict[str, Any],
    data_file: Annotated[
        Path | None,
        typer.Option(
            help="Learn from this .pt file, as GEM's and MER's authors write them (needs the extra torch).",
            show_default="none",
        ),
    ] = None,
    model: Model = None,
    hidden: Hidden = None,
    optimizer: Annotated[
        str | None,
        typer.Option(
            help="sgd, momentum, adam, adamw, rmsprop, adagrad, lion, or your own: my_file.py:optimizer.",
            show_default="sgd",
        ),
    ] = None,
    label: FileLabel = None,
    task: FileTask = None,
    features: FileFeatures = None,
    test: FileTest = None,
    seeds: Annotated[int, typer.Option(min=1, help="Number of seeds, which run side by side.")] = 1,
    first_seed: Annotated[int, typer.Option(min=0, help="The first seed; the others follow it.")] = 0,
    tasks: Tasks = None,
    examples_per_task: ExamplesPerTask = None,
    degrees: Degrees = None,
    task_order: Annotated[
        str | None, typer.Option(help="Order in which to show the tasks, as 2,0,1.", show_default="0,1,2,…")
    ] = None,
    validation: Annotated[
        bool,
        typer.Option(
            "--validation", help="Learn and test on a validation stream, which uses no published test images."
        ),
    ] = False,
    full_matrix: Annotated[
        bool,
        typer.Option(
            "--full-matrix", help="Test all tasks after each one, which also gives forward transfer and forgetting."
        ),
    ] = False,
    alignment: Annotated[
        bool,
        typer.Option(
            "--alignment", help="At every example, log how its gradient agrees with that of a random past example."
        ),
    ] = False,
    evaluate_every: EvaluateEvery = None,
    evaluate_on: EvaluateOn = None,
    preset: Annotated[
        Path | None,
        typer.Option(help="TOML file of presets, such as perdure tune writes.", show_default="those of perdure"),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the record.", show_default="in runs/")] = None,
    checkpoint_seconds: Annotated[float, typer.Option(min=0, help="Seconds between two checkpoints.")] = 30.0,
    data_dir: DataDir = None,
    log: Log = None,
    ray: Ray = None,
    previous: Previous = False,
    quiet: Quiet = False,
) -> None:
    cluster = cluster_of(ray)  # first: an address that does not answer is named at once
    from perdure.execution.drive import Driving
    from perdure.execution.loggers.observers import make_loggers
    from perdure.experiments.supervised.apart import run_somewhere
    from perdure.experiments.supervised.plan import choose_learner
    from perdure.experiments.supervised.spec import run_spec
    from perdure.experiments.supervised.typed import Typed, model_of, own_learner, with_optimizer
    from perdure.records.folder import is_finished

    options = {
        "tasks": tasks,
        "examples_per_task": examples_per_task,
        "degrees": degrees,
        "task_order": _numbers(task_order),
        "validation": validation or None,
        **split,
    }
    table = Typed(label=label, task=task, features=features, test=test)
    recipe = _recipe(
        benchmark, data_file, {name: it for name, it in options.items() if it is not None}, data_dir, table
    )
    typed = dataclasses.replace(
        table,
        learner=own_learner(learner_name),
        benchmark=None if isinstance(recipe, BenchmarkRecipe) else benchmark,
        model=model,
        hidden=sizes_given(hidden),
        optimizer=optimizer,
    )
    learner, notes, defaults = choose_learner(
        learner_name,
        recipe.name,
        given,
        preset,
        options={**getattr(recipe, "options", {}), **table.of_file},
        typed=benchmark or str(data_file),
    )
    for remark in notes:
        note(remark)
    spec = run_spec(
        with_optimizer(learner, optimizer),
        recipe,
        model=model_of(typed),
        seeds=range(first_seed, first_seed + seeds),
        evaluation="full" if full_matrix else "needed",
        alignment=alignment,
        evaluate_every=evaluate_every,
        evaluate_on=evaluate_on,
    )
    spec = dataclasses.replace(spec, typed=typed.to_json(), defaults=defaults)
    folder = out or spec.default_folder()
    loggers = make_loggers(log or "", folder=folder)
    if is_finished(folder, spec.config):
        say("finished before; delete the folder to run it again")
    else:
        how = Driving(checkpoint_seconds=checkpoint_seconds, previous=previous, progress=not quiet, loggers=loggers)
        run_somewhere(spec, how, folder, cluster)
    report_run(folder)


_EXAMPLES = [
    "perdure run NAME digits-rotations",
    "perdure run NAME digits-rotations --seeds 5 --full-matrix",
    "perdure run NAME digits-split --scenario class --classes-per-task 2 --shuffle-classes",
    "perdure run NAME my_stream.py:make --model my_net.py:Net",
    "perdure run NAME data.csv --label y --task part --test test.csv",
]

run_app = group(
    "learner",
    learner_commands(
        _run,
        {
            "": _EXAMPLES,
            "mer": [
                "perdure run mer digits-rotations --seeds 3",
                "perdure run mer mnist-rotations --memory-size 200",
                "perdure run mer mnist-permutations --memory-size 500 --alignment",
            ],
        },
    ),
    other=own_learner_command(_run, _EXAMPLES),
    help="Train a learner on a benchmark and measure what it retains: perdure run LEARNER BENCHMARK. "
    "A learner may be your own: my_method.py:MyLearner.",
    epilog=examples(
        "perdure run mer digits-rotations --seeds 3",
        "perdure run my_method.py:MyLearner digits-rotations --learning-rate 0.05",
        "perdure run mer --help",
    ),
)


def _recipe(
    benchmark: str | None, data_file: Path | None, options: dict[str, Any], data_dir: Path | None, table: Any
) -> Any:
    """Return what makes the benchmark of a seed."""
    from perdure.experiments.supervised.typed import benchmark_of, benchmarks_in_words, data_file_of

    if benchmark is not None and data_file is not None:
        raise ValueError(f"give a benchmark or --data-file, not both: {benchmark} and {data_file} were given")
    if data_file is not None:
        return data_file_of(data_file, options, table)
    return benchmark_of(required(benchmark, "benchmark", benchmarks_in_words()), options, data_dir, table)


def _numbers(text: str | None) -> list[int] | None:
    """Return the numbers in "2,0,1"."""
    if text is None:
        return None
    if not all(number.strip().isdecimal() for number in text.split(",")):
        raise ValueError(f"--task-order is {text!r}, expected task numbers separated by commas, as 2,0,1")
    return [int(number) for number in text.split(",")]
