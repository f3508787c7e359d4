"""What a model holds inside: the examples in its memory, how far experts are trusted; and the model as a file."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.concurrency import run_in_threadpool

from perdure.online.snapshots import model_bytes
from perdure.service.context import answer, context_of
from perdure.service.memories import memory_of
from perdure.service.openapi import documented
from perdure.service.problems import ProblemError
from perdure.service.served import Served
from perdure.storage.files import StorageError

router = APIRouter(prefix="/v1/models/{name}", tags=["watch"])

_INSIDE = {
    "experts": {"linear, rate 0.03": 0.8},
    "memory": {"size": 2000, "filled": 2, "classes": [{"class": "work", "examples": 2}]},
}


@router.get("/inside", openapi_extra=documented(example=_INSIDE), summary="Show what the model holds inside")
async def inside(name: str, request: Request) -> Response:
    """Tell how many examples of each class the memory holds, and how far each expert of `auto` is trusted."""
    served = context_of(request).models.find(name)
    return answer(await run_in_threadpool(_inside, served))


_MEMORY = {
    "position": 3,
    "memories": [{"name": "memory", "rule": "reservoir", "size": 2000, "filled": 3}],
    "memory": "memory",
    "examples": [{"position": 3, "id": "m3", "learned_at": 1750000000.0, "x": {"length": 750}, "y": "work"}],
    "before": 3,
}


@router.get("/memory", openapi_extra=documented(example=_MEMORY), summary="List the examples in the memory")
async def memory(
    name: str,
    request: Request,
    memory: Annotated[str | None, Query(max_length=200, description="One of the memories; the first if none.")] = None,
    before: Annotated[int | None, Query(ge=1, description="Only those of positions before this one.")] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> Response:
    """List the examples of the journal that a memory holds, the newest first; no memories if the method has none.

    `before` of the answer leads to the next page, until it is null. `auto` has a memory for each expert that replays.
    """
    served = context_of(request).models.find(name)
    return answer(await run_in_threadpool(_remembered, served, memory, before, limit))


def _remembered(served: Served, memory: str | None, before: int | None, limit: int) -> dict[str, Any]:
    with served.journal() as journal:
        return served.memories.page(journal, memory, before, limit)


@router.get("/file", summary="Download the model")
async def file(name: str, request: Request) -> Response:
    """Send the model as one file, which `perdure.load` reads as an estimator."""
    served = context_of(request).models.find(name)
    content = await run_in_threadpool(_file_of, served)
    headers = {"Content-Disposition": f'attachment; filename="{name}.safetensors"'}
    return Response(content, headers=headers, media_type="application/octet-stream")


def _file_of(served: Served) -> bytes:
    """Return the content of the file that `save` writes."""
    with served.looks.turn():
        view = served.now()
        if view.packed is None:
            raise ProblemError(
                "not-found", "the model has learned nothing yet, so there is nothing to download; teach it"
            )
        try:
            return model_bytes(Path(f"{served.name}.safetensors"), view, served.settings(), view.position)
        except StorageError as error:
            raise ProblemError("no-file", str(error)) from error


def _inside(served: Served) -> dict[str, Any]:
    with served.looks.turn():
        view, method = served.now(), served.settings().to_json()["method"]
        found, experts = memory_of(view), view.expert_weights
    memory = None
    if found is not None:
        labels = Counter(found.labels)
        memory = {
            "size": found.size,
            "filled": len(found.labels),
            "classes": [{"class": label, "examples": n} for label, n in labels.most_common()],
        }
    return {"experts": experts, "memory": memory, "method": method}
