"""What requests hold, and how it is checked."""

from __future__ import annotations

import json
import secrets
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, WithJsonSchema

from perdure.service.problems import ProblemError, pointer

_SCALAR = {"type": ["number", "string", "boolean", "null"]}
Row = Annotated[
    dict[str, Any],
    WithJsonSchema(
        {"type": "object", "additionalProperties": _SCALAR, "examples": [{"subject": "meeting", "length": 800}]}
    ),
    Field(description="Column to value: a number, a text, true, false, or null for a missing value."),
]
_TARGET_TYPES = ["number", "string", "boolean"]
Target = Annotated[
    Any,
    WithJsonSchema(
        {
            "anyOf": [{"type": _TARGET_TYPES}, {"type": "array", "items": {"type": "number"}, "minItems": 1}],
            "examples": ["work"],
        }
    ),
    Field(description="The class: a text, a number, true or false. For regression a number, or a list of them."),
]
Id = Annotated[str, Field(min_length=1, description="Name of the example. A name is learned once.")]
Body = TypeVar("Body", bound="StrictBody")


class StrictBody(BaseModel):
    """What a request holds, and nothing else."""

    EXAMPLE: ClassVar[dict[str, Any]]
    """Of a whole request."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


class Example(StrictBody):
    """A row and its class."""

    EXAMPLE: ClassVar = {"x": {"subject": "meeting", "length": 800}, "y": "work", "id": "m2"}

    x: Row
    y: Target
    id: Id | None = None


class LearnBody(StrictBody):
    """One example, or several."""

    EXAMPLE: ClassVar = Example.EXAMPLE

    x: Row | None = None
    y: Target = None
    id: Id | None = None
    examples: list[Example] | None = Field(None, min_length=1, description="Several examples, in place of one.")


class PredictBody(StrictBody):
    """One row, or several."""

    EXAMPLE: ClassVar = {"x": {"subject": "meeting", "length": 790}}

    x: Row | None = None
    rows: list[Row] | None = Field(None, min_length=1, description="Several rows, in place of one.")
    feedback: bool = Field(True, description="Keep the rows, so that their labels can be given later by an id?")
    probabilities: bool = Field(True, description="Answer with the probability of each class?")


class Label(StrictBody):
    """A label that has come."""

    prediction_id: Id
    y: Target


class FeedbackBody(StrictBody):
    """One label, or several."""

    EXAMPLE: ClassVar = {"prediction_id": "p-0123456789abcdef01234567", "y": "work"}

    prediction_id: Id | None = None
    y: Target = None
    labels: list[Label] | None = Field(None, min_length=1, description="Several labels, in place of one.")


class ForgetBody(StrictBody):
    """Examples to forget."""

    EXAMPLE: ClassVar = {"ids": ["m2"]}

    ids: list[Id] = Field(min_length=1)


class RelabelBody(StrictBody):
    """The right class of an example."""

    EXAMPLE: ClassVar = {"id": "m1", "y": "offers"}

    id: Id
    y: Target


class BacktestBody(StrictBody):
    """Methods to measure on the model's history."""

    EXAMPLE: ClassVar = {"methods": ["er", "online"]}

    methods: list[str] = Field(min_length=1, max_length=10)
    window: int = Field(500, ge=1, le=1_000_000, description="Rows of the windowed curve.")
    delay: int = Field(0, ge=0, le=10_000, description="Rows between an answer and its label.")


class CreateBody(StrictBody):
    """A model to make."""

    EXAMPLE: ClassVar = {"name": "mail", "method": "er"}

    name: str = Field(description="1 to 64 of a-z, 0-9, '.', '_' and '-'; no '.' at its beginning.")
    method: str | None = None
    regression: bool | None = None
    memory_size: int | None = Field(None, ge=1, le=100_000)
    memory_rule: str | None = None
    hidden_sizes: list[Annotated[int, Field(ge=1, le=4_096)]] | None = Field(None, max_length=8)
    standardize: bool | None = None
    allow_missing: bool | None = None
    features: str | None = Field(None, description="Of drawings, such as omniglot-small; rows have a 'drawing' then.")
    seed: int | None = None


def parsed(kind: type[Body], content: bytes) -> Body:
    """Return what a request holds.

    Raises:
        ProblemError: naming the place that is not as expected.
    """
    try:
        return kind.model_validate_json(content)
    except ValidationError as error:
        raise _problem(error, kind) from None


def _problem(error: ValidationError, kind: type[StrictBody]) -> ProblemError:
    first, *others = error.errors(include_url=False, include_input=False, include_context=False)
    example = json.dumps(kind.EXAMPLE)
    if first["type"] == "json_invalid":
        return ProblemError("bad-json", f"{first['msg']}; give JSON such as {example}")
    place = first["loc"]
    more = f" ({len(others)} more)" if others else ""
    where = f"{pointer(*place)}: " if place else ""
    return ProblemError(
        "bad-body", f"{where}{first['msg']}{more}; give a body such as {example}", field=pointer(*place) or None
    )


def new_id() -> str:
    """Return a name for an example that was given none."""
    return f"e-{secrets.token_hex(10)}"
