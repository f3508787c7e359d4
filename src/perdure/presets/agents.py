"""Hyper-parameters of the agents on the games, chosen on other seeds than those of the reported runs."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib import resources
from typing import Any

ANY = "any"
"""In place of a game and an observation: hyper-parameters for environments of any kind, chosen for none."""


@cache
def agent_presets() -> dict[str, Any]:
    """Return hyper-parameters by game, observation and agent."""
    return tomllib.loads(resources.files("perdure.presets").joinpath("agents.toml").read_text(encoding="utf-8"))
