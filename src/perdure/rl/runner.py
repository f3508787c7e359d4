"""An agent in an environment: playing frame after frame, and evaluation at each level."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, PyTree, Shaped

from perdure.core import AnyArray, as_features
from perdure.rl.agent import Agent
from perdure.rl.checks import check_network
from perdure.rl.environment import GymnaxLike
from perdure.rl.episode_ends import step
from perdure.rl.games.frames import FrameObservations
from perdure.rl.schedule import Schedule
from perdure.rl.transition import Transition

EPISODE_LIMIT = 10_000
"""Frames after which an evaluation stops an episode of an environment that has no time limit."""


class RunnerState(NamedTuple):
    """An agent and the episode that it is playing.

    Of an agent with several environments, game, observation and score have an axis (environments, ...) in front.
    """

    agent: Any
    """Its state."""
    game: Any
    """State of the environment."""
    observation: Shaped[AnyArray, ...]
    """The observation on which the agent acts next."""
    score: Float[AnyArray, "*environments"]
    """Sum of the rewards of the present episode."""
    episodes: Int[AnyArray, ""]
    """Episodes that have ended."""
    total_score: Float[AnyArray, ""]
    """Sum of their scores."""


def init_runner(agent: Agent, environment: GymnaxLike, network: PyTree, params: Any, key: PRNGKeyArray) -> RunnerState:
    """Return the state before the first frame.

    Args:
        agent: what learns.
        environment: what it plays.
        network: as `agent.make_networks` makes it; all leaves are arrays.
        params: of the first level.
        key: draws the first episode.

    Raises:
        ValueError: if the network does not fit the environment's observations and actions.
    """
    n, zero = agent.n_environments, jnp.zeros((), jnp.float32)
    if n == 1:
        observation, game = environment.reset(key, params)
    else:
        observation, game = jax.vmap(environment.reset, (0, None))(jax.random.split(key, n), params)
    stacked = isinstance(environment, FrameObservations)
    one = observation if n == 1 else observation[0]
    state = init_agent(agent, network, one, environment.num_actions, stacked=stacked)
    scores = zero if n == 1 else jnp.zeros(n, jnp.float32)
    return RunnerState(state, game, observation, scores, jnp.zeros((), jnp.int32), zero)


def init_agent(
    agent: Agent, network: PyTree, observation: Shaped[Array, ...], n_actions: int, *, stacked: bool = False
) -> Any:
    """Return the state of an agent before the first frame.

    Args:
        agent: what will learn.
        network: as `agent.make_networks` makes it.
        observation: the first one.
        n_actions: number of actions.
        stacked: are observations stacks of the last pictures?

    Raises:
        ValueError: if the network does not fit the observation or the number of actions.
    """
    check_network(network, observation, n_actions)
    zero = jnp.zeros((), jnp.float32)
    transition = Transition(observation, jnp.zeros((), jnp.int32), zero, zero, observation)
    return agent.init(network, transition, stacked=stacked)


class FrameKeys(NamedTuple):
    """All that a frame leaves to chance."""

    act: PRNGKeyArray
    step: PRNGKeyArray
    learn: PRNGKeyArray
    reset: PRNGKeyArray
    """Of the next episode, if one ends with the frame."""


def frame_keys(key: PRNGKeyArray, frame: Int[Array, ""]) -> FrameKeys:
    """Return the keys of a frame, folded from its number."""
    return FrameKeys(*jax.random.split(jax.random.fold_in(key, frame), 4))


def play_frame(
    agent: Agent, environment: GymnaxLike, runner: RunnerState, params: Any, frame: Int[Array, ""], keys: FrameKeys
) -> RunnerState:
    """Return the state after one more frame: act, learn, and start the next episode if this one has ended."""
    n = agent.n_environments
    played = _play_one(agent, environment, _in_turn(runner, frame, n), params, frame, keys)
    return _back_in_place(runner, played, frame, n)


def _in_turn(runner: RunnerState, frame: Int[Array, ""], n: int) -> RunnerState:
    """Return the state with the environment alone whose turn it is."""
    if n == 1:
        return runner
    game, observation, score = jax.tree.map(
        lambda leaf: leaf[frame % n], (runner.game, runner.observation, runner.score)
    )
    return runner._replace(game=game, observation=observation, score=score)


def _back_in_place(all_of_them: RunnerState, one: RunnerState, frame: Int[Array, ""], n: int) -> RunnerState:
    """Return the state of all environments, after the one whose turn it was has been played."""
    if n == 1:
        return one
    parts = ((it.game, it.observation, it.score) for it in (all_of_them, one))
    game, observation, score = jax.tree.map(lambda leaf, new: leaf.at[frame % n].set(new), *parts)
    return one._replace(game=game, observation=observation, score=score)


def _play_one(
    agent: Agent, environment: GymnaxLike, runner: RunnerState, params: Any, frame: Int[Array, ""], keys: FrameKeys
) -> RunnerState:
    action = agent.act(runner.agent, runner.observation, frame, keys.act)
    after = step(environment, keys.step, runner.game, action, params)
    transition = Transition(
        jnp.asarray(runner.observation), action, after.reward, after.info["discount"], after.observation
    )
    episodes = runner.episodes + after.done.astype(jnp.int32)
    learned = agent.observe(runner.agent, transition, frame, keys.learn, jnp.where(after.done, episodes, 0))
    observation, game = jax.tree.map(
        lambda reset, stepped: jnp.where(after.done, reset, stepped),
        environment.reset(keys.reset, params),
        (after.observation, after.state),
    )
    score = runner.score + after.reward
    return RunnerState(
        learned,
        game,
        observation,
        jnp.where(after.done, 0.0, score),
        episodes,
        runner.total_score + jnp.where(after.done, score, 0.0),
    )


def play_frames(
    agent: Agent,
    environment: GymnaxLike,
    runner: RunnerState,
    schedule: Schedule,
    key: PRNGKeyArray,
    start: Int[Array, ""],
    stop: Int[Array, ""],
) -> RunnerState:
    """Return the state after the frames start ≤ n < stop; the key of a frame is folded from its number."""

    def play(n: Int[Array, ""], runner: RunnerState) -> RunnerState:
        return play_frame(agent, environment, runner, schedule.at(n), n, frame_keys(key, n))

    return jax.lax.fori_loop(start, stop, play, runner)


def greedy_scores(
    environment: GymnaxLike, network: PyTree, levels: Any, episodes: int, key: PRNGKeyArray
) -> Float[Array, "levels episodes"]:
    """Return the scores of whole episodes at each level, played by the greedy policy.

    An episode of an environment without a time limit is stopped after `EPISODE_LIMIT` frames.

    Args:
        environment: what is played.
        network: from one observation to the values of all actions.
        levels: parameters, leaves (levels, ...).
        episodes: number of episodes at each level.
        key: draws the episodes.
    """
    n_levels = len(jax.tree.leaves(levels)[0])
    keys = jax.random.split(key, (n_levels, episodes))

    def begin(key: PRNGKeyArray, params: Any) -> _Episode:
        reset_key, step_key = jax.random.split(key)
        observation, game = environment.reset(reset_key, params)
        return _Episode(observation, game, jnp.zeros((), jnp.float32), jnp.zeros((), bool), step_key)

    def play(episode: _Episode, params: Any) -> _Episode:
        key, step_key = jax.random.split(episode.key)
        action = jnp.argmax(network(as_features(episode.observation))).astype(jnp.int32)
        after = step(environment, step_key, episode.game, action, params)
        score = episode.score + jnp.where(episode.done, 0.0, after.reward)
        return _Episode(after.observation, after.state, score, episode.done | after.done, key)

    def each(function: Any) -> Any:
        return jax.vmap(jax.vmap(function, (0, None)))

    def unfinished(carry: tuple[_Episode, Int[Array, ""]]) -> Array:
        playing, frames = carry
        return jnp.any(~playing.done) & (frames < EPISODE_LIMIT)

    def advance(carry: tuple[_Episode, Int[Array, ""]]) -> tuple[_Episode, Int[Array, ""]]:
        playing, frames = carry
        return each(play)(playing, levels), frames + 1

    first = each(begin)(keys, levels)
    playing, _ = jax.lax.while_loop(unfinished, advance, (first, jnp.zeros((), jnp.int32)))
    return playing.score


class _Episode(NamedTuple):
    observation: Shaped[Array, ...]
    game: Any
    score: Float[Array, ""]
    done: Bool[Array, ""]
    key: PRNGKeyArray
