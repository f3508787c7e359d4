"""Running an agent through levels that get harder."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Float64, Int, PyTree

from perdure.core import AnyArray, as_features
from perdure.execution.compilation import bytes_of
from perdure.execution.drive import Costs, Driving, drive
from perdure.execution.loggers.observers import make_loggers
from perdure.execution.progress import Watch, say
from perdure.execution.warnings import warn
from perdure.experiments.agents.job import AgentJob
from perdure.experiments.agents.spec import (
    EPISODES,
    EVALUATE_EVERY,
    AgentSpec,
    agent_spec,
)
from perdure.machine.process import peak_memory
from perdure.metrics.transfer import Statistic, mean_and_interval
from perdure.named import resume_command
from perdure.records.agent import NETWORKS, score_metrics, write_scores
from perdure.records.folder import RunFolder, check_folder, own_folder
from perdure.records.summary import Summary, write_summary
from perdure.rl.agent import Agent
from perdure.rl.networks import MakeNetwork
from perdure.rl.runner import RunnerState
from perdure.shown import Drawing, InShort, Shown, counted, place_of, with_interval
from perdure.storage.arrays import save_arrays

CHECKPOINT_SECONDS = 60.0
"""Time between two checkpoints unless told otherwise."""


@dataclass(frozen=True, repr=False)
class AgentResult(Shown):
    """What a run of an agent has measured."""

    title: str
    """The run in a few words: "dqn-mer on catcher"."""
    seeds: tuple[int, ...]
    frames: Int[np.ndarray, " times"]
    """Frames played at each evaluation."""
    scores: Float64[np.ndarray, "seeds times levels"]
    """Mean score of the greedy policy's episodes at each level."""
    metrics: dict[str, Statistic]
    """As `perdure.records.agent.score_metrics` has them."""
    runners: RunnerState
    """The agents at the end, leaves (seeds, ...)."""
    training_seconds: float
    """Time spent playing and learning, all seeds together."""
    training_cpu_seconds: float
    """CPU time of the process meanwhile, all its threads together."""
    compile_seconds: float
    networks: PyTree
    """The networks that act greedily at the end, leaves (seeds, ...)."""
    from_record: bool = False
    """Was the run finished before, so that all this comes from its folder?"""

    def in_short(self) -> InShort:
        """Return title and scores after the last frame."""
        last = self.scores[:, -1]
        shown = {"score": mean_and_interval(last.mean(axis=1))}
        shown |= {f"level {level}": mean_and_interval(column) for level, column in enumerate(last.T)}
        figures = {name: with_interval(it.mean, it.ci95, ".2f") for name, it in shown.items()}
        title = f"{self.title}, {int(self.frames[-1]):,} frames, {counted(len(self.seeds), 'seed')}"
        return InShort(title, figures | {"training": f"{self.training_seconds:.1f} s"})

    def rows(self) -> list[dict[str, Any]]:
        """Return a row for each seed, evaluation and level, as scores.parquet has them."""
        return [
            {"seed": seed, "frame": int(frame), "level": level, "score": float(score)}
            for seed, times in zip(self.seeds, self.scores, strict=True)
            for frame, levels in zip(self.frames, times, strict=True)
            for level, score in enumerate(levels)
        ]

    def drawing(self) -> Drawing:
        """Return what draws the score at each level over frames."""
        return Drawing("perdure.report.figures.results", "scores_of_run", (self.title, self.frames, self.scores))

    def predict(self, observations: AnyArray, seed: int | None = None) -> Float[np.ndarray, "batch actions"]:
        """Return the values that the agent of one seed gives to actions in the end; it plays the one of the largest.

        Args:
            observations: (batch, ...), like those that it played with.
            seed: one of `seeds`; None for the first.

        Raises:
            ValueError: if the run had no such seed.
        """
        place = place_of(seed, self.seeds)
        network = jax.tree.map(lambda leaf: leaf[place], self.networks)
        return np.asarray(jax.vmap(lambda one: network(as_features(one)))(jnp.asarray(observations)))


