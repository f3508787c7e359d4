"""Catcher with a lamp: while it is lit, the game is the other way round.

Either the controls are (left is right), or the fruit is (it has to be avoided). The lamp is part of the observation, so
that one network can play both; what was learned in the dark is wrong in the light, and the other way round.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, UInt8

from perdure.rl.environment import Environment, Step
from perdure.rl.games.catcher import (
    SIZE,
    SPEEDS,
    Catcher,
    CatcherParams,
    CatcherState,
    Fruit,
    advance,
    caught,
    draw_fruit,
    start,
)
from perdure.rl.games.rules import LOSS, MAX_STEPS, with_end

N_SPEEDS = 3
LAMP_SIDE = 12
"""Side of the lamp in a picture of 84 × 84, in its upper left corner."""


class LampParams(NamedTuple):
    """Parameters of a level."""

    lit: Bool[Array, ""]
    """Is the game the other way round?"""
    catcher: CatcherParams

    @property
    def max_steps_in_episode(self) -> Int[Array, ""]:
        """Frames after which the time limit ends an episode."""
        return self.catcher.max_steps_in_episode


class ContraryCatcher(Environment[LampParams, CatcherState]):
    """Catcher, and in every other level the other way round.

    Observations are those of Catcher, and a fifth entry: 1 if the lamp is lit, else −1. Levels: fruit that falls 2, 3
    and 4 pixels a frame, each first in the dark, then in the light.
    """

    @abstractmethod
    def played(
        self, state: CatcherState, action: Int[Array, ""], fruit: Fruit, params: LampParams
    ) -> tuple[CatcherState, Float[Array, ""]]:
        """Return state and reward of the next frame, as `perdure.rl.games.catcher.advance`."""

    @property
    def num_actions(self) -> int:
        """Number of actions: 3."""
        return 3

    @staticmethod
    def params(lit: bool = False, speed: float = SPEEDS[0], max_steps_in_episode: int = MAX_STEPS) -> LampParams:
        """Return the parameters of a level.

        Args:
            lit: is the game the other way round?
            speed: as that of `Catcher.params`.
            max_steps_in_episode: frames after which the time limit ends an episode.

        Raises:
            TypeError: as `Catcher.params`.
            ValueError: as `Catcher.params`.
        """
        return LampParams(jnp.asarray(bool(lit)), Catcher.params(speed, max_steps_in_episode))

    @property
    def default_params(self) -> LampParams:
        """Parameters of the first level."""
        return self.params()

    @property
    def levels(self) -> tuple[LampParams, ...]:
        """Three speeds, each in the dark and in the light."""
        return tuple(self.params(lit, speed) for speed in SPEEDS[:N_SPEEDS] for lit in (False, True))

    @property
    def groups(self) -> tuple[str, ...]:
        """What each level belongs to."""
        return ("dark", "lit") * N_SPEEDS

    def reset(self, key: PRNGKeyArray, params: LampParams) -> tuple[Float[Array, " numbers"], CatcherState]:
        """Return the first observation and state of an episode."""
        state = start(draw_fruit(key))
        return self._seen(state, params), state

    def step_env(self, key: PRNGKeyArray, state: CatcherState, action: Int[Array, ""], params: LampParams) -> Step:
        """Return the step to which an action leads, without a reset at the end of the episode."""
        after, reward = self.played(state, action, draw_fruit(key), params)
        return with_end(self._seen(after, params), after, reward, after.lives == 0, params.max_steps_in_episode)

    def render(self, state: CatcherState, params: LampParams) -> UInt8[Array, "84 84"]:
        """Return Catcher's grey picture, rows first, with a white square in the upper left corner while it is lit."""
        picture = Catcher().render(state, params.catcher)
        corner = jnp.where(params.lit, jnp.uint8(255), picture[:LAMP_SIDE, :LAMP_SIDE])
        return picture.at[:LAMP_SIDE, :LAMP_SIDE].set(corner)

    def _seen(self, state: CatcherState, params: LampParams) -> Float[Array, " numbers"]:
        return jnp.append(Catcher().observe(state), jnp.where(params.lit, 1.0, -1.0).astype(jnp.float32))


class ContraryControls(ContraryCatcher):
    """Catcher whose paddle goes right for left while the lamp is lit."""

    def played(
        self, state: CatcherState, action: Int[Array, ""], fruit: Fruit, params: LampParams
    ) -> tuple[CatcherState, Float[Array, ""]]:
        """Return state and reward of the next frame."""
        swapped = jnp.where(params.lit & (action < 2), 1 - action, action)
        return advance(state, swapped, fruit, params.catcher)


class ContraryFruit(ContraryCatcher):
    """Catcher whose fruit has to be avoided while the lamp is lit: a catch counts as a miss, a miss as a catch."""

    def played(
        self, state: CatcherState, action: Int[Array, ""], fruit: Fruit, params: LampParams
    ) -> tuple[CatcherState, Float[Array, ""]]:
        """Return state and reward of the next frame."""
        after, reward = advance(state, action, fruit, params.catcher)
        bad, good = caught(state), state.fruit_y >= SIZE
        lives = state.lives - bad.astype(jnp.int32)
        contrary = jnp.where(good, 1, 0) - jnp.where(bad, 1, 0) + jnp.where(lives == 0, LOSS, 0)
        lit = after._replace(lives=lives, score=state.score + contrary)
        chosen = CatcherState(*(jnp.where(params.lit, new, old) for new, old in zip(lit, after, strict=True)))
        return chosen, jnp.where(params.lit, contrary.astype(jnp.float32), reward)
