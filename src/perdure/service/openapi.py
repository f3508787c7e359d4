"""What OpenAPI says of requests whose bodies are read here, not by the framework."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel

from perdure.service.bodies import FeedbackBody, LearnBody, StrictBody
from perdure.service.context import JSON
from perdure.service.problems import MEDIA_TYPE

_SCHEMAS = "#/components/schemas/"


class Problem(BaseModel):
    """Why a request was refused."""

    type: str
    title: str
    status: int
    detail: str
    field: str | None = None
    request_id: str | None = None


def documented(body: type[StrictBody] | None = None, *, example: Any) -> dict[str, Any]:
    """Return what OpenAPI says of a request and its answer.

    Args:
        body: of the request; None if there is none.
        example: of the answer.
    """
    described: dict[str, Any] = {
        "responses": {
            "200": {"description": "Done.", "content": {JSON: {"example": example}}},
            "default": {
                "description": "A problem, as RFC 9457 has it.",
                "content": {MEDIA_TYPE: {"schema": {"$ref": f"{_SCHEMAS}{Problem.__name__}"}}},
            },
        }
    }
    if body is not None:
        schema = _schema(body)
        schema.pop("$defs", None)  # `add_schemas` puts them in one place
        content = {JSON: {"schema": schema, "example": body.EXAMPLE}}
        described["requestBody"] = {"required": True, "content": content}
    return described


def add_schemas(app: FastAPI) -> None:
    """Add to the description of an application what the descriptions of its requests refer to."""
    described = app.openapi

    def openapi() -> dict[str, Any]:
        content = described()
        schemas = content.setdefault("components", {}).setdefault("schemas", {})
        schemas[Problem.__name__] = Problem.model_json_schema()
        for body in (LearnBody, FeedbackBody):
            schemas.update(_schema(body)["$defs"])
        return content

    app.openapi = openapi


def _schema(body: type[BaseModel]) -> dict[str, Any]:
    return body.model_json_schema(ref_template=f"{_SCHEMAS}{{model}}")
