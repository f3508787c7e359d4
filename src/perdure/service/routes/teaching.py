"""Learning: one example, several, a stream of them, and labels that come later."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool

from perdure.service import stream
from perdure.service.bodies import FeedbackBody, Label, LearnBody, parsed
from perdure.service.checks import check_target
from perdure.service.context import NDJSON, answer, body_of, check_rows, context_of, documented
from perdure.service.problems import ProblemError
from perdure.service.requests import beside_if_large, kept_request, to_learn
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
    given = await beside_if_large(await body_of(request), to_learn, context.limits, served.regression)
    taught = await served.learn(given.request, *(["examples"] if given.many else []), many=given.many)
    context.metrics.examples.labels(name).inc(len(given.ids))
    told = _told(taught, given.ids)
    return answer({"position": max(taught.positions), "examples": told} if given.many else told[0])


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
        learnable = kept_request([waiting[id].x for id in ids], [it.y for it in new], ids, *place, many=bool(place))
        taught = await served.learn(learnable, *place, many=bool(place))
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
