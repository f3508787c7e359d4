"""Models: made, listed, described, deleted."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.concurrency import run_in_threadpool

from perdure.service.bodies import CreateBody
from perdure.service.context import answer, context_of
from perdure.service.openapi import documented
from perdure.service.problems import ProblemError
from perdure.service.requests import body_as

router = APIRouter(prefix="/v1/models", tags=["models"])

_EXAMPLE = {"name": "mail", "state": "ready", "examples": 3, "position": 3, "classes": ["offers", "work"]}


@router.get("", openapi_extra=documented(example={"models": [_EXAMPLE]}), summary="List the models")
async def models(request: Request) -> Response:
    """List all models of the folder."""
    return answer({"models": [it.described() for it in context_of(request).models]})


@router.post("", openapi_extra=documented(CreateBody, example=_EXAMPLE), summary="Make a model")
async def create(request: Request) -> Response:
    """Make a model; what is left out has the defaults of `perdure model new`."""
    body = await body_as(CreateBody, request)
    settings = body.model_dump(exclude={"name"}, exclude_none=True)
    if body.hidden_sizes is not None:
        settings["hidden_sizes"] = tuple(body.hidden_sizes)
    served = await run_in_threadpool(context_of(request).models.create, body.name, settings)
    return answer(served.described(), 201)


@router.get("/{name}", openapi_extra=documented(example=_EXAMPLE), summary="Describe a model")
async def model(name: str, request: Request) -> Response:
    """Describe a model: settings, classes, columns, how right it has been since the server began."""
    return answer(context_of(request).models.find(name).described())


@router.delete("/{name}", openapi_extra=documented(example={"deleted": "mail"}), summary="Delete a model")
async def delete(
    name: str, request: Request, confirm: Annotated[str | None, Query(description="The model's name again.")] = None
) -> Response:
    """Delete a model with all that it has learned. This cannot be undone, so its name must be given twice."""
    context = context_of(request)
    context.models.find(name)
    if confirm != name:
        raise ProblemError(
            "not-confirmed", f"{name!r} would be deleted with all that it has learned; confirm it: ?confirm={name}"
        )
    await run_in_threadpool(context.models.delete, name)
    context.backtests.forget(name)
    context.metrics.forget(name)
    return answer({"deleted": name})
