"""The compiled half of an agent's run: playing a stretch of frames, and evaluation, all seeds side by side."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float64, Int, PRNGKeyArray, PyTree

from perdure.execution.compilation import compiled
from perdure.execution.division import Division, seed_devices
from perdure.rl.agent import Agent
from perdure.rl.environment import GymnaxLike
from perdure.rl.runner import RunnerState, greedy_scores, play_frames
from perdure.rl.schedule import Schedule

_OF_STAGES = 2**32 - 1
"""Folded into a key that else is folded with numbers of frames, which are smaller."""


class AgentKeys(NamedTuple):
    """One seed's random keys, each for one purpose."""

    network: PRNGKeyArray
    """Initial weights."""
    start: PRNGKeyArray
    """The first episode."""
    frames: PRNGKeyArray
    """Folded with a frame's number: all that it leaves to chance."""
    evaluation: PRNGKeyArray
    """Folded with the number of frames played: the episodes of an evaluation."""


def agent_keys(seed: Int[Array, ""]) -> AgentKeys:
    """Return the keys of a seed."""
    root = jax.random.key(seed)
    return AgentKeys(*(jax.random.fold_in(root, purpose) for purpose in range(len(AgentKeys._fields))))


def stage_end(agent: Agent) -> Callable[[Any, PRNGKeyArray, Any], Any]:
    """Return what tells agents that a stage has ended.

    It is a function of states and keys of evaluations, leaves (seeds, ...), and the number of frames played.
    """

    def end(state: Any, key: PRNGKeyArray, frame: Int[Array, ""]) -> Any:
        told: Any = agent
        return told.end_stage(state, frame, jax.random.fold_in(jax.random.fold_in(key, _OF_STAGES), frame))

    return jax.jit(jax.vmap(end, (0, 0, None)))


class AgentPrograms:
    """Playing and evaluating, compiled for all seeds side by side and divided among the devices."""

    def __init__(
        self,
        agent: Agent,
        environment: GymnaxLike,
        schedule: Schedule,
        levels: Any,
        episodes: int,
        runners: RunnerState,
        keys: AgentKeys,
    ) -> None:
        """Compile, and begin with runners.

        Args:
            agent: shared by the seeds.
            environment: what they play.
            schedule: its levels, one after another.
            levels: parameters of the levels to evaluate, leaves (levels, ...).
            episodes: of an evaluation at each level.
            runners: leaves (seeds, ...); consumed.
            keys: leaves (seeds,).
        """
        n_seeds = len(runners.score)
        self._division = division = Division(seed_devices(n_seeds), n_seeds)
        axes = (None, 0, None, 0, None, None)
        self._agent, self._schedule, self._keys, self._levels = division.spread(
            (None, None, 0, None), (agent, schedule, keys, levels)
        )
        (self._runners,) = division.spread((0,), (runners,))

        def play(
            agent: Agent, runner: RunnerState, schedule: Schedule, keys: AgentKeys, start: Array, stop: Array
        ) -> RunnerState:
            return play_frames(agent, environment, runner, schedule, keys.frames, start, stop)

        def evaluate(agent: Agent, runner: RunnerState, levels: Any, keys: AgentKeys, frame: Array) -> Array:
            key = jax.random.fold_in(keys.evaluation, frame)
            network = agent.answering(runner.agent)
            return greedy_scores(environment, network, levels, episodes, key).mean(axis=1)

        program = jax.jit(division.on_each(jax.vmap(play, axes), axes), donate_argnums=1)
        self._play = compiled(program, *self._arguments(0, 0))
        self._end_stage = stage_end(agent)
        examined = (None, 0, None, 0, None)
        self._evaluate = jax.jit(division.on_each(jax.vmap(evaluate, examined), examined))

    def _arguments(self, *frames: int) -> tuple[Any, ...]:
        ends = self._division.spread((None,) * len(frames), tuple(jnp.asarray(it, jnp.int32) for it in frames))
        return self._agent, self._runners, self._schedule, self._keys, *ends

    def play(self, start: int, stop: int) -> None:
        """Play the frames start ≤ n < stop."""
        self._runners = jax.block_until_ready(self._play(*self._arguments(start, stop)))

    def end_stage(self, frame: int) -> None:
        """Tell the agents that a stage has ended after `frame` frames."""
        _, runners, _, keys, at = self._arguments(frame)
        self._runners = runners._replace(agent=self._end_stage(runners.agent, keys.evaluation, at))

    def evaluate(self, frame: int) -> Float64[np.ndarray, "seeds levels"]:
        """Return mean scores of the greedy policies after `frame` frames."""
        *_, at = self._arguments(frame)
        scores = self._evaluate(self._agent, self._runners, self._levels, self._keys, at)
        return np.asarray(scores, np.float64)[: self._division.n_seeds]

    @property
    def runners(self) -> RunnerState:
        """The agents and where their games stand, leaves (seeds, ...); playing on consumes them."""
        return self._division.gathered(self._runners)

    @property
    def networks(self) -> PyTree:
        """Networks of all seeds; memories, which may be large, stay where they are."""
        return jax.tree.map(self._read, self._agent.answering(self._runners.agent))

    @property
    def episodes(self) -> tuple[float, float]:
        """How many episodes have ended, and the sum of their scores, of all seeds together."""
        return float(self._read(self._runners.episodes).sum()), float(self._read(self._runners.total_score).sum())

    def _read(self, leaf: Array) -> np.ndarray:
        return np.asarray(leaf)[: self._division.n_seeds]
