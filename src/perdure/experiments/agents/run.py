"""Running an agent through levels that get harder: seeds side by side, evaluation at all levels, checkpoints."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float64, Int, PRNGKeyArray, PyTree

from perdure.core import AnyArray
from perdure.execution.compilation import finite
from perdure.execution.progress import count_progress
from perdure.experiments.agents.networks import save_networks
from perdure.experiments.agents.program import AgentKeys, AgentPrograms, agent_keys
from perdure.experiments.supervised.run import DivergedError
from perdure.experiments.supervised.spec import chosen_seeds, name_of
from perdure.learners.hyperparameters import hyperparameters
from perdure.machine.process import peak_memory
from perdure.machine.signals import InterruptedRunError, StopRequests
from perdure.metrics.transfer import Statistic
from perdure.models import array_model
from perdure.records import run as results
from perdure.records.agent import CONFIG, FORMAT, NETWORKS, score_metrics, write_scores
from perdure.rl.agent import Agent
from perdure.rl.catalog import agent_name, game_and_observation
from perdure.rl.checks import environment_and_levels
from perdure.rl.environment import GymnaxLike
from perdure.rl.networks import default_network
from perdure.rl.runner import RunnerState, init_runner
from perdure.rl.schedule import Schedule, Stage, as_stages, make_schedule, stack_params
from perdure.storage.checkpoints import SAME_COMMAND, load_checkpoint, save_checkpoint
from perdure.storage.files import make_folder, write_json

MakeNetwork = Callable[[AnyArray, int, PRNGKeyArray], PyTree]
"""From an observation, the number of actions and a key to a network."""
EVALUATE_EVERY = 5_000
EPISODES = 20
_CHUNK_SECONDS = 1.0  # between two looks at the clock and at stop requests
_FIRST_CHUNK = 200


@dataclass(frozen=True)
class AgentResult:
    """What a run of an agent has measured."""

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
    compile_seconds: float


class AgentSnapshot(NamedTuple):
    """A run at one frame."""

    position: int
    """Frames played."""
    runners: RunnerState
    """Leaves (seeds, ...)."""
    keys: AgentKeys
    """Leaves (seeds,)."""
    scores: Float64[np.ndarray, "seeds times levels"]
    """NaN where not evaluated yet."""
    training_seconds: float
    compile_seconds: float


def run_agent(
    agent: Agent,
    environment: Any,
    *,
    levels: Sequence[Any] | None = None,
    stages: Sequence[Any] | None = None,
    seeds: int | Sequence[int] = 1,
    network: MakeNetwork = default_network,
    evaluate_every: int = EVALUATE_EVERY,
    episodes: int = EPISODES,
    folder: Path | str | None = None,
    checkpoint_seconds: float = 60.0,
    previous: bool = False,
    progress: bool = True,
) -> AgentResult:
    """Let an agent play through a schedule of levels it is not told of, and measure it at all of them as it goes.

    All seeds run in one compiled program. A seed fixes the weights, the episodes and all that the agent leaves to
    chance. The greedy policy is evaluated before the first frame, at regular intervals and at the end of each stage.

    Args:
        agent: method and hyper-parameters.
        environment: one of perdure's games, any with the interface of gymnax (`perdure.rl.GymnaxLike`), or the pair of
            environment and parameters that `gymnax.make` returns.
        levels: parameters of the environment, from easy to hard; None for the levels that it has itself.
        stages: which level, counted from 0, is played for how many frames, one after another; None for every level
            in turn, 25,000 frames each.
        seeds: how many (0, 1, …), or which ones.
        network: makes the network.
        evaluate_every: frames between two evaluations.
        episodes: of each evaluation at each level.
        folder: where the record and checkpoints go; a run that is unfinished there goes on from its last checkpoint
            and ends bit-identical to an uninterrupted one. None keeps nothing on disk.
        checkpoint_seconds: time between two checkpoints.
        previous: if the newest checkpoint is damaged, go on from the one before.
        progress: show a progress bar.

    Raises:
        ValueError: if the schedule, a number or the network does not fit.
        DivergedError: if a weight is NaN or infinite; earlier checkpoints remain.
        InterruptedRunError: after Ctrl-C or SIGTERM, with a checkpoint written if there is a folder.
        ResultsError: if the folder holds a run of another configuration.
        CheckpointError: if the newest checkpoint is damaged.
        StorageError: if the record or a checkpoint cannot be written.
    """
    if min(evaluate_every, episodes) < 1:
        raise ValueError(f"evaluate_every = {evaluate_every} and episodes = {episodes}, expected numbers ≥ 1")
    environment, levels = environment_and_levels(environment, levels)
    stages = as_stages(stages, len(levels))
    plan = _Plan(
        jax.tree.map(jnp.asarray, agent),
        environment,
        stack_params(levels),
        make_schedule(levels, stages),
        stages,
        _evaluation_frames(stages, evaluate_every),
        episodes,
        chosen_seeds(seeds),
        network,
        None if folder is None else Path(folder),
        checkpoint_seconds,
        f"{agent_name(agent)} on {game_and_observation(environment)[0]}",
    )
    snapshot = _first_snapshot(plan)
    if plan.folder is not None:
        config = describe_agent_run(agent, environment, levels, stages, plan.seeds, network, evaluate_every, episodes)
        snapshot = _open(plan, config, snapshot, previous=previous)
    if snapshot.position < plan.length or np.isnan(snapshot.scores).any():
        snapshot = _play_on(plan, snapshot, show=progress)
    result = _result(plan, snapshot)
    if plan.folder is not None and not (plan.folder / "summary.json").exists():
        _write_record(plan, result)
    return result


class _Plan(NamedTuple):
    agent: Agent
    environment: GymnaxLike
    levels: Any
    schedule: Schedule
    stages: Sequence[Stage]
    evaluations: Int[np.ndarray, " times"]
    episodes: int
    seeds: tuple[int, ...]
    network: MakeNetwork
    folder: Path | None
    checkpoint_seconds: float
    label: str

    @property
    def length(self) -> int:
        return int(self.schedule.ends[-1])

    @property
    def n_levels(self) -> int:
        return len(jax.tree.leaves(self.levels)[0])


def _evaluation_frames(stages: Sequence[Stage], every: int) -> Int[np.ndarray, " times"]:
    ends = np.cumsum([stage.frames for stage in stages])
    return np.unique(np.concatenate([np.arange(0, ends[-1], every), ends]))


def describe_agent_run(
    agent: Agent,
    environment: GymnaxLike,
    levels: Sequence[Any],
    stages: Sequence[Stage],
    seeds: Sequence[int],
    network: MakeNetwork,
    evaluate_every: int,
    episodes: int,
) -> dict[str, Any]:
    """Return a run's agent.json: all that decides its figures."""
    name, observation = game_and_observation(environment)
    return {
        "format": FORMAT,
        "agent": {
            "name": agent_name(agent),
            "hyperparameters": {it.name: it.kind(getattr(agent, it.name)) for it in hyperparameters(agent)},
        },
        "environment": {"name": name, "observation": observation},
        "levels": [[np.asarray(leaf).tolist() for leaf in jax.tree.leaves(level)] for level in levels],
        "stages": [list(stage) for stage in stages],
        "network": name_of(network),
        "seeds": list(seeds),
        "evaluation": {"every": evaluate_every, "episodes": episodes},
    }


