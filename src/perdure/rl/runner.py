"""An agent in an environment: frame after frame, and how good it is at each level."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree, Shaped

from perdure.core import as_features
from perdure.rl.agent import Agent, AgentState
from perdure.rl.environment import GymnaxLike
from perdure.rl.schedule import Schedule
from perdure.rl.transition import Transition

EPISODE_LIMIT = 10_000
"""Frames after which an evaluation breaks off an episode, should the environment have no limit of its own."""


class RunnerState(NamedTuple):
    """An agent and where its game stands."""

    agent: AgentState
    game: Any
    """State of the environment."""
    observation: Shaped[Array, ...]
    """What the agent sees."""
    score: Float[Array, ""]
    """Sum of the rewards of this episode."""
    episodes: Int[Array, ""]
    """Episodes that have ended."""
    total_score: Float[Array, ""]
    """Sum of their scores."""


def init_runner(agent: Agent, environment: GymnaxLike, network: PyTree, params: Any, key: PRNGKeyArray) -> RunnerState:
    """Return the agent before its first frame.

    Args:
        agent: what learns.
        environment: where.
        network: from one observation to the values of all actions; all leaves are arrays.
        params: of the first level.
        key: draws the first episode.
    """
    observation, game = environment.reset(key, params)
    nothing = jnp.zeros((), jnp.float32)
    action = jnp.zeros((), jnp.int32)
    transition = Transition(observation, action, nothing, nothing, observation)
    return RunnerState(agent.init(network, transition), game, observation, nothing, action, nothing)


def play_frame(
    agent: Agent, environment: GymnaxLike, runner: RunnerState, params: Any, frame: Int[Array, ""], key: PRNGKeyArray
) -> RunnerState:
    """Return the runner after one more frame: act, learn, and begin anew if the episode has ended."""
    act_key, step_key, learn_key, reset_key = jax.random.split(key, 4)
    action = agent.act(runner.agent, runner.observation, frame, act_key)
    observation, game, reward, done, info = environment.step_env(step_key, runner.game, action, params)
    reward = jnp.asarray(reward, jnp.float32)
    discount = jnp.asarray(info.get("discount", 1 - jnp.asarray(done, jnp.float32)), jnp.float32)
    transition = Transition(runner.observation, action, reward, discount, observation)
    learned = agent.observe(runner.agent, transition, frame, learn_key)
    fresh = environment.reset(reset_key, params)
    observation, game = jax.tree.map(lambda new, old: jnp.where(done, new, old), fresh, (observation, game))
    score = runner.score + reward
    ended = jnp.asarray(done, jnp.int32)
    return RunnerState(
        learned,
        game,
        observation,
        jnp.where(done, 0.0, score),
        runner.episodes + ended,
        runner.total_score + jnp.where(done, score, 0.0),
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
    """Return the runner after the frames start ≤ n < stop; what a frame leaves to chance is folded from its number."""

    def play(n: Int[Array, ""], runner: RunnerState) -> RunnerState:
        return play_frame(agent, environment, runner, schedule.at(n), n, jax.random.fold_in(key, n))

    return jax.lax.fori_loop(start, stop, play, runner)


def greedy_scores(
    environment: GymnaxLike, network: PyTree, levels: Any, episodes: int, key: PRNGKeyArray
) -> Float[Array, "levels episodes"]:
    """Return the scores of whole episodes at each level, in all of which the best action is taken.

    Args:
        environment: what is played.
        network: from one observation to the values of all actions.
        levels: parameters, leaves (levels, ...).
        episodes: at each level.
        key: draws the episodes.
    """
    n_levels = len(jax.tree.leaves(levels)[0])
    keys = jax.random.split(key, (n_levels, episodes))

    def begin(key: PRNGKeyArray, params: Any) -> tuple[Any, ...]:
        reset_key, step_key = jax.random.split(key)
        observation, game = environment.reset(reset_key, params)
        return observation, game, jnp.zeros((), jnp.float32), jnp.zeros((), bool), step_key

    def step(now: tuple[Any, ...], params: Any) -> tuple[Any, ...]:
        observation, game, score, done, key = now
        key, step_key = jax.random.split(key)
        action = jnp.argmax(network(as_features(observation))).astype(jnp.int32)
        observation, game, reward, ends, _ = environment.step_env(step_key, game, action, params)
        score = score + jnp.where(done, 0.0, jnp.asarray(reward, jnp.float32))
        return observation, game, score, done | ends, key

    def at_all(function: Any) -> Any:
        return jax.vmap(jax.vmap(function, (0, None)))

    def go_on(carry: tuple[Any, Int[Array, ""]]) -> Array:
        now, frames = carry
        return jnp.any(~now[3]) & (frames < EPISODE_LIMIT)

    def advance(carry: tuple[Any, Int[Array, ""]]) -> tuple[Any, Int[Array, ""]]:
        now, frames = carry
        return at_all(step)(now, levels), frames + 1

    now, _ = jax.lax.while_loop(go_on, advance, (at_all(begin)(keys, levels), jnp.zeros((), jnp.int32)))
    return now[2]
