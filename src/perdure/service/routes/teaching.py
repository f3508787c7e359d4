"""Learning: one example, several, a stream of them, and labels that come later."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool

from perdure.service import stream
from perdure.service.bodies import (
    FeedbackBody,
    Label,
    LearnBody,
    check_id,
    check_row,
    check_target,
    new_id,
    parsed,
)
from perdure.service.context import NDJSON, answer, body_of, check_rows, context_of, documented
from perdure.service.problems import ProblemError
from perdure.service.served import Served
from perdure.service.teacher import Taught

router = APIRouter(prefix="/v1/models/{name}", tags=["teach"])

_ONE = {"position": 3, "id": "m3", "known": False, "prediction": "work"}


@router.post(
    "/learn",
    openapi_extra=documented(LearnBody, example=_ONE),
    summary="Learn one example, several, or a stream of them",
)
async def learn(name: str, request: Request) -> Response:
    """Learn, and answer once it is on the disk: position, and the prediction made before learning.

    An example with an `id` is learned once, however often it is sent. Several examples are learned all or none. With
    the content type application/x-ndjson, each line is an example, and there may be any number of them; each line of
    the answer tells of some that have been learned.
    """
    context = context_of(request)
    served = context.models.find(name)
    if request.headers.get("content-type", "").startswith(NDJSON):
        served.check_teachable()
        return stream.StreamedAnswer(stream.learned(request, served, context))
    body = parsed(LearnBody, await body_of(request))
    limits = context.limits
    if body.examples is None:
        if body.x is None:
            raise ProblemError("bad-body", "neither x nor examples was given, expected one of them", field="/x")
        check_row(body.x, limits, "x")
        check_target(body.y, limits, "y", regression=served.regression)
        check_id(body.id, limits, "id")
        id = body.id or new_id()
        taught = await served.learn([body.x], [body.y], [id], many=False)
        context.metrics.examples.labels(name).inc()
        return answer(_told(taught, [id])[0])
    if body.x is not None or body.y is not None or body.id is not None:
        raise ProblemError("bad-body", "x, y or id was given beside examples, expected one or the other", field="/x")
    check_rows(len(body.examples), limits, "/examples")
    for place, it in enumerate(body.examples):
        check_row(it.x, limits, "examples", place, "x")
        check_target(it.y, limits, "examples", place, "y", regression=served.regression)
        check_id(it.id, limits, "examples", place, "id")
    ids = [it.id or new_id() for it in body.examples]
    xs, ys = [it.x for it in body.examples], [it.y for it in body.examples]
    taught = await served.learn(xs, ys, ids, "examples", many=True)
    context.metrics.examples.labels(name).inc(len(xs))
    return answer({"position": max(taught.positions), "examples": _told(taught, ids)})


@router.post(
    "/feedback",
    openapi_extra=documented(FeedbackBody, example={**_ONE, "id": "p-0123456789abcdef01234567", "predicted": "offers"}),
    summary="Give the label of an earlier prediction",
)
async def feedback(name: str, request: Request) -> Response:
    """Learn the row of an earlier prediction, now that its label has come; sent twice, it is learned once."""
    context = context_of(request)
    served = context.models.find(name)
    body = parsed(FeedbackBody, await body_of(request))
    labels = body.labels
    if labels is None:
        if body.prediction_id is None:
            raise ProblemError("bad-body", "neither prediction_id nor labels was given", field="/prediction_id")
        labels = [Label(prediction_id=body.prediction_id, y=body.y)]
    check_rows(len(labels), context.limits, "/labels")
    place: list[str] = [] if body.labels is None else ["labels"]
    for n, it in enumerate(labels):
        own = [*place, n, "y"] if place else ["y"]
        check_target(it.y, context.limits, *own, regression=served.regression)
    served.check_teachable()
    waiting = await run_in_threadpool(served.predictions.find, [it.prediction_id for it in labels])
    unknown = [it.prediction_id for it in labels if it.prediction_id not in waiting]
    learned = await run_in_threadpool(_positions, served, unknown) if unknown else {}
    for n, it in enumerate(labels):
        if it.prediction_id not in waiting and it.prediction_id not in learned:
            own = f"/labels/{n}/prediction_id" if place else "/prediction_id"
            days = context.limits.waiting_seconds / 86_400
            raise ProblemError(
                "no-prediction",
                f"no prediction {it.prediction_id[:80]!r} waits for a label; one waits {days:g} days, and "
                f"{context.limits.waiting_rows:,} wait at most: send the row with its label to learn instead",
                field=own,
            )
    new = [it for it in labels if it.prediction_id in waiting]
    told: dict[str, dict[str, Any]] = {
        id: {"position": at, "id": id, "known": True, "prediction": None} for id, at in learned.items()
    }
    if new:
        ids = [it.prediction_id for it in new]
        taught = await served.learn([waiting[id].x for id in ids], [it.y for it in new], ids, *place, many=bool(place))
        await run_in_threadpool(served.predictions.drop, ids)
        context.metrics.examples.labels(name).inc(len(ids))
        for one in _told(taught, ids):
            told[one["id"]] = {**one, "predicted": waiting[one["id"]].predicted}
    answers = [told[it.prediction_id] for it in labels]
    return answer({"examples": answers} if place else answers[0])


def _positions(served: Served, ids: list[str]) -> dict[str, int]:
    """Return where predictions have been learned whose labels came before."""
    with served.journal() as journal:
        return journal.positions([it for it in ids if it.startswith("p-")])


def _told(taught: Taught, ids: list[str]) -> list[dict[str, Any]]:
    return [
        {"position": position, "id": id, "known": known, "prediction": prediction}
        for position, id, known, prediction in zip(taught.positions, ids, taught.known, taught.predictions, strict=True)
    ]
