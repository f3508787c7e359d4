"""The streams of a run's seeds, side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import attrgetter

import jax
import numpy as np

from perdure.core import Example
from perdure.streams.benchmark import Benchmark, checksum

MakeBenchmark = Callable[[int], Benchmark]

_X, _Y = attrgetter("x"), attrgetter("y")


@dataclass(frozen=True)
class SeedStreams:
    """What each seed learns from and is tested on."""

    benchmarks: list[Benchmark]
    """One per seed, all of one shape."""
    seeds: tuple[int, ...]
    shared: bool
    """Do all seeds learn from the same stream?"""

    @classmethod
    def of(cls, benchmark: Benchmark | MakeBenchmark, seeds: Sequence[int]) -> SeedStreams:
        """Return the streams of some seeds.

        Raises:
            TypeError: if what should make a benchmark returns something else.
            ValueError: if the streams differ in shape, so that the seeds cannot run side by side.
        """
        if isinstance(benchmark, Benchmark):
            return cls([benchmark] * len(seeds), tuple(seeds), shared=True)
        made = [_made(benchmark, seed) for seed in seeds]
        for seed, other in zip(seeds, made, strict=True):
            if _shape(other) != _shape(made[0]):
                raise ValueError(
                    f"the stream of seed {seed} has {_shape(other)}, that of seed {seeds[0]} {_shape(made[0])}; "
                    "seeds run side by side and need streams of one shape: run them one by one"
                )
        return cls(made, tuple(seeds), shared=False)

    @property
    def first(self) -> Benchmark:
        """The benchmark of the first seed."""
        return self.benchmarks[0]

    @cached_property
    def stream(self) -> Example:
        """The training streams on the device, x and y (seeds, N, ...), or (N, ...) if shared; task (N,)."""
        first = jax.device_put(self.first.train)
        if self.shared:
            return first
        x, y = jax.device_put([np.stack([leaf(it.train) for it in self.benchmarks]) for leaf in (_X, _Y)])
        return Example(x, y, first.task)

    @property
    def first_example(self) -> Example:
        """The first example of the first seed's stream."""
        return Example(*jax.device_put([np.asarray(leaf)[0] for leaf in self.first.train]))

    @property
    def task_ends(self) -> np.ndarray:
        """Position just after each task's last example."""
        return self.first.task_ends

    @property
    def length(self) -> int:
        """Examples in the stream."""
        return int(self.task_ends[-1])

    def label(self, learner: str) -> str:
        """Return in a few words what a learner does with them."""
        first, last = self.seeds[0], self.seeds[-1]
        in_a_row = len(self.seeds) > 2 and self.seeds == tuple(range(first, last + 1))
        seeds = f"{first} to {last}" if in_a_row else ", ".join(map(str, self.seeds))
        word = "seed" if len(self.seeds) == 1 else "seeds"
        return f"{learner} on {self.first.name}: {self.length:,} examples, {word} {seeds}"

    def checksums(self) -> dict[str, str]:
        """Return the SHA-256 of each seed's benchmark by name."""
        if self.shared:
            return {"benchmark": checksum(self.first)}
        return {f"benchmark of seed {seed}": checksum(it) for seed, it in zip(self.seeds, self.benchmarks, strict=True)}


def _made(make: MakeBenchmark, seed: int) -> Benchmark:
    benchmark = make(seed)
    if not isinstance(benchmark, Benchmark):
        raise TypeError(
            f"the benchmark's function returned {type(benchmark).__name__} for seed {seed}, expected a Benchmark; "
            "return what from_arrays makes, say"
        )
    return benchmark


def _shape(benchmark: Benchmark) -> str:
    x, y, _ = (np.asarray(leaf) for leaf in benchmark.train)
    ends = ", ".join(map(str, benchmark.task_ends))
    outputs = f"{benchmark.n_outputs} outputs"
    if benchmark.class_tasks is not None:
        outputs += f" of tasks {list(benchmark.class_tasks)}"
    return f"inputs {x.dtype}{list(x.shape)}, targets {y.dtype}{list(y.shape)}, task ends [{ends}] and {outputs}"
