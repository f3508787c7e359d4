"""Published cells, measured: which runs they take, and running them."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

from perdure.experiments.interrupt import InterruptedRunError, StopRequests
from perdure.experiments.plan import choose_learner, default_folder
from perdure.experiments.results import RunRecord, is_finished
from perdure.experiments.run import run
from perdure.experiments.session import describe_run
from perdure.models import benchmark_mlp
from perdure.streams.catalog import BenchmarkRecipe


class Cell(NamedTuple):
    """One cell of the published table: a benchmark and a memory size."""

    benchmark: str
    memory_size: int


MER_CELLS = {
    "rotations-200": Cell("mnist-rotations", 200),
    "rotations-500": Cell("mnist-rotations", 500),
    "rotations-5120": Cell("mnist-rotations", 5120),
    "permutations-200": Cell("mnist-permutations", 200),
    "permutations-500": Cell("mnist-permutations", 500),
    "permutations-5120": Cell("mnist-permutations", 5120),
    "many-permutations-500": Cell("mnist-many-permutations", 500),
    "many-permutations-5120": Cell("mnist-many-permutations", 5120),
}
"""Cells of Riemer et al. (2019), tables 1 and 2, on MNIST."""

DEFAULT_CELLS = ("rotations-200", "rotations-500", "permutations-200", "permutations-500", "many-permutations-500")
"""Those that take minutes."""


def find_cells(names: Iterable[str]) -> list[Cell]:
    """Return the cells of these names.

    Raises:
        ValueError: naming the cells there are, if there is no such cell.
    """
    names = list(names)
    if unknown := [name for name in names if name not in MER_CELLS]:
        raise ValueError(f"there is no cell {', '.join(unknown)}; choose among: {', '.join(MER_CELLS)}")
    return [MER_CELLS[name] for name in names]


def measure_cells(
    cells: Iterable[Cell], seeds: int, root: Path, data_dir: Path | None = None, *, progress: bool = True
) -> list[RunRecord]:
    """Run each cell's methods with their published hyper-parameters and return the records.

    For each cell: MER (Algorithm 1) and ER (Algorithm 4) with `seeds` seeds and gradient alignment; and MER with one
    seed alone and nothing else logged, which tells the time of one seed. What `root` already holds is not run again.
    Each run has a process of its own, so that its peak memory is its own.

    Args:
        cells: what to measure.
        seeds: number of seeds of each run.
        root: folder of the runs' folders.
        data_dir: where to look for raw files first.
        progress: show progress bars.

    Raises:
        InterruptedRunError: after Ctrl-C or SIGTERM; measuring the same cells again goes on from there.
    """
    jobs = [
        _Job(learner, cell, n_seeds, alignment)
        for cell in cells
        for learner, n_seeds, alignment in (("mer", seeds, True), ("er", seeds, True), ("mer", 1, False))
    ]
    records = []
    with StopRequests() as stop:
        for job in jobs:
            with ProcessPoolExecutor(max_workers=1, mp_context=get_context("spawn")) as worker:
                folder = worker.submit(_measure, job, root, data_dir, progress=progress).result()
            records.append(RunRecord.load(folder))
            if stop.received is not None:
                raise InterruptedRunError("stopped between two runs; the same command goes on", stop.received)
    return records


class _Job(NamedTuple):
    """One run."""

    learner: str
    cell: Cell
    n_seeds: int
    alignment: bool


def _measure(job: _Job, root: Path, data_dir: Path | None, *, progress: bool) -> Path:
    """Run, unless it is done, and return the folder."""
    learner = choose_learner(job.learner, job.cell.benchmark, {"memory_size": job.cell.memory_size}).learner
    recipe = BenchmarkRecipe(job.cell.benchmark, data_dir=data_dir)
    config = describe_run(learner, recipe, range(job.n_seeds), benchmark_mlp, "needed", job.alignment)
    folder = default_folder(config, root)
    if not is_finished(folder, config):
        run(learner, recipe, seeds=job.n_seeds, alignment=job.alignment, folder=folder, progress=progress)
    return folder
