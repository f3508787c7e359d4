"""Health, readiness, metrics, and events as they happen."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse

from perdure.service.context import ENCODER, Context, answer, context_of
from perdure.service.metrics import CONTENT_TYPE
from perdure.service.openapi import documented
from perdure.service.problems import ProblemError
from perdure.service.served import Served

router = APIRouter(tags=["watch"])

_EVERY = 0.25
"""Seconds between two looks at a model."""
_SILENT = 15.0
"""Seconds after which a listener is told that there is nothing."""


@router.get("/healthz", openapi_extra=documented(example={"status": "alive"}), summary="Is the server alive?")
async def healthz() -> Response:
    """Answer; no token is needed."""
    return answer({"status": "alive"})


@router.get(
    "/readyz",
    openapi_extra=documented(example={"status": "ready", "models": {"mail": "ready"}}),
    summary="Is it ready?",
)
async def readyz(request: Request) -> Response:
    """Tell whether all models are loaded, and which of them can only be asked."""
    context = context_of(request)
    states = {it.name: it.state for it in context.models}
    reasons = {it.name: it.reason for it in context.models if it.reason}
    if context.stopping:
        status = "stopping"
    elif "loading" in states.values():
        status = "loading"
    else:
        status = "degraded" if reasons else "ready"
    content = {"status": status, "models": states} | ({"reasons": reasons} if reasons else {})
    return answer(content, 200 if status in ("ready", "degraded") else 503)


@router.get("/metrics", summary="Figures for Prometheus")
async def metrics(request: Request) -> Response:
    """Tell Prometheus what was counted."""
    return Response(context_of(request).metrics.text(), media_type=CONTENT_TYPE)


@router.get("/v1/models/{name}/events", summary="Events as they happen")
async def events(name: str, request: Request) -> Response:
    """Send an event whenever the model has learned: position, accuracy so far and recent, recall, drift marks.

    Events are server-sent: each has `event: state` and a line of JSON; `event: gone` is the last one of a model that
    was deleted.
    """
    context = context_of(request)
    served = context.models.find(name)
    if context.n_subscribers >= context.limits.subscribers:
        raise ProblemError(
            "too-many-requests",
            f"{context.n_subscribers} listen already, expected at most that; close one",
            retry_after=5,
        )
    headers = {"X-Accel-Buffering": "no"}
    return StreamingResponse(_events(served, context), media_type="text/event-stream", headers=headers)


async def _events(served: Served, context: Context) -> AsyncIterator[bytes]:
    context.n_subscribers += 1
    try:
        last, silent = None, 0.0
        while not context.stopping and served.state != "closed":
            now = served.described()
            state = _state(now)
            if state != last:
                last, silent = state, 0.0
                yield f"event: state\nid: {state.get('position', 0)}\ndata: {ENCODER.encode(state)}\n\n".encode()
            elif silent >= _SILENT:
                silent = 0.0
                yield b": nothing new\n\n"
            await asyncio.sleep(_EVERY)
            silent += _EVERY
        yield b"event: gone\ndata: {}\n\n"
    finally:
        context.n_subscribers -= 1


def _state(described: dict[str, Any]) -> dict[str, Any]:
    """Return of a description what changes as the model learns."""
    kept = ("name", "state", "reason", "examples", "position", "classes", "queue")
    return {name: described[name] for name in kept if name in described} | described.get("scores", {})
