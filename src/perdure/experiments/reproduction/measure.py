"""A published study, measured: its runs spread over the cores, and what came of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from perdure.execution.pool import Engine, Failure
from perdure.execution.processes import Processes
from perdure.experiments.supervised.many import by_folder, run_missing
from perdure.experiments.supervised.spec import RUNS, RunSpec, run_spec
from perdure.learners.catalog import make_learner
from perdure.machine.cores import usable_cpus
from perdure.presets.studies import Cell, Study, load_study
from perdure.records.folder import FORMAT, own_folder
from perdure.records.reproduction import KIND, ReproductionRecord, ReproductionRequest
from perdure.records.requested import note_request, write_finished
from perdure.streams.catalog import BenchmarkRecipe


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
    engine: Engine | None = None,
    data_dir: Path | None = None,
    progress: bool = True,
    write_page: Callable[[ReproductionRecord], object] | None = None,
) -> Measured:
    """Run what some tables of a study need, and return the records.

    Each run is a process of its own, so that its peak memory is its own. What `folder` already holds is not run again,
    and what was interrupted is resumed. Those for the time of one seed come last and one at a time.

    Args:
        study: what to measure.
        tables: names of its tables, or "all" alone.
        folder: of the study; each run has a folder in it.
        engine: where the runs run; None for processes of this machine, one each core.
        data_dir: where to look for raw files first.
        progress: show how far the runs are.
        write_page: shows what is finished so far, after finished runs and when all is stopped.

    Raises:
        ValueError: if there is no such table.
        DataError: if a benchmark's raw files cannot be had.
        InterruptedRunError: after Ctrl-C or SIGTERM; measuring the same again resumes.
        ResultsError: if the folder holds another run.
        FolderInUseError: if another process owns the folder.
    """
    chosen = {name: study.tables[name] for name in find_tables(study, tables)}
    benchmarks = {cell.preset.benchmark for cells in chosen.values() for cell in cells}
    in_tables = {name: by_folder(_spec(cell, data_dir) for cell in cells) for name, cells in chosen.items()}
    runs = {name: spec for table in in_tables.values() for name, spec in table.items()}
    timing = by_folder(_spec(cell, data_dir) for cell in study.timing if cell.preset.benchmark in benchmarks)
    request = ReproductionRequest({name: list(table) for name, table in in_tables.items()}, list(timing))
    with own_folder(folder, _config(study)) as home:
        home.begin(f"study {study.name}: {', '.join(chosen)}", {})
        note_request(home, request.to_json())
        engine = engine or Processes(usable_cpus())
        stages = [(runs, engine), (timing, engine.one_at_a_time())]
        write = partial(_write_page, folder, write_page)
        failures = run_missing(home, stages, show=progress, write_page=write)
        if not failures and home.is_there() and not home.finished:
            home.log(f"finished: {len(request.runs)} runs")
            write_finished(home, {"runs": len(request.runs)})
    return Measured(ReproductionRecord.load(folder), failures)


def resume_study(
    folder: Path, data_dir: Path | None = None, *, progress: bool = True, engine: Engine | None = None
) -> Measured:
    """Resume the study in a folder that `perdure reproduce` has begun; see `measure`.

    Raises:
        ResultsError: if the folder holds no study, or one with tables that its study no longer has.
    """
    record = ReproductionRecord.load(folder)
    study = load_study(record.config["study"], record.config["seeds"], quick=record.config["quick"])
    return measure(study, list(record.request.tables), folder, data_dir=data_dir, progress=progress, engine=engine)


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


def _write_page(folder: Path, write_page: Callable[[ReproductionRecord], object] | None) -> None:
    if write_page is not None:
        write_page(ReproductionRecord.load(folder))


def _config(study: Study) -> dict[str, Any]:
    return {"format": FORMAT, "kind": KIND, "study": study.name, "quick": study.quick, "seeds": study.seeds}


def _spec(cell: Cell, data_dir: Path | None) -> RunSpec:
    """Return what a cell's run is."""
    preset = cell.preset
    return run_spec(
        make_learner(preset.learner, **preset.hyperparameters),
        BenchmarkRecipe(preset.benchmark, preset.options, data_dir),
        seeds=cell.n_seeds,
        evaluation=cell.evaluation,
        alignment=cell.alignment,
    )
