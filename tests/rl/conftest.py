"""A corridor: an environment that is none of perdure's own, and tells its ends as one or another library does."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp
import pytest
from jaxtyping import Array, Bool, Float, Int


class CorridorParams(NamedTuple):
    length: Int[Array, ""]
    max_steps_in_episode: Int[Array, ""]

    def replace(self, **changes: Any) -> CorridorParams:
        return self._replace(**changes)


class CorridorState(NamedTuple):
    place: Int[Array, ""]
    time: Int[Array, ""]


def corridor_level(length=3, limit=10):
    return CorridorParams(jnp.asarray(length, jnp.int32), jnp.asarray(limit, jnp.int32))


class Corridor:
    """Action 1 moves on, 0 stays; the far end pays 1 and terminates. Nothing is random.

    What `step_env` says of the end is what the documentation asks of an own environment: `done` at the far end and at
    the time limit, `info["discount"]` 0 at the far end only.
    """

    num_actions = 2
    tells_both_apart = True
    """Can both ends be told apart where they come in the same frame?"""

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
        there, late = after.place >= params.length, after.time >= params.max_steps_in_episode
        return self._seen(after, params), after, jnp.asarray(there, jnp.float32), *self._end(there, late)

    def _end(self, there: Bool[Array, ""], late: Bool[Array, ""]) -> tuple[Any, dict[str, Any]]:
        return there | late, {"discount": 1 - jnp.asarray(there, jnp.float32)}

    def _seen(self, state: CorridorState, params: Any) -> Float[Array, "2"]:
        return jnp.stack([state.place / params.length, jnp.ones(())]).astype(jnp.float32)


class CorridorOfGymnax1(Corridor):
    """As gymnax from 1.0 on: `step_env` knows nothing of the time limit, `is_truncated` does."""

    def _end(self, there, late):
        return there, {"discount": 1 - jnp.asarray(there, jnp.float32)}

    def is_truncated(self, state, params):
        return state.time >= params.max_steps_in_episode

    def is_terminal(self, state, params):
        return state.place >= params.length


class CorridorOfGymnax0(Corridor):
    """As gymnax before 1.0: `done` and a discount of 0 at both ends, `is_terminal` is true at both."""

    def _end(self, there, late):
        return there | late, {"discount": 1 - jnp.asarray(there | late, jnp.float32)}

    def is_terminal(self, state, params):
        return (state.place >= params.length) | (state.time >= params.max_steps_in_episode)


class CorridorThatTellsBoth(Corridor):
    """As perdure's games: `info` tells the two ends apart."""

    def _end(self, there, late):
        return there | late, {"terminated": there, "truncated": late & ~there}


class SilentCorridor(Corridor):
    """Tells nothing but `done`, at both ends; the limit can be read from state and parameters."""

    tells_both_apart = False

    def _end(self, there, late):
        return there | late, {}


class CorridorWithoutLimit(Corridor):
    """Forgets the time limit that its parameters state."""

    tells_both_apart = False

    def _end(self, there, late):
        return there, {}


CORRIDORS = [
    Corridor,
    CorridorOfGymnax1,
    CorridorOfGymnax0,
    CorridorThatTellsBoth,
    SilentCorridor,
    CorridorWithoutLimit,
]


@pytest.fixture
def corridor():
    return Corridor()


@pytest.fixture(params=CORRIDORS)
def any_corridor(request):
    """A corridor that tells its ends as one library or another."""
    return request.param()


@pytest.fixture
def level():
    """Makes the parameters of a corridor of some length and time limit."""
    return corridor_level
