"""MER over several time scales beside MER as published: ``python benchmarks/multi_timescale.py``.

Both learn the same streams, those that figures are reported of, ten seeds of each. Writes docs/multi-timescale-mer.md
between its marks, after each row. Runs are kept in runs/multi-timescale: what is there is not run again, and Ctrl-C
loses nothing.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from perdure.cli.jax_settings import configure_jax

configure_jax()  # before JAX is imported: what the command line runs under

from marked_block import write_measured

from perdure.experiments.methods.compare import choose_methods, compare, comparison
from perdure.learners.multi_timescale import MultiTimescaleMER
from perdure.metrics.transfer import Statistic, paired_difference
from perdure.records.learner import RunRecord
from perdure.records.methods import MethodsRecord
from perdure.report.markdown import aligned_markdown
from perdure.report.names import benchmark_title
from perdure.report.tables import cpu_seconds_per_example, metric_of
from perdure.streams.catalog import BenchmarkRecipe

PAGE = Path(__file__).parents[1] / "docs" / "multi-timescale-mer.md"
CELLS = [
    ("mnist-rotations", 200),
    ("mnist-permutations", 200),
    ("mnist-rotations", 500),
    ("mnist-permutations", 500),
    ("mnist-many-permutations", 500),
    ("mnist-rotations", 5120),
    ("mnist-permutations", 5120),
    ("mnist-many-permutations", 5120),
]
HEADERS = ("stream", "memory", "MER", "over several time scales", "difference", "CPU time")


def measured(folder: Path, name: str, memory_size: int, seeds: int) -> MethodsRecord:
    """Return the record of both learners on a stream, once they have run."""
    benchmark = BenchmarkRecipe(name)
    mer = choose_methods(["mer"], benchmark, memory_size=memory_size).learners
    what = comparison([*mer, MultiTimescaleMER(memory_size)], benchmark, seeds=seeds, baseline="mer")
    command = f"python benchmarks/multi_timescale.py --seeds {seeds}"
    return compare(what, folder / f"{name}-{memory_size}", command=command).record


def row(record: MethodsRecord, memory_size: int) -> list[str]:
    """Return what the table tells of a record."""
    runs = {it.learner: it for it in record.runs}
    mer, ours = (runs[it] for it in ("mer", "multi-timescale-mer"))
    difference = paired_difference(retained(ours), retained(mer))
    ratio = cpu_seconds_per_example(ours) / cpu_seconds_per_example(mer)
    figures = [f"{100 * it.mean:.2f} ± {100 * it.ci95:.2f}" for it in (retained(mer), retained(ours))]
    gained = f"{100 * difference.mean:+.2f} ± {100 * difference.ci95:.2f}"
    return [benchmark_title(record.benchmark), f"{memory_size:,}", *figures, gained, f"{ratio:.2f} ×"]


def retained(run: RunRecord) -> Statistic:
    """Return the retained accuracy of a finished run."""
    statistic = metric_of(run, "retained_accuracy")
    assert statistic is not None, f"{run.folder} is not finished"
    return statistic


def main() -> None:
    """Measure, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--folder", type=Path, default=Path("runs/multi-timescale"))
    given = parser.parse_args()
    rows: list[list[str]] = []
    for name, memory_size in CELLS:
        rows.append(row(measured(given.folder, name, memory_size, given.seeds), memory_size))
        write_measured(PAGE, aligned_markdown(HEADERS, rows, (0,)))


if __name__ == "__main__":
    main()
