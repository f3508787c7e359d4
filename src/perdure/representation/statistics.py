"""What a representation looks like from outside: how sparse its features are, and which are never used.

Source: Javed & White (2019), section 5, and their released code.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float


class Statistics(NamedTuple):
    """Of features that are never negative, over many inputs; active means above zero."""

    instance_sparsity: float
    """Mean over inputs of the share of features that are active."""
    lifetime: Float[np.ndarray, " d"]
    """For each feature the share of inputs for which it is active. Its mean is the instance sparsity."""
    dead: float
    """Share of features that are active for no input."""
    mean_activation: Float[np.ndarray, " d"]
    """For each feature its mean over inputs."""


def representation_statistics(features: Float[np.ndarray, "n d"]) -> Statistics:
    """Return the statistics of features."""
    active = features > 0
    lifetime = active.mean(axis=0)
    return Statistics(
        instance_sparsity=float(active.mean()),
        lifetime=lifetime,
        dead=float((lifetime == 0).mean()),
        mean_activation=features.mean(axis=0),
    )
