"""How an episode ends, told in one way for every environment that agents can play.

Libraries differ in what the fourth value of `step_env`, `done`, says:

* gymnax from 1.0 on: the game has ended. The time limit is in `is_truncated(state, params)`, which only `step` asks.
* gymnax before 1.0: the game has ended or the time is up, and `info["discount"]` is 0 in both cases.
* perdure's games: either, told apart by `info["terminated"]` and `info["truncated"]`.
* other environments: either, told apart by `info["discount"]` or by `state.time` and `params.max_steps_in_episode`.

The difference matters: a game that has ended pays nothing more, but a time limit only stops the recording, so that
the value of what would have followed still counts (Pardo et al. 2018, "Time Limits in Reinforcement Learning",
arXiv:1712.00378).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from perdure.rl.environment import GymnaxLike, Step


class _End(NamedTuple):
    terminated: Bool[Array, ""]
    truncated: Bool[Array, ""]
    """Not true where `terminated` is."""
    discount: Float[Array, ""]


def step(environment: GymnaxLike, key: PRNGKeyArray, state: Any, action: Int[Array, ""], params: Any) -> Step:
    """Return what an action leads to, without starting the next episode.

    Args:
        environment: any that `check_environment` accepts.
        key: draws what is random in this frame.
        state: of the environment.
        action: 0 ≤ action < `environment.num_actions`.
        params: of the environment.

    Returns:
        A step whose `done` is true at every end of an episode, and whose `info` always has the entries `terminated`,
        `truncated` and `discount` described at `Step`.
    """
    observation, state, reward, done, info = environment.step_env(key, state, action, params)
    end = _end(environment, state, params, jnp.asarray(done, bool), info)
    return Step(observation, state, jnp.asarray(reward, jnp.float32), end.terminated | end.truncated, end._asdict())


def _end(environment: Any, state: Any, params: Any, done: Bool[Array, ""], info: dict[str, Any]) -> _End:
    if "terminated" in info and "truncated" in info:
        return _told_apart(jnp.asarray(info["terminated"], bool), jnp.asarray(info["truncated"], bool), info)
    if hasattr(environment, "is_truncated"):  # gymnax from 1.0 on
        return _told_apart(done, jnp.asarray(environment.is_truncated(state, params), bool), info)
    time_is_up = _time_is_up(state, params)
    if hasattr(environment, "is_terminal") and hasattr(params, "replace"):  # gymnax before 1.0
        without_limit = params.replace(max_steps_in_episode=state.time + 1)
        terminated = done & (~time_is_up | environment.is_terminal(state, without_limit))
        return _told_apart(terminated, time_is_up, {})
    if "discount" in info:
        terminated = done & (jnp.asarray(info["discount"]) == 0)
        return _told_apart(terminated, done | time_is_up, info)
    return _told_apart(done & ~time_is_up, time_is_up, info)


def _told_apart(terminated: Bool[Array, ""], stopped: Bool[Array, ""], info: dict[str, Any]) -> _End:
    """Return the end of a frame, with the discount that the environment gives, or else 0 where it terminated."""
    discount = info.get("discount", 1 - terminated.astype(jnp.float32))
    return _End(terminated, stopped & ~terminated, jnp.asarray(discount, jnp.float32))


def _time_is_up(state: Any, params: Any) -> Bool[Array, ""]:
    if not (hasattr(state, "time") and hasattr(params, "max_steps_in_episode")):
        return jnp.zeros((), bool)
    return jnp.asarray(state.time) >= params.max_steps_in_episode
