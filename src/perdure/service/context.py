"""What requests share: the models, the limits, the tokens, what is counted; and how a body is read and answered."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastapi import Request, Response

from perdure.service.backtests import Backtests
from perdure.service.limits import Limits
from perdure.service.metrics import Metrics
from perdure.service.problems import ProblemError
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


def check_type(request: Request, expected: str) -> None:
    """Check that a body is of a type which no page of another site can send unasked.

    Raises:
        ProblemError: if it is of another one.
    """
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if given != expected:
        raise ProblemError(
            "wrong-type",
            f"the content type {given[:80]!r} was given, expected {expected}; set Content-Type: {expected}",
        )


async def body_of(request: Request) -> bytes:
    """Return a body of JSON.

    Raises:
        ProblemError: if it is too large, comes too slowly or is of another type.
    """
    check_type(request, JSON)
    limits = context_of(request).limits
    parts, size = [], 0
    length = request.headers.get("content-length", "")
    if length.isdigit() and int(length[:20]) > limits.body_bytes:
        raise _too_large(limits)
    async for part in pieces_of(request, limits):
        size += len(part)
        if size > limits.body_bytes:
            raise _too_large(limits)
        parts.append(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


async def pieces_of(request: Request, limits: Limits) -> AsyncIterator[bytes]:
    """Yield a body piece by piece.

    Raises:
        ProblemError: if a piece does not come in time, or the caller has gone.
    """
    while True:
        try:
            async with asyncio.timeout(limits.body_seconds):
                message = await request.receive()
        except TimeoutError:
            raise ProblemError(
                "too-slow", f"nothing came for {limits.body_seconds:g} seconds before the body's end; send it again"
            ) from None
        if message["type"] == "http.disconnect":
            raise ProblemError("bad-request", "the connection was closed before the body's end")
        if part := message.get("body", b""):
            yield part
        if not message.get("more_body", False):
            return


def _too_large(limits: Limits) -> ProblemError:
    return ProblemError(
        "too-large",
        f"the body has more than {limits.body_bytes:,} bytes, expected at most that; send several requests, or NDJSON "
        "to learn, which has no end",
    )


def check_rows(n_rows: int, limits: Limits, place: str) -> None:
    """Check that there are not too many rows.

    Raises:
        ProblemError: if there are.
    """
    if n_rows > limits.rows:
        raise ProblemError(
            "too-large",
            f"{n_rows:,} rows were given, expected at most {limits.rows:,}; send several requests",
            field=place,
        )


def documented(body: Any = None, *, content_type: str = JSON, **answers: Any) -> dict[str, Any]:
    """Return what OpenAPI says of a request whose body is read here, and of its answer.

    Args:
        body: the class of the body; None if there is none.
        content_type: of the body.
        answers: `example`, of the answer.
    """
    described: dict[str, Any] = {
        "responses": {
            "200": {"description": "Done.", "content": {JSON: {"example": answers["example"]}}},
            "default": {
                "description": "A problem, as RFC 9457 has it.",
                "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
            },
        }
    }
    if body is not None:
        schema = body.model_json_schema(ref_template="#/components/schemas/{model}")
        schema.pop("$defs", None)
        described["requestBody"] = {
            "required": True,
            "content": {content_type: {"schema": schema, "example": body.EXAMPLE}},
        }
    return described
