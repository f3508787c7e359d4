"""Examples that come as lines of JSON, any number of them, and the lines that answer."""

from __future__ import annotations

import asyncio
import math
import re
from collections import deque
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import numpy as np
from fastapi import Request, Response
from fastapi.concurrency import run_in_threadpool

from perdure.service.bodies import Example, new_id, parsed
from perdure.service.context import ENCODER, NDJSON, Context
from perdure.service.limits import STREAM_BATCH_ROWS, Limits
from perdure.service.problems import ProblemError, of_row
from perdure.service.reading import pieces_of
from perdure.service.requests import check_example, kept_request
from perdure.service.served import Served
from perdure.service.teacher import Rows, Taught

_IN_FLIGHT = 4
"""Batches that are being learned while others are read."""
_SHOWN = 10
"""Refused lines of a batch that are told one by one."""
_ROW = re.compile(r"^row \d+\b")


class _Line(NamedTuple):
    number: int
    example: Example
    id: str


class _Batch(NamedTuple):
    lines: list[_Line]
    refused: list[dict[str, Any]]
    last_line: int
    learning: asyncio.Task[Taught] | None


class StreamedAnswer(Response):
    """Lines that are sent while the body is still read: Starlette's own reads the body itself, to see it end."""

    def __init__(self, lines: AsyncIterator[bytes]):
        """Send lines."""
        super().__init__(media_type=NDJSON)
        self._lines = lines

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Send them."""
        headers = [(b"content-type", NDJSON.encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        async for line in self._lines:
            await send({"type": "http.response.body", "body": line, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


async def learned(request: Request, served: Served, context: Context) -> AsyncIterator[bytes]:
    """Yield a line for each batch that has been learned; a line that cannot be is told and passed over.

    An error that ends the request, such as a full disk, is told in the last line; the lines before it are learned.
    """
    waiting: deque[_Batch] = deque()
    try:
        async for numbered in _batches(request, context.limits):
            lines, refused, rows = await run_in_threadpool(_prepared, numbered, served, context.limits)
            learning = None if rows is None else await _sent(rows, served)
            waiting.append(_Batch(lines, refused, numbered[-1][0], learning))
            while len(waiting) >= _IN_FLIGHT:
                yield _encoded(await _told(waiting[0], served, context))
                waiting.popleft()
        while waiting:
            yield _encoded(await _told(waiting[0], served, context))
            waiting.popleft()
    except ProblemError as problem:
        for batch in waiting:  # what was begun is told, up to the first that has failed: the sender continues there
            try:
                yield _encoded(await _told(batch, served, context))
            except ProblemError:
                break
        yield _encoded({"problem": problem.to_json(request.scope.get("request_id"))})
    finally:
        for batch in waiting:
            if batch.learning is not None:
                batch.learning.add_done_callback(_ignored)


def _ignored(task: asyncio.Task[Taught]) -> None:
    """Take what came of a batch that nobody waits for any more."""
    if not task.cancelled():
        task.exception()


async def _batches(request: Request, limits: Limits) -> AsyncIterator[list[tuple[int, bytes]]]:
    """Yield numbered lines as they come, some at a time; memory is bounded by the longest line and one piece."""
    rest, number = b"", 0
    lines: list[tuple[int, bytes]] = []
    async for piece in pieces_of(request, limits):
        *whole, rest = (rest + piece).split(b"\n")
        if len(rest) > limits.line_bytes or any(len(it) > limits.line_bytes for it in whole):
            raise ProblemError(
                "too-large", f"line {number + len(whole) + 1:,} has more than {limits.line_bytes:,} bytes; shorten it"
            )
        for line in whole:
            number += 1
            if line.strip():
                lines.append((number, line))
            if len(lines) == STREAM_BATCH_ROWS:
                yield lines
                lines = []
        if lines:
            yield lines
            lines = []
    if rest.strip():
        yield [(number + 1, rest)]


def _prepared(
    numbered: list[tuple[int, bytes]], served: Served, limits: Limits
) -> tuple[list[_Line], list[dict[str, Any]], Rows | None]:
    """Return the lines that can be read, what is said of the others, and the rows to learn, if there are any."""
    lines, refused = [], []
    for number, text in numbered:
        try:
            example = parsed(Example, text)
            check_example(example.x, example.y, example.id, limits, regression=served.regression)
            lines.append(_Line(number, example, example.id or new_id()))
        except ProblemError as problem:
            refused.append(_refusal(number, problem))
    try:
        return lines, refused, _rows(lines) if lines else None
    except ProblemError:  # a row that cannot be kept: which one?
        kept = []
        for line in lines:
            try:
                _rows([line])
                kept.append(line)
            except ProblemError as problem:
                refused.append(_refusal(line.number, problem))
        return kept, refused, _rows(kept) if kept else None


def _rows(lines: list[_Line]) -> Rows:
    xs, ys = [it.example.x for it in lines], [it.example.y for it in lines]
    return Rows(kept_request(xs, ys, [it.id for it in lines], many=False))


async def _sent(rows: Rows, served: Served) -> asyncio.Task[Taught]:
    """Give rows to the writer, once it has room for them; no later ones are given to it before."""
    while True:
        try:
            return asyncio.ensure_future(served.learned(served.send(rows), many=False))
        except ProblemError as problem:
            if problem.kind != "queue-full":
                raise
            await asyncio.sleep(0.05)  # the sender waits too, as nothing more is read meanwhile


async def _told(batch: _Batch, served: Served, context: Context) -> dict[str, Any]:
    """Return what is said of a batch."""
    told: dict[str, Any] = {"line": batch.last_line, "learned": 0, "known": 0}
    told |= {"answered": 0, "error": 0.0} if served.regression else {"right": 0}
    refused = list(batch.refused)
    if batch.learning is not None:
        taught = await batch.learning
        for row, error in taught.refused.items():
            refused.append(_refusal(batch.lines[row].number, of_row(error, many=False)))
        told["known"] = sum(taught.known)
        told["learned"] = len(batch.lines) - len(taught.refused) - told["known"]
        if served.regression:
            told["answered"], told["error"] = _errors(taught, batch.lines)
        else:
            told["right"] = _right(taught, batch.lines)
        if len(taught.refused) < len(batch.lines):
            told["position"] = max(taught.positions)
        context.metrics.examples.labels(served.name).inc(told["learned"])
    if refused:
        told |= {"n_refused": len(refused), "refused": sorted(refused, key=lambda it: it["line"])[:_SHOWN]}
    return told


def _right(taught: Taught, lines: list[_Line]) -> int:
    """Return how many were predicted right before they were learned."""
    rows = zip(taught.predictions, taught.known, lines, strict=True)
    return sum(
        prediction is not None and prediction == line.example.y and not known for prediction, known, line in rows
    )


def _errors(taught: Taught, lines: list[_Line]) -> tuple[int, float]:
    """Return how many numbers were predicted before they were learned, and the sum of their absolute errors."""
    answered = [(one, it.example.y) for one, it in zip(taught.predictions, lines, strict=True) if one is not None]
    errors = [np.abs(np.asarray(one, float) - np.asarray(y, float)).mean() for one, y in answered]
    known = [float(it) for it in errors if np.isfinite(it)]
    return len(known), math.fsum(known)


def _refusal(number: int, problem: ProblemError) -> dict[str, Any]:
    detail = _ROW.sub(f"line {number}", problem.detail)  # rows are counted from the beginning of a batch
    return {"line": number, "detail": detail} | ({} if problem.field is None else {"field": problem.field})


def _encoded(line: dict[str, Any]) -> bytes:
    return ENCODER.encode(line).encode() + b"\n"
