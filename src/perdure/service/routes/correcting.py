"""Undo, forget, relabel; examples; backtests."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.concurrency import run_in_threadpool

from perdure.online.durable import DurableModel
from perdure.online.errors import RowError
from perdure.online.methods import methods_for
from perdure.online.refusals import NoExampleError, NotErasedError
from perdure.online.search import find_examples
from perdure.online.view import ModelView
from perdure.service.bodies import BacktestBody, ForgetBody, RelabelBody
from perdure.service.checks import check_rows, check_target
from perdure.service.context import answer, context_of
from perdure.service.limits import Limits
from perdure.service.openapi import documented
from perdure.service.problems import ProblemError
from perdure.service.requests import body_as
from perdure.service.served import Served

router = APIRouter(prefix="/v1/models/{name}", tags=["correct"])

_EXAMPLE = {"position": 3, "id": "m3", "learned_at": 1750000000.0, "x": {"length": 750}, "y": "work"}
_JOB = {"id": "b-0123456789abcdef", "model": "mail", "state": "running", "methods": ["er"], "progress": 0.4}


_UNDONE = {"forgot": _EXAMPLE, "erased": True, "seconds": 0.1}
_FORGOTTEN = {"forgot": 1, "erased": True, "seconds": 0.4}


@router.post("/undo", openapi_extra=documented(example=_UNDONE), summary="Forget the last")
async def undo(name: str, request: Request) -> Response:
    """Forget the last example exactly, as `/forget` does: the model becomes the one that never saw it."""
    served = context_of(request).models.find(name)
    told = await _forgotten(served, lambda it: it.undo())
    return answer(told | {"forgot": told["forgot"] and told["forgot"]._asdict()})


@router.post("/forget", openapi_extra=documented(ForgetBody, example=_FORGOTTEN), summary="Forget examples")
async def forget(name: str, request: Request) -> Response:
    """Forget examples exactly, in the model and on the disk. Predictions are answered meanwhile; learning waits.

    If `erased` is false, the model has forgotten them, but a file still holds them: `detail` tells why, and what to do.
    """
    context = context_of(request)
    served = context.models.find(name)
    body = await body_as(ForgetBody, request)
    check_rows(len(body.ids), context.limits, "/ids")
    return answer(await _forgotten(served, lambda it: it.forget(body.ids)))


@router.post(
    "/relabel", openapi_extra=documented(RelabelBody, example={"seconds": 0.4}), summary="Correct the class of one"
)
async def relabel(name: str, request: Request) -> Response:
    """Put another class in an example's place: the model becomes the one that learned it so."""
    context = context_of(request)
    served = context.models.find(name)
    body = await body_as(RelabelBody, request)
    check_target(body.y, context.limits, "y", regression=served.regression)
    began = time.perf_counter()
    await served.change(lambda it: _relabelled(it, body, context.limits))
    return answer({"seconds": time.perf_counter() - began})


async def _forgotten(served: Served, forget: Callable[[DurableModel], Any]) -> dict[str, Any]:
    """Return what was forgotten, and whether nothing of it is left in a file."""

    def change(model: DurableModel) -> dict[str, Any]:
        try:
            return {"forgot": forget(model), "erased": True}
        except NotErasedError as error:
            return {"forgot": error.forgot, "erased": False, "detail": served.without_path(str(error))}
        except RowError as error:
            raise ProblemError("bad-row", str(error)) from None
        except NoExampleError as error:
            raise ProblemError("no-example", str(error), field="/ids") from None

    began = time.perf_counter()
    told = await served.change(change)
    return told | {"seconds": time.perf_counter() - began}


def _relabelled(model: DurableModel, body: RelabelBody, limits: Limits) -> None:
    known = model.model.known_classes
    if not model.settings.regression and body.y not in known and len(known) >= limits.classes:
        raise ProblemError(
            "bad-row",
            f"{body.y!r} would be one of {len(known) + 1:,}, expected at most {limits.classes:,}; give it one of the "
            "classes before",
            field="/y",
        )
    try:
        model.relabel(body.id, body.y)
    except RowError as error:
        raise ProblemError("bad-row", str(error), field="/y") from None
    except NoExampleError as error:
        raise ProblemError("no-example", str(error), field="/id") from None


@router.get(
    "/examples", openapi_extra=documented(example={"examples": [_EXAMPLE], "before": None}), summary="List them"
)
async def examples(
    name: str,
    request: Request,
    before: Annotated[int | None, Query(ge=1, description="Only those of positions before this one.")] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    text: Annotated[str | None, Query(max_length=200, description="Only those in which this occurs.")] = None,
    id: Annotated[str | None, Query(max_length=200)] = None,
    label: Annotated[str | None, Query(max_length=10_000)] = None,
) -> Response:
    """List examples, the newest first; `before` of the answer leads to the next page, until it is null."""
    served = context_of(request).models.find(name)
    return answer(await run_in_threadpool(_found, served, before, limit, text, id, label))


def _found(
    served: Served, before: int | None, limit: int, text: str | None, id: str | None, label: str | None
) -> dict[str, Any]:
    sought = None if label is None else _label_of(label, served.now())
    with served.journal() as journal:
        page = find_examples(journal, before=before, limit=limit, text=text, id=id, label=sought)
    return {"examples": [it._asdict() for it in page.examples], "before": page.before}


@router.post(
    "/backtest",
    openapi_extra=documented(BacktestBody, example=_JOB),
    summary="Measure other methods on the same history",
)
async def backtest(name: str, request: Request) -> Response:
    """Begin a job; ask for it by its id."""
    context = context_of(request)
    served = context.models.find(name)
    body = await body_as(BacktestBody, request)
    settings = await run_in_threadpool(served.settings)
    job = context.backtests.begin(name, served.folder, settings, body.methods, body.window, body.delay)
    return answer(job.described(), 202)


_JOBS = {"backtests": [_JOB], "methods": ["er", "nearest-mean"]}


@router.get("/backtest", openapi_extra=documented(example=_JOBS), summary="List the jobs")
async def backtests(name: str, request: Request) -> Response:
    """List the jobs of a model since the server began, and the methods that can be measured on its history."""
    context = context_of(request)
    settings = await run_in_threadpool(context.models.find(name).settings)
    jobs = [it.described() for it in context.backtests.of(name)]
    return answer({"backtests": jobs, "methods": methods_for(regression=settings.regression)})


@router.get("/backtest/{id}", openapi_extra=documented(example=_JOB), summary="Show a job")
async def one_backtest(name: str, id: str, request: Request) -> Response:
    """Show how far a job is, and what it has found."""
    return answer(context_of(request).backtests.find(name, id).described())


@router.delete("/backtest/{id}", openapi_extra=documented(example=_JOB), summary="Stop a job")
async def stop_backtest(name: str, id: str, request: Request) -> Response:
    """Stop a job: at once if it waits, else when a method has learned a few more rows, or has been compiled."""
    job = context_of(request).backtests.find(name, id)
    job.stop()
    return answer(job.described())


def _label_of(text: str, view: ModelView) -> Any:
    """Return the class that a text in an address stands for: as JSON if that is a class of the model."""
    try:
        value = json.loads(text)
        return value if value in view.classes else text
    except (ValueError, RecursionError):
        return text
