"""A corridor: an environment with the interface of gymnax that is none of perdure's own."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp
import pytest
from jaxtyping import Array, Float, Int


class CorridorParams(NamedTuple):
    length: Int[Array, ""]
    max_steps_in_episode: Int[Array, ""]


class CorridorState(NamedTuple):
    place: Int[Array, ""]
    time: Int[Array, ""]


def corridor_level(length=3, limit=10):
    return CorridorParams(jnp.asarray(length, jnp.int32), jnp.asarray(limit, jnp.int32))


class Corridor:
    """Action 1 goes on, 0 stays; at the end it pays 1 and terminates. Nothing is random."""

    num_actions = 2

    @property
    def default_params(self) -> CorridorParams:
        return corridor_level()

    @property
    def levels(self) -> list[CorridorParams]:
        return [corridor_level(length) for length in (2, 4)]

    def reset(self, key: Any, params: Any) -> tuple[Float[Array, "2"], CorridorState]:
        state = CorridorState(jnp.zeros((), jnp.int32), jnp.zeros((), jnp.int32))
        return self._seen(state, params), state

    def step_env(self, key: Any, state: CorridorState, action: Any, params: Any) -> tuple[Any, Any, Any, Any, Any]:
        after = CorridorState(state.place + jnp.asarray(action, jnp.int32), state.time + 1)
        there = after.place >= params.length
        done = there | (after.time >= params.max_steps_in_episode)
        info = {"discount": 1 - jnp.asarray(there, jnp.float32)}
        return self._seen(after, params), after, jnp.asarray(there, jnp.float32), done, info

    def _seen(self, state: CorridorState, params: Any) -> Float[Array, "2"]:
        return jnp.stack([state.place / params.length, jnp.ones(())]).astype(jnp.float32)


@pytest.fixture
def corridor():
    return Corridor()


@pytest.fixture
def level():
    """Makes the parameters of a corridor of some length and time limit."""
    return corridor_level
