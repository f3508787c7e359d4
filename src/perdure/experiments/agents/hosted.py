"""An agent in environments that Python plays: what `AgentPrograms` does, with one compiled step a frame."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float64, Int, PRNGKeyArray, PyTree

from perdure.core import as_features
from perdure.execution.compilation import compiled
from perdure.execution.warnings import warn
from perdure.experiments.agents.program import AgentKeys
from perdure.experiments.agents.spec import MakeNetwork
from perdure.models import array_model
from perdure.rl.agent import Agent, AgentState
from perdure.rl.hosted import HostedEnvironment, HostedEpisode, HostedLevel, HostError, game_of, stacked
from perdure.rl.runner import RunnerState, frame_keys, init_agent
from perdure.rl.schedule import Schedule
from perdure.rl.transition import Transition


class HostFailure(HostError):
    """An environment has failed while agents played; they stand where they were before the frame."""

    def __init__(self, frame: int, cause: HostError):
        super().__init__(str(cause))
        self.frame = frame


class _Arrived(NamedTuple):
    """What a frame brought, leaves (seeds, ...)."""

    reward: Any
    discount: Any
    next_observation: Any
    """Before any reset."""
    following: Any
    """On which the agent acts next."""
    ended: Any
    """Episodes that have ended by now, if one ended with the frame; else 0."""


def hosted_runners(
    agent: Agent, environment: HostedEnvironment, network: MakeNetwork, level: HostedLevel, keys: AgentKeys
) -> RunnerState:
    """Return the agents before the first frame, leaves (seeds, ...).

    Args:
        agent: what learns.
        environment: what it plays.
        network: makes the network.
        level: the first one.
        keys: leaves (seeds,).

    Raises:
        HostError: if the environment fails.
        ValueError: if the network does not fit the environment.
    """
    episode = HostedEpisode(environment)
    seeds = np.asarray(jax.vmap(_episode_seed)(keys.start))
    begun = [(episode.begin(int(level.place), int(seed)), episode.game) for seed in seeds]
    episode.close()
    observations = np.stack([observation for observation, _ in begun])
    zeros = np.zeros(len(seeds), np.float32)

    def start(keys: AgentKeys, observation: Array) -> AgentState:
        made = array_model(network(environment.observation, environment.num_actions, keys.network))
        return init_agent(agent, made, observation, environment.num_actions)

    states: Any = jax.jit(jax.vmap(start))(keys, observations)
    games = stacked([game for _, game in begun])
    return RunnerState(states, games, observations, zeros, zeros.astype(np.int32), zeros.copy())


class HostedPrograms:
    """Playing and evaluating, all seeds side by side: acting and learning compiled, the environments in Python."""

    def __init__(
        self,
        agent: Agent,
        environment: HostedEnvironment,
        schedule: Schedule,
        levels: HostedLevel,
        episodes: int,
        runners: RunnerState,
        keys: AgentKeys,
    ) -> None:
        """Compile, and bring the episodes to where the runners have them; arguments as those of `AgentPrograms`.

        Raises:
            HostError: if the environment fails.
        """
        self._schedule, self._levels, self._episodes = schedule, levels, episodes
        self._places = np.asarray(schedule.params.place).tolist()
        self._keys = keys
        self._frame_keys = jax.random.key_data(keys.frames)
        n_seeds = len(runners.score)
        self._playing = [HostedEpisode(environment) for _ in range(n_seeds)]
        self._examined = [HostedEpisode(environment) for _ in range(n_seeds)]
        self._states: AgentState = jax.tree.map(jnp.copy, runners.agent)
        self._score = np.array(runners.score, np.float32)
        self._ended = np.array(runners.episodes, np.int32)
        self._total = np.array(runners.total_score, np.float32)
        self._observations = jnp.asarray(self._brought_back(runners))
        each = partial(jax.vmap, in_axes=(0, 0, 0, None))
        self._act = jax.jit(each(partial(_act, agent)))
        learn = jax.jit(jax.vmap(partial(_learn_and_act, agent), in_axes=(0, 0, 0, 0, 0, None)), donate_argnums=(0, 2))
        zeros = self._score
        seen = np.asarray(self._observations)
        arrived = _Arrived(zeros, zeros, seen, seen, self._ended)
        actions = jnp.zeros(n_seeds, jnp.int32)
        self._learn = compiled(learn, self._states, self._frame_keys, self._observations, actions, arrived, np.int32(0))
        self._greedy = jax.jit(jax.vmap(_greedy))

    def play(self, start: int, stop: int) -> None:
        """Play the frames start ≤ n < stop.

        Raises:
            HostFailure: if the environment fails; all seeds then stand where they were before the frame.
        """
        actions, seeds = self._act(self._states, self._frame_keys, self._observations, np.int32(start))
        for frame in range(start, stop):
            arrived = self._frame(frame, np.asarray(actions).tolist(), seeds)
            self._states, self._observations, actions, seeds = self._learn(
                self._states, self._frame_keys, self._observations, actions, arrived, np.int32(frame)
            )

    def evaluate(self, frame: int) -> Float64[np.ndarray, "seeds levels"]:
        """Return mean scores of the greedy policies after `frame` frames.

        Raises:
            HostError: if the environment fails.
        """
        n_levels = len(self._levels.place)
        shape = (n_levels, self._episodes)
        seeds = jax.vmap(lambda key: jax.random.bits(jax.random.fold_in(key, frame), shape))(self._keys.evaluation)
        places = np.asarray(self._levels.place).tolist()
        scores = [self._greedy_scores(place, np.asarray(seeds)[:, n]) for n, place in enumerate(places)]
        return np.stack(scores, axis=1)

    @property
    def runners(self) -> RunnerState:
        """The agents and where their games stand, leaves (seeds, ...); playing on consumes them."""
        games = stacked([episode.game for episode in self._playing])
        figures = (self._score.copy(), self._ended.copy(), self._total.copy())
        return RunnerState(self._states, games, np.asarray(self._observations), *figures)

    @property
    def networks(self) -> PyTree:
        """Networks of all seeds."""
        return jax.tree.map(np.asarray, self._states.learning.model)

    @property
    def episodes(self) -> tuple[float, float]:
        """How many episodes have ended, and the sum of their scores, of all seeds together."""
        return float(self._ended.sum()), float(self._total.sum())

    def close(self) -> None:
        """Close the environments."""
        for episode in (*self._playing, *self._examined):
            episode.close()

    def _brought_back(self, runners: RunnerState) -> np.ndarray:
        """Bring the episodes to where they were, and return their observations."""
        observations = np.array(runners.observation)
        for seed, episode in enumerate(self._playing):
            game = game_of(runners.game, seed)
            if not np.array_equal(episode.bring_back(game), observations[seed], equal_nan=True):
                observations[seed] = episode.begin(int(game.place), int(game.seed))
                warn(
                    "the environment does not come back to where it was when an episode's seed and actions are "
                    "repeated, as Gymnasium expects of it: an interrupted run of it does not end as one that is not "
                    "interrupted; draw all that is random from self.np_random"
                )
        return observations

    def _frame(self, frame: int, actions: list[int], seeds: Array) -> _Arrived:
        """Play one frame of each seed."""
        for episode in self._playing:
            episode.mark()
        try:
            stepped = [episode.step(action) for episode, action in zip(self._playing, actions, strict=True)]
            observations, rewards, terminated, truncated = map(np.array, zip(*stepped, strict=True))
            place = self._place_at(frame + 1)
            ended = terminated | truncated
            cut = ended | np.array([episode.place != place for episode in self._playing])
            following = observations.copy() if cut.any() else observations
            for seed in np.flatnonzero(cut):
                following[seed] = self._playing[seed].begin(place, int(np.asarray(seeds)[seed]))
        except HostError as error:
            for episode in self._playing:
                episode.undo()
            raise HostFailure(frame, error) from error
        rewards = rewards.astype(np.float32)
        self._score += rewards
        self._total += np.where(ended, self._score, 0)
        self._ended += ended
        self._score[cut] = 0
        discounts = 1 - terminated.astype(np.float32)
        return _Arrived(rewards, discounts, observations, following, np.where(ended, self._ended, 0))

    def _place_at(self, frame: int) -> int:
        stage = int(np.searchsorted(self._schedule.ends, frame, side="right"))
        return self._places[min(stage, len(self._places) - 1)]

    def _greedy_scores(self, place: int, seeds: np.ndarray) -> Float64[np.ndarray, " seeds"]:
        """Return the mean scores of one environment's episodes, which begin with these seeds (agents, episodes)."""
        scores = np.zeros(seeds.shape)
        number = np.zeros(len(seeds), int)
        pairs = zip(self._examined, seeds[:, 0].tolist(), strict=True)
        observations = [episode.begin(place, seed) for episode, seed in pairs]
        model = self._states.learning.model
        while (number < self._episodes).any():
            actions = np.asarray(self._greedy(model, np.stack(observations))).tolist()
            for agent, episode in enumerate(self._examined):
                if number[agent] == self._episodes:
                    continue
                observations[agent], reward, terminated, truncated = episode.step(actions[agent])
                scores[agent, number[agent]] += reward
                if terminated or truncated:
                    number[agent] += 1
                    if number[agent] < self._episodes:
                        observations[agent] = episode.begin(place, int(seeds[agent, number[agent]]))
        return scores.mean(axis=1)


