"""A sweep of small cells over two local Ray nodes beside the local pool, and a model of many workers.

    python benchmarks/cluster.py [CELLS] [TASKS] [EXAMPLES_PER_TASK]

A cell is MER on that many rotations of the digits. Of cells of 2 tasks of 500 examples, nearly everything is the start
of a process; those of 20 tasks of 1,000 are of ordinary size.

CPU time counts this process and all that descend from it, also those of Ray. The start of the Ray nodes, and what they
take while idle before the sweep, is told apart.

The model: n workers take max(cells · t / n, cells · d) + t seconds of wall time for a study. t is the measured wall
time of one cell with the local pool (wall time · workers / cells), d the measured CPU time of the driver for each cell:
what one process that starts all cells and receives their files cannot share out.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from perdure import MER, BenchmarkRecipe
from perdure.execution.pool import Engine
from perdure.execution.processes import Processes
from perdure.execution.ray_cluster import MEMORY, RayCluster
from perdure.experiments.methods.compare import comparison
from perdure.experiments.supervised.many import by_folder, run_missing
from perdure.records.folder import own_folder

WORKERS = 2
STUDY = 10_000
"""Cells of the study in the model."""


class Sweep(NamedTuple):
    """What a sweep has taken, in seconds."""

    wall: float
    cpu: float
    driver_cpu: float


def descendants_cpu() -> float:
    """Return the CPU time of this process, of its descendants and of those of them that have ended, in seconds."""
    parents, times = {}, {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue  # it has just ended
            parents[int(entry.name)] = int(fields[1])
            times[int(entry.name)] = sum(map(int, fields[11:15]))
    ours = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in ours} - ours:
        ours |= more
    return sum(times[pid] for pid in ours) / os.sysconf("SC_CLK_TCK")


def sweep(engine: Engine, cells: int, tasks: int, examples_per_task: int) -> Sweep:
    """Run the cells, MER with one rate each."""
    digits = BenchmarkRecipe("digits-rotations", {"tasks": tasks, "examples_per_task": examples_per_task})
    what = comparison([MER(learning_rate=0.01 * (n + 1) / cells) for n in range(cells)], digits, seeds=1)
    with TemporaryDirectory() as folder, own_folder(Path(folder) / "sweep", what.config) as home:
        began, cpu, own = time.perf_counter(), descendants_cpu(), time.process_time()
        failures = run_missing(home, [(by_folder(what.runs), engine)], show=True)
        assert not failures, failures
        return Sweep(time.perf_counter() - began, descendants_cpu() - cpu, time.process_time() - own)


def main(cells: int = 64, tasks: int = 20, examples_per_task: int = 1_000) -> None:
    """Measure both and print what it has come to."""
    import ray
    from ray.cluster_utils import Cluster

    local = sweep(Processes(WORKERS), cells, tasks, examples_per_task)
    before = descendants_cpu()
    node: dict[str, Any] = {"num_cpus": WORKERS // 2, "memory": MEMORY, "object_store_memory": 80_000_000}
    cluster = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
    cluster.add_node(**node)
    assert cluster.address is not None
    engine = RayCluster(cluster.address)
    started = descendants_cpu() - before
    over_ray = sweep(engine, cells, tasks, examples_per_task)
    ray.shutdown()
    cluster.shutdown()
    print(f"{cells} cells of {tasks * examples_per_task:,} examples, {WORKERS} workers")
    for name, it in (("local pool", local), ("two Ray nodes", over_ray)):
        print(
            f"{name:14} {it.wall:7.1f} s wall  {it.cpu:7.1f} s CPU  {it.driver_cpu / cells:.4f} s of the driver a cell"
        )
    print(f"start of the two nodes: {started:.1f} s CPU")
    with_start = (over_ray.cpu + started) / local.cpu
    print(f"ratio of CPU time: {over_ray.cpu / local.cpu:.3f} (with the start of the nodes {with_start:.3f})")
    seconds, driver = local.wall * WORKERS / cells, over_ray.driver_cpu / cells
    print(f"\nmodel: {STUDY:,} cells of {seconds:.2f} s, {driver:.4f} s of the driver each")
    print("| workers | wall time, s | efficiency |\n| ---: | ---: | ---: |")
    for n in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000):
        wall = max(STUDY * seconds / n, STUDY * driver) + seconds
        print(f"| {n:,} | {wall:,.0f} | {STUDY * seconds / n / wall:.0%} |")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
