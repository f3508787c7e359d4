"""Environments of Gymnasium: Python plays them, frame by frame, while acting and learning are compiled.

A level is one of several environments that show observations of one form and have as many actions. What there is of an
episode is the seed with which it began and its actions so far: Gymnasium requires that the two decide all that follows,
so that an episode is brought back by playing it again.

Source: the interface of Gymnasium (Towers et al. 2024, "Gymnasium: A Standard Interface for Reinforcement Learning
Environments", arXiv:2407.17032).
"""

from __future__ import annotations

import math
import reprlib
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Int, Shaped, UInt32

from perdure.core import AnyArray

EPISODE_LIMIT = 10_000
"""Frames after which an episode of an environment without a known time limit is truncated."""
_IMAGE_CHANNELS = (1, 3, 4)
_LARGEST_REWARD = float(np.finfo(np.float32).max)


class HostedLevel(NamedTuple):
    """Which of the environments is played."""

    place: Int[AnyArray, ""]
    """Its place in the list."""
    limit: Int[AnyArray, ""]
    """Frames after which its time limit truncates an episode; 0 if no limit is known."""

    @property
    def max_steps_in_episode(self) -> int:
        """Longest episode that is known of, in frames."""
        return max(int(self.limit), 1)

    @property
    def how_to_shorten(self) -> str:
        """How its episodes are made shorter, in words."""
        return "make it with a lower limit, as by gymnasium.make(…, max_episode_steps=…)"


class HostedGame(NamedTuple):
    """What brings an episode back."""

    place: Int[AnyArray, ""]
    """Which of the environments it is played in."""
    seed: UInt32[AnyArray, ""]
    """With which it was reset."""
    time: Int[AnyArray, ""]
    """Frames since it began."""
    actions: Int[AnyArray, " limit"]
    """The actions of these frames; the rest is zeros."""


class HostError(RuntimeError):
    """An environment has failed; the message has its own words."""


class ReturnedError(ValueError):
    """An environment has returned what agents cannot learn from; the message says what, and what was expected."""


@dataclass(frozen=True)
class HostedEnvironment:
    """Environments of Gymnasium as the levels of one; made by `hosted`, which checks them."""

    makes: tuple[Callable[[], Any], ...]
    """What makes each of them anew."""
    name: str
    num_actions: int
    observation: Shaped[np.ndarray, ...]
    """Zeros in the form of an observation."""
    limits: tuple[int, ...]
    """Known time limits in frames, 0 where there is none."""
    bytes: tuple[bool, ...]
    """Are the observations of each of them `uint8`?"""
    groups: tuple[str, ...] = ()
    """Name of the environment of each level, if there are several names."""

    @property
    def levels(self) -> tuple[HostedLevel, ...]:
        """Each of the environments in turn."""
        return tuple(
            HostedLevel(jnp.asarray(place, jnp.int32), jnp.asarray(limit, jnp.int32))
            for place, limit in enumerate(self.limits)
        )

    @property
    def default_params(self) -> HostedLevel:
        """The first level."""
        return self.levels[0]

    @property
    def longest(self) -> int:
        """Frames of the longest episode."""
        return max(limit or EPISODE_LIMIT for limit in self.limits)

    def limit(self, place: int) -> int:
        """Return after how many frames an episode in one of the environments is truncated at the latest."""
        return self.limits[place] or EPISODE_LIMIT

    def observed(self, observation: Any, place: int) -> np.ndarray:
        """Return what one of the environments has returned as agents take it.

        Raises:
            ReturnedError: if it is not of the observation space's form, or a number of it is not finite.
        """
        given = np.asarray(observation)
        seen = as_observation(given)
        expected = self.observation
        if (seen.shape, seen.dtype) != (expected.shape, expected.dtype) or (given.dtype == np.uint8) != self.bytes[
            place
        ]:
            of_bytes = "uint8" if self.bytes[place] else "numbers that are not uint8"
            raise ReturnedError(
                f"the observation {reprlib.repr(observation)}, {form_of(given)}, expected what the observation space "
                f"promises: {of_bytes}, as agents see them {form_of(expected)}"
            )
        if seen.dtype != np.uint8 and not np.isfinite(seen).all():
            raise ReturnedError(
                f"the observation {reprlib.repr(observation)}, expected finite numbers that fit float32"
            )
        return seen


