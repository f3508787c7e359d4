"""Hyper-parameters of the agents on the games, chosen on other seeds than those of the reported runs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from perdure.execution.drive import Driving
from perdure.experiments.agents.run import AgentResult, run_of
from perdure.experiments.agents.spec import AgentSpec, agent_spec
from perdure.presets.agents import ANY, agent_presets
from perdure.records.agent import AgentRecord
from perdure.records.errors import ResultsError
from perdure.rl.agent import Agent
from perdure.rl.catalog import AGENTS, GAMES, agent_class, make_game


def make_agent(name: str, game: str, observation: str, given: Mapping[str, Any]) -> Agent:
    """Return an agent with the preset's hyper-parameters, but those that are given.

    Where no preset was chosen for a game, the hyper-parameters are those for environments of any kind.

    Args:
        name: of the agent.
        game: name of the game.
        observation: "state" or "frames".
        given: hyper-parameters that replace the preset's.

    Raises:
        ValueError: if there is no such agent, or a hyper-parameter is out of range.
    """
    its_class = agent_class(name)
    presets = agent_presets()
    chosen = presets.get(game, {}).get(observation, {}).get(name) or presets[ANY][ANY][name]
    return its_class(**dict(chosen) | dict(given))


def has_preset(name: str, game: str, observation: str) -> bool:
    """Tell whether an agent has hyper-parameters for a game, or only those for environments of any kind."""
    return name in agent_presets().get(game, {}).get(observation, {})


def spec_of(record: AgentRecord) -> AgentSpec:
    """Return the specification of a recorded run, to resume or to watch it.

    Raises:
        ResultsError: if the run used an agent, environment, levels or network that are not perdure's own.
    """
    config = record.config
    environment = _environment_of(record)
    if record.agent in AGENTS and environment is not None:
        spec = agent_spec(
            agent_class(record.agent)(**config["agent"]["hyperparameters"]),
            environment,
            stages=record.stages,
            seeds=record.seeds,
            evaluate_every=config["evaluation"]["every"],
            episodes=config["evaluation"]["episodes"],
        )
        if json.loads(json.dumps(spec.config)) == config:
            return spec
    raise ResultsError(
        f"{record.folder} was begun from Python with its own agent, environment, levels or network, which the command "
        "line cannot make, or by other code than that which is here now; from Python, the same call resumes it and "
        "returns its networks: perdure.run_agent(…, folder=…)"
    )


def _environment_of(record: AgentRecord) -> Any:
    """Return the environment of a recorded run, or its name; None if the command line cannot make it."""
    config = record.config["environment"]
    if record.environment in GAMES:
        return make_game(record.environment, config["observation"])
    return config.get("source")


def resume_agent(folder: Path, how: Driving) -> AgentResult:
    """Resume the run in a folder that `perdure rl train` has begun; see `perdure.run_agent`."""
    return run_of(spec_of(AgentRecord.load(folder)), how, folder)
