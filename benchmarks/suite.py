"""How fast perdure is, beside plain PyTorch and beside what the machine can do: ``python benchmarks/suite.py``.

Writes what it measures to ``docs/performance.md`` with its figure, and as numbers to ``docs/performance.json``. It
needs PyTorch (extra ``bench``), no data, and a machine that does nothing else.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from perdure.cli.jax_settings import configure_jax

configure_jax()  # before JAX is imported: what the command line runs under

import environments
import jax
import jax.numpy as jnp
import meta_learning
import page
import sides
from processes import PIECEMEAL_LOOPS, peak_bytes, seconds_to_first_example, step_microseconds
from rich.progress import Progress

from perdure.learners.mer import MER
from perdure.storage.files import write_atomically

ROUNDS = 5
N_SEEDS = 5
REPEATS = 3  # of which the least counts, where there is nothing to take turns with

METHODS = [
    sides.mer(100, 10),
    sides.mer(10, 5),
    sides.er(100),
    sides.er(10),
    sides.der_plus_plus(10),
    sides.er_ace(10),
    sides.cls_er(10),
    sides.a_gem(10),
    sides.ewc(10),
    sides.gem(5, 256),
    sides.la_maml(),
]


class Curve(NamedTuple):
    """How the cost grows with one thing."""

    thing: str
    unit: str
    """Of the cost."""
    points: list[tuple[int, float]]


class Roofline(NamedTuple):
    """What the machine can do, in operations and bytes a second."""

    products: float
    copies: float


def mer_curve(thing: str, values: list[int], make: Callable[[int], sides.Ours], n: int, steps: int) -> Curve:
    """Return microseconds of an SGD step of MER for each value."""
    points = []
    for value in values:
        ours = make(value)
        points.append((value, 1e6 * min(ours.seconds(n) for _ in range(REPEATS)) / n / steps))
    return Curve(thing, "µs an SGD step, a seed", points)


def growth() -> list[Curve]:
    """Return how the cost of MER, 10 memories drawn 5 times, grows, and that of the methods that read tasks."""
    n, drawn, batches = 1000, 10, 5
    steps = batches * (drawn + 1)

    def learner(memory_size: int = 500, drawn: int = drawn) -> MER:
        return MER(0.03, memory_size, drawn, beta=0.03, gamma=1.0, batches_per_example=batches)

    def ours(size: int = 500, seeds: int = 1, hidden: int = 100) -> sides.Ours:
        return sides.Ours(learner(size), sides.made_up_stream((size + n,)), size, seeds, hidden)

    curves = [
        mer_curve("memory size", [500, 5_120, 50_000], lambda size: ours(size=size), n, steps),
        mer_curve("hidden units a layer", [25, 50, 100, 200, 400], lambda hidden: ours(hidden=hidden), n, steps),
        mer_curve("seeds", [1, 2, 4, 8, 16], lambda seeds: ours(seeds=seeds), n, steps),
    ]
    long = sides.Ours(learner(), sides.made_up_stream((16_500,)), 500, 1)
    lengths = [1_000, 2_000, 4_000, 8_000, 16_000]
    curves.append(Curve("examples learned", "seconds", [(length, long.seconds(length)) for length in lengths]))
    points = []
    for draws in (5, 10, 25, 50, 100):
        one = sides.Ours(learner(drawn=draws), sides.made_up_stream((700,)), 500, 1)
        points.append((draws, 1e6 * min(one.seconds(200) for _ in range(REPEATS)) / 200))
    curves.append(Curve("memories drawn", "µs an example of MER", points))
    for name, make in (("GEM, memories of 25", lambda tasks: sides.gem(tasks, 25)), ("EWC", sides.ewc)):
        points = []
        for tasks in (2, 5, 10, 20):
            method = make(tasks)
            one = sides.Ours(method.learner, sides.made_up_stream(method.task_sizes), method.warm, 1)
            seconds = min(one.seconds(method.n_ours) for _ in range(REPEATS))
            points.append((tasks, 1e6 * seconds / method.n_ours))
        curves.append(Curve("tasks", f"µs an example of {name}", points))
    return curves


def roofline() -> Roofline:
    """Measure products of matrices and copies of memory, on all cores."""
    n, size = 2048, 2**26
    matrix, memory = jnp.ones((n, n)), jnp.ones(size)
    product, copy = jax.jit(jnp.matmul), jax.jit(jnp.negative)
    jax.block_until_ready((product(matrix, matrix), copy(memory)))

    def least(call: Callable[[], jax.Array]) -> float:
        times = []
        for _ in range(10):
            began = time.perf_counter()
            jax.block_until_ready(call())
            times.append(time.perf_counter() - began)
        return min(times)

    return Roofline(2 * n**3 / least(lambda: product(matrix, matrix)), 2 * memory.nbytes / least(lambda: copy(memory)))


def main() -> None:
    """Measure everything and write the page."""
    with Progress() as bar:
        task = bar.add_task("both sides", total=len(METHODS) + 5)
        compared = []
        for method in METHODS:
            bar.update(task, description=method.name)
            compared.append(sides.compare(method, N_SEEDS, ROUNDS))
            bar.advance(task)
        bar.update(task, description="growth")
        curves = growth()
        bar.advance(task)
        bar.update(task, description="meta-steps")
        meta_steps = meta_learning.measure()
        bar.advance(task)
        bar.update(task, description="games")
        games = environments.measure_all()
        bar.advance(task)
        bar.update(task, description="machine")
        machine = roofline()
        bar.advance(task)
        bar.update(task, description="processes")
        seconds_to_first_example()  # compiles what the next one finds compiled
        starts = [seconds_to_first_example() for _ in range(REPEATS)]
        sizes = (500, 5_120, 50_000)
        peaks = [(size, peak_bytes(size, 500), peak_bytes(size, size)) for size in sizes]
        loops = [(step_microseconds(), step_microseconds(**PIECEMEAL_LOOPS)) for _ in range(REPEATS)]
        bar.advance(task)
    numbers = {
        "machine": page.machine_text(),
        "versions": page.versions_text(),
        "n_seeds": N_SEEDS,
        "methods": [
            {
                "name": it.method.name,
                "steps": it.method.steps,
                "eager": it.eager,
                "one_seed": it.one_seed,
                "several_seeds": it.several_seeds,
                "compile_seconds": it.compile_seconds,
            }
            for it in compared
        ],
        "growth": [{"of": it.thing, "unit": it.unit, "points": it.points} for it in curves],
        "meta_steps": meta_steps,
        "games": [it._asdict() for it in games],
        "roofline": {"operations_per_second": machine.products, "bytes_per_second": machine.copies},
        "seconds_to_first_example": min(starts),
        "peak_bytes": peaks,
        "loops": {"whole": min(whole for whole, _ in loops), "piecemeal": min(piecemeal for _, piecemeal in loops)},
    }
    docs = Path(__file__).parents[1] / "docs"
    write_atomically(docs / "performance.json", json.dumps(numbers, indent=2).encode() + b"\n")
    page.write(json.loads((docs / "performance.json").read_text()), docs)


if __name__ == "__main__":
    main()
