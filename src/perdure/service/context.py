"""What requests share: the models, the limits, the tokens, what is counted; and how they are answered."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastapi import Request, Response

from perdure.service.backtests import Backtests
from perdure.service.limits import Limits
from perdure.service.metrics import Metrics
from perdure.service.races import Races
from perdure.service.registry import Registry
from perdure.service.tokens import Tokens

JSON = "application/json"
NDJSON = "application/x-ndjson"
ENCODER = json.JSONEncoder(separators=(",", ":"))
"""Made once, and ASCII: whatever texts hold can be sent."""


@dataclass
class Context:
    """What all requests share."""

    folder: Path
    limits: Limits
    loopback: bool = True
    """Is the server reached from this machine only?"""
    ended: bool = False
    """Are the models being closed?"""
    stop_requested: Callable[[], bool] = lambda: False
    """Has the process been asked to stop?"""
    n_subscribers: int = 0
    models: Registry = field(init=False)
    tokens: Tokens = field(init=False)
    metrics: Metrics = field(init=False)
    backtests: Backtests = field(init=False)
    races: Races = field(init=False)

    def __post_init__(self):
        self.models = Registry(self.folder, self.limits)
        self.tokens = Tokens(self.folder)
        self.metrics = Metrics(self.models)
        self.backtests = Backtests(self.limits.jobs)
        self.races = Races()

    @property
    def stopping(self) -> bool:
        """Is the server about to stop?"""
        return self.ended or self.stop_requested()


def context_of(request: Request) -> Context:
    """Return what all requests share."""
    return request.scope["perdure"]


def answer(content: Any, status: int = 200) -> Response:
    """Return an answer of JSON."""
    return Response(ENCODER.encode(content), status, media_type=JSON)
