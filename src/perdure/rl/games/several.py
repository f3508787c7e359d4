"""Several environments as the levels of one, of which nothing but the observation tells which is played."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, PRNGKeyArray, Shaped, UInt8

from perdure.rl import episode_ends
from perdure.rl.environment import AbstractEnvironment, Environment, Step
from perdure.rl.games.catcher import Catcher
from perdure.rl.games.flappy_bird import FlappyBird


class SeveralParams(NamedTuple):
    """Parameters of a level."""

    which: Int[Array, ""]
    """Place of the environment that is played."""
    inner: tuple[Any, ...]
    """Parameters of each environment; of those that are not played without effect."""

    @property
    def max_steps_in_episode(self) -> int:
        """Time limit of the environment that is played, in frames."""
        return int(getattr(self.inner[int(self.which)], "max_steps_in_episode", 1))


class SeveralState(NamedTuple):
    """State of an episode."""

    which: Int[Array, ""]
    """Place of the environment in which the episode began."""
    inner: tuple[Any, ...]
    """States of each environment; of those that are not played without effect."""


class Several(Environment[SeveralParams, SeveralState]):
    """Environments with the interface of gymnax, whose levels alternate: level 0 of each, then level 1 of each, ….

    Observations are filled up with zeros to the longest of them along every axis. An action beyond those of an
    environment is its last one. Where a level begins in the middle of an episode of another environment, that episode
    is truncated after one more frame.
    """

    environments: tuple[Any, ...]
    names: tuple[str, ...] = eqx.field(static=True)
    """Of each environment."""
    of_each: tuple[tuple[Any, ...], ...]
    """Parameters of the levels of each environment."""

    def __init__(self, environments: Sequence[Any], names: Sequence[str], levels: Sequence[Sequence[Any]]):
        """Join environments.

        Args:
            environments: with the interface of gymnax.
            names: of each of them.
            levels: parameters of the levels of each of them, at least one each.

        Raises:
            ValueError: if their observations differ in the number of axes or in their dtype.
        """
        self.environments = tuple(environments)
        self.names = tuple(names)
        self.of_each = tuple(map(tuple, levels))
        forms = [(len(seen.shape), str(seen.dtype)) for seen in self._observations()]
        for name, seen, form in zip(self.names, self._observations(), forms, strict=True):
            if form != forms[0]:
                raise ValueError(
                    f"the observations of {name} are {seen.dtype} of shape {seen.shape}, those of {self.names[0]} "
                    f"have {forms[0][0]} axes of {forms[0][1]}; expected as many axes and the same dtype in the whole "
                    "list; train an agent for each, or write an environment that converts them"
                )

    @property
    def name(self) -> str:
        """The names, joined by +."""
        return "+".join(self.names)

    @property
    def num_actions(self) -> int:
        """Number of actions of the environment that has most."""
        return max(int(it.num_actions) for it in self.environments)

    @property
    def default_params(self) -> SeveralParams:
        """Parameters of the first level."""
        return self.levels[0]

    @property
    def _order(self) -> list[tuple[int, Any]]:
        """Place of the environment, and its parameters, of each level."""
        turns = zip_longest(*self.of_each)
        return [(place, level) for turn in turns for place, level in enumerate(turn) if level is not None]

    @property
    def levels(self) -> tuple[SeveralParams, ...]:
        """Every environment's first level, then every environment's second, and so on."""
        first = tuple(levels[0] for levels in self.of_each)
        return tuple(
            SeveralParams(jnp.asarray(place, jnp.int32), (*first[:place], level, *first[place + 1 :]))
            for place, level in self._order
        )

    @property
    def groups(self) -> tuple[str, ...]:
        """Name of the environment of each level."""
        return tuple(self.names[place] for place, _ in self._order)

    def reset(self, key: PRNGKeyArray, params: SeveralParams) -> tuple[Shaped[Array, ...], SeveralState]:
        """Return the first observation and state of an episode."""
        begun = [it.reset(key, own) for it, own in zip(self.environments, params.inner, strict=True)]
        seen = self._chosen(params.which, [observation for observation, _ in begun])
        return seen, SeveralState(params.which, tuple(state for _, state in begun))

    def step_env(self, key: PRNGKeyArray, state: SeveralState, action: Int[Array, ""], params: SeveralParams) -> Step:
        """Return the step to which an action leads, without a reset at the end of the episode."""
        steps = [
            episode_ends.step(it, key, inner, jnp.minimum(action, int(it.num_actions) - 1), own)
            for it, inner, own in zip(self.environments, state.inner, params.inner, strict=True)
        ]
        which = state.which
        inner = tuple(
            jax.tree.map(lambda new, old, place=place: jnp.where(which == place, new, old), step.state, old)
            for place, (step, old) in enumerate(zip(steps, state.inner, strict=True))
        )
        reward = jnp.stack([step.reward for step in steps])[which]
        ends = jax.tree.map(lambda *of_each: jnp.stack(of_each)[which], *[dict(step.info) for step in steps])
        truncated = ends["truncated"] | ((params.which != which) & ~ends["terminated"])
        seen = self._chosen(which, [step.observation for step in steps])
        info = {**ends, "truncated": truncated}
        return Step(seen, SeveralState(which, inner), reward, ends["terminated"] | truncated, info)

    def render(self, state: SeveralState, params: SeveralParams) -> UInt8[Array, "84 84"]:
        """Return a grey picture of a state, rows first.

        Raises:
            ValueError: if one of the environments draws no pictures.
        """
        for name, environment in zip(self.names, self.environments, strict=True):
            if not isinstance(environment, AbstractEnvironment):
                raise ValueError(f"{name} draws no pictures, expected games of perdure")
        pictures = [
            it.render(inner, own) for it, inner, own in zip(self.environments, state.inner, params.inner, strict=True)
        ]
        return jnp.stack(pictures)[state.which]

    def _observations(self) -> list[jax.ShapeDtypeStruct]:
        key = jax.random.key(0)
        resets = zip(self.environments, self.of_each, strict=True)
        return [jax.eval_shape(it.reset, key, levels[0])[0] for it, levels in resets]

    def _chosen(self, which: Int[Array, ""], observations: list[Array]) -> Shaped[Array, ...]:
        """Return the observation of one environment, filled up with zeros."""
        shape = [max(sizes) for sizes in zip(*(seen.shape for seen in observations), strict=True)]
        filled = [
            jnp.pad(seen, [(0, most - size) for most, size in zip(shape, seen.shape, strict=True)])
            for seen in observations
        ]
        return jnp.stack(filled)[which]


class CatcherAndFlappyBird(Several):
    """Catcher and Flappy Bird in turn, from the easiest level of both to the hardest: twelve levels.

    Observations are 8 numbers, of which Catcher sets 4; with three actions, of which the third is Flappy Bird's second.
    """

    def __init__(self) -> None:
        """Join the two games."""
        games = (Catcher(), FlappyBird())
        super().__init__(games, ("catcher", "flappy-bird"), [game.levels for game in games])
