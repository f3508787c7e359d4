"""Hyper-parameters of the agents on the games, chosen on other seeds than those of the reported runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from perdure.learners.hyperparameters import required_and_known
from perdure.presets.agents import agent_presets
from perdure.rl.agent import Agent
from perdure.rl.catalog import agent_class


def make_agent(name: str, game: str, observation: str, given: Mapping[str, Any]) -> Agent:
    """Return an agent with the preset's hyper-parameters, but those that are given.

    Args:
        name: of the agent.
        game: name of the game.
        observation: "state" or "frames".
        given: hyper-parameters that replace the preset's.

    Raises:
        ValueError: if there is no such agent, or no preset and hyper-parameters are missing.
    """
    its_class = agent_class(name)
    values = dict(agent_presets().get(game, {}).get(observation, {}).get(name, {})) | dict(given)
    required, _ = required_and_known(its_class)
    if missing := [it for it in required if it not in values]:
        raise ValueError(f"there is no preset of {name} for {game} with {observation}; give {', '.join(missing)} too")
    return its_class(**values)