def _episode_seed(key: PRNGKeyArray) -> Array:
    """Return the seed of an episode of Gymnasium."""
    return jax.random.bits(key, dtype=jnp.uint32)


def _act(
    agent: Agent, state: AgentState, key_data: Array, observation: Array, frame: Int[Array, ""]
) -> tuple[Array, Array]:
    """Return the action of a frame, and the seed of the episode that begins after it if one ends with it."""
    keys = frame_keys(jax.random.wrap_key_data(key_data), frame)
    return agent.act(state, observation, frame, keys.act), _episode_seed(keys.reset)


def _learn_and_act(
    agent: Agent,
    state: AgentState,
    key_data: Array,
    observation: Array,
    action: Array,
    arrived: _Arrived,
    frame: Int[Array, ""],
) -> tuple[AgentState, Array, Array, Array]:
    """Learn from a frame, and return with the state the next observation, its action, and `_act`'s seed."""
    keys = frame_keys(jax.random.wrap_key_data(key_data), frame)
    transition = Transition(observation, action, arrived.reward, arrived.discount, arrived.next_observation)
    learned = agent.observe(state, transition, frame, keys.learn, arrived.ended)
    return learned, arrived.following, *_act(agent, learned, key_data, arrived.following, frame + 1)


def _greedy(network: PyTree, observation: Array) -> Array:
    return jnp.argmax(network(as_features(observation)))
