"""Learning: one example, several, a stream of them, and labels that come later."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool

from perdure.service import stream
from perdure.service.bodies import FeedbackBody, Label, LearnBody
from perdure.service.checks import check_rows, check_target
from perdure.service.context import NDJSON, answer, context_of
from perdure.service.limits import Limits
from perdure.service.openapi import documented
from perdure.service.predictions import Waiting
from perdure.service.problems import ProblemError, pointer
from perdure.service.reading import body_of, content_type_of
from perdure.service.requests import beside_if_large, body_as, kept_request, to_learn
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
    if content_type_of(request) == NDJSON:
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
    labels, place = _labels_of(await body_as(FeedbackBody, request), context.limits, served)
    served.check_teachable()
    ids = [it.prediction_id for it in labels]
    waiting = await run_in_threadpool(served.predictions.find, ids)
    learned = await run_in_threadpool(_learned_before, served, [it for it in ids if it not in waiting])
    _check_known(ids, {**waiting, **learned}, context.limits, place)
    told: list[dict[str, Any]] = []
    if new := [it for it in labels if it.prediction_id in waiting]:
        told = await _learn_labels(new, waiting, served, place)
        context.metrics.examples.labels(name).inc(len(new))
    learned_now = iter(told)
    answers = [
        next(learned_now) if id in waiting else {"position": learned[id], "id": id, "known": True, "prediction": None}
        for id in ids
    ]
    return answer({"examples": answers} if place else answers[0])


def _labels_of(body: FeedbackBody, limits: Limits, served: Served) -> tuple[list[Label], list[str]]:
    """Return the labels of a body, checked, and where in it they are listed: nowhere if there is a single one."""
    if body.labels is not None:
        labels, place = body.labels, ["labels"]
    elif body.prediction_id is not None:
        labels, place = [Label(prediction_id=body.prediction_id, y=body.y)], []
    else:
        raise ProblemError("bad-body", "neither prediction_id nor labels was given", field="/prediction_id")
    check_rows(len(labels), limits, "/labels")
    for n, it in enumerate(labels):
        check_target(it.y, limits, *_at(place, n), "y", regression=served.regression)
    return labels, place


def _at(place: list[str], n: int) -> list[str | int]:
    """Return the place of a label in the body."""
    return [*place, n] if place else []


def _learned_before(served: Served, ids: list[str]) -> dict[str, int]:
    """Return where predictions were learned whose labels came before."""
    own = [it for it in ids if it.startswith("p-")]
    if not own:
        return {}
    with served.journal() as journal:
        return journal.positions(own)


def _check_known(ids: list[str], known: Container[str], limits: Limits, place: list[str]) -> None:
    """Check that each prediction waits for its label, or has had it."""
    for n, id in enumerate(ids):
        if id not in known:
            raise ProblemError(
                "no-prediction",
                f"no prediction {id[:80]!r} waits for a label; one waits {limits.waiting_seconds / 86_400:g} days, and "
                f"{limits.waiting_rows:,} wait at most: send the row with its label to learn instead",
                field=pointer(*_at(place, n), "prediction_id"),
            )


async def _learn_labels(
    labels: list[Label], waiting: Mapping[str, Waiting], served: Served, place: list[str]
) -> list[dict[str, Any]]:
    """Learn rows that wait, with their labels; return the answer for each."""
    ids = [it.prediction_id for it in labels]
    many = bool(place)
    rows = kept_request([waiting[id].x for id in ids], [it.y for it in labels], ids, *place, many=many)
    taught = await served.learn(rows, *place, many=many)
    await run_in_threadpool(served.predictions.drop, ids)
    return [{**one, "predicted": waiting[one["id"]].predicted} for one in _told(taught, ids)]


def _told(taught: Taught, ids: list[str]) -> list[dict[str, Any]]:
    return [
        {"position": position, "id": id, "known": known, "prediction": prediction}
        for position, id, known, prediction in zip(taught.positions, ids, taught.known, taught.predictions, strict=True)
    ]
