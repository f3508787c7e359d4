"""Runs of one study spread over cores or machines, each in a folder of its own within the study's."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

from perdure.execution.apart import now_and_then, run_resumable, when_free
from perdure.execution.carried import carried
from perdure.execution.drive import Driving
from perdure.execution.pool import Engine, Failure, Job, Stage
from perdure.execution.progress import Watch
from perdure.experiments.supervised.run import run_of
from perdure.experiments.supervised.spec import RunSpec
from perdure.learners.hyperparameters import hyperparameters
from perdure.machine.signals import InterruptedRunError
from perdure.records.folder import RunFolder, is_finished
from perdure.streams.catalog import BenchmarkRecipe


def by_folder(specs: Iterable[RunSpec]) -> dict[str, RunSpec]:
    """Return the runs by the names of their folders, those of one configuration once."""
    return {spec.default_folder().name: spec for spec in specs}


def run_missing(
    home: RunFolder,
    stages: Sequence[tuple[Mapping[str, RunSpec], Engine]],
    *,
    show: bool,
    write_page: Callable[[], object] = lambda: None,
) -> list[Failure]:
    """Do the runs that are not finished yet, and return those that failed.

    Each run is a process of its own, so that its peak memory is its own; the longest begin first.

    Args:
        home: folder of the study.
        stages: runs by the names of their folders in it, and where they run; those of a stage before those of the next.
        show: show how far they are, all together.
        write_page: shows what is finished so far; is called after finished runs, as often as takes little time, and
            when the study is stopped.

    Raises:
        DataError: if a benchmark's raw files cannot be had.
        InterruptedRunError: after Ctrl-C or SIGTERM; doing the same again resumes.
        ResultsError: if a folder holds another run.
    """
    missing: dict[str, RunSpec] = {}
    to_do = []
    for runs, engine in stages:
        new = {name: it for name, it in runs.items() if name not in missing}
        new = {name: it for name, it in new.items() if not is_finished(home.path / name, it.config)}
        missing |= new
        to_do.append(Stage([_job(home.path / name, it) for name, it in new.items()], engine))
    _fetch(missing.values())
    try:
        return run_resumable(home, to_do, show=show, after_each=now_and_then(write_page))
    except InterruptedRunError:
        write_page()
        raise


def effort(spec: RunSpec) -> float:
    """Return about how many gradients a run takes for each example of its stream, as a measure of its time."""
    values = {it.name: getattr(spec.learner, it.name) for it in hyperparameters(spec.learner)}
    measured = 5 * spec.alignment + 5 * (spec.evaluation == "full") + 5 * (spec.sampling is not None)
    return float(len(spec.seeds) * (_gradients(values) + measured))


def _gradients(values: Mapping[str, float]) -> float:
    """Return for how many gradients of one example a learner takes time at each example."""
    batches = values.get("batches_per_example", 1) * values.get("glances", 1)
    batch = 1 + values.get("replay_batch_size", 0)
    if "margin" in values:  # GEM takes a gradient of each past task's memories
        batch += values["memory_size"] / 2
    trained_again = values.get("epochs", 0) * values.get("memory_size", 0) / values.get("retrain_every", 1)
    others = 2 * values.get("candidates", 0) + 10 * values.get("compared", 0) + values.get("random_features", 0) / 50
    return batches * batch + trained_again + others


def _job(folder: Path, spec: RunSpec) -> Job:
    return Job(_title(folder.name, spec), effort(spec), carried(partial(do_run, spec)), folder)


def _title(name: str, spec: RunSpec) -> str:
    memory = getattr(spec.learner, "memory_size", None)
    return name if memory is None else f"{name}, memory {memory}"


def do_run(spec: RunSpec, folder: Path, watch: Watch) -> None:
    """Do or resume a run, in a worker."""
    when_free(lambda: run_of(spec, Driving(progress=watch), folder))


def _fetch(specs: Iterable[RunSpec]) -> None:
    """Make sure of the raw files before any run needs them: all at once they would all download."""
    recipes = {it.benchmark.name: it.benchmark for it in specs if isinstance(it.benchmark, BenchmarkRecipe)}
    for name in sorted(recipes):
        dataclasses.replace(recipes[name], options={"tasks": 1})(0)
