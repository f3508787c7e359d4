"""Settings with which representations are trained, each with its source."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib import resources
from typing import Any


@cache
def representation_presets() -> dict[str, Any]:
    """Return settings by domain, size and method; the domain's own stand under "domain"."""
    return tomllib.loads(
        resources.files("perdure.presets").joinpath("representations.toml").read_text(encoding="utf-8")
    )
