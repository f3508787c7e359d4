"""What a durable model is and knows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from perdure.online.durable import DurableModel
from perdure.online.folder import JOURNAL


class ModelStatus(NamedTuple):
    """What a model is and knows."""

    folder: str
    settings: Mapping[str, Any]
    n_examples: int
    """Without those that were forgotten."""
    position: int
    """Of the last example."""
    classes: list[Any]
    columns: list[str]
    weights: Mapping[str, float]
    """How far each expert of "auto" is trusted now; empty for other methods."""
    journal_bytes: int


def status_of(model: DurableModel) -> ModelStatus:
    """Return what a model is and knows."""
    inner = model.model
    return ModelStatus(
        folder=str(model.folder),
        settings=model.settings.to_json(),
        n_examples=model.n_examples,
        position=model.position,
        classes=model.classes,
        columns=list(inner.columns.known),
        weights=inner.expert_weights,
        journal_bytes=sum(it.stat().st_size for it in model.folder.glob(f"{JOURNAL}*")),
    )
