"""What a run is: learner, benchmarks and seeds, checked and put side by side, and its description on paper."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import index
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray

from perdure.core import Example, Learner
from perdure.experiments.results import FORMAT
from perdure.learners.catalog import learner_name
from perdure.learners.hyperparameters import hyperparameters
from perdure.streams.benchmark import Benchmark
from perdure.streams.catalog import BenchmarkRecipe

Evaluation = Literal["needed", "full"]
MakeModel = Callable[[Example, int, PRNGKeyArray], Any]

_LARGEST_SEED = 2**31 - 1  # what fits the integers that random keys are made from


@dataclass(frozen=True)
class Session:
    """What stays the same while a run goes on."""

    learner: Learner[Any]
    benchmarks: list[Benchmark]
    """One a seed, all of one shape."""
    seeds: tuple[int, ...]
    shared_stream: bool
    """Do all seeds learn from the same stream?"""
    evaluation: Evaluation
    checkpoint_seconds: float
    show_progress: bool
    folder: Path | None

    @cached_property
    def stream(self) -> Example:
        """The training streams on the device, leaves (seeds, N, ...), or (N, ...) if shared."""
        if self.shared_stream:
            return jax.tree.map(jnp.asarray, self.benchmarks[0].train)
        streams = [it.train for it in self.benchmarks]
        return jax.tree.map(lambda *leaves: jnp.asarray(np.stack(leaves)), *streams)

    @property
    def task_ends(self) -> np.ndarray:
        """Position just after each task's last example."""
        return self.benchmarks[0].task_ends

    @property
    def length(self) -> int:
        """Examples in the stream."""
        return int(self.task_ends[-1])

    @property
    def label(self) -> str:
        """The run in a few words."""
        what = f"{learner_name(self.learner)} on {self.benchmarks[0].name}"
        return f"{what}: {self.length:,} examples, seed {', '.join(map(str, self.seeds))}"

    def checksums(self) -> dict[str, str]:
        """Return the SHA-256 of each training stream by name."""
        if self.shared_stream:
            return {"stream": checksum(self.benchmarks[0].train)}
        return {
            f"stream of seed {seed}": checksum(it.train) for seed, it in zip(self.seeds, self.benchmarks, strict=True)
        }


def chosen_seeds(seeds: int | Sequence[int]) -> tuple[int, ...]:
    """Return the seeds that were asked for: so many from 0 on, or these.

    Raises:
        ValueError: if there are none, or one is negative, above 2³¹ − 1 or repeated.
    """
    chosen = tuple(range(seeds)) if isinstance(seeds, int) else tuple(index(seed) for seed in seeds)
    if not chosen or min(chosen) < 0 or max(chosen) > _LARGEST_SEED or len(set(chosen)) < len(chosen):
        raise ValueError(
            f"seeds = {seeds!r}; give a number of seeds ≥ 1 or different seeds from 0 to {_LARGEST_SEED:,}"
        )
    return chosen


def benchmarks_of_seeds(benchmark: Benchmark | Callable[[int], Benchmark], seeds: Sequence[int]) -> list[Benchmark]:
    """Return one benchmark a seed.

    Raises:
        ValueError: if they differ in shape, so that the seeds cannot run side by side.
    """
    if isinstance(benchmark, Benchmark):
        return [benchmark] * len(seeds)
    made = [benchmark(seed) for seed in seeds]
    for seed, other in zip(seeds, made, strict=True):
        if _shape(other) != _shape(made[0]):
            raise ValueError(
                f"the stream of seed {seed} has {_shape(other)}, that of seed {seeds[0]} {_shape(made[0])}; "
                "seeds run side by side and need streams of one shape: run them one by one"
            )
    return made


def _shape(benchmark: Benchmark) -> str:
    x = np.asarray(benchmark.train.x)
    ends = ", ".join(map(str, benchmark.task_ends))
    return f"inputs {x.dtype}{list(x.shape)}, task ends [{ends}] and {benchmark.n_outputs} outputs"


def describe_run(
    learner: Learner[Any],
    benchmark: Benchmark | Callable[[int], Benchmark],
    seeds: Sequence[int],
    model: MakeModel,
    evaluation: Evaluation,
    alignment: bool,
) -> dict[str, Any]:
    """Return a run's config.json: all that decides its figures."""
    values = {it.name: it.kind(getattr(learner, it.name)) for it in hyperparameters(learner)}
    return {
        "format": FORMAT,
        "learner": {"name": learner_name(learner), "hyperparameters": values},
        "benchmark": _describe_benchmark(benchmark),
        "model": {"name": _name(model)},
        "seeds": list(seeds),
        "evaluation": evaluation,
        "alignment": alignment,
    }


def checksum(stream: Example) -> str:
    """Return the SHA-256 of a stream's arrays, in hexadecimal."""
    digest = hashlib.sha256()
    for leaf in stream:
        digest.update(np.ascontiguousarray(leaf).data)
    return digest.hexdigest()


def _describe_benchmark(benchmark: Benchmark | Callable[[int], Benchmark]) -> dict[str, Any]:
    if isinstance(benchmark, Benchmark):
        return {"name": benchmark.name, "options": {"sha256": checksum(benchmark.train)}}
    if isinstance(benchmark, BenchmarkRecipe):
        return {"name": benchmark.name, "options": dict(benchmark.options)}
    return {"name": _name(benchmark), "options": {}}


def _name(function: Callable[..., Any]) -> str:
    """Return a function's name, or the class of a callable that has none."""
    return getattr(function, "__name__", type(function).__name__)
