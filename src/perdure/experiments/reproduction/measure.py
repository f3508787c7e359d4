"""A published study, measured: its runs spread over the cores, and what came of them."""

from __future__ import annotations

import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from perdure.execution.drive import Driving
from perdure.execution.parts import resume_command
from perdure.execution.pool import Failure, Job, run_jobs
from perdure.execution.progress import Watch
from perdure.experiments.supervised.run import run_of
from perdure.experiments.supervised.spec import RUNS, RunSpec, run_spec
from perdure.learners.catalog import make_learner
from perdure.machine.cores import usable_cpus
from perdure.machine.signals import InterruptedRunError
from perdure.presets.studies import Cell, Study, load_study
from perdure.records.folder import FORMAT, RunFolder, is_finished, own_folder
from perdure.records.reproduction import KIND, ReproductionRecord, ReproductionRequest
from perdure.records.requested import note_request, write_finished
from perdure.storage.lock import FolderInUseError
from perdure.streams.catalog import BenchmarkRecipe

_PATIENCE = 30.0  # seconds in which a run's folder may still be owned by a worker of a measurement that was killed


class Measured(NamedTuple):
    """What came of a study."""

    record: ReproductionRecord
    failures: list[Failure]
    """Runs that came to nothing."""


def default_study_folder(study: Study, root: Path = RUNS) -> Path:
    """Return where a study goes unless told otherwise."""
    return root / (f"reproduce-{study.name}-quick" if study.quick else f"reproduce-{study.name}")


def measure(
    study: Study,
    tables: Iterable[str],
    folder: Path,
    *,
    workers: int | None = None,
    data_dir: Path | None = None,
    progress: bool = True,
) -> Measured:
    """Run what some tables of a study need, and return the records.

    Each run is a process of its own, so that its peak memory is its own. What `folder` already holds is not run again,
    and what was interrupted is resumed. Those for the time of one seed come last and one at a time.

    Args:
        study: what to measure.
        tables: names of its tables, or "all" alone.
        folder: of the study; each run has a folder in it.
        workers: runs at a time, ≥ 1; None for one each core.
        data_dir: where to look for raw files first.
        progress: show how far the runs are.

    Raises:
        ValueError: if there is no such table.
        DataError: if a benchmark's raw files cannot be had.
        InterruptedRunError: after Ctrl-C or SIGTERM; measuring the same again resumes.
        ResultsError: if the folder holds another run.
        FolderInUseError: if another process owns the folder.
    """
    chosen = {name: study.tables[name] for name in find_tables(study, tables)}
    cells = _by_folder(cell for cells in chosen.values() for cell in cells)
    benchmarks = {cell.preset.benchmark for cell in cells.values()}
    timing = _by_folder(cell for cell in study.timing if cell.preset.benchmark in benchmarks)
    request = ReproductionRequest({name: list(_by_folder(cells)) for name, cells in chosen.items()}, list(timing))
    with own_folder(folder, _config(study)) as home:
        home.begin(f"study {study.name}: {', '.join(chosen)}", {})
        note_request(home, request.to_json())
        failures: list[Failure] = []
        for runs, at_a_time in ((cells, workers or usable_cpus()), (timing, 1)):
            failures += _run_missing(home, runs, at_a_time, data_dir, show=progress)
        if not failures and home.is_there() and not home.finished:
            home.log(f"finished: {len(request.runs)} runs")
            write_finished(home, {"runs": len(request.runs)})
    return Measured(ReproductionRecord.load(folder), failures)


def resume_study(folder: Path, data_dir: Path | None = None, *, progress: bool = True) -> Measured:
    """Resume the study in a folder that `perdure reproduce` has begun; see `measure`.

    Raises:
        ResultsError: if the folder holds no study, or one with tables that its study no longer has.
    """
    record = ReproductionRecord.load(folder)
    study = load_study(record.config["study"], record.config["seeds"], quick=record.config["quick"])
    return measure(study, list(record.request.tables), folder, data_dir=data_dir, progress=progress)


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


def _config(study: Study) -> dict[str, Any]:
    return {"format": FORMAT, "kind": KIND, "study": study.name, "quick": study.quick, "seeds": study.seeds}


def _run_missing(
    home: RunFolder, cells: dict[str, Cell], workers: int, data_dir: Path | None, *, show: bool
) -> list[Failure]:
    """Do the runs that are not finished yet, and return those that failed."""
    missing = {name: cell for name, cell in cells.items() if not is_finished(home.path / name, _spec(cell).config)}
    _fetch({cell.preset.benchmark for cell in missing.values()}, data_dir)
    jobs = [_job(cell, home.path / name, data_dir) for name, cell in missing.items()]
    try:
        return run_jobs(jobs, workers, show=show)
    except InterruptedRunError as stopped:
        home.log("stopped")
        how = f"resume with `{resume_command(home.path)}`, or with the command that began it"
        raise InterruptedRunError(f"stopped; {how}", stopped.signal_number) from stopped


def _by_folder(cells: Iterable[Cell]) -> dict[str, Cell]:
    """Return the cells by the names of their folders, those of one configuration once."""
    return {_spec(cell).default_folder().name: cell for cell in cells}


def _spec(cell: Cell, data_dir: Path | None = None) -> RunSpec:
    """Return what a cell's run is."""
    preset = cell.preset
    return run_spec(
        make_learner(preset.learner, **preset.hyperparameters),
        BenchmarkRecipe(preset.benchmark, preset.options, data_dir),
        seeds=cell.n_seeds,
        evaluation=cell.evaluation,
        alignment=cell.alignment,
    )


def _job(cell: Cell, folder: Path, data_dir: Path | None) -> Job:
    memory = cell.preset.memory_size
    name = folder.name if memory is None else f"{folder.name}, memory {memory}"
    return Job(name, _effort(cell), partial(_measure_cell, cell, folder, data_dir))


def _measure_cell(cell: Cell, folder: Path, data_dir: Path | None, watch: Watch) -> None:
    """Do or resume a cell's run.

    Workers end with the process that started them, but not in the same instant: if one still owns the folder, wait.
    """
    spec, until = _spec(cell, data_dir), time.monotonic() + _PATIENCE
    while True:
        try:
            run_of(spec, Driving(progress=watch), folder)
            return
        except FolderInUseError:
            if time.monotonic() > until:
                raise
            time.sleep(0.5)


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