class HostedEpisode:
    """One environment at play: episode after episode, each frame remembered."""

    def __init__(self, environment: HostedEnvironment):
        self._environment = environment
        self._made: dict[int, Any] = {}
        self._at: Any = None
        self._place = self._seed = 0
        self._actions: list[int] = []
        self.mark()

    def mark(self) -> None:
        """Remember where the episode is, for `undo`."""
        self._marked = self._place, self._seed, self._actions, len(self._actions)

    def undo(self) -> None:
        """Forget what has been played since the mark, so that `game` is as it was; the environment is not."""
        self._place, self._seed, self._actions, time = self._marked
        del self._actions[time:]

    @property
    def game(self) -> HostedGame:
        """What brings the episode back."""
        actions = np.zeros(self._environment.longest, np.int32)
        actions[: len(self._actions)] = self._actions
        place, time = (np.asarray(number, np.int32) for number in (self._place, len(self._actions)))
        return HostedGame(place, np.asarray(self._seed, np.uint32), time, actions)

    @property
    def place(self) -> int:
        """Which of the environments is played."""
        return self._place

    @property
    def played(self) -> Any:
        """The environment of Gymnasium in which the episode is."""
        return self._at

    def begin(self, place: int, seed: int) -> np.ndarray:
        """Begin an episode in one of the environments and return the first observation.

        Raises:
            HostError: if the environment fails.
        """
        self._place, self._seed, self._actions = place, seed, []
        self._at = self._made_at(place)
        try:
            observation, _ = self._at.reset(seed=seed)
            return self._environment.observed(observation, place)
        except Exception as error:
            raise self._failed("reset", error) from error

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool]:
        """Return observation, reward, terminated and truncated after an action, without a new episode at the end.

        Raises:
            HostError: if the environment fails; the episode is then where it was before.
        """
        try:
            observation, reward, terminated, truncated, _ = self._at.step(action)
            observation, reward = self._environment.observed(observation, self._place), _as_reward(reward)
        except Exception as error:
            raise self._failed("step", error) from error
        self._actions.append(action)
        if not terminated and len(self._actions) >= self._environment.limit(self._place):
            truncated = True
        return observation, reward, bool(terminated), bool(truncated)

    def bring_back(self, game: HostedGame, seen: np.ndarray, score: np.float32) -> bool:
        """Play an episode again up to where it was, and tell whether that shows and scores what it did.

        An episode under way has not ended: one that ends while it is played again is another one.

        Args:
            game: the episode.
            seen: its last observation.
            score: the sum of its rewards.

        Raises:
            HostError: if the environment cannot begin an episode.
        """
        observation, total = self.begin(int(game.place), int(game.seed)), np.float32(0)
        for action in np.asarray(game.actions)[: int(game.time)].tolist():
            try:
                observation, reward, terminated, truncated = self.step(action)
            except HostError:
                return False
            if terminated or truncated:
                return False
            total += np.float32(reward)
        return np.array_equal(observation, seen) and bool(total == score)

    def close(self) -> None:
        """Close the environments."""
        for made in self._made.values():
            close_made(made)
        self._made = {}

    def _made_at(self, place: int) -> Any:
        """Return one of the environments, made when it is played for the first time.

        Raises:
            HostError: if it cannot be made.
        """
        if place not in self._made:
            try:
                self._made[place] = self._environment.makes[place]()
            except Exception as error:
                name = self._environment.name
                raise HostError(f"making the environment {name} raised {type(error).__name__}: {error}") from error
        return self._made[place]

    def _failed(self, what: str, error: Exception) -> HostError:
        name = self._environment.name
        when = f"after {len(self._actions):,} frames of an episode that reset(seed={self._seed}) began"
        did = f"returned {error}" if isinstance(error, ReturnedError) else f"raised {type(error).__name__}: {error}"
        return HostError(f"{what} of the environment {name} {did} ({when})")


def close_made(environment: Any) -> None:
    """Close an environment of Gymnasium, and warn if that fails: it is not needed any more."""
    try:
        environment.close()
    except Exception as error:
        warnings.warn(
            f"close of the environment {environment} raised {type(error).__name__}: {error}; what was played is kept, "
            "but the environment may still hold files or windows; correct its close method",
            stacklevel=2,
        )


def as_observation(observation: Any) -> np.ndarray:
    """Return an observation as agents take it: float32, or `uint8` for images, whose channels come first.

    It is a copy: an environment may use the array that it returns again.
    """
    observation = np.array(observation)
    if observation.dtype == np.float32:
        return observation
    if observation.dtype != np.uint8:
        with np.errstate(over="ignore"):  # what does not fit is infinite
            return observation.astype(np.float32)
    if observation.ndim == 2:
        return observation[None]
    if observation.ndim != 3:
        return observation.astype(np.float32) / 255
    rows, _, depth = observation.shape
    return np.moveaxis(observation, -1, 0) if depth in _IMAGE_CHANNELS and rows not in _IMAGE_CHANNELS else observation


def _as_reward(reward: Any) -> float:
    """Return a reward as a number.

    Raises:
        ReturnedError: if it is none, or is not finite.
    """
    is_number = isinstance(reward, float) or (np.ndim(reward) == 0 and np.asarray(reward).dtype.kind in "biuf")
    number = float(reward) if is_number else math.nan
    if not abs(number) <= _LARGEST_REWARD:
        raise ReturnedError(f"the reward {reprlib.repr(reward)}, expected one finite number that fits float32")
    return number


def form_of(observation: np.ndarray) -> str:
    """Return dtype and shape of an observation, in words."""
    return f"{observation.dtype} of shape {observation.shape}"


def stacked(games: Sequence[HostedGame]) -> HostedGame:
    """Return the games of several seeds in one tree, leaves (seeds, ...)."""
    return HostedGame(*(np.stack(leaves) for leaves in zip(*games, strict=True)))


def game_of(games: HostedGame, place: tuple[int, ...]) -> HostedGame:
    """Return the game at a place: of a seed, or of one of a seed's environments."""
    return HostedGame(*(np.asarray(leaf)[place] for leaf in games))
