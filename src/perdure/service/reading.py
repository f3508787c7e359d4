"""Bodies of requests: of a type that no page of another site can send unasked, and read within limits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from fastapi import Request

from perdure.service.context import JSON, context_of
from perdure.service.limits import Limits
from perdure.service.problems import ProblemError


def content_type_of(request: Request) -> str:
    """Return the type of a body, without its parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def body_of(request: Request) -> bytes:
    """Return a body of JSON.

    Raises:
        ProblemError: if it is too large, comes too slowly or is of another type.
    """
    if (given := content_type_of(request)) != JSON:
        raise ProblemError(
            "wrong-type", f"the content type {given[:80]!r} was given, expected {JSON}; set Content-Type: {JSON}"
        )
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
