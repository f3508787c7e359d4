"""Heads by name, for features that stay as they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from perdure.learners.gaussian import GaussianHead
from perdure.learners.head import Head
from perdure.learners.lda import LDA
from perdure.learners.nearest_mean import NearestMean
from perdure.learners.ridge import Ridge
from perdure.learners.slda import SLDA
from perdure.models import MLP
from perdure.representation.network import GaussianPrior, Representation

SGD = "sgd"
"""The network of the representation, redrawn, which learns by Adam as published for OML."""
_CLOSED_FORM: Mapping[str, Callable[[Representation], Head[Any]]] = {
    "nearest-mean": lambda model: NearestMean(),
    "gaussian": lambda model: _gaussian(model, predictive=True),
    "gaussian-map": lambda model: _gaussian(model, predictive=False),
    "lda": lambda model: LDA(),
    "slda": lambda model: SLDA(1e-2),
    "ridge": lambda model: Ridge(),
}
HEADS = (SGD, *_CLOSED_FORM)


def closed_form_head(name: str, model: Representation) -> Head[Any]:
    """Return a head in closed form; a Gaussian one has the prior of the representation, if it was trained with one.

    Raises:
        ValueError: if there is no such head.
    """
    if name not in _CLOSED_FORM:
        raise ValueError(f"there is no head {name!r}; choose one of {', '.join(HEADS)}")
    return _CLOSED_FORM[name](model)


def default_heads(model: Representation) -> tuple[str, ...]:
    """Return the names of the heads that a representation was trained for."""
    if isinstance(model.head, MLP):
        return (SGD,)
    return ("nearest-mean", "lda") if model.head is None else ("gaussian", "gaussian-map", "lda")


def _gaussian(model: Representation, *, predictive: bool) -> GaussianHead:
    if isinstance(model.head, GaussianPrior):
        return model.head.head(predictive=predictive)
    return GaussianHead(predictive=predictive)
