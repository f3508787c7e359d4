"""The teach page: a few static files, which need nothing from anywhere else."""

from __future__ import annotations

import hashlib
from importlib.resources import files
from typing import NamedTuple

from fastapi import APIRouter, Request, Response

from perdure.service.problems import ProblemError

PATH = "/page/"
"""Before the names of the files in addresses; the page itself is at `/`."""
_INDEX = "index.html"
_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}


class StaticFile(NamedTuple):
    """A file of the page."""

    content: bytes
    media_type: str
    tag: str
    """Differs if the content does."""


def load_files() -> dict[str, StaticFile]:
    """Return the files of the page by name."""
    loaded = {}
    for path in files("perdure.service").joinpath("static").iterdir():
        ending = path.name.rpartition(".")[2]
        if ending in _TYPES:
            content = path.read_bytes()
            tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
            loaded[path.name] = StaticFile(content, _TYPES[ending], tag)
    return loaded


_FILES = load_files()
router = APIRouter(include_in_schema=False)


def is_page(method: str, path: str) -> bool:
    """Tell whether a request asks for a file of the page, which anybody may read: it holds nothing of any model."""
    return method in ("GET", "HEAD") and (path == "/" or path.startswith(PATH))


@router.api_route("/", methods=["GET", "HEAD"])
async def page(request: Request) -> Response:
    """Answer with the page."""
    return _sent(request, _INDEX)


@router.api_route("/page/{name}", methods=["GET", "HEAD"])
async def file(name: str, request: Request) -> Response:
    """Answer with a file of the page."""
    return _sent(request, name)


def _sent(request: Request, name: str) -> Response:
    """Return a file, or that the browser has it already.

    Raises:
        ProblemError: if there is no such file.
    """
    found = _FILES.get(name)
    if found is None:
        raise ProblemError("not-found", f"the page has no file {name[:80]!r}; open / instead")
    headers = {"ETag": found.tag, "Cache-Control": "no-cache"}
    if found.tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(found.content, headers=headers, media_type=found.media_type)
