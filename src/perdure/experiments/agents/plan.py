"""Hyper-parameters of the agents on the games, chosen on other seeds than those of the reported runs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from perdure.execution.drive import Driving
from perdure.experiments.agents.run import AgentResult, run_of
from perdure.experiments.agents.spec import AgentSpec, agent_spec
from perdure.learners.hyperparameters import required_and_known
from perdure.presets.agents import agent_presets
from perdure.records.agent import AgentRecord
from perdure.records.errors import ResultsError
from perdure.rl.agent import Agent
from perdure.rl.catalog import AGENTS, GAMES, agent_class, make_game


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


def spec_of(record: AgentRecord) -> AgentSpec:
    """Return the specification of a recorded run, to resume it.

    Raises:
        ResultsError: if the run used an agent, environment, levels or network that are not perdure's own.
    """
    config = record.config
    if record.agent in AGENTS and record.environment in GAMES:
        spec = agent_spec(
            agent_class(record.agent)(**config["agent"]["hyperparameters"]),
            make_game(record.environment, config["environment"]["observation"]),
            stages=record.stages,
            seeds=record.seeds,
            evaluate_every=config["evaluation"]["every"],
            episodes=config["evaluation"]["episodes"],
        )
        if json.loads(json.dumps(spec.config)) == config:
            return spec
    raise ResultsError(
        f"{record.folder} was begun from Python with its own agent, environment, levels or network, which the command "
        "line cannot make; resume it from Python with the same call: perdure.run_agent(…, folder=…)"
    )


def resume_agent(folder: Path, how: Driving) -> AgentResult:
    """Resume the run in a folder that `perdure rl train` has begun; see `perdure.run_agent`."""
    return run_of(spec_of(AgentRecord.load(folder)), how, folder)
