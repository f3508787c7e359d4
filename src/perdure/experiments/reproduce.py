"""Published cells, measured: which runs they take, and running them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

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
) -> Iterator[RunRecord]:
    """Run each cell's methods with their published hyper-parameters and yield the records.

    For each cell: MER (Algorithm 1) and ER (Algorithm 4) with `seeds` seeds and gradient alignment; and MER with one
    seed alone and nothing else logged, which tells the time of one seed. What `root` already holds is not run again.

    Args:
        cells: what to measure.
        seeds: number of seeds of each run.
        root: folder of the runs' folders.
        data_dir: where to look for raw files first.
        progress: show progress bars.
    """
    for cell in cells:
        yield _measure("mer", cell, seeds, root, data_dir, alignment=True, progress=progress)
        yield _measure("er", cell, seeds, root, data_dir, alignment=True, progress=progress)
        yield _measure("mer", cell, 1, root, data_dir, alignment=False, progress=progress)


def _measure(
    learner_name: str,
    cell: Cell,
    seeds: int,
    root: Path,
    data_dir: Path | None,
    *,
    alignment: bool,
    progress: bool,
) -> RunRecord:
    learner = choose_learner(learner_name, cell.benchmark, {"memory_size": cell.memory_size}).learner
    recipe = BenchmarkRecipe(cell.benchmark, data_dir=data_dir)
    config = describe_run(learner, recipe, range(seeds), benchmark_mlp, "needed", alignment)
    folder = default_folder(config, root)
    if not is_finished(folder, config):
        run(learner, recipe, seeds=seeds, alignment=alignment, folder=folder, progress=progress)
    return RunRecord.load(folder)
