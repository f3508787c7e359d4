"""The compiled half of an agent's run: playing a stretch of frames, and evaluation, for several seeds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float64, Int, PRNGKeyArray, PyTree

from perdure.execution.available import check_fits
from perdure.execution.compilation import bytes_of, compiled
from perdure.execution.division import Division, faster_side_by_side, seed_devices
from perdure.rl.agent import Agent
from perdure.rl.catalog import agent_name
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


def check_state_fits(agent: Agent, states: PyTree, n_seeds: int) -> None:
    """Refuse agents that do not fit the free memory, before they are made.

    Args:
        agent: learns.
        states: of all seeds, read for their shapes only.
        n_seeds: number of seeds.

    Raises:
        ValueError: telling how much there is.
    """
    what = f"{agent_name(agent)} with its networks and memory"
    check_fits(what, bytes_of(states), n_seeds, "use a smaller memory, smaller observations, or fewer seeds at a time")


def stage_end(agent: Agent) -> Callable[[Any, PRNGKeyArray, Any], Any]:
    """Return what tells agents that a stage has ended.

    It is a function of states and keys of evaluations, leaves (seeds, ...), and the number of frames played.
    """

    def end(state: Any, key: PRNGKeyArray, frame: Int[Array, ""]) -> Any:
        told: Any = agent
        return told.end_stage(state, frame, jax.random.fold_in(jax.random.fold_in(key, _OF_STAGES), frame))

    return jax.jit(jax.vmap(end, (0, 0, None)))


class AgentPrograms:
    """Playing and evaluating, compiled for seeds side by side, which are divided among the devices.

    Seeds that are not faster side by side play one to a device, the others after them, stretch by stretch.
    """

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
        devices = seed_devices(n_seeds)
        together = n_seeds if faster_side_by_side(agent.answering(runners.agent)) else len(devices)
        groups = [slice(first, min(first + together, n_seeds)) for first in range(0, n_seeds, together)]
        self._divisions = [Division(devices, group.stop - group.start) for group in groups]
        first = self._divisions[0]
        self._agent, self._schedule, self._levels = first.spread((None,) * 3, (agent, schedule, levels))
        self._runners, self._keys = (
            [
                division.spread((0,), (jax.tree.map(lambda leaf, group=group: leaf[group], tree),))[0]
                for division, group in zip(self._divisions, groups, strict=True)
            ]
            for tree in (runners, keys)
        )
        axes = (None, 0, None, 0, None, None)

        def play(
            agent: Agent, runner: RunnerState, schedule: Schedule, keys: AgentKeys, start: Array, stop: Array
        ) -> RunnerState:
            return play_frames(agent, environment, runner, schedule, keys.frames, start, stop)

        def evaluate(agent: Agent, runner: RunnerState, levels: Any, keys: AgentKeys, frame: Array) -> Array:
            key = jax.random.fold_in(keys.evaluation, frame)
            network = agent.answering(runner.agent)
            return greedy_scores(environment, network, levels, episodes, key).mean(axis=1)

        program = jax.jit(first.on_each(jax.vmap(play, axes), axes), donate_argnums=1)
        self._play = compiled(program, *self._arguments(0, 0, 0))
        self._end_stage = stage_end(agent)
        examined = (None, 0, None, 0, None)
        self._evaluate = jax.jit(first.on_each(jax.vmap(evaluate, examined), examined))

    def _arguments(self, group: int, *frames: int) -> tuple[Any, ...]:
        ends = self._divisions[0].spread((None,) * len(frames), tuple(jnp.asarray(it, jnp.int32) for it in frames))
        return self._agent, self._runners[group], self._schedule, self._keys[group], *ends

    def play(self, start: int, stop: int) -> None:
        """Play the frames start ≤ n < stop."""
        for group in range(len(self._runners)):
            self._runners[group] = jax.block_until_ready(self._play(*self._arguments(group, start, stop)))

    def end_stage(self, frame: int) -> None:
        """Tell the agents that a stage has ended after `frame` frames."""
        for group, runners in enumerate(self._runners):
            *_, keys, at = self._arguments(group, frame)
            self._runners[group] = runners._replace(agent=self._end_stage(runners.agent, keys.evaluation, at))

    def evaluate(self, frame: int) -> Float64[np.ndarray, "seeds levels"]:
        """Return mean scores of the greedy policies after `frame` frames."""

        def scores(group: int) -> Array:
            agent, runners, _, keys, at = self._arguments(group, frame)
            return self._evaluate(agent, runners, self._levels, keys, at)

        return self._of_all_seeds([scores(group) for group in range(len(self._runners))]).astype(np.float64)

    @property
    def runners(self) -> RunnerState:
        """The agents and where their games stand, leaves (seeds, ...); playing on consumes them."""
        gathered = [it.gathered(runners) for it, runners in zip(self._divisions, self._runners, strict=True)]
        return gathered[0] if len(gathered) == 1 else jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *gathered)

    @property
    def networks(self) -> PyTree:
        """Networks of all seeds; memories, which may be large, stay where they are."""
        return self._of_all_seeds([self._agent.answering(runners.agent) for runners in self._runners])

    @property
    def episodes(self) -> tuple[float, float]:
        """How many episodes have ended, and the sum of their scores, of all seeds together."""
        ended = self._of_all_seeds([(runners.episodes, runners.total_score) for runners in self._runners])
        n_episodes, total_score = map(np.sum, ended)
        return float(n_episodes), float(total_score)

    def _of_all_seeds(self, groups: Sequence[Any]) -> Any:
        """Return trees with the leaves of all seeds, given those of each group where they have been spread."""
        return jax.tree.map(
            lambda *leaves: np.concatenate(
                [np.asarray(leaf)[: it.n_seeds] for it, leaf in zip(self._divisions, leaves, strict=True)]
            ),
            *groups,
        )
