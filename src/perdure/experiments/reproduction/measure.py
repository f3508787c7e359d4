"""A published study, measured: its runs spread over the cores, and what came of them."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from perdure.execution.pool import Failure, Job, run_jobs
from perdure.execution.progress import Watch
from perdure.experiments.supervised.plan import default_folder
from perdure.experiments.supervised.run import run
from perdure.experiments.supervised.spec import default_model, describe_run
from perdure.learners.catalog import make_learner
from perdure.presets.studies import Cell, Study
from perdure.records.folder import is_finished
from perdure.records.learner import RunRecord
from perdure.streams.catalog import BenchmarkRecipe


class Measured(NamedTuple):
    """What came of a study."""

    tables: dict[str, list[RunRecord]]
    """Finished runs of each table, in the order of its cells."""
    timing: list[RunRecord]
    """Finished runs of one seed alone."""
    failures: list[Failure]
    """Runs that came to nothing."""


def measure(
    study: Study,
    tables: Iterable[str],
    root: Path,
    *,
    workers: int,
    data_dir: Path | None = None,
    progress: bool = True,
) -> Measured:
    """Run what some tables of a study need, and return the records.

    Each run is a process of its own, so that its peak memory is its own. What `root` already holds is not run again,
    and what was interrupted goes on. Those for the time of one seed come last and one at a time.

    Args:
        study: what to measure.
        tables: names of its tables.
        root: folder of the runs' folders.
        workers: runs at a time, ≥ 1.
        data_dir: where to look for raw files first.
        progress: show how the runs go on.

    Raises:
        ValueError: if there is no such table.
        DataError: if a benchmark's raw files cannot be had.
        InterruptedRunError: after Ctrl-C or SIGTERM; measuring the same again goes on from there.
    """
    chosen = {name: study.tables[name] for name in find_tables(study, tables)}
    cells = _once([cell for cells in chosen.values() for cell in cells], root)
    benchmarks = {cell.preset.benchmark for cell in cells.values()}
    timing = _once([cell for cell in study.timing if cell.preset.benchmark in benchmarks], root)
    failures: list[Failure] = []
    for runs, at_a_time in ((cells, workers), (timing, 1)):
        waiting = {folder: cell for folder, cell in runs.items() if not is_finished(folder, _config(cell))}
        _fetch({cell.preset.benchmark for cell in waiting.values()}, data_dir)
        failures += run_jobs(
            [_job(cell, folder, data_dir) for folder, cell in waiting.items()], at_a_time, show=progress
        )
    everything = {**cells, **timing}
    finished = {it: RunRecord.load(it) for it, cell in everything.items() if is_finished(it, _config(cell))}
    by_table = {
        name: [finished[folder] for folder in _once(cells, root) if folder in finished]
        for name, cells in chosen.items()
    }
    return Measured(by_table, [finished[folder] for folder in timing if folder in finished], failures)


def find_tables(study: Study, names: Iterable[str]) -> list[str]:
    """Return the names, or all names for "all".

    Raises:
        ValueError: naming the tables there are, if there is no such table.
    """
    names = list(names)
    if names == ["all"]:
        return list(study.tables)
    if unknown := [name for name in names if name not in study.tables]:
        raise ValueError(f"there is no table {', '.join(unknown)}; choose among: {', '.join(study.tables)}, all")
    return names


def _once(cells: Iterable[Cell], root: Path) -> dict[Path, Cell]:
    """Return the cells by folder, those of one configuration once."""
    return {default_folder(_config(cell), root): cell for cell in cells}


def _arguments(cell: Cell, data_dir: Path | None = None) -> dict[str, Any]:
    """Return what decides a cell's figures, as arguments of `run`."""
    preset = cell.preset
    recipe = BenchmarkRecipe(preset.benchmark, preset.options, data_dir)
    return {
        "learner": make_learner(preset.learner, **preset.hyperparameters),
        "benchmark": recipe,
        "seeds": range(cell.n_seeds),
        "model": default_model(recipe),
        "evaluation": cell.evaluation,
        "alignment": cell.alignment,
    }


def _config(cell: Cell) -> dict[str, Any]:
    return describe_run(**_arguments(cell))


def _job(cell: Cell, folder: Path, data_dir: Path | None) -> Job:
    memory = cell.preset.memory_size
    name = folder.name if memory is None else f"{folder.name}, memory {memory}"
    return Job(name, _effort(cell), partial(_measure_cell, cell, folder, data_dir))


def _measure_cell(cell: Cell, folder: Path, data_dir: Path | None, watch: Watch) -> None:
    run(**_arguments(cell, data_dir), folder=folder, progress=watch)


def _effort(cell: Cell) -> float:
    """Return about how many gradients a run takes for each example, as a measure of its time."""
    values = cell.preset.hyperparameters
    batches, batch = values.get("batches_per_example", 1), 1 + values.get("replay_batch_size", 0)
    if cell.preset.learner == "gem":
        batch += values["memory_size"] / 2  # tasks learned so far, on average
    return float(cell.n_seeds * (batches * batch + 5 * cell.alignment + 5 * (cell.evaluation == "full")))


def _fetch(benchmarks: Iterable[str], data_dir: Path | None) -> None:
    """Make sure of the raw files before any run needs them: all at once they would all download."""
    for benchmark in sorted(benchmarks):
        BenchmarkRecipe(benchmark, {"tasks": 1}, data_dir)(0)
