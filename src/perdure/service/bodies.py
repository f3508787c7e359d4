"""What requests hold, and how it is checked."""

from __future__ import annotations

import json
import secrets
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, FailFast, Field, ValidationError, WithJsonSchema

from perdure.service.limits import MAX_ROWS
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
_ROWS = (FailFast(), Field(min_length=1, max_length=MAX_ROWS))
"""Of a list with something for each row."""
_MAX_TOLD = 100
"""Faults of a body that are gone through: each takes more than the byte or two that cause it."""
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
    examples: Annotated[list[Example] | None, *_ROWS, Field(description="Several examples, in place of one.")] = None


class PredictBody(StrictBody):
    """One row, or several."""

    EXAMPLE: ClassVar = {"x": {"subject": "meeting", "length": 790}}

    x: Row | None = None
    rows: Annotated[list[Row] | None, *_ROWS, Field(description="Several rows, in place of one.")] = None
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
    labels: Annotated[list[Label] | None, *_ROWS, Field(description="Several labels, in place of one.")] = None


class ForgetBody(StrictBody):
    """Examples to forget."""

    EXAMPLE: ClassVar = {"ids": ["m2"]}

    ids: Annotated[list[Id], *_ROWS]


class RelabelBody(StrictBody):
    """The right class of an example."""

    EXAMPLE: ClassVar = {"id": "m1", "y": "offers"}

    id: Id
    y: Target


class BacktestBody(StrictBody):
    """Methods to measure on the model's history."""

    EXAMPLE: ClassVar = {"methods": ["er", "online"]}

    methods: Annotated[list[str], FailFast(), Field(min_length=1, max_length=10)]
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
    hidden_sizes: Annotated[list[Annotated[int, Field(ge=1, le=4_096)]] | None, FailFast(), Field(max_length=8)] = None
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
    example = json.dumps(kind.EXAMPLE)
    if (n_faults := error.error_count()) > _MAX_TOLD:
        return ProblemError("bad-body", f"the body has {n_faults:,} faults, expected none; give one such as {example}")
    first, *others = error.errors(include_url=False, include_input=False)
    if first["type"] == "json_invalid":
        return ProblemError("bad-json", f"{first['msg']}; give JSON such as {example}")
    place = first["loc"]
    if first["type"] == "too_long" and first.get("ctx", {}).get("max_length") == MAX_ROWS:
        return ProblemError(
            "too-large",
            f"more than {MAX_ROWS:,} were given, expected fewer; send several requests",
            field=pointer(*place),
        )
    more = f" ({len(others)} more)" if others else ""
    where = f"{pointer(*place)}: " if place else ""
    return ProblemError(
        "bad-body", f"{where}{first['msg']}{more}; give a body such as {example}", field=pointer(*place) or None
    )


def new_id() -> str:
    """Return a name for an example that was given none."""
    return f"e-{secrets.token_hex(10)}"
