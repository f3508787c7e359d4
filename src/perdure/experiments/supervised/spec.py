"""What a run is: learner, benchmark, seeds, model and what is measured; checked, and described for its record."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from operator import index
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from jaxtyping import PRNGKeyArray

from perdure import models
from perdure.core import Example, Learner, StreamInfo
from perdure.experiments.supervised.over_time import Sampling
from perdure.experiments.supervised.streams import MakeBenchmark
from perdure.learners.catalog import learner_name
from perdure.learners.defaults import Taken, taken_defaults
from perdure.learners.hyperparameters import hyperparameters
from perdure.records.describe import describe, digest, fields_of, fingerprint, name_of
from perdure.records.folder import FORMAT, config_digest
from perdure.records.learner import KIND
from perdure.streams.benchmark import Benchmark, checksum, labels_of
from perdure.streams.catalog import BenchmarkRecipe
from perdure.streams.datasets import DatasetRecipe
from perdure.streams.own import OwnRecipe
from perdure.streams.torch_file import DataFileRecipe
from perdure.updates.losses import CrossEntropyWithinTask, mean_squared_error

Evaluation = Literal["needed", "full"]
MakeModel = Callable[[Example, int, PRNGKeyArray], Any]
"""From one example, the number of outputs and a key to a network."""
RUNS = Path("runs")
"""Where runs go unless told otherwise."""

_LARGEST_SEED = 2**31 - 1  # what fits the integers that random keys are made from


@dataclass(frozen=True)
class RunSpec:
    """All that decides the figures of a learner's run; made by `run_spec`, which checks it."""

    learner: Learner[Any]
    benchmark: Benchmark | MakeBenchmark
    seeds: tuple[int, ...]
    model: MakeModel
    evaluation: Evaluation
    alignment: bool
    sampling: Sampling | None = None
    """When to evaluate within tasks; None for only at their ends."""
    typed: Mapping[str, Any] = field(default_factory=dict)
    """Where own code and files are, to resume it by; decides nothing."""
    defaults: Taken | None = None
    """Hyper-parameters that were not given, nor chosen for this stream; decides nothing."""

    @cached_property
    def config(self) -> dict[str, Any]:
        """The run's config.json.

        Raises:
            TypeError: naming a part of the learner, model or benchmark that a record cannot hold.
        """
        return {
            "format": FORMAT,
            "kind": KIND,
            "learner": describe_learner(self.learner),
            "benchmark": describe_benchmark(self.benchmark),
            "model": describe_code(self.model, "model"),
            "seeds": list(self.seeds),
            "evaluation": self.evaluation,
            "alignment": self.alignment,
            **({} if self.sampling is None else {"evaluate": self.sampling._asdict()}),
        }

    def default_folder(self, root: Path = RUNS) -> Path:
        """Return where the run goes unless told otherwise: one folder for each configuration."""
        names = f"{self.config['learner']['name']}-{self.config['benchmark']['name']}"
        return root / f"{names}-{config_digest(self.config)}"

    @property
    def data_folder(self) -> Path | None:
        """Folder in which `perdure resume` must be told to look for the stream's data; None if it need not be."""
        if isinstance(self.benchmark, DataFileRecipe):
            return self.benchmark.path.parent
        return self.benchmark.data_dir if isinstance(self.benchmark, BenchmarkRecipe) else None


