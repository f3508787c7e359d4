"""What a search is: learner, benchmark, streams and the combinations to try; checked, and described for its record."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from perdure.core import Learner
from perdure.experiments.supervised.plan import MissingValuesError, choose_learner
from perdure.experiments.supervised.spec import (
    RUNS,
    MakeModel,
    default_model,
    describe_benchmark,
    describe_code,
    describe_learner,
    run_spec,
)
from perdure.experiments.supervised.streams import MakeBenchmark
from perdure.experiments.supervised.typed import name_typed
from perdure.experiments.tuning.space import Point, complete_space, grid_points, random_points
from perdure.learners.catalog import CATALOG, learner_class
from perdure.learners.hyperparameters import hyperparameters, numeric_hyperparameters, required_and_known
from perdure.named import name_of_class
from perdure.records.folder import FORMAT, config_digest
from perdure.records.tuning import KIND, Key, TuningRequest, Values, key_of
from perdure.streams.benchmark import Benchmark
from perdure.streams.catalog import BenchmarkRecipe
from perdure.streams.own import HeldOut, OwnRecipe, options_of

FIRST_SEED = 1000
"""Of validation streams; reported figures are of the seeds from 0 on."""


class Candidate(NamedTuple):
    """A combination to try."""

    values: Mapping[str, float | int]
    """All hyper-parameters by name."""
    learner: Learner[Any]

    @property
    def key(self) -> Key:
        """What tells it from another."""
        return key_of(self.values)

    @property
    def structure(self) -> Key:
        """What it must share with another to learn in the same program: all but the rates."""
        rates = {it.name for it in hyperparameters(self.learner) if it.kind is float}
        return key_of({name: value for name, value in self.values.items() if name not in rates})


@dataclass(frozen=True)
class TuningSpec:
    """A search; made by `tuning_spec`, which checks it."""

    learner: str
    """Name of the learner."""
    benchmark: Benchmark | MakeBenchmark
    """What is searched for, without the option `validation`."""
    validation: MakeBenchmark
    """Makes the validation streams."""
    seeds: tuple[int, ...]
    """Of the validation streams."""
    space: Mapping[str, Values]
    n_trials: int | None
    candidates: Sequence[Candidate]
    """The combinations, each once."""
    model: MakeModel
    typed: Mapping[str, Any] = field(default_factory=dict)
    """Where own code and files are, to resume it by; decides nothing."""

    @cached_property
    def benchmark_config(self) -> dict[str, Any]:
        """Name and options of the benchmark, as its record has them."""
        return describe_benchmark(self.benchmark)

    @cached_property
    def config(self) -> dict[str, Any]:
        """The search's config.json: all that decides a score, but for the combination.

        Raises:
            TypeError: naming a part of the learner or model that a record cannot hold.
        """
        learner = describe_learner(self.candidates[0].learner)
        return {
            "format": FORMAT,
            "kind": KIND,
            "learner": {name: it for name, it in learner.items() if name != "hyperparameters"},
            "benchmark": self.benchmark_config,
            "model": describe_code(self.model, "model"),
            "seeds": list(self.seeds),
        }

    @property
    def request(self) -> TuningRequest:
        """What is to be tried."""
        return TuningRequest(self.space, self.n_trials, [it.values for it in self.candidates])

    def default_folder(self, root: Path = RUNS) -> Path:
        """Return where the search goes unless told otherwise: one folder for each configuration."""
        return root / f"tune-{self.learner}-{self.benchmark_config['name']}-{config_digest(self.config)}"


def tuning_spec(
    learner: Any,
    benchmark: Any,
    grid: Mapping[str, Any],
    *,
    trials: int | None = None,
    seeds: Any = 2,
    model: MakeModel | None = None,
) -> TuningSpec:
    """Return what a search is, given the arguments of `perdure.tune`, which tells what is raised."""
    name, cls = _named(learner)
    space = complete_space(cls, grid)
    points = grid_points(space) if trials is None else random_points(space, trials)
    recipe = _validation_recipe(benchmark)
    candidates = _candidates(name, cls, recipe.name, points)
    network = model or default_model(benchmark)
    run = run_spec(candidates[0].learner, recipe, seeds=_validation_seeds(seeds), model=network)
    reported = benchmark
    if isinstance(benchmark, BenchmarkRecipe | OwnRecipe):
        options = {name: value for name, value in benchmark.options.items() if name != "validation"}
        reported = dataclasses.replace(benchmark, options=options)
    return TuningSpec(name, reported, recipe, run.seeds, space, trials, candidates, run.model)


def _named(learner: Any) -> tuple[str, type[Learner[Any]]]:
    """Return a learner's name and class, given either."""
    if isinstance(learner, str):
        return name_typed(learner), learner_class(learner)
    if not (isinstance(learner, type) and issubclass(learner, Learner)):
        raise TypeError(f"learner is {learner!r}, expected a learner's name or its class, such as 'mer' or perdure.MER")
    return name_of_class(CATALOG, learner) or learner.__name__, learner


def _validation_recipe(benchmark: Any) -> BenchmarkRecipe | OwnRecipe | HeldOut:
    """Return what makes validation streams; of a benchmark that makes none, a quarter of each task is held out."""
    if isinstance(benchmark, OwnRecipe) and "validation" in options_of(benchmark.make):
        return dataclasses.replace(benchmark, options={**benchmark.options, "validation": True})
    if not isinstance(benchmark, BenchmarkRecipe):
        if not isinstance(benchmark, Benchmark) and not callable(benchmark):
            raise TypeError(
                f"benchmark is {benchmark!r}, expected a Benchmark or a function from a seed to one, such as "
                "BenchmarkRecipe('digits-rotations')"
            )
        whole: Any = benchmark
        return HeldOut(whole)
    if benchmark.options.get("tests") == "none":
        raise ValueError(
            "tests is 'none', but hyper-parameters are chosen by retained accuracy on the test sets of validation "
            "streams; choose tests='task' or tests='all', and run what was chosen with tests='none'"
        )
    try:
        return dataclasses.replace(benchmark, options={**benchmark.options, "validation": True})
    except TypeError:  # it has no validation streams
        return HeldOut(benchmark)


def _validation_seeds(count: Any) -> tuple[int, ...]:
    if not isinstance(count, int) or count < 1:
        raise ValueError(f"seeds = {count!r}, expected how many validation streams, a whole number ≥ 1")
    return tuple(range(FIRST_SEED, FIRST_SEED + count))


def _candidates(name: str, cls: type[Learner[Any]], benchmark: str, points: Sequence[Point]) -> list[Candidate]:
    """Return a candidate for each point, each once."""
    own = name in CATALOG and learner_class(name) is cls
    if not own and (missing := [it for it in required_and_known(cls)[0] if it not in points[0]]):
        options = ", ".join(f"--{it.replace('_', '-')}" for it in missing)
        raise MissingValuesError(
            name, benchmark, missing, f"give each a value or several to choose from ({options}, or in Python the grid)"
        )
    learners = [choose_learner(name, benchmark, point).learner if own else cls(**point) for point in points]
    known = numeric_hyperparameters(cls)
    made = [Candidate({it.name: it.kind(getattr(one, it.name)) for it in known}, one) for one in learners]
    candidates = list({candidate.key: candidate for candidate in made}.values())
    if len(candidates) < 2:
        raise ValueError(
            "there is one combination only, nothing to choose from; give a hyper-parameter several values, or draw "
            "more trials"
        )
    return candidates