def _first_snapshot(plan: _Plan) -> AgentSnapshot:
    """Return the run before its first frame."""
    keys = jax.vmap(agent_keys)(jnp.asarray(plan.seeds))
    environment, first = plan.environment, jax.tree.map(lambda leaf: leaf[0], plan.schedule.params)
    observation, _ = jax.eval_shape(environment.reset, jax.random.key(0), first)

    def begin(keys: AgentKeys) -> RunnerState:
        network = array_model(plan.network(jnp.zeros_like(observation), environment.num_actions, keys.network))
        return init_runner(plan.agent, environment, network, first, keys.start)

    scores = np.full((len(plan.seeds), len(plan.evaluations), plan.n_levels), np.nan)
    return AgentSnapshot(0, jax.jit(jax.vmap(begin))(keys), keys, scores, 0.0, 0.0)


def _open(plan: _Plan, config: dict[str, Any], first: AgentSnapshot, *, previous: bool) -> AgentSnapshot:
    """Make the folder this run's, and return where the run stands there."""
    assert plan.folder is not None
    path = plan.folder / CONFIG
    if path.exists():
        results.refuse_another(plan.folder, results.read_json(path), config)
    else:
        make_folder(plan.folder)
        write_json(path, config)
        results.write_environment(plan.folder, str(jax.devices()[0].device_kind), {})
        results.append_log(plan.folder, f"started: {plan.label}, {plan.length:,} frames")
    snapshot = load_checkpoint(plan.folder / "checkpoints", first, previous=previous, remedy=SAME_COMMAND)
    if snapshot is None:
        return first
    results.append_log(plan.folder, f"went on from frame {snapshot.position:,}")
    return snapshot