def run_spec(
    learner: Learner[Any],
    benchmark: Benchmark | MakeBenchmark,
    *,
    seeds: int | Iterable[int] = 1,
    model: MakeModel | None = None,
    evaluation: Evaluation = "needed",
    alignment: bool = False,
    evaluate_every: int | None = None,
    evaluate_on: int | None = None,
) -> RunSpec:
    """Return what a run is, given the arguments of `perdure.run`.

    Raises:
        TypeError: if the learner is not a `Learner`, or benchmark or model cannot be called.
        ValueError: if another argument is out of range.
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
    if evaluation not in get_args(Evaluation):
        raise ValueError(f"evaluation = {evaluation!r}, expected one of {', '.join(map(repr, get_args(Evaluation)))}")
    return RunSpec(
        learner,
        benchmark,
        chosen_seeds(seeds),
        model or default_model(benchmark),
        evaluation,
        alignment,
        _sampling(evaluate_every, evaluate_on),
        defaults=_defaults(learner, benchmark),
    )


def _defaults(learner: Learner[Any], benchmark: Any) -> Taken | None:
    taken = taken_defaults(learner)
    return None if taken is None or taken.chosen_for == getattr(benchmark, "name", None) else taken


def _sampling(every: int | None, test_examples: int | None) -> Sampling | None:
    if every is None:
        if test_examples is not None:
            raise ValueError(
                f"evaluate_on = {test_examples} is given without evaluate_every; give both, or leave it out: at the "
                "ends of tasks all test examples count"
            )
        return None
    for name, value in (("evaluate_every", every), ("evaluate_on", 1 if test_examples is None else test_examples)):
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
            raise ValueError(f"{name} = {value!r}, expected a whole number of examples ≥ 1")
    return Sampling(int(every), None if test_examples is None else int(test_examples))


def chosen_seeds(seeds: Any) -> tuple[int, ...]:
    """Return the seeds requested: the first n from 0 on, or these.

    Raises:
        TypeError: if they are neither a whole number nor whole numbers.
        ValueError: if there are none, or one is negative, above 2³¹ − 1 or repeated.
    """
    expected = f"expected a number of seeds ≥ 1 or different seeds from 0 to {_LARGEST_SEED:,}"
    if isinstance(seeds, bool) or not isinstance(seeds, int | np.integer | Iterable) or isinstance(seeds, str):
        raise TypeError(f"seeds = {seeds!r}, {expected}; give 5, or [0, 3, 7], say")
    try:
        chosen = tuple(map(index, range(seeds) if isinstance(seeds, int | np.integer) else seeds))
    except TypeError:
        raise TypeError(f"seeds = {seeds!r}, {expected}; give whole numbers") from None
    if not chosen or min(chosen) < 0 or max(chosen) > _LARGEST_SEED or len(set(chosen)) < len(chosen):
        raise ValueError(f"seeds = {seeds!r}, {expected}")
    return chosen


def check_seed(seed: int) -> None:
    """Check that random keys can be made from a seed.

    Raises:
        ValueError: if it is out of range.
    """
    if not 0 <= seed <= _LARGEST_SEED:
        raise ValueError(f"seed is {seed}, expected 0 to {_LARGEST_SEED}")


def default_model(benchmark: Benchmark | MakeBenchmark) -> MakeModel:
    """Return what makes the network that a benchmark is learned with unless told otherwise."""
    return getattr(models, getattr(benchmark, "network", models.benchmark_mlp.__name__))


_WITHOUT_TASKS = {
    "er-ace-released": "er-ace-released-task-free",
    "er-algorithm-5": "er",
    "la-maml-task-incremental": "la-maml",
    "sync-task-incremental": "sync",
    "c-maml-task-incremental": "c-maml",
}
"""What is nearest to a learner and needs no task numbers."""


def prepare(learner: Learner[Any], *benchmarks: Benchmark) -> Learner[Any]:
    """Return the learner with the information about its streams, and with the loss that their targets ask for.

    A loss that is None becomes cross entropy within the task where outputs belong to tasks, and mean squared error
    where targets are numbers; a loss that the learner has been given stays.

    Args:
        learner: method and hyper-parameters.
        benchmarks: what it learns from, one per seed, alike but for the lengths of their tasks.

    Raises:
        ValueError: if it needs task numbers, which the benchmarks hide.
    """
    first, name = benchmarks[0], learner_name(learner)
    if learner.needs_task and first.hides_tasks:
        raise ValueError(
            f"{name} needs task numbers, which {first.name} hides; choose a learner that needs none, such as "
            f"{_WITHOUT_TASKS.get(name, 'er or mer')}, or, to see what {name} does when it knows the tasks, a stream "
            "with sharp boundaries that shows them (no hides_tasks=True)"
        )
    changes: dict[str, Any] = {}
    if getattr(learner, "stream_info", "not wanted") is None:
        changes["stream_info"] = _stream_info(benchmarks)
    if getattr(learner, "loss", "not wanted") is None:
        if first.regression:
            changes["loss"] = mean_squared_error
        elif first.class_tasks is not None:
            changes["loss"] = CrossEntropyWithinTask(first.class_tasks)
    return dataclasses.replace(learner, **changes) if changes else learner


def _stream_info(benchmarks: Sequence[Benchmark]) -> StreamInfo:
    """Return what learners may know of streams that are learned side by side: what is so in all of them."""
    first = benchmarks[0]
    if first.hides_tasks:
        return StreamInfo(first.n_outputs, 1, None)
    sizes = {tuple(map(int, np.diff(it.task_ends, prepend=0))) for it in benchmarks}
    of_classes = {tasks_of_classes(it) for it in ({id(it): it for it in benchmarks}).values()}
    return StreamInfo(
        first.n_outputs,
        first.n_tasks,
        sizes.pop() if len(sizes) == 1 else None,
        of_classes.pop() if len(of_classes) == 1 else None,
    )


def tasks_of_classes(benchmark: Benchmark) -> tuple[int, ...] | None:
    """Return for each output the task that it belongs to; None if several tasks train or test a class, or none does."""
    if benchmark.class_tasks is not None or benchmark.regression:
        return benchmark.class_tasks
    y, task = (np.asarray(leaf) for leaf in (benchmark.train.y, benchmark.train.task))
    shown = np.zeros((benchmark.n_outputs, benchmark.n_tasks), bool)
    shown[y, task] = True
    # A random training subset may miss a class, another seed's another one; a task's tests show all its classes.
    if not benchmark.has_one_test:
        for its_task, tested in enumerate(labels_of(benchmark.test)):
            shown[tested, its_task] = True
    return tuple(map(int, shown.argmax(axis=1))) if (shown.sum(axis=1) == 1).all() else None


def describe_learner(learner: Any) -> dict[str, Any]:
    """Return name, hyper-parameters, all other fields that are not None, and the source of an own learner or agent."""
    declared = {it.name: it.kind(getattr(learner, it.name)) for it in hyperparameters(learner)}
    described = {"name": learner_name(learner), "hyperparameters": declared}
    if others := fields_of(learner, type(learner).__name__, declared.keys()):
        described["fields"] = others
    source = fingerprint(type(learner))
    return described if source is None else {**described, "source": source}


def describe_benchmark(benchmark: Benchmark | MakeBenchmark) -> dict[str, Any]:
    """Return name and options of a benchmark, and the source of an own function that makes it."""
    if isinstance(benchmark, Benchmark):
        return {"name": benchmark.name, "options": {"sha256": checksum(benchmark)}}
    if isinstance(benchmark, DatasetRecipe):
        data = digest([it for it in (benchmark.data.train, benchmark.data.test) if it is not None])
        return {"name": benchmark.name, "options": {**describe(dict(benchmark.options), "options"), "sha256": data}}
    if isinstance(benchmark, BenchmarkRecipe | DataFileRecipe):
        return {"name": benchmark.name, "options": describe(dict(benchmark.options), "options")}
    if isinstance(benchmark, OwnRecipe):
        options = describe(dict(benchmark.options), "options")
        return {**describe_code(benchmark.make, "benchmark"), "name": benchmark.name, "options": options}
    return {**describe_code(benchmark, "benchmark"), "options": {}}


def describe_code(code: Any, where: str) -> dict[str, Any]:
    """Return the name of a function, and all else that decides what it does unless it is one of perdure.

    Raises:
        TypeError: naming a part that a record cannot hold.
    """
    described = describe(code, where)
    is_plain = described.keys() == {"name"} and described["name"].startswith("perdure.")
    return {"name": name_of(code)} if is_plain else {"name": name_of(code), "code": described}
