"""From the body of a request to rows that a model can learn; large ones are read beside the event loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeVar

from fastapi import Request as HttpRequest
from fastapi.concurrency import run_in_threadpool

from perdure.online.errors import RowError
from perdure.online.group import Request, request_of
from perdure.online.journal import JournalError
from perdure.service.bodies import Body, LearnBody, new_id, parsed
from perdure.service.checks import check_id, check_row, check_rows, check_target
from perdure.service.limits import Limits
from perdure.service.problems import ProblemError, of_row
from perdure.service.reading import body_of

_LARGE_BYTES = 16_384
"""Bodies up to this are read at once: another thread would take longer."""
Found = TypeVar("Found")


class ToLearn(NamedTuple):
    """Rows to learn, and how they were given."""

    request: Request
    ids: list[str]
    many: bool
    """A list, not a single one?"""


async def beside_if_large(content: bytes, read: Callable[..., Found], *arguments: Any) -> Found:
    """Return what a function makes of a body; others are served meanwhile if it is large."""
    if len(content) <= _LARGE_BYTES:
        return read(content, *arguments)
    return await run_in_threadpool(read, content, *arguments)


async def body_as(kind: type[Body], request: HttpRequest) -> Body:
    """Return what the body of a request holds; others are served meanwhile if it is large.

    Raises:
        ProblemError: if it cannot be read, or naming the place that is not as expected.
    """
    return await beside_if_large(await body_of(request), partial(parsed, kind))


def to_learn(content: bytes, limits: Limits, regression: bool) -> ToLearn:
    """Return the example of a body, or its examples.

    Raises:
        ProblemError: naming the place that is not as expected.
    """
    body = parsed(LearnBody, content)
    if body.examples is None:
        if body.x is None:
            raise ProblemError("bad-body", "neither x nor examples was given, expected one of them", field="/x")
        check_example(body.x, body.y, body.id, limits, regression=regression)
        ids = [body.id or new_id()]
        return ToLearn(kept_request([body.x], [body.y], ids, many=False), ids, False)
    if body.x is not None or body.y is not None or body.id is not None:
        raise ProblemError("bad-body", "x, y or id was given beside examples, expected one or the other", field="/x")
    check_rows(len(body.examples), limits, "/examples")
    for place, it in enumerate(body.examples):
        check_example(it.x, it.y, it.id, limits, "examples", place, regression=regression)
    ids = [it.id or new_id() for it in body.examples]
    xs, ys = [it.x for it in body.examples], [it.y for it in body.examples]
    return ToLearn(kept_request(xs, ys, ids, "examples", many=True), ids, True)


def check_example(
    x: dict[str, Any], y: Any, id: str | None, limits: Limits, *place: str | int, regression: bool
) -> None:
    """Check a row, its target and its name.

    Raises:
        ProblemError: naming what is not as expected.
    """
    check_row(x, limits, *place, "x")
    check_target(y, limits, *place, "y", regression=regression)
    check_id(id, limits, *place, "id")


def kept_request(
    xs: Sequence[dict[str, Any]], ys: Sequence[Any], ids: Sequence[str], *before: str | int, many: bool
) -> Request:
    """Return checked rows as the writer takes them.

    Raises:
        ProblemError: naming the row that cannot be kept.
    """
    try:
        return request_of(xs, ys, ids)
    except RowError as error:
        raise of_row(error, *before, many=many) from None
    except JournalError as error:  # too long
        raise ProblemError("bad-row", str(error)) from None
