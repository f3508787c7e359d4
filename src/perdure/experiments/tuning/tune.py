"""Choosing hyper-parameters on streams that are not those reported."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from perdure.core import Learner
from perdure.execution.job import DivergedError
from perdure.execution.progress import run_progress
from perdure.experiments.supervised.plan import choose_learner
from perdure.experiments.supervised.spec import (
    MakeModel,
    Session,
    benchmarks_of_seeds,
    check_arguments,
    default_model,
    name_of,
    prepare,
)
from perdure.experiments.tuning.side_by_side import learners_that_fit, score_side_by_side
from perdure.experiments.tuning.space import Point, complete_space, grid_points, random_points
from perdure.learners.catalog import CATALOG, learner_class
from perdure.learners.hyperparameters import hyperparameters
from perdure.machine.signals import InterruptedRunError, StopRequests
from perdure.metrics.transfer import mean_and_interval
from perdure.named import name_of_class
from perdure.records.folder import config_digest
from perdure.records.tuning import FORMAT, Trial, TuningResult, best_first, open_search, save_search
from perdure.streams.benchmark import Benchmark, checksum
from perdure.streams.catalog import BenchmarkRecipe

FIRST_SEED = 1000
"""Of validation streams; reported figures are of the seeds from 0 on."""

Key = tuple[tuple[str, float | int], ...]
"""Hyper-parameters in alphabetical order."""


def tune(
    learner: str | type[Learner[Any]],
    benchmark: BenchmarkRecipe,
    grid: Mapping[str, Any],
    *,
    trials: int | None = None,
    seeds: int = 2,
    model: MakeModel | None = None,
    folder: Path | str | None = None,
    progress: bool = True,
) -> TuningResult:
    """Try combinations of hyper-parameters on validation streams, and find the one that retains most.

    Validation streams make other draws than those reported, and train and test on training examples only.
    Combinations that differ only in their rates learn side by side in one compiled program; one that diverges does not
    stop the others.

    Args:
        learner: name of a learner, or its class.
        benchmark: what to learn; its option `validation` is set here.
        grid: for each hyper-parameter to search the values to try; for rates, in random search, also a `LogUniform`.
            The others come from the presets of perdure's own learners, or are the learner's defaults.
        trials: how many combinations to draw at random, ≥ 2; None tries them all.
        seeds: how many validation streams; their seeds are `FIRST_SEED` and those after it.
        model: makes the network from one example, the number of outputs and a key; None for the benchmark's usual one.
        folder: where search.json goes; combinations that are in it already are not tried again. None keeps nothing.
        progress: show a progress bar.

    Raises:
        TypeError: if an argument is of the wrong kind, the learner has no such hyper-parameter or lacks one, or the
            benchmark has no validation streams.
        ValueError: if a value is out of range, or there are not two combinations to choose from.
        DivergedError: if all combinations diverged.
        InterruptedRunError: after Ctrl-C or SIGTERM; what was finished is in the folder.
        ResultsError: if the folder holds another search.
        StorageError: if the record cannot be written.
    """
    name, cls = _named(learner)
    space = complete_space(cls, grid)
    points = grid_points(space) if trials is None else random_points(space, trials)
    recipe = _validation_recipe(benchmark)
    chosen = _validation_seeds(seeds)
    candidates = _candidates(name, cls, recipe.name, points)
    make_model = model or default_model(recipe)
    check_arguments(candidates[0].learner, recipe, make_model, "needed", 0.0, named=folder is not None)
    search = _Search(
        config=describe_search(name, benchmark, seeds, make_model),
        candidates=candidates,
        benchmarks=benchmarks_of_seeds(recipe, chosen),
        model=make_model,
        folder=None if folder is None else Path(folder),
        show_progress=progress,
    )
    done = _try_all(search)
    if all(done[candidate.key].diverged for candidate in candidates):
        raise DivergedError(f"all {len(candidates)} combinations diverged; lower the rates")
    return TuningResult(
        learner=name,
        benchmark=benchmark.name,
        options=search.config["benchmark"]["options"],
        seeds=chosen,
        space={name: values for name, values in space.items() if len(values) > 1},
        trials=best_first([done[candidate.key] for candidate in candidates]),
    )


def describe_search(
    learner: str, benchmark: BenchmarkRecipe, seeds: int, model: MakeModel | None = None
) -> dict[str, Any]:
    """Return all that decides the scores of a search but the hyper-parameters and the data."""
    options = {name: value for name, value in benchmark.options.items() if name != "validation"}
    make_model = model or default_model(benchmark)
    return {
        "format": FORMAT,
        "learner": learner,
        "benchmark": {"name": benchmark.name, "options": options},
        "model": name_of(make_model),
        "seeds": list(_validation_seeds(seeds)),
    }


def default_search_folder(config: Mapping[str, Any], root: Path = Path("runs")) -> Path:
    """Return where a search goes unless told otherwise: one folder for what `describe_search` returns."""
    return root / f"tune-{config['learner']}-{config['benchmark']['name']}-{config_digest(config)}"


class _Candidate(NamedTuple):
    """A combination to try."""

    values: Mapping[str, float | int]
    """All hyper-parameters by name."""
    learner: Learner[Any]

    @property
    def key(self) -> Key:
        return _key(self.values)

    @property
    def structure(self) -> Key:
        """What it must share with another to learn in the same program: all but the rates."""
        rates = {it.name for it in hyperparameters(self.learner) if it.kind is float}
        return _key({name: value for name, value in self.values.items() if name not in rates})


@dataclass(frozen=True)
class _Search:
    """What stays the same while a search goes on."""

    config: Mapping[str, Any]
    candidates: list[_Candidate]
    benchmarks: list[Benchmark]
    model: MakeModel
    folder: Path | None
    show_progress: bool


def _key(values: Mapping[str, float | int]) -> Key:
    return tuple(sorted(values.items()))


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


def _candidates(name: str, cls: type[Learner[Any]], benchmark: str, points: Sequence[Point]) -> list[_Candidate]:
    """Return a candidate for each point, each once."""
    own = name in CATALOG and learner_class(name) is cls
    learners = [choose_learner(name, benchmark, point).learner if own else cls(**point) for point in points]
    known = hyperparameters(cls)
    made = [_Candidate({it.name: it.kind(getattr(one, it.name)) for it in known}, one) for one in learners]
    candidates = list({candidate.key: candidate for candidate in made}.values())
    if len(candidates) < 2:
        raise ValueError(
            "there is one combination only, nothing to choose from; give a hyper-parameter several values, or draw "
            "more trials"
        )
    return candidates


def _try_all(search: _Search) -> dict[Key, Trial]:
    """Return the trials of all candidates, and any others that are in the folder."""
    done: dict[Key, Trial] = {}
    config = dict(search.config)
    if search.folder is not None:
        config["data"] = [checksum(benchmark) for benchmark in search.benchmarks]
        done = {_key(trial.hyperparameters): trial for trial in open_search(search.folder, config)}
    missing = [candidate for candidate in search.candidates if candidate.key not in done]
    if not missing:
        return done
    session = _session(search)
    passes = list(_passes(session, missing, search.model))
    position, began = 0, time.monotonic()
    label = f"{session.label}; {len(missing)} combinations side by side"
    if len(passes) > 1:
        label += f", in {len(passes)} passes"
    with (
        StopRequests() as stop,
        run_progress(label, 0, session.length * len(missing), show=search.show_progress) as bar,
    ):

        def after_step(examples: int) -> None:
            nonlocal position
            position += examples
            bar.update(position, position / (time.monotonic() - began), None)
            if stop.received is not None:
                raise _interrupted(search, done, stop.received)

        for together in passes:
            scores = score_side_by_side(session, [it.learner for it in together], search.model, after_step)
            for candidate, per_seed in zip(together, scores, strict=True):
                done[candidate.key] = Trial(candidate.values, mean_and_interval(per_seed))
            if search.folder is not None:
                save_search(search.folder, config, list(done.values()))
    return done


def _session(search: _Search) -> Session:
    return Session(
        learner=search.candidates[0].learner,
        benchmarks=search.benchmarks,
        seeds=tuple(search.config["seeds"]),
        shared_stream=False,
        evaluation="needed",
        checkpoint_seconds=0.0,
        show_progress=search.show_progress,
        folder=None,
    )


def _passes(session: Session, candidates: Sequence[_Candidate], model: MakeModel) -> Iterator[list[_Candidate]]:
    """Yield the candidates, told the facts of the stream, in groups that learn together: alike, and not too many."""
    alike: dict[Key, list[_Candidate]] = {}
    for it in candidates:
        prepared = it._replace(learner=prepare(it.learner, session.benchmarks[0]))
        alike.setdefault(it.structure, []).append(prepared)
    for group in alike.values():
        size = learners_that_fit(session, group[0].learner, model)
        yield from (group[first : first + size] for first in range(0, len(group), size))


def _interrupted(search: _Search, done: Mapping[Key, Trial], signal_number: int) -> InterruptedRunError:
    n_done = sum(candidate.key in done for candidate in search.candidates)
    where = f"stopped after {n_done} of {len(search.candidates)} combinations"
    if search.folder is None:
        return InterruptedRunError(f"{where}; nothing is kept of a search without a folder", signal_number)
    how = f"those are kept in {search.folder}: give the same command again to go on"
    return InterruptedRunError(f"{where}; {how}", signal_number)
