"""Which level of an environment is played when, without telling the agent of a change.

Levels are counted from 0 everywhere: in stages, on the command line, in tables and in records.

Source: Riemer et al. (2019), "Learning to Learn without Forgetting by Maximizing Transfer and Minimizing
Interference", arXiv:1810.11910, section 5: a new level after every 25,000 frames.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from perdure.core import AnyArray
from perdure.memory.buffer import LARGEST_COUNT

FRAMES_PER_LEVEL = 25_000


class Stage(NamedTuple):
    """One level, played for a number of frames."""

    level: int
    """Index of the level, 0 for the first."""
    frames: int
    """Number of frames."""


class Schedule(NamedTuple):
    """The stages of a run as arrays, so that another schedule of as many stages needs no compilation."""

    params: Any
    """Parameters of the environment in each stage, leaves (stages, ...)."""
    ends: Int[AnyArray, " stages"]
    """Number of frames played by the end of each stage."""

    def at(self, frame: Int[Array, ""]) -> Any:
        """Return the environment's parameters at a frame; after the last stage, those of the last stage."""
        stage = jnp.searchsorted(jnp.asarray(self.ends), frame, side="right")
        stage = jnp.minimum(stage, len(self.ends) - 1)
        return jax.tree.map(lambda leaf: leaf[stage], self.params)


def default_stages(n_levels: int) -> list[Stage]:
    """Return the stages of the paper: every level in turn for 25,000 frames."""
    return [Stage(level, FRAMES_PER_LEVEL) for level in range(n_levels)]


def as_stages(stages: Any, n_levels: int) -> list[Stage]:
    """Return stages from pairs of a level and a number of frames.

    Args:
        stages: the pairs; None for `default_stages`.
        n_levels: number of levels of the environment.

    Raises:
        TypeError: if they are not pairs of whole numbers.
        ValueError: if there are none, or a level does not exist.
    """
    if stages is None:
        return default_stages(n_levels)
    if not isinstance(stages, list | tuple):
        raise TypeError(f"stages = {stages!r}, expected a list of pairs (level, frames)")
    for number, stage in enumerate(stages):
        if not (isinstance(stage, Sequence) and len(stage) == 2 and all(map(is_whole, stage))):
            raise TypeError(
                f"stages[{number}] = {stage!r}, expected a pair of whole numbers (level, frames), such as "
                f"(0, {FRAMES_PER_LEVEL}) for {FRAMES_PER_LEVEL:,} frames of the first level"
            )
        check_level(stage[0], n_levels)
    if not stages:
        raise ValueError("the schedule has no stages, expected at least one pair (level, frames)")
    return [Stage(int(level), int(frames)) for level, frames in stages]


def check_level(level: Any, n_levels: int) -> None:
    """Check that a level exists.

    Raises:
        ValueError: if it does not.
    """
    if not (is_whole(level) and 0 <= level < n_levels):
        raise ValueError(
            f"level = {level!r}, expected a whole number from 0 to {n_levels - 1}: there are {n_levels} levels, "
            "counted from 0"
        )


def stack_params(levels: Sequence[Any]) -> Any:
    """Return the parameters of several levels in one tree, leaves (levels, ...).

    Raises:
        ValueError: if there are none, or they cannot be stacked.
    """
    if not levels:
        raise ValueError("no levels were given, expected the parameters of at least one")
    forms = [_form(level) for level in levels]
    for number, form in enumerate(forms):
        if form != forms[0]:
            raise ValueError(
                f"levels[{number}] has the form {form}, levels[0] the form {forms[0]}; expected parameters that differ "
                "in their numbers only"
            )
    if not jax.tree.leaves(levels[0]):
        raise ValueError(
            f"levels[0] = {levels[0]!r} holds no numbers, expected the parameters of an environment, with at least one "
            "number, such as max_steps_in_episode"
        )
    return jax.tree.map(lambda *leaves: jnp.stack([jnp.asarray(leaf) for leaf in leaves]), *levels)


def make_schedule(levels: Sequence[Any], stages: Sequence[Any]) -> Schedule:
    """Return the schedule that plays stages one after another.

    Args:
        levels: parameters of each level.
        stages: pairs of a level and a number of frames, as `as_stages` takes them.

    Raises:
        TypeError: as `as_stages`.
        ValueError: as `as_stages`, or if a stage is shorter than an episode may be, or all together are too long to be
            counted.
    """
    stages = as_stages(stages, len(levels))
    for level, frames in stages:
        episode = _longest_episode(levels[level])
        if frames < episode:
            shorter = getattr(levels[level], "how_to_shorten", "in Python the level a smaller max_steps_in_episode")
            raise ValueError(
                f"the stage of level {level} lasts {frames:,} frames, less than an episode, which may have {episode:,}"
                f"; give it more frames, or {shorter}"
            )
    if (total := sum(stage.frames for stage in stages)) > LARGEST_COUNT:
        raise ValueError(
            f"the stages last {total:,} frames together, expected at most {LARGEST_COUNT:,}; give them fewer frames"
        )
    chosen = np.asarray([stage.level for stage in stages])
    params = jax.tree.map(lambda leaf: leaf[chosen], stack_params(levels))
    return Schedule(params, np.cumsum([stage.frames for stage in stages]).astype(np.int32))


def _longest_episode(level: Any) -> int:
    """Return the frames of the longest episode, 1 where there is no limit."""
    limit = float(getattr(level, "max_steps_in_episode", 1))
    return int(limit) if math.isfinite(limit) else 1


def is_whole(value: Any) -> bool:
    """Tell whether something is a whole number."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def _form(params: Any) -> str:
    """Return the nesting of parameters, with the shapes of their arrays."""
    leaves, structure = jax.tree.flatten(params)
    return f"{structure} with shapes {[jnp.shape(leaf) for leaf in leaves]}"
