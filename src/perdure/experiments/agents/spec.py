"""What an agent's run is: agent, environment, levels and schedule; checked, and described for its record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import numpy as np
from jaxtyping import Int

from perdure.experiments.supervised.spec import chosen_seeds, describe_code, describe_learner
from perdure.records.agent import KIND, MAX_LEVELS, MAX_STAGES
from perdure.records.describe import describe
from perdure.records.folder import FORMAT
from perdure.rl.agent import Agent
from perdure.rl.by_name import absolute
from perdure.rl.catalog import GAMES, agent_name, game_and_observation
from perdure.rl.checks import environment_and_levels
from perdure.rl.environment import GymnaxLike
from perdure.rl.hosted import HostedEnvironment
from perdure.rl.networks import MakeNetwork
from perdure.rl.schedule import Stage, as_stages, is_whole

EVALUATE_EVERY = 5_000
EPISODES = 20


@dataclass(frozen=True)
class AgentSpec:
    """All that decides the figures of an agent's run; made by `agent_spec`, which checks it."""

    agent: Agent
    environment: GymnaxLike | HostedEnvironment
    levels: list[Any]
    stages: list[Stage]
    seeds: tuple[int, ...]
    network: MakeNetwork
    evaluate_every: int
    episodes: int
    source: str | None = None
    """The name by which the environment was given, with whole paths, if it is none of perdure's games."""

    @property
    def label(self) -> str:
        """The run in a few words."""
        return f"{agent_name(self.agent)} on {game_and_observation(self.environment)[0]}"

    @property
    def evaluations(self) -> Int[np.ndarray, " times"]:
        """Frames played at each evaluation: 0, every `evaluate_every`, and the end of each stage."""
        ends = np.cumsum([stage.frames for stage in self.stages])
        return np.unique(np.concatenate([np.arange(0, ends[-1], self.evaluate_every), ends]))

    @cached_property
    def config(self) -> dict[str, Any]:
        """The run's config.json.

        Raises:
            TypeError: naming a part of the agent, environment or network that a record cannot hold.
        """
        agent = describe_learner(self.agent)
        groups = getattr(self.environment, "groups", ())
        return {
            "format": FORMAT,
            "kind": KIND,
            "agent": {**agent, "name": agent_name(self.agent)},
            "environment": describe_environment(self.environment, self.source),
            "levels": [[np.asarray(leaf).tolist() for leaf in jax.tree.leaves(level)] for level in self.levels],
            **({"groups": list(groups)} if len(groups) == len(self.levels) else {}),
            "stages": [list(stage) for stage in self.stages],
            "network": describe_code(self.network, "network"),
            "seeds": list(self.seeds),
            "evaluation": {"every": self.evaluate_every, "episodes": self.episodes},
        }


def agent_spec(
    agent: Agent,
    environment: Any,
    *,
    levels: Sequence[Any] | None = None,
    stages: Sequence[Any] | None = None,
    seeds: int | Sequence[int] = 1,
    network: MakeNetwork | None = None,
    evaluate_every: int = EVALUATE_EVERY,
    episodes: int = EPISODES,
) -> AgentSpec:
    """Return what a run is, given the arguments of `perdure.run_agent`.

    Raises:
        TypeError: if an argument is of the wrong kind.
        ValueError: if a number is out of range.
    """
    if not isinstance(agent, Agent):
        raise TypeError(f"agent is {agent!r}, expected an agent with its hyper-parameters, such as perdure.rl.DQN(…)")
    for name, value in (("evaluate_every", evaluate_every), ("episodes", episodes)):
        if not is_whole(value) or value < 1:
            raise ValueError(f"{name} = {value!r}, expected a whole number ≥ 1")
    source = absolute(environment) if isinstance(environment, str) and environment not in GAMES else None
    environment, levels = environment_and_levels(environment, levels)
    chosen = as_stages(stages, len(levels))
    if len(levels) > MAX_LEVELS or len(chosen) > MAX_STAGES:
        raise ValueError(
            f"there are {len(levels):,} levels and {len(chosen):,} stages, expected at most {MAX_LEVELS} and "
            f"{MAX_STAGES:,}; give fewer"
        )
    make = network or agent.default_network
    every, episodes = int(evaluate_every), int(episodes)
    return AgentSpec(agent, environment, levels, chosen, chosen_seeds(seeds), make, every, episodes, source)


def describe_environment(environment: GymnaxLike | HostedEnvironment, source: str | None = None) -> dict[str, Any]:
    """Return name and observation of a game of perdure; of any other environment also all that it is made of.

    Args:
        environment: what is played.
        source: the name by which it was given, with which `perdure resume` makes it again.

    Raises:
        TypeError: naming a part that a record cannot hold.
    """
    name, observation = game_and_observation(environment)
    described = {"name": name, "observation": observation}
    if observation != "own":
        return described
    whole = environment.makes if isinstance(environment, HostedEnvironment) else environment
    by_name = {} if source is None else {"source": source}
    try:
        parts = describe(whole, "environment")
    except TypeError as error:
        raise TypeError(f"{error}; or give a function that makes the environment") from error
    return {**described, **by_name, "parts": parts}
