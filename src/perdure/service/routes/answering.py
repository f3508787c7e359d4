"""Predictions, from the newest view or from an old one."""

from __future__ import annotations

from typing import Any

import numpy as np
from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool
from jaxtyping import Float

from perdure.online.errors import RowError
from perdure.online.view import ModelView
from perdure.service.bodies import PredictBody, parsed
from perdure.service.checks import check_row, check_rows
from perdure.service.context import answer, context_of
from perdure.service.limits import Limits
from perdure.service.openapi import documented
from perdure.service.problems import ProblemError, of_row
from perdure.service.reading import body_of
from perdure.service.requests import beside_if_large
from perdure.service.scores import all_finite
from perdure.service.served import Served

router = APIRouter(prefix="/v1/models/{name}", tags=["ask"])

_AT_ONCE = 16
"""Rows that are answered without another thread."""
_EXAMPLE = {
    "position": 3,
    "prediction": "work",
    "classes": ["work", "offers"],
    "probabilities": [0.91, 0.09],
    "prediction_id": "p-0123456789abcdef01234567",
}


@router.post("/predict", openapi_extra=documented(PredictBody, example=_EXAMPLE), summary="Predict one row or several")
async def predict(name: str, request: Request) -> Response:
    """Answer from the newest view, without waiting for what is being learned.

    The answer has an id, by which `/feedback` takes the label when it comes. The `position` tells what was known.
    """
    context = context_of(request)
    served = context.models.find(name)
    body, rows = await beside_if_large(await body_of(request), _asked, context.limits)
    view = served.now()
    content, decided = await _predicted(view, rows, body)
    content = {"position": view.position, **content}
    if body.feedback:
        ids = await _kept(served, rows, decided)
        if body.rows is None:
            content["prediction_id"] = None if ids is None else ids[0]
        else:
            content["prediction_ids"] = ids
    context.metrics.answers.labels(name).inc(len(rows))
    return answer(content)


@router.post(
    "/at/{position}/predict", openapi_extra=documented(PredictBody, example=_EXAMPLE), summary="Predict as it was then"
)
async def predict_at(name: str, position: int, request: Request) -> Response:
    """Answer as the model did after the example at a position, without those forgotten since."""
    context = context_of(request)
    served = context.models.find(name)
    body, rows = await beside_if_large(await body_of(request), _asked, context.limits)
    view = await run_in_threadpool(_view_at, served, position)
    content, _ = await _predicted(view, rows, body)
    return answer({"position": position, **content})


def _asked(content: bytes, limits: Limits) -> tuple[PredictBody, list[dict[str, Any]]]:
    """Return a body and the rows in it."""
    body = parsed(PredictBody, content)
    if (body.x is None) == (body.rows is None):
        raise ProblemError("bad-body", "x or rows is needed, and not both", field="/x")
    if body.x is not None:
        check_row(body.x, limits, "x")
        return body, [body.x]
    rows = body.rows or []
    check_rows(len(rows), limits, "/rows")
    for place, row in enumerate(rows):
        check_row(row, limits, "rows", place)
    return body, rows


async def _predicted(
    view: ModelView, rows: list[dict[str, Any]], body: PredictBody
) -> tuple[dict[str, Any], list[Any]]:
    """Return an answer and the predictions in it."""
    try:
        if body.x is not None:
            answers = view.predict_proba_one(body.x)[None]
        elif len(rows) <= _AT_ONCE:
            answers = view.predict_proba(rows)
        else:
            answers = await run_in_threadpool(view.predict_proba, rows)
    except RowError as error:
        raise of_row(error, *([] if body.rows is None else ["rows"]), many=body.rows is not None) from None
    decided = all_finite(view.decide(answers)) if view.regression and view.n_outputs else view.decide(answers)
    content: dict[str, Any] = {}
    if not view.regression and body.probabilities:
        content["classes"] = list(view.classes)
        shares = _shares(answers)
        content["probabilities"] = shares[0] if body.rows is None else shares
    if body.rows is None:
        return {"prediction": decided[0], **content}, decided
    return {"predictions": decided, **content}, decided


def _shares(answers: Float[np.ndarray, "rows outputs"]) -> list[list[float | None]]:
    if np.isfinite(answers).all():
        return np.round(answers.astype(np.float64), 6).tolist()
    return all_finite(answers.tolist())


async def _kept(served: Served, rows: list[dict[str, Any]], decided: list[Any]) -> list[str] | None:
    """Keep rows until their labels come; None where nothing can be kept."""
    if served.state != "ready":
        return None
    if len(rows) <= _AT_ONCE:
        return served.predictions.keep(rows, decided)
    return await run_in_threadpool(served.predictions.keep, rows, decided)


def _view_at(served: Served, position: int) -> ModelView:
    with served.journal() as journal:
        return served.old_views.at(position, journal)
