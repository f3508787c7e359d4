"""An agent at play as a job: seeds side by side, evaluated at all levels at regular intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float64, PyTree

from perdure.execution.compilation import finite
from perdure.execution.job import BrokenOffError, DivergedError, Job
from perdure.experiments.agents.hosted import HostedPrograms, HostFailure, hosted_runners
from perdure.experiments.agents.program import AgentKeys, AgentPrograms, agent_keys, check_state_fits
from perdure.experiments.agents.spec import AgentSpec
from perdure.rl.catalog import GAMES, game_and_observation
from perdure.rl.hosted import HostedEnvironment, HostError
from perdure.rl.runner import RunnerState, init_runner
from perdure.rl.schedule import make_schedule, stack_params


class AgentSnapshot(NamedTuple):
    """All that playing changes, and the keys of its chance."""

    runners: RunnerState
    """Leaves (seeds, ...)."""
    keys: AgentKeys
    """Leaves (seeds,)."""
    scores: Float64[np.ndarray, "seeds times levels"]
    """Mean scores, NaN where not evaluated yet."""


class EpisodeStats(NamedTuple):
    """Episodes that have ended, for the progress bar."""

    episodes: float
    total: float
    """Sum of their scores."""
    mean: float | None = None
    """Score of the episodes that ended last; None before the first has."""

    def after(self, episodes: float, total: float) -> EpisodeStats:
        """Return the statistics once `episodes` have ended, with `total` as the sum of their scores."""
        if episodes == self.episodes:
            return self
        return EpisodeStats(episodes, total, (total - self.total) / (episodes - self.episodes))


class AgentJob(Job):
    """A run of an agent."""

    unit: ClassVar[str] = "frames"
    first_stretch = 200

    def __init__(self, spec: AgentSpec):
        """Make networks and games before the first frame.

        Raises:
            ValueError: if the schedule, the environment or the network does not fit.
            BrokenOffError: if an environment of Gymnasium fails.
        """
        self.spec = spec
        if isinstance(spec.environment, HostedEnvironment):
            self.first_stretch = 1  # a frame of a simulation may take seconds, and stops wait for the stretch
        self._levels = stack_params(spec.levels)
        self._schedule = make_schedule(spec.levels, spec.stages)
        self._agent = jax.tree.map(jnp.asarray, spec.agent)
        self.length = int(self._schedule.ends[-1])
        self.label = f"{spec.label}: {self.length:,} frames"
        self.position = 0
        self.evaluations = spec.evaluations
        self.scores = np.full((len(spec.seeds), len(self.evaluations), len(spec.levels)), np.nan)
        self._keys = jax.vmap(agent_keys)(jnp.asarray(spec.seeds))
        self._runners: RunnerState | None = self._start()
        self._programs: AgentPrograms | HostedPrograms | None = None
        self._stats = EpisodeStats(0.0, 0.0)

    @property
    def boundaries(self) -> Sequence[int]:
        """Frames at which the greedy policies are evaluated."""
        return list(map(int, self.evaluations))

    @property
    def ended(self) -> bool:
        """Have all frames been played?"""
        return self.position >= self.length

    @property
    def runners(self) -> RunnerState:
        """The agents and their games, leaves (seeds, ...); advancing consumes them."""
        return self._initial_runners if self._programs is None else self._programs.runners

    @property
    def networks(self) -> PyTree:
        """The networks that act greedily, leaves (seeds, ...)."""
        return self._agent.answering(self._initial_runners.agent) if self._programs is None else self._programs.networks

    @property
    def _initial_runners(self) -> RunnerState:
        """The runners with which the programs begin, leaves (seeds, ...); gone once they have begun."""
        assert self._runners is not None
        return self._runners

    def compile(self) -> None:
        """Compile playing and evaluation."""
        environment = self.spec.environment
        rest = self._schedule, self._levels, self.spec.episodes, self._initial_runners, self._keys
        if isinstance(environment, HostedEnvironment):
            try:
                self._programs = HostedPrograms(self._agent, environment, *rest)
            except HostError as error:
                raise BrokenOffError(str(error)) from error
        else:
            self._programs = AgentPrograms(self._agent, environment, *rest)
        self._runners = None  # the programs have taken the memories apart: one more copy would stay
        self._stats = EpisodeStats(*self._programs.episodes)

    def advance(self, stop: int) -> None:
        """Play the frames up to `stop`."""
        assert self._programs is not None
        try:
            self._programs.play(self.position, stop)
        except HostFailure as error:
            self.position = error.frame
            raise BrokenOffError(str(error)) from error
        self.position = stop
        if self._agent.needs_stages and stop in self._schedule.ends:
            self._programs.end_stage(stop)

    def close(self) -> None:
        """Close the environments that Python plays."""
        if isinstance(self._programs, HostedPrograms):
            self._programs.close()

    def evaluate(self) -> None:
        """Fill the row of the scores at this frame."""
        assert self._programs is not None
        self.check()
        try:
            scores = self._programs.evaluate(self.position)
        except HostError as error:
            raise BrokenOffError(f"in an evaluation, {error}") from error
        if not np.isfinite(scores).all():
            seed, level = np.argwhere(~np.isfinite(scores))[0]
            raise BrokenOffError(
                f"in an evaluation, the score of seed {self.spec.seeds[seed]} at level {level} is "
                f"{scores[seed, level]}: rewards of the environment are not finite, or their sum does not fit float32"
            )
        self.scores[:, self.evaluations == self.position] = scores[:, None]

    def check(self) -> None:
        """Check that all networks are finite."""
        sound = finite(self.networks)
        if not sound.all():
            seed = self.spec.seeds[int(np.argmin(sound))]
            raise DivergedError(
                f"a weight is not finite after {self.position:,} frames (seed {seed}); {self._remedy()}"
            )

    def _remedy(self) -> str:
        """Return what may help where weights are not finite."""
        runners = self.runners
        if not np.isfinite(np.asarray(runners.score) + np.sum(np.asarray(runners.total_score))).all():
            return "the environment has returned rewards that are not finite, or whose sum does not fit float32"
        environment = self.spec.environment
        if isinstance(environment, HostedEnvironment) or game_and_observation(environment)[0] in GAMES:
            return "lower the learning rate"
        return "lower the learning rate, if all observations of the environment are finite"

    def snapshot(self) -> AgentSnapshot:
        """Return agents, games, keys and scores."""
        return AgentSnapshot(self.runners, self._keys, self.scores)

    def restore(self, snapshot: AgentSnapshot, position: int) -> None:
        """Go to a position."""
        self._runners, self._keys, self.scores = snapshot
        self.position = position

    def report(self) -> str:
        """Return the score of the last episodes, ε if the agent has one, and the level."""
        assert self._programs is not None
        self._stats = self._stats.after(*self._programs.episodes)
        stage = min(int(np.searchsorted(self._schedule.ends, self.position, side="right")), len(self.spec.stages) - 1)
        score = "" if self._stats.mean is None else f"episode score {self._stats.mean:.1f}, "
        exploration = self._agent.exploration(jnp.asarray(self.position))
        epsilon = "" if exploration is None else f"ε {float(exploration):.2f}, "
        return f"{score}{epsilon}level {self.spec.stages[stage].level}"

    def progress_values(self) -> dict[str, float]:
        """Return the score of the last episodes, and ε if the agent has one."""
        assert self._programs is not None
        self._stats = self._stats.after(*self._programs.episodes)
        exploration = self._agent.exploration(jnp.asarray(self.position))
        measured = {"training/episode_score": self._stats.mean, "training/epsilon": exploration}
        return {name: float(it) for name, it in measured.items() if it is not None}

    def evaluation_values(self) -> dict[str, float]:
        """Return the greedy policy's score at each level at this frame, and over all, means over seeds."""
        scores = self.scores[:, self.evaluations == self.position].mean(axis=(0, 1))
        return {f"score/level-{level}": float(it) for level, it in enumerate(scores)} | {
            "score/mean": float(scores.mean())
        }

    def _start(self) -> RunnerState:
        """Return the agents before the first frame."""
        environment, first = self.spec.environment, jax.tree.map(lambda leaf: leaf[0], self._schedule.params)
        if isinstance(environment, HostedEnvironment):
            try:
                return hosted_runners(self._agent, environment, self.spec.network, first, self._keys)
            except HostError as error:
                raise BrokenOffError(f"before the first frame, {error}") from error
        observation, _ = jax.eval_shape(environment.reset, jax.random.key(0), first)

        def start(keys: AgentKeys) -> RunnerState:
            seen, make = jnp.zeros_like(observation), self.spec.network
            network = self._agent.make_networks(make, seen, environment.num_actions, keys.network)
            return init_runner(self._agent, environment, network, first, keys.start)

        begin = jax.jit(jax.vmap(start))
        check_state_fits(self._agent, begin.eval_shape(self._keys), len(self.spec.seeds))
        runners: Any = begin(self._keys)
        return runners
