"""perdure tune: choosing hyper-parameters."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from perdure.cli.commands import examples, group, required
from perdure.cli.console import (
    DataDir,
    Degrees,
    ExamplesPerTask,
    FileFeatures,
    FileLabel,
    FileTask,
    FileTest,
    Hidden,
    Model,
    Quiet,
    Ray,
    Tasks,
    cluster_of,
    note,
    print_table,
    say,
    sizes_given,
)
from perdure.cli.learners import learner_commands, own_learner_command
from perdure.cli.splits import with_split_options
from perdure.named import typed_options
from perdure.streams.catalog import BenchmarkRecipe, benchmark_names

if TYPE_CHECKING:
    from perdure.records.tuning import TuningRecord, TuningResult


class _SearchKind(StrEnum):
    grid = "grid"
    random = "random"


@with_split_options
def _tune(
    learner_name: str,
    given: dict[str, str],
    benchmark: Annotated[
        str | None,
        typer.Argument(
            help=f"One of: {', '.join(benchmark_names())}; or your own: my_stream.py:make, data.csv, data.parquet, "
            "data.npz, data.pt.",
            show_default=False,
        ),
    ] = None,
    *,
    split: dict[str, Any],
    model: Model = None,
    hidden: Hidden = None,
    label: FileLabel = None,
    task: FileTask = None,
    features: FileFeatures = None,
    test: FileTest = None,
    search: Annotated[_SearchKind, typer.Option(help="Try every combination, or some at random.")] = _SearchKind.grid,
    trials: Annotated[
        int | None, typer.Option(min=2, help="Combinations to draw at random.", show_default="30")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Number of validation streams, side by side.")] = 2,
    tasks: Tasks = None,
    examples_per_task: ExamplesPerTask = None,
    degrees: Degrees = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the record.", show_default="in runs/")] = None,
    preset: Annotated[
        Path | None, typer.Option(help="TOML file to write the best into.", show_default="preset.toml in OUT")
    ] = None,
    data_dir: DataDir = None,
    ray: Ray = None,
    quiet: Quiet = False,
) -> None:
    cluster = cluster_of(ray)  # first: an address that does not answer is named at once
    from perdure.experiments.supervised.typed import Typed, benchmark_of, benchmarks_in_words, model_of, own_learner
    from perdure.experiments.tuning.space import parse_values
    from perdure.experiments.tuning.spec import tuning_spec
    from perdure.experiments.tuning.tune import tune_of
    from perdure.learners.catalog import learner_class
    from perdure.learners.hyperparameters import hyperparameters
    from perdure.presets.file import add_preset

    if trials is not None and search is _SearchKind.grid:
        raise ValueError(f"--trials is {trials}, but a grid is tried whole; leave it out, or add --search random")
    options = {"tasks": tasks, "examples_per_task": examples_per_task, "degrees": degrees, **split}
    where = required(benchmark, "benchmark", benchmarks_in_words())
    table = Typed(label=label, task=task, features=features, test=test)
    recipe = benchmark_of(where, {name: it for name, it in options.items() if it is not None}, data_dir, table)
    own_stream = None if isinstance(recipe, BenchmarkRecipe) else where
    typed = dataclasses.replace(
        table, learner=own_learner(learner_name), benchmark=own_stream, model=model, hidden=sizes_given(hidden)
    )
    known = {it.name: it for it in hyperparameters(learner_class(learner_name))}
    grid = {name: parse_values(known[name], text) for name, text in given.items()}
    n_trials = None if search is _SearchKind.grid else trials or 30
    spec = tuning_spec(learner_name, recipe, grid, trials=n_trials, seeds=seeds, model=model_of(typed))
    spec = dataclasses.replace(spec, typed=typed.to_json())
    folder = out or spec.default_folder()
    result = tune_of(spec, folder, progress=not quiet, engine=cluster, write_page=write_pages)
    file = preset or folder / "preset.toml"
    add_preset(file, result.preset)
    names = [learner_name, where]
    own_parts = {"model": model, "hidden": hidden, "label": label, "task": task, "features": features, "test": test}
    _report_search(result, folder, file, {**own_parts, "data_dir": data_dir}, names)


def write_pages(record: TuningRecord) -> None:
    """Write what is finished of a search as results.md and results.html in its folder."""
    from perdure.report.tuning import save_search_pages

    save_search_pages(record, record.folder / "results.md", record.folder / "results.html")


_EXAMPLES = ["perdure tune NAME digits-rotations --learning-rate 0.01,0.03,0.1"]

tune_app = group(
    "learner",
    learner_commands(
        _tune,
        {
            "": _EXAMPLES,
            "mer": [
                "perdure tune mer digits-rotations --learning-rate 0.03,0.1 --beta 0.01,0.03",
                "perdure tune mer mnist-rotations --search random --trials 20 --learning-rate 0.01..0.3",
            ],
        },
        several=True,
    ),
    other=own_learner_command(_tune, _EXAMPLES, several=True),
    help="Choose a learner's hyper-parameters on validation streams: perdure tune LEARNER BENCHMARK.",
    epilog=examples("perdure tune online digits-rotations --learning-rate 0.01,0.03,0.1", "perdure tune mer --help"),
)


def _report_search(
    result: TuningResult, folder: Path, preset: Path, given: Mapping[str, Any], names: Sequence[str]
) -> None:
    """Show what came of a search, and how what it chose is run: learner and benchmark as they were typed."""
    from perdure.records.tuning import edge_notes
    from perdure.report.tuning import save_search_figure, trials_table

    save_search_figure(result, folder / "figures")
    print_table(trials_table(result))
    for remark in edge_notes(result):
        note(remark)
    options = {"preset": preset, "seeds": 5, **result.options, **given}
    command = shlex.join(["perdure", "run", *names, *typed_options(options)])
    say(f"\nrecord, figure and page: {folder}\nmeasure the chosen: {command}")
