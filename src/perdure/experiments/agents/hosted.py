"""An agent in environments that Python plays: what `AgentPrograms` does, with one compiled step a frame."""

from __future__ import annotations

from functools import partial
from itertools import chain
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float64, Int, PRNGKeyArray, PyTree

from perdure.core import as_features
from perdure.execution.compilation import compiled
from perdure.execution.warnings import warn
from perdure.experiments.agents.program import AgentKeys, check_state_fits, stage_end
from perdure.rl.agent import Agent
from perdure.rl.hosted import HostedEnvironment, HostedEpisode, HostedLevel, HostError, game_of, stacked
from perdure.rl.networks import MakeNetwork
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
    """On which the agent acts next, in the environment whose turn it is then."""
    ended: Any
    """Episodes that have ended by now, if one ended with the frame; -1 if one was broken off; else 0."""


def hosted_runners(
    agent: Agent, environment: HostedEnvironment, network: MakeNetwork, level: HostedLevel, keys: AgentKeys
) -> RunnerState:
    """Return the agents before the first frame, leaves (seeds, ...); see `RunnerState` for those of their games.

    Args:
        agent: what learns.
        environment: what it plays.
        network: makes the network.
        level: the first one.
        keys: leaves (seeds,).

    Raises:
        HostError: if the environment fails.
        ValueError: if the network does not fit the environment, or the agents do not fit the free memory.
    """
    episode, n = HostedEpisode(environment), agent.n_environments
    seeds = np.asarray(jax.vmap(partial(_first_seeds, n))(keys.start))
    begun = [(episode.begin(int(level.place), int(seed)), episode.game) for seed in seeds.ravel()]
    episode.close()
    observations = _by_seed(np.stack([observation for observation, _ in begun]), n)
    zeros = np.zeros(len(seeds), np.float32)

    def start(keys: AgentKeys, observation: Array) -> Any:
        made = agent.make_networks(network, environment.observation, environment.num_actions, keys.network)
        return init_agent(agent, made, observation, environment.num_actions)

    begin = jax.jit(jax.vmap(start))
    check_state_fits(agent, begin.eval_shape(keys, observations[:, 0]), len(seeds))
    states: Any = begin(keys, observations[:, 0])
    games = jax.tree.map(lambda leaf: _by_seed(leaf, n), stacked([game for _, game in begun]))
    runners = RunnerState(states, games, observations, np.zeros(seeds.shape, np.float32), zeros.astype(np.int32), zeros)
    return _without_single_axis(runners, n)


def _by_seed(leaf: np.ndarray, n: int) -> np.ndarray:
    """Return (seeds · n, ...) as (seeds, n, ...)."""
    return leaf.reshape(-1, n, *leaf.shape[1:])


