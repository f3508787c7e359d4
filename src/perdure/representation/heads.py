"""Heads by name, for features that stay as they are."""

from __future__ import annotations

from typing import Any

from perdure.learners.closed_form import CLOSED_FORM
from perdure.learners.gaussian import GaussianHead
from perdure.learners.head import Head
from perdure.models import MLP
from perdure.representation.network import GaussianPrior, Representation

SGD = "sgd"
"""The network of the representation, or a linear layer, redrawn, which learns by Adam as published for OML; for sine
waves the network as it is, which learns by SGD."""
_GAUSSIAN = {"gaussian": True, "gaussian-map": False}
"""Whether they score by the posterior predictive density."""
HEADS = (SGD, *dict.fromkeys([*CLOSED_FORM, *_GAUSSIAN]))
RIDGE = "ridge"
HEADS_OF_NUMBERS = (SGD, RIDGE)
"""Those that learn numbers, for sine waves."""


def closed_form_head(name: str, model: Representation) -> Head[Any]:
    """Return a head in closed form; a Gaussian one has the prior of the representation, if it was trained with one.

    Raises:
        ValueError: if there is no such head.
    """
    if name in _GAUSSIAN:
        predictive = _GAUSSIAN[name]
        prior = model.head
        return (
            prior.head(predictive=predictive)
            if isinstance(prior, GaussianPrior)
            else GaussianHead(predictive=predictive)
        )
    if name not in CLOSED_FORM:
        raise ValueError(f"there is no head {name!r}; choose one of {', '.join(HEADS)}")
    return CLOSED_FORM[name]


def default_heads(model: Representation) -> tuple[str, ...]:
    """Return the names of the heads that learn on a representation unless told otherwise: what its file is made for."""
    if isinstance(model.head, MLP):
        return (SGD,)
    return ("nearest-mean", "lda") if model.head is None else ("gaussian", "gaussian-map", "lda")
