"""Races of methods on digits, which show how some of them forget."""

from __future__ import annotations

from typing import ClassVar

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import Field

from perdure.online.methods import METHODS
from perdure.service.bodies import StrictBody
from perdure.service.context import answer, context_of
from perdure.service.openapi import documented
from perdure.service.races import MAX_EXAMPLES, data_sets
from perdure.service.requests import body_as

router = APIRouter(prefix="/v1/races", tags=["race"])

_EXAMPLE = {
    "id": "r-0123456789abcdef",
    "data": "digits",
    "position": 20,
    "length": 1442,
    "methods": [
        {"method": "online", "accuracy": [1.0, None], "examples_per_second": 900.0},
        {"method": "mer", "accuracy": [1.0, None], "examples_per_second": 400.0},
    ],
}


class RaceBody(StrictBody):
    """A race to begin."""

    EXAMPLE: ClassVar = {"methods": ["online", "mer"], "data": "digits", "seed": 0}

    methods: list[str] = Field(["online", "mer"], min_length=1, max_length=4)
    data: str = "digits"
    seed: int = Field(0, ge=0, le=2**32 - 1)


class StepBody(StrictBody):
    """How many examples a race is to learn next."""

    EXAMPLE: ClassVar = {"examples": 20}

    examples: int = Field(20, ge=1, le=MAX_EXAMPLES)


@router.get("", openapi_extra=documented(example={"data": {"digits": "Digits, 8×8 pixels"}, "methods": ["mer"]}))
async def choices() -> Response:
    """Tell what may be raced: data sets that are at hand, and methods."""
    return answer({"data": await run_in_threadpool(data_sets), "methods": METHODS})


@router.post("", openapi_extra=documented(RaceBody, example=_EXAMPLE), summary="Begin a race")
async def begin(request: Request) -> Response:
    """Begin a race: methods that will learn the same digits, first all zeros, then all ones, and so on.

    It is kept in memory alone, and dropped when no request has named it for a quarter of an hour.
    """
    body = await body_as(RaceBody, request)
    race = await run_in_threadpool(context_of(request).races.begin, body.methods, body.data, body.seed)
    return answer(race.described(), 201)


@router.get("/{id}", openapi_extra=documented(example=_EXAMPLE), summary="Show a race")
async def show(id: str, request: Request) -> Response:
    """Show how a race stood after its last finished step, and how it came there."""
    return answer(context_of(request).races.find(id).described())


@router.post("/{id}/step", openapi_extra=documented(StepBody, example=_EXAMPLE), summary="Continue a race")
async def step(id: str, request: Request) -> Response:
    """Let all methods learn the next digits, and test each of them on other digits of the classes seen so far."""
    body = await body_as(StepBody, request)
    return answer(await run_in_threadpool(context_of(request).races.find(id).step, body.examples))


@router.delete("/{id}", openapi_extra=documented(example={"ended": "r-0123456789abcdef"}), summary="End a race")
async def end(id: str, request: Request) -> Response:
    """End a race, and make room for another one."""
    context_of(request).races.end(id)
    return answer({"ended": id})
