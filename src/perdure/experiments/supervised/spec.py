"""What a run is: learner, benchmarks and seeds, checked and put side by side, and its description on paper."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from operator import attrgetter, index
from pathlib import Path
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray

from perdure import models
from perdure.core import Example, Learner, StreamInfo
from perdure.execution.progress import Watch
from perdure.learners.catalog import learner_name
from perdure.learners.hyperparameters import hyperparameters
from perdure.records.run import FORMAT
from perdure.streams.benchmark import Benchmark, checksum, labels_of
from perdure.streams.catalog import BenchmarkRecipe
from perdure.streams.torch_file import DataFileRecipe
from perdure.updates.losses import CrossEntropyWithinTask, mean_squared_error

Evaluation = Literal["needed", "full"]
MakeModel = Callable[[Example, int, PRNGKeyArray], Any]

_X, _Y = attrgetter("x"), attrgetter("y")
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
    show_progress: bool | Watch
    folder: Path | None
    data_folder: Path | None = None
    """Where `perdure resume` must be told to look for the stream's data; None if it need not be."""

    @cached_property
    def stream(self) -> Example:
        """The training streams on the device, x and y (seeds, N, ...), or (N, ...) if shared; task (N,)."""
        first = jax.tree.map(jnp.asarray, self.benchmarks[0].train)
        if self.shared_stream:
            return first
        x, y = (jnp.asarray(np.stack([leaf(it.train) for it in self.benchmarks])) for leaf in (_X, _Y))
        return Example(x, y, first.task)

    @property
    def first_example(self) -> Example:
        """The first example of the first seed's stream."""
        x, y, task = self.stream
        seed = () if self.shared_stream else (0,)
        return Example(x[(*seed, 0)], y[(*seed, 0)], task[0])

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
        first, last = self.seeds[0], self.seeds[-1]
        in_a_row = len(self.seeds) > 2 and self.seeds == tuple(range(first, last + 1))
        seeds = f"{first} to {last}" if in_a_row else ", ".join(map(str, self.seeds))
        return f"{learner_name(self.learner)} on {self.benchmarks[0].name}: {self.length:,} examples, seed {seeds}"

    def checksums(self) -> dict[str, str]:
        """Return the SHA-256 of each seed's benchmark by name."""
        if self.shared_stream:
            return {"benchmark": checksum(self.benchmarks[0])}
        return {f"benchmark of seed {seed}": checksum(it) for seed, it in zip(self.seeds, self.benchmarks, strict=True)}


def check_arguments(
    learner: Any, benchmark: Any, model: Any, evaluation: Any, checkpoint_seconds: float, *, named: bool
) -> None:
    """Check the arguments of a run that no type checker may have seen.

    Raises:
        TypeError: if the learner is not a `Learner`, or benchmark or model cannot be called.
        ValueError: if another option is out of range, or a run with a folder (`named`) has a model without a name.
    """
    if not isinstance(learner, Learner):
        raise TypeError(f"learner is {learner!r}, expected a Learner with its hyper-parameters, such as Online(0.1)")
    if not isinstance(benchmark, Benchmark) and not callable(benchmark):
        raise TypeError(
            f"benchmark is {benchmark!r}, expected a Benchmark or a function from a seed to one, "
            "such as BenchmarkRecipe('digits-rotations')"
        )
    if model is not None and not callable(model):
        raise TypeError(f"model is {model!r}, expected a function of one example, the number of outputs and a key")
    own = {"model": model, "loss": getattr(learner, "loss", None), "optimizer": getattr(learner, "optimizer", None)}
    lambdas = [part for part, it in own.items() if "<lambda>" in name_of(it)]
    if lambdas and named:
        raise ValueError(
            f"{lambdas[0]} is a lambda, whose name does not tell what it is; a run with a folder needs a def"
        )
    if evaluation not in get_args(Evaluation):
        raise ValueError(f"evaluation = {evaluation!r}, expected one of {', '.join(map(repr, get_args(Evaluation)))}")
    if not checkpoint_seconds >= 0:
        raise ValueError(f"checkpoint_seconds = {checkpoint_seconds}, expected a number ≥ 0")


def chosen_seeds(seeds: int | Sequence[int]) -> tuple[int, ...]:
    """Return the seeds that were asked for: so many from 0 on, or these.

    Raises:
        ValueError: if there are none, or one is negative, above 2³¹ − 1 or repeated.
    """
    if isinstance(seeds, float):
        raise ValueError(f"seeds = {seeds}, expected how many, a whole number, or which ones, a sequence")
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
    x, y, _ = (np.asarray(leaf) for leaf in benchmark.train)
    ends = ", ".join(map(str, benchmark.task_ends))
    outputs = f"{benchmark.n_outputs} outputs"
    if benchmark.class_tasks is not None:
        outputs += f" of tasks {list(benchmark.class_tasks)}"
    return f"inputs {x.dtype}{list(x.shape)}, targets {y.dtype}{list(y.shape)}, task ends [{ends}] and {outputs}"