def _without_single_axis(runners: RunnerState, n: int) -> RunnerState:
    """Return runners with leaves (seeds, n, ...) of their games as `RunnerState` has them: no axis for n = 1."""
    parts = (runners.game, runners.observation, runners.score)
    game, observation, score = parts if n > 1 else jax.tree.map(lambda leaf: leaf[:, 0], parts)
    return RunnerState(runners.agent, game, observation, score, runners.episodes, runners.total_score)


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
        n_seeds, self._n = len(runners.episodes), agent.n_environments
        self._playing = [[HostedEpisode(environment) for _ in range(self._n)] for _ in range(n_seeds)]
        self._examined = [HostedEpisode(environment) for _ in range(n_seeds)]
        self._leaves, self._tree = jax.tree.flatten(jax.tree.map(jnp.copy, runners.agent))
        self._score = np.array(runners.score, np.float32).reshape(n_seeds, self._n)
        self._ended = np.array(runners.episodes, np.int32)
        self._total = np.array(runners.total_score, np.float32)
        self._seen = self._brought_back(runners)
        """What each environment shows: (seeds, environments, ...)."""
        each = partial(jax.vmap, in_axes=(0, 0, 0, None))
        self._act = jax.jit(each(partial(_act, agent)))
        learn = jax.jit(partial(_learn_and_act_side_by_side, agent, self._tree), donate_argnums=0)
        zeros, seen = self._score[:, 0], self._seen[:, 0]
        arrived = _Arrived(zeros, zeros, seen, seen, self._ended)
        actions = jnp.zeros(n_seeds, jnp.int32)
        self._learn = compiled(learn, self._leaves, self._frame_keys, seen, actions, arrived, np.int32(0))
        self._greedy = jax.jit(jax.vmap(_greedy))
        self._answering = agent.answering
        self._end_stage = stage_end(agent)

    def play(self, start: int, stop: int) -> None:
        """Play the frames start ≤ n < stop.

        Raises:
            HostFailure: if the environment fails; all seeds then stand where they were before the frame.
        """
        observations = self._seen[:, start % self._n].copy()
        actions, seeds = self._act(self._states, self._frame_keys, observations, np.int32(start))
        for frame in range(start, stop):
            arrived = self._frame(frame, np.asarray(actions).tolist(), seeds)
            self._leaves, actions, seeds = self._learn(
                self._leaves, self._frame_keys, observations, actions, arrived, np.int32(frame)
            )
            observations = arrived.following

    def end_stage(self, frame: int) -> None:
        """Tell the agents that a stage has ended after `frame` frames."""
        self._leaves = jax.tree.leaves(self._end_stage(self._states, self._keys.evaluation, np.int32(frame)))

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
    def _states(self) -> Any:
        return jax.tree.unflatten(self._tree, self._leaves)

    @property
    def runners(self) -> RunnerState:
        """The agents and where their games stand, leaves (seeds, ...); playing on consumes them."""
        games = stacked([stacked([episode.game for episode in its]) for its in self._playing])
        figures = (self._score.copy(), self._ended.copy(), self._total.copy())
        return _without_single_axis(RunnerState(self._states, games, self._seen.copy(), *figures), self._n)

    @property
    def networks(self) -> PyTree:
        """Networks of all seeds."""
        return jax.tree.map(np.asarray, self._answering(self._states))

    @property
    def episodes(self) -> tuple[float, float]:
        """How many episodes have ended, and the sum of their scores, of all seeds together."""
        return float(self._ended.sum()), float(self._total.sum())

    def close(self) -> None:
        """Close the environments."""
        for episode in (*chain.from_iterable(self._playing), *self._examined):
            episode.close()

    def _brought_back(self, runners: RunnerState) -> np.ndarray:
        """Bring the episodes to where they were, or else begin them anew, and return their observations."""
        observations = np.array(runners.observation)
        observations = observations[:, None] if self._n == 1 else observations
        for place in np.ndindex(len(self._playing), self._n):
            episode = self._playing[place[0]][place[1]]
            game = game_of(runners.game, place[:1] if self._n == 1 else place)
            if not episode.bring_back(game, observations[place], self._score[place]):
                observations[place] = episode.begin(int(game.place), int(game.seed))
                self._score[place] = 0
                warn(
                    "the environment does not come back to where it was when an episode's seed and actions are "
                    "repeated, as Gymnasium expects of it: an interrupted run of it does not end as one that is not "
                    "interrupted; draw all that is random from self.np_random, and keep nothing from one episode to "
                    "the next, as gymnasium.wrappers.NormalizeReward does"
                )
        return observations

    def _frame(self, frame: int, actions: list[int], seeds: Array) -> _Arrived:
        """Play one frame of each seed."""
        turn = frame % self._n
        playing = [its[turn] for its in self._playing]
        for episode in playing:
            episode.mark()
        try:
            stepped = [episode.step(action) for episode, action in zip(playing, actions, strict=True)]
            observations, rewards, terminated, truncated = map(np.array, zip(*stepped, strict=True))
            place = self._place_at(frame + self._n)  # where the environment is when its turn comes again
            ended = terminated | truncated
            cut = ended | np.array([episode.place != place for episode in playing])
            following = observations.copy() if cut.any() else observations
            for seed in np.flatnonzero(cut):
                following[seed] = playing[seed].begin(place, int(np.asarray(seeds)[seed]))
        except HostError as error:
            for episode in playing:
                episode.undo()
            raise HostFailure(frame, error) from error
        rewards, score = rewards.astype(np.float32), self._score[:, turn]
        score += rewards
        self._total += np.where(ended, score, 0)
        self._ended += ended
        score[cut] = 0
        discounts = 1 - terminated.astype(np.float32)
        self._seen[:, turn] = following
        ends = np.where(ended, self._ended, -cut.astype(np.int32))
        return _Arrived(rewards, discounts, observations, self._seen[:, (turn + 1) % self._n].copy(), ends)

    def _place_at(self, frame: int) -> int:
        stage = int(np.searchsorted(self._schedule.ends, frame, side="right"))
        return self._places[min(stage, len(self._places) - 1)]

    def _greedy_scores(self, place: int, seeds: np.ndarray) -> Float64[np.ndarray, " seeds"]:
        """Return the mean scores of one environment's episodes, which begin with these seeds (agents, episodes)."""
        scores = np.zeros(seeds.shape)
        number = np.zeros(len(seeds), int)
        pairs = zip(self._examined, seeds[:, 0].tolist(), strict=True)
        observations = [episode.begin(place, seed) for episode, seed in pairs]
        model = self._answering(self._states)
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


def _first_seeds(n: int, key: PRNGKeyArray) -> Array:
    """Return the seeds of the first episodes in n environments."""
    return _episode_seed(key)[None] if n == 1 else jax.vmap(_episode_seed)(jax.random.split(key, n))


def _act(agent: Agent, state: Any, key_data: Array, observation: Array, frame: Int[Array, ""]) -> tuple[Array, Array]:
    """Return the action of a frame, and the seed of the episode that begins after it if one ends with it."""
    keys = frame_keys(jax.random.wrap_key_data(key_data), frame)
    return agent.act(state, observation, frame, keys.act), _episode_seed(keys.reset)


def _learn_and_act_side_by_side(
    agent: Agent, tree: Any, leaves: list[Array], *arguments: Any
) -> tuple[list[Array], Array, Array]:
    """Return the leaves of all seeds' states after `_learn_and_act`, actions and seeds.

    States are leaves outside, since taking modules apart and putting them together costs as much as a step.
    """
    each = jax.vmap(partial(_learn_and_act, agent), in_axes=(0, 0, 0, 0, 0, None))
    states, actions, seeds = each(jax.tree.unflatten(tree, leaves), *arguments)
    return jax.tree.leaves(states), actions, seeds


def _learn_and_act(
    agent: Agent,
    state: Any,
    key_data: Array,
    observation: Array,
    action: Array,
    arrived: _Arrived,
    frame: Int[Array, ""],
) -> tuple[Any, Array, Array]:
    """Learn from a frame, and return with the state the next action and `_act`'s seed."""
    keys = frame_keys(jax.random.wrap_key_data(key_data), frame)
    transition = Transition(observation, action, arrived.reward, arrived.discount, arrived.next_observation)
    learned = agent.observe(state, transition, frame, keys.learn, arrived.ended)
    return learned, *_act(agent, learned, key_data, arrived.following, frame + 1)


def _greedy(network: PyTree, observation: Array) -> Array:
    return jnp.argmax(network(as_features(observation)))
