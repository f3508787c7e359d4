"""The streams of a run's seeds, side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import attrgetter

import jax
import numpy as np
from jaxtyping import Bool, Int

from perdure.core import AnyArray, Example
from perdure.streams.benchmark import Benchmark, checksum

MakeBenchmark = Callable[[int], Benchmark]

_X, _Y, _TASK = attrgetter("x"), attrgetter("y"), attrgetter("task")


@dataclass(frozen=True)
class SeedStreams:
    """What each seed learns from and is tested on.

    Seeds run side by side, each through its own stream example by example: the n-th of one beside the n-th of another,
    whatever tasks they are in. Shorter streams are padded at their end with examples that nobody learns from.
    """

    benchmarks: list[Benchmark]
    """One per seed, alike but for the lengths of their tasks."""
    seeds: tuple[int, ...]
    shared: bool
    """Do all seeds learn from the same stream?"""

    @classmethod
    def of(cls, benchmark: Benchmark | MakeBenchmark, seeds: Sequence[int]) -> SeedStreams:
        """Return the streams of some seeds.

        Raises:
            TypeError: if what should make a benchmark returns something else.
            ValueError: if the streams differ in more than the lengths of tasks, so that the seeds cannot run side by
                side.
        """
        if isinstance(benchmark, Benchmark):
            return cls([benchmark] * len(seeds), tuple(seeds), shared=True)
        made = [_made(benchmark, seed) for seed in seeds]
        for seed, other in zip(seeds, made, strict=True):
            if _shape(other) != _shape(made[0]):
                raise ValueError(
                    f"the stream of seed {seed} has {_shape(other)}, that of seed {seeds[0]} {_shape(made[0])}; "
                    "seeds run side by side and may differ in the lengths of tasks only: run them one by one"
                )
        return cls(made, tuple(seeds), shared=False)

    @property
    def first(self) -> Benchmark:
        """The benchmark of the first seed."""
        return self.benchmarks[0]

    @cached_property
    def stream(self) -> Example:
        """The training streams on the device, x and y (seeds, N, ...), or (N, ...) if shared; task (N,).

        Tasks are (seeds, N) where seeds change tasks at different times; they are 0 where they are hidden.
        """
        if self.shared:
            return jax.device_put(self._shown(self.first))
        shown = [self._shown(it) for it in self.benchmarks]
        x, y, task = ([_padded(leaf(it), self.length) for it in shown] for leaf in (_X, _Y, _TASK))
        one_for_all = not self.has_tasks_by_seed
        return Example(*jax.device_put([np.stack(x), np.stack(y), task[0] if one_for_all else np.stack(task)]))

    @property
    def has_tasks_by_seed(self) -> bool:
        """Do seeds change tasks at different times, so that each has task numbers of its own?"""
        return not self.first.hides_tasks and bool((self.task_ends != self.task_ends[:1]).any())

    @property
    def first_example(self) -> Example:
        """The first example of the first seed's stream."""
        return Example(*jax.device_put([np.asarray(leaf)[0] for leaf in self._shown(self.first)]))

    @cached_property
    def task_ends(self) -> Int[np.ndarray, "seeds tasks"]:
        """Position just after each task's last example."""
        return np.stack([it.task_ends for it in self.benchmarks])

    @property
    def lengths(self) -> Int[np.ndarray, " seeds"]:
        """Examples in each stream."""
        return self.task_ends[:, -1]

    @property
    def length(self) -> int:
        """Examples in the longest stream."""
        return int(self.lengths.max())

    @property
    def are_padded(self) -> bool:
        """Is some stream shorter than others?"""
        return bool((self.lengths < self.length).any())

    @property
    def is_real(self) -> Bool[np.ndarray, "seeds N"]:
        """Which examples are the streams' own, not padding."""
        return np.arange(self.length) < self.lengths[:, None]

    def _shown(self, benchmark: Benchmark) -> Example:
        """Return a training stream as a learner sees it."""
        train = benchmark.train
        return train._replace(task=np.zeros_like(np.asarray(train.task))) if benchmark.hides_tasks else train

    def label(self, learner: str) -> str:
        """Return in a few words what a learner does with them."""
        first, last = self.seeds[0], self.seeds[-1]
        in_a_row = len(self.seeds) > 2 and self.seeds == tuple(range(first, last + 1))
        seeds = f"{first} to {last}" if in_a_row else ", ".join(map(str, self.seeds))
        word = "seed" if len(self.seeds) == 1 else "seeds"
        shortest = f"{self.lengths.min():,} to " if self.are_padded else ""
        return f"{learner} on {self.first.name}: {shortest}{self.length:,} examples, {word} {seeds}"

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


def _padded(leaf: AnyArray, length: int) -> np.ndarray:
    """Return one stream's leaf, (n, ...), with zeros up to a length."""
    values = np.asarray(leaf)
    return np.pad(values, [(0, length - len(values)), *[(0, 0)] * (values.ndim - 1)])


def _shape(benchmark: Benchmark) -> str:
    """Say what must be the same for seeds that run side by side."""
    x, y, _ = (np.asarray(leaf) for leaf in benchmark.train)
    each = f"inputs {x.dtype}{list(x.shape[1:])}, targets {y.dtype}{list(y.shape[1:])}"
    outputs = f"{benchmark.n_outputs} outputs"
    if benchmark.class_tasks is not None:
        outputs += f" of tasks {list(benchmark.class_tasks)}"
    hidden = " that are hidden" if benchmark.hides_tasks else ""
    return f"{each} an example, {benchmark.n_tasks} tasks{hidden}, {len(benchmark.test)} test sets and {outputs}"