def run_agent(
    agent: Agent,
    environment: Any,
    *,
    levels: Sequence[Any] | None = None,
    stages: Sequence[Any] | None = None,
    seeds: int | Sequence[int] = 1,
    network: MakeNetwork | None = None,
    evaluate_every: int = EVALUATE_EVERY,
    episodes: int = EPISODES,
    folder: Path | str | None = None,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    previous: bool = False,
    progress: bool | Watch = True,
    loggers: Sequence[Any] = (),
) -> AgentResult:
    """Let an agent play through a schedule of levels that it does not know, and measure it at all of them as it goes.

    All seeds run in one compiled program. A seed fixes the weights, the episodes and all that the agent leaves to
    chance. The greedy policy is evaluated before the first frame, at regular intervals and at the end of each stage.

    Args:
        agent: method and hyper-parameters.
        environment: one of perdure's games, any with the interface of gymnax (`perdure.rl.GymnaxLike`), the pair of
            environment and parameters that `gymnax.make` returns, an environment of Gymnasium or a function that makes
            one; the name of one of these (`perdure.rl.by_name`); or a list of them, each a level.
        levels: parameters of the environment, from easy to hard; None for the levels that it has itself.
        stages: which level, counted from 0, is played for how many frames, one after another; None for every level
            in turn, 25,000 frames each.
        seeds: how many (0, 1, …), or which ones.
        network: makes the network, from an observation, a number of outputs and a key; None for the agent's own.
        evaluate_every: frames between two evaluations.
        episodes: of each evaluation at each level.
        folder: where the record and checkpoints go; a run that is unfinished there resumes from its last checkpoint
            and ends bit-identical to an uninterrupted one; a finished one is read. None keeps nothing on disk.
        checkpoint_seconds: time between two checkpoints.
        previous: if the newest checkpoint is damaged, resume from the one before.
        progress: show a progress bar; or a function to which progress is reported.
        loggers: what is told how the run proceeds: names among csv, jsonl, tensorboard, mlflow and wandb, or own
            objects (docs/loggers.md). A logger that fails is left out, and the run continues.

    Raises:
        TypeError: if an argument is of the wrong kind, or a part of agent, environment or network cannot be described
            in the record.
        ValueError: if the schedule, a number or the network does not fit.
        DivergedError: if a weight is NaN or infinite; earlier checkpoints remain.
        BrokenOffError: if an environment of Gymnasium raises, with a checkpoint written if there is a folder.
        InterruptedRunError: after Ctrl-C, SIGTERM or SIGHUP, with a checkpoint written if there is a folder.
        ResultsError: if the folder holds a run of another configuration, or of code that has changed.
        FolderInUseError: if another process owns the folder.
        CheckpointError: if the newest checkpoint is damaged.
        StorageError: if the record or a checkpoint cannot be written.
    """
    spec = agent_spec(
        agent,
        environment,
        levels=levels,
        stages=stages,
        seeds=seeds,
        network=network,
        evaluate_every=evaluate_every,
        episodes=episodes,
    )
    how = Driving(
        checkpoint_seconds=checkpoint_seconds,
        previous=previous,
        progress=progress,
        loggers=make_loggers(loggers, folder=folder),
    )
    return run_of(spec, how, None if folder is None else Path(folder))


def _warn_of_no_update(spec: AgentSpec) -> None:
    frames, first = sum(stage.frames for stage in spec.stages), spec.agent.first_update
    if frames < first:
        warn(
            f"the agent learns nothing: its first update comes after {first:,} frames, and {frames:,} are played; give "
            "the stages more frames"
        )


def run_of(spec: AgentSpec, how: Driving, folder: Path | None) -> AgentResult:
    """Do or resume the run of a specification, in a folder or in memory only; see `run_agent`."""
    if folder is not None:
        check_folder(folder, spec.config)  # before anything is computed
    with closing(AgentJob(spec)) as job:
        _warn_of_no_update(spec)
        return _run(job, how, folder)


def _run(job: AgentJob, how: Driving, folder: Path | None) -> AgentResult:
    if folder is None:
        return _result(job, drive(job, how), from_record=False)
    spec = job.spec
    with own_folder(folder, spec.config) as home:
        home.begin(job.label, {})
        was_finished = home.finished and home.has_checkpoint  # which holds the agents
        costs = drive(job, how.in_folder(home, resume_command(folder)))
        result = _result(job, costs, from_record=was_finished)
        if was_finished:
            say(f"these figures are those of the finished run in {folder}; delete it to run again", show=how.progress)
        elif home.is_there():
            _write_record(home, spec, result)
        return result


def _result(job: AgentJob, costs: Costs, *, from_record: bool) -> AgentResult:
    metrics = score_metrics(job.evaluations, job.scores, job.spec.stages)
    seconds = costs.training_seconds, costs.training_cpu_seconds, costs.compile_seconds
    measured = tuple(job.spec.seeds), job.evaluations, job.scores, metrics
    return AgentResult(job.spec.label, *measured, job.runners, *seconds, job.networks, from_record)


def _write_record(home: RunFolder, spec: AgentSpec, result: AgentResult) -> None:
    frames = int(result.frames[-1])
    write_scores(home.path, spec.seeds, result.frames, result.scores)
    save_arrays(home.path / NETWORKS, result.networks, {})
    home.log(f"finished: {frames:,} frames, {result.training_seconds:.1f} s of training")
    summary = Summary(
        metrics=result.metrics,
        training_seconds=result.training_seconds,
        training_cpu_seconds=result.training_cpu_seconds,
        compile_seconds=result.compile_seconds,
        peak_memory_bytes=peak_memory(),
        examples_seen=frames,
        state_bytes=bytes_of(result.runners) // len(spec.seeds),
    )
    write_summary(home.path, summary)
