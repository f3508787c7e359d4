"""Estimators from files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from perdure.core import Learner
from perdure.online.estimators import OnlineClassifier, OnlineRegressor
from perdure.online.model import OnlineModel
from perdure.online.settings import ModelSettings
from perdure.online.snapshots import load_model


def load(path: str | Path, method: Learner[Any] | None = None) -> OnlineClassifier | OnlineRegressor:
    """Return the estimator that `save` has written; it continues to learn as if it had never been away.

    Nothing in the file is run: it holds arrays and JSON.

    Args:
        path: the file.
        method: the learner, if the estimator was made with one instead of a name.

    Raises:
        ContentError: if the file is damaged, was altered, holds something else, or was made with another learner.
    """
    model, settings, *_ = load_model(Path(path), method)
    return estimator_of(model, settings)


def estimator_of(model: OnlineModel, settings: ModelSettings) -> OnlineClassifier | OnlineRegressor:
    """Return an estimator that continues from a model."""
    kind = OnlineRegressor if settings.regression else OnlineClassifier
    estimator = kind(
        settings.method,
        memory_size=settings.memory_size,
        memory_rule=settings.memory_rule,
        hidden_sizes=settings.hidden_sizes,
        standardize=settings.standardize,
        allow_missing=settings.allow_missing,
        features=settings.features,
        random_state=settings.seed,
    )
    estimator.adopt(model)
    return estimator
