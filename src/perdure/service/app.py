"""The application: routes behind the gate."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException as StarletteHTTPException

from perdure._version import __version__
from perdure.service import page
from perdure.service.context import ENCODER, Context
from perdure.service.gate import Gate, failure
from perdure.service.limits import Limits
from perdure.service.openapi import add_schemas
from perdure.service.problems import MEDIA_TYPE, ProblemError, pointer
from perdure.service.routes import answering, correcting, looking, models, racing, teaching, watching

ROUTERS = (
    models.router,
    teaching.router,
    answering.router,
    correcting.router,
    watching.router,
    looking.router,
    racing.router,
    page.router,
)
_DESCRIPTION = """Models that are taught one example at a time, never forget what they were taught, and lose no example
that they have acknowledged. Errors are problems as RFC 9457 has them; `field` points to what is wrong in the body."""


def make_app(
    folder: Path,
    limits: Limits | None = None,
    *,
    loopback: bool = True,
    log: Callable[[str], None] | None = None,
) -> Gate:
    """Return the application that serves the models of a folder.

    Models are loaded when it starts, in a thread of its own, and closed when it ends.

    Args:
        folder: each folder in it is a model.
        limits: what is refused beyond.
        loopback: is it reached from this machine only? Elsewhere a token is always needed.
        log: called with a line of JSON for each request.
    """
    context = Context(folder, limits or Limits(), loopback)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        loading = asyncio.create_task(run_in_threadpool(context.models.load))
        try:
            yield
        finally:
            context.ended = True
            context.backtests.stop()
            await run_in_threadpool(context.models.close, context.limits.stop_seconds)
            await loading
            await run_in_threadpool(context.backtests.close)

    app = FastAPI(
        title="perdure", version=__version__, description=_DESCRIPTION, lifespan=lifespan, docs_url=None, redoc_url=None
    )
    for router in ROUTERS:
        app.include_router(router)
    app.add_exception_handler(ProblemError, _on_problem)
    app.add_exception_handler(Exception, _on_failure)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(StarletteHTTPException, _on_http)
    add_schemas(app)
    return Gate(app, context, log, {"learn": teaching.learn, "predict": answering.predict})


async def _on_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, ProblemError)
    content = ENCODER.encode(error.to_json(request.scope.get("request_id")))
    return Response(content, error.status, error.headers, MEDIA_TYPE)


async def _on_failure(request: Request, error: Exception) -> Response:
    """Answer a request at which the server failed; the gate logs where."""
    return await _on_problem(request, failure())


async def _on_invalid(request: Request, error: Exception) -> Response:
    """Answer a request whose address or query is not as expected."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    place = pointer(*first["loc"][1:])
    return await _on_problem(request, ProblemError("bad-body", f"{place}: {first['msg']}", field=place))


async def _on_http(request: Request, error: Exception) -> Response:
    """Answer a request for something that is not there."""
    assert isinstance(error, StarletteHTTPException | HTTPException)
    path = request.url.path[:80]
    if error.status_code == 405:
        return await _on_problem(request, ProblemError("wrong-method", f"{request.method} was given for {path!r}"))
    if error.status_code == 404:
        return await _on_problem(
            request, ProblemError("not-found", f"there is nothing at {path!r}; see /openapi.json for what there is")
        )
    return await _on_problem(request, ProblemError("bad-request", str(error.detail)))
