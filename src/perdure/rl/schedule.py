"""Levels that follow one another without the agent being told.

Source: Riemer et al. (2019), section 5: a new level after every 25,000 frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from perdure.core import AnyArray

FRAMES_A_LEVEL = 25_000


class Stage(NamedTuple):
    """One level for some time."""

    level: int
    """Which of the environment's levels, counted from 0."""
    frames: int
    """For how many frames."""


class Schedule(NamedTuple):
    """The stages of a run, as arrays, so that another schedule compiles nothing anew."""

    params: Any
    """Parameters of the environment at each stage, leaves (stages, ...)."""
    ends: Int[AnyArray, " stages"]
    """Frames played by the end of each stage."""

    def at(self, frame: Int[Array, ""]) -> Any:
        """Return the environment's parameters at a frame; after the end those of the last stage."""
        stage = jnp.searchsorted(jnp.asarray(self.ends), frame, side="right")
        stage = jnp.minimum(stage, len(self.ends) - 1)
        return jax.tree.map(lambda leaf: leaf[stage], self.params)


def default_stages(n_levels: int) -> list[Stage]:
    """Return the stages of the paper: every level in turn for 25,000 frames."""
    return [Stage(level, FRAMES_A_LEVEL) for level in range(n_levels)]


def stack_params(levels: Sequence[Any]) -> Any:
    """Return the parameters of several levels in one tree, leaves (levels, ...).

    Raises:
        ValueError: if there are none.
    """
    if not levels:
        raise ValueError("no levels were given, expected the parameters of at least one")
    return jax.tree.map(lambda *leaves: jnp.stack([jnp.asarray(leaf) for leaf in leaves]), *levels)


def make_schedule(levels: Sequence[Any], stages: Sequence[Stage]) -> Schedule:
    """Return the schedule that plays stages one after another.

    Args:
        levels: parameters of each level.
        stages: what to play, and for how long.

    Raises:
        ValueError: if there are no stages, a level does not exist, or a stage is shorter than an episode may be.
    """
    if not stages:
        raise ValueError("the schedule has no stages, expected at least one")
    for number, (level, frames) in enumerate(stages, 1):
        if not 0 <= level < len(levels):
            raise ValueError(
                f"stage {number} of the schedule plays level {level + 1}, but there are levels 1 to {len(levels)}"
            )
        episode = int(getattr(levels[level], "max_steps_in_episode", 1))
        if frames < episode:
            raise ValueError(
                f"stage {number} of the schedule lasts {frames:,} frames, less than an episode, which may have "
                f"{episode:,}; make it longer, or the time limit shorter"
            )
    chosen = np.asarray([stage.level for stage in stages])
    params = jax.tree.map(lambda leaf: leaf[chosen], stack_params(levels))
    return Schedule(params, np.cumsum([stage.frames for stage in stages]).astype(np.int32))