def data_folder(benchmark: Benchmark | Callable[[int], Benchmark]) -> Path | None:
    """Return the folder in which going on must be told to look for a benchmark's data, None if it need not be."""
    if isinstance(benchmark, DataFileRecipe):
        return benchmark.path.parent
    return benchmark.data_dir if isinstance(benchmark, BenchmarkRecipe) else None


def default_model(benchmark: Benchmark | Callable[[int], Benchmark]) -> MakeModel:
    """Return what makes the network that a benchmark is usually learned with."""
    return getattr(models, benchmark.network) if isinstance(benchmark, BenchmarkRecipe) else models.benchmark_mlp


def prepare(learner: Learner[Any], benchmark: Benchmark) -> Learner[Any]:
    """Return the learner told the facts of its stream, and with the loss that the benchmark's targets ask for.

    A loss that is None becomes cross entropy within the task where outputs belong to tasks, and mean squared error
    where targets are numbers; a loss that the learner has been given stays.
    """
    changes: dict[str, Any] = {}
    if getattr(learner, "stream_info", "not wanted") is None:
        sizes = np.diff(benchmark.task_ends, prepend=0)
        class_tasks = tasks_of_classes(benchmark)
        changes["stream_info"] = StreamInfo(benchmark.n_outputs, benchmark.n_tasks, tuple(map(int, sizes)), class_tasks)
    if getattr(learner, "loss", "not wanted") is None:
        if benchmark.regression:
            changes["loss"] = mean_squared_error
        elif benchmark.class_tasks is not None:
            changes["loss"] = CrossEntropyWithinTask(benchmark.class_tasks)
    return dataclasses.replace(learner, **changes) if changes else learner


def tasks_of_classes(benchmark: Benchmark) -> tuple[int, ...] | None:
    """Return for each output the task that it belongs to; None if several tasks train or test a class, or none does."""
    if benchmark.class_tasks is not None or benchmark.regression:
        return benchmark.class_tasks
    y, task = (np.asarray(leaf) for leaf in (benchmark.train.y, benchmark.train.task))
    shown = np.zeros((benchmark.n_outputs, benchmark.n_tasks), bool)
    shown[y, task] = True
    # A random training subset may miss a class, another seed's another one; a task's tests show all its classes.
    for its_task, tested in enumerate(labels_of(benchmark.test)):
        shown[tested, its_task] = True
    return tuple(map(int, shown.argmax(axis=1))) if (shown.sum(axis=1) == 1).all() else None


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
        "learner": {"name": learner_name(learner), "hyperparameters": values, **_own_parts(learner)},
        "benchmark": _describe_benchmark(benchmark),
        "model": {"name": name_of(model)},
        "seeds": list(seeds),
        "evaluation": evaluation,
        "alignment": alignment,
    }


def _own_parts(learner: Learner[Any]) -> dict[str, str]:
    """Return the names of a loss and an optimizer that are not the learners' own."""
    given = {part: getattr(learner, part, None) for part in ("loss", "optimizer")}
    return {part: name_of(function) for part, function in given.items() if function is not None}


def _describe_benchmark(benchmark: Benchmark | Callable[[int], Benchmark]) -> dict[str, Any]:
    if isinstance(benchmark, Benchmark):
        return {"name": benchmark.name, "options": {"sha256": checksum(benchmark)}}
    if isinstance(benchmark, BenchmarkRecipe | DataFileRecipe):
        return {"name": benchmark.name, "options": dict(benchmark.options)}
    return {"name": name_of(benchmark), "options": {}}


def name_of(function: Any) -> str:
    """Return a function's name, with the arguments that `functools.partial` gives it, or the class of a callable."""
    if isinstance(function, partial):
        given = [_value(it) for it in function.args]
        given += [f"{name}={_value(it)}" for name, it in sorted(function.keywords.items())]
        return f"{name_of(function.func)}({', '.join(given)})"
    return getattr(function, "__name__", type(function).__name__)


def _value(argument: Any) -> str:
    """Return a value as it is written; only the name of what is written with its place in memory, or at length."""
    if isinstance(argument, tuple | list):
        return f"({', '.join(map(_value, argument))})"
    return repr(argument) if isinstance(argument, int | float | str | None) else name_of(argument)
