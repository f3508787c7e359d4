"""Heads in closed form by name, with settings that work without tuning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from perdure.learners.gaussian import GaussianHead
from perdure.learners.head import Head
from perdure.learners.lda import LDA
from perdure.learners.nearest_mean import NearestMean
from perdure.learners.ridge import Ridge
from perdure.learners.slda import SLDA

CLOSED_FORM: Mapping[str, Head[Any]] = {
    "nearest-mean": NearestMean(),
    "gaussian": GaussianHead(),
    "lda": LDA(),
    "slda": SLDA(1e-2),
    "ridge": Ridge(),
}
