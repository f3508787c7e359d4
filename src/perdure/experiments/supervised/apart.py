"""A run whose seeds are learned apart, on a cluster say, and put together into the record of one run."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from perdure.execution.apart import Part, do_apart, has_parts, part_folder, remove_parts
from perdure.execution.drive import Costs, Driving
from perdure.execution.pool import Engine
from perdure.execution.processes import Processes
from perdure.experiments.supervised.job import LearnerJob, LearnerSnapshot
from perdure.experiments.supervised.many import do_run, effort
from perdure.experiments.supervised.result import Result
from perdure.experiments.supervised.run import run_of
from perdure.experiments.supervised.spec import RunSpec, prepare
from perdure.machine.cores import usable_cpus
from perdure.records.folder import RunFolder
from perdure.records.learner import RunRecord
from perdure.storage.checkpoints import Checkpoint, checkpoint_files, load_checkpoint, position_of, save_checkpoint


def run_somewhere(spec: RunSpec, how: Driving, folder: Path, engine: Engine | None) -> Result:
    """Do or resume a run: its seeds apart if there is an engine or they were begun so, else side by side here.

    Raises:
        ValueError: if there are loggers and an engine: what happens elsewhere is not logged.
    """
    if engine is None and not has_parts(folder):
        return run_of(spec, how, folder)
    if how.loggers:
        raise ValueError(
            "--log was given for seeds that are learned apart, which are not logged as they learn; leave --log out, or "
            "run the seeds side by side on one machine, in another folder"
        )
    return run_apart(spec, how, folder, engine or Processes(usable_cpus()))


def run_apart(spec: RunSpec, how: Driving, folder: Path, engine: Engine) -> Result:
    """Do or resume a run, each seed as a job of an engine; see `perdure.run`.

    Seeds do not depend on each other: the figures are those of seeds side by side, up to rounding.

    Raises:
        ValueError: if the streams of the seeds differ in the lengths of tasks, so that seeds side by side have
            information about them that a seed alone does not; or the run has begun otherwise.
        PartsError: if a seed fails.
    """
    return run_of(spec, how, folder, begin=partial(_learn_apart, spec, how, engine))


def _learn_apart(spec: RunSpec, how: Driving, engine: Engine, home: RunFolder, job: LearnerJob) -> int:
    """Leave the last checkpoint of all seeds in a run's folder, and return the peak memory of a seed's process."""
    if there := checkpoint_files(home.checkpoints):
        if position_of(there[0]) >= job.length:
            return 0
        raise ValueError(
            f"the run in {home.path} has begun with its seeds side by side on one machine; resume it there, without "
            "--ray"
        )
    _check_streams(spec, job)
    alone = {f"seed-{it}": dataclasses.replace(spec, seeds=(it,)) for it in spec.seeds}
    parts = [Part(name, it.config, effort(it), partial(do_run, it)) for name, it in alone.items()]
    do_apart(home, parts, engine, show=how.progress is True)
    checkpoints = [_last(it, part_folder(home, name)) for name, it in alone.items()]
    together = _joined([it.tree for it in checkpoints])
    costs = {name: sum(it.metadata[name] for it in checkpoints) for name in Costs.__dataclass_fields__}
    save_checkpoint(home.checkpoints, job.length, together, costs)
    peaks = [RunRecord.load(part_folder(home, name)).summary for name in alone]
    remove_parts(home)
    return max(it.peak_memory_bytes for it in peaks if it is not None)


def _check_streams(spec: RunSpec, job: LearnerJob) -> None:
    """Check that a seed alone learns as it does beside the others."""
    streams = job.streams
    told = getattr(job.learner, "stream_info", None)
    alike = all(getattr(prepare(spec.learner, it), "stream_info", None) == told for it in streams.benchmarks)
    if not alike or (streams.task_ends != streams.task_ends[:1]).any():
        raise ValueError(
            f"the streams of {streams.first.name} differ from seed to seed in their tasks' lengths or classes, so that "
            "a seed alone would not learn as it does beside others; leave --ray out"
        )


def _last(spec: RunSpec, folder: Path) -> Checkpoint[LearnerSnapshot]:
    found = load_checkpoint(folder / "checkpoints", LearnerJob(spec).snapshot())
    assert found is not None, "a finished run has a checkpoint"
    return found


def _joined(snapshots: Sequence[LearnerSnapshot]) -> LearnerSnapshot:
    """Return the snapshots of single seeds as one of all."""
    over_time = [it.over_time for it in snapshots]
    first = over_time[0]
    return jax.tree.map(_side_by_side, *(it._replace(over_time=None) for it in snapshots))._replace(
        over_time=None
        if first is None
        else first._replace(
            accuracy=np.concatenate([it.accuracy for it in over_time if it is not None]),
            of_classes=np.concatenate([it.of_classes for it in over_time if it is not None]),
        )
    )


def _side_by_side(*leaves: Any) -> Any:
    return (np if isinstance(leaves[0], np.ndarray) else jnp).concatenate(leaves)
