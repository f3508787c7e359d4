"""What a search is: learner, benchmark, streams and the combinations to try; checked, and described for its record."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from perdure.core import Learner
from perdure.experiments.supervised.plan import choose_learner
from perdure.experiments.supervised.spec import (
    RUNS,
    MakeModel,
    describe_benchmark,
    describe_code,
    describe_learner,
    run_spec,
)
from perdure.experiments.tuning.space import Point, complete_space, grid_points, random_points
from perdure.learners.catalog import CATALOG, learner_class
from perdure.learners.hyperparameters import hyperparameters, numeric_hyperparameters
from perdure.named import name_of_class
from perdure.records.folder import FORMAT, config_digest
from perdure.records.tuning import KIND, Key, TuningRequest, Values, key_of
from perdure.streams.catalog import BenchmarkRecipe

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
    benchmark: BenchmarkRecipe
    """What is searched for, without the option `validation`."""
    validation: BenchmarkRecipe
    """Makes the validation streams."""
    seeds: tuple[int, ...]
    """Of the validation streams."""
    space: Mapping[str, Values]
    n_trials: int | None
    candidates: Sequence[Candidate]
    """The combinations, each once."""
    model: MakeModel

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
            "benchmark": describe_benchmark(self.benchmark),
            "model": describe_code(self.model, "model"),
            "seeds": list(self.seeds),
        }

    @property
    def request(self) -> TuningRequest:
        """What is to be tried."""
        return TuningRequest(self.space, self.n_trials, [it.values for it in self.candidates])

    def default_folder(self, root: Path = RUNS) -> Path:
        """Return where the search goes unless told otherwise: one folder for each configuration."""
        return root / f"tune-{self.learner}-{self.benchmark.name}-{config_digest(self.config)}"


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
    run = run_spec(candidates[0].learner, recipe, seeds=_validation_seeds(seeds), model=model)
    options = {name: value for name, value in benchmark.options.items() if name != "validation"}
    reported = dataclasses.replace(benchmark, options=options)
    return TuningSpec(name, reported, recipe, run.seeds, space, trials, candidates, run.model)


def _named(learner: Any) -> tuple[str, type[Learner[Any]]]:
    """Return a learner's name and class, given either."""
    if isinstance(learner, str):
        return learner, learner_class(learner)
    if not (isinstance(learner, type) and issubclass(learner, Learner)):
        raise TypeError(f"learner is {learner!r}, expected a learner's name or its class, such as 'mer' or perdure.MER")
    return name_of_class(CATALOG, learner) or learner.__name__, learner


def _validation_recipe(benchmark: Any) -> BenchmarkRecipe:
    if not isinstance(benchmark, BenchmarkRecipe):
        raise TypeError(
            f"benchmark is {benchmark!r}, expected a recipe, which knows its validation streams, such as "
            "BenchmarkRecipe('digits-rotations')"
        )
    if benchmark.options.get("tests") == "none":
        raise ValueError(
            "tests is 'none', but hyper-parameters are chosen by retained accuracy on the test sets of validation "
            "streams; choose tests 'task' or 'all', and run with tests 'none' what was chosen"
        )
    try:
        return dataclasses.replace(benchmark, options={**benchmark.options, "validation": True})
    except TypeError as cause:
        raise TypeError(
            f"{benchmark.name} has no validation streams, and hyper-parameters chosen on the reported ones would "
            "flatter the learner; tune on another benchmark"
        ) from cause


def _validation_seeds(count: Any) -> tuple[int, ...]:
    if not isinstance(count, int) or count < 1:
        raise ValueError(f"seeds = {count!r}, expected how many validation streams, a whole number ≥ 1")
    return tuple(range(FIRST_SEED, FIRST_SEED + count))


def _candidates(name: str, cls: type[Learner[Any]], benchmark: str, points: Sequence[Point]) -> list[Candidate]:
    """Return a candidate for each point, each once."""
    own = name in CATALOG and learner_class(name) is cls
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