def _play_on(plan: _Plan, snapshot: AgentSnapshot, *, show: bool) -> AgentSnapshot:
    """Return the run after its last frame."""
    label = f"{plan.label}: {plan.length:,} frames"
    with (
        StopRequests() as stop,
        count_progress(label, snapshot.position, plan.length, "frames", show=show) as tell,
    ):
        began = time.perf_counter()
        programs = AgentPrograms(
            plan.agent, plan.environment, plan.schedule, plan.levels, plan.episodes, snapshot.runners, snapshot.keys
        )
        snapshot = snapshot._replace(compile_seconds=snapshot.compile_seconds + time.perf_counter() - began)
        if snapshot.position == 0:
            snapshot.scores[:, 0] = programs.evaluate(0)
        chunk, saved = _FIRST_CHUNK, time.monotonic()
        episode_stats = EpisodeStats(*programs.episodes)
        while snapshot.position < plan.length:
            due = int(plan.evaluations[np.searchsorted(plan.evaluations, snapshot.position, side="right")])
            start, end = snapshot.position, min(snapshot.position + chunk, due)
            began = time.perf_counter()
            programs.play(start, end)
            took = time.perf_counter() - began
            chunk = max(1, int((end - start) / took * _CHUNK_SECONDS))
            snapshot = snapshot._replace(position=end, training_seconds=snapshot.training_seconds + took)
            if end == due:
                _check(programs.networks, plan, end)
                snapshot.scores[:, plan.evaluations == end] = programs.evaluate(end)[:, None]
            episode_stats = episode_stats.after(*programs.episodes)
            tell(end, (end - start) / took, _words(plan, end, episode_stats))
            over = time.monotonic() - saved > plan.checkpoint_seconds or end == plan.length
            if plan.folder is not None and (stop.received is not None or over):
                _check(programs.networks, plan, end)
                snapshot = snapshot._replace(runners=programs.runners)
                save_checkpoint(plan.folder / "checkpoints", snapshot)
                saved = time.monotonic()
            if stop.received is not None and end < plan.length:
                raise _interrupted(plan, end, stop.received)
    return snapshot._replace(runners=programs.runners)


class EpisodeStats(NamedTuple):
    """What the progress bar has episode_stats of episodes."""

    episodes: float
    total: float
    mean: float | None = None
    """Score of the episodes that ended last; None before the first has."""

    def after(self, episodes: float, total: float) -> EpisodeStats:
        """Return the statistics once so many episodes have ended, with this sum of scores."""
        if episodes == self.episodes:
            return self
        return EpisodeStats(episodes, total, (total - self.total) / (episodes - self.episodes))


def _words(plan: _Plan, frame: int, episode_stats: EpisodeStats) -> str:
    stage = min(int(np.searchsorted(plan.schedule.ends, frame, side="right")), len(plan.stages) - 1)
    epsilon = float(plan.agent.exploration(jnp.asarray(frame)))
    score = "" if episode_stats.mean is None else f"episode score {episode_stats.mean:.1f}, "
    return f"{score}ε {epsilon:.2f}, level {plan.stages[stage].level}"


def _check(networks: PyTree, plan: _Plan, frame: int) -> None:
    good = finite(networks)
    if not good.all():
        seed = plan.seeds[int(np.flatnonzero(~good)[0])]
        raise DivergedError(
            f"seed {seed} diverged: its network is not finite after {frame:,} frames; lower the learning rate. "
            "Checkpoints written before stay"
        )


def _interrupted(plan: _Plan, frame: int, signal_number: int) -> InterruptedRunError:
    where = f"stopped at frame {frame:,} of {plan.length:,}"
    if plan.folder is None:
        return InterruptedRunError(f"{where}; nothing was kept, for the run has no folder", signal_number)
    results.append_log(plan.folder, where)
    return InterruptedRunError(f"{where}; the same command goes on", signal_number)


def _result(plan: _Plan, snapshot: AgentSnapshot) -> AgentResult:
    metrics = score_metrics(plan.evaluations, snapshot.scores, plan.stages)
    return AgentResult(
        plan.evaluations,
        snapshot.scores,
        metrics,
        snapshot.runners,
        snapshot.training_seconds,
        snapshot.compile_seconds,
    )


def _write_record(plan: _Plan, result: AgentResult) -> None:
    assert plan.folder is not None
    write_scores(plan.folder, plan.seeds, result.frames, result.scores)
    save_networks(plan.folder / NETWORKS, result.runners.agent.learning.model)
    summary = results.Summary(
        result.metrics, result.training_seconds, result.compile_seconds, peak_memory(), plan.length
    )
    results.write_summary(plan.folder, summary)
    results.append_log(plan.folder, f"finished after {plan.length:,} frames and {result.training_seconds:.0f} s")
