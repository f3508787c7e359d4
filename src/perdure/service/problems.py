"""What the server refuses, as RFC 9457 has it: Nottingham, Wilde & Dalal (2023), "Problem Details for HTTP APIs"."""

from __future__ import annotations

import errno
from typing import Any, NamedTuple

from perdure.online.errors import RowError
from perdure.online.journal import JournalError
from perdure.storage.files import StorageError

MEDIA_TYPE = "application/problem+json"


class _Kind(NamedTuple):
    status: int
    title: str


KINDS = {
    "bad-request": _Kind(400, "The request cannot be read"),
    "bad-json": _Kind(400, "The body is no JSON"),
    "bad-body": _Kind(422, "The body is not what is expected"),
    "bad-row": _Kind(422, "A row cannot be learned or answered"),
    "bad-settings": _Kind(422, "No model can have these settings"),
    "bad-name": _Kind(422, "No model can have this name"),
    "not-confirmed": _Kind(422, "Deleting a model must be confirmed"),
    "no-token": _Kind(401, "A token is needed"),
    "forbidden": _Kind(403, "The token's role does not allow this"),
    "wrong-host": _Kind(403, "The request was made for another host or comes from another page"),
    "no-model": _Kind(404, "There is no such model"),
    "not-found": _Kind(404, "There is nothing here"),
    "no-example": _Kind(404, "There is no such example"),
    "no-prediction": _Kind(404, "There is no such prediction"),
    "no-job": _Kind(404, "There is no such job"),
    "wrong-method": _Kind(405, "This cannot be done here"),
    "too-slow": _Kind(408, "The body did not come in time"),
    "exists": _Kind(409, "There is such a model already"),
    "too-many-models": _Kind(409, "The folder has as many models as it may"),
    "no-file": _Kind(409, "The model cannot be made a file"),
    "busy": _Kind(409, "Another program uses the model"),
    "too-large": _Kind(413, "The request is too large"),
    "wrong-type": _Kind(415, "The body is of another type than expected"),
    "read-only": _Kind(423, "The model can be asked, not taught"),
    "too-many-requests": _Kind(429, "Too many requests"),
    "queue-full": _Kind(429, "Too many requests wait"),
    "failed": _Kind(500, "The server failed"),
    "loading": _Kind(503, "The model is being loaded"),
    "stopping": _Kind(503, "The server is about to stop"),
    "no-answer": _Kind(503, "There was no answer in time"),
    "disk-full": _Kind(507, "The disk refuses to keep it"),
}
"""By the last word of the type."""


class ProblemError(Exception):
    """A request that is refused."""

    def __init__(self, kind: str, detail: str, *, field: str | None = None, retry_after: int | None = None):
        """Say what is wrong.

        Args:
            kind: one of `KINDS`.
            detail: what was given, what was expected and what to do.
            field: place in the body, as a JSON pointer.
            retry_after: seconds after which to try again.
        """
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
        self.field = field
        self.retry_after = retry_after

    @property
    def status(self) -> int:
        """Of the answer."""
        return KINDS[self.kind].status

    @property
    def headers(self) -> dict[str, str]:
        """Of the answer."""
        headers = {} if self.retry_after is None else {"Retry-After": f"{self.retry_after}"}
        return headers | ({"WWW-Authenticate": "Bearer"} if self.status == 401 else {})

    def to_json(self, request_id: str | None = None) -> dict[str, Any]:
        """Return the body of the answer."""
        kind = KINDS[self.kind]
        body = {"type": f"urn:perdure:problem:{self.kind}", "title": kind.title, "status": kind.status}
        body |= {"detail": self.detail}
        return body | {
            name: value for name, value in (("field", self.field), ("request_id", request_id)) if value is not None
        }


def pointer(*parts: str | int) -> str:
    """Return a JSON pointer. Source: Bryan, Zyp & Nottingham (2013), "JavaScript Object Notation (JSON) Pointer"."""
    return "".join(f"/{str(it).replace('~', '~0').replace('/', '~1')}" for it in parts)


def of_row(error: RowError, *before: str | int, many: bool) -> ProblemError:
    """Return the problem of a row.

    Args:
        error: what is wrong.
        before: place of the rows in the body.
        many: is there a list of rows, not a single one?
    """
    place = list(before)
    if many and error.row is not None:
        place.append(error.row)
    if error.row is not None:
        place.extend(("x", error.column) if error.column is not None else ("y",))
    return ProblemError("bad-row", str(error), field=pointer(*place) if place else None)


def of_error(error: Exception) -> ProblemError:
    """Return the problem of an error that a model has raised."""
    if isinstance(error, ProblemError):
        return error
    if isinstance(error, RowError):
        return ProblemError("bad-row", str(error))
    if isinstance(error, StorageError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return ProblemError("disk-full", str(error), retry_after=5)
    if isinstance(error, JournalError) and error.errno == errno.EIO:
        return ProblemError("read-only", str(error))
    if isinstance(error, StorageError) and error.errno in (errno.EBUSY, errno.EAGAIN):
        return ProblemError("busy", str(error), retry_after=1)
    if isinstance(error, StorageError):
        return ProblemError("read-only", str(error))
    raise error
