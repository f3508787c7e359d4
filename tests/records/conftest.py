"""A finished run of a learner, as its folder tells it."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from perdure.metrics.transfer import mean_and_interval, metrics_over_seeds
from perdure.records.folder import own_folder
from perdure.records.measurements import write_accuracy
from perdure.records.summary import Summary, write_summary

CONFIG = {
    "format": 2,
    "kind": "learner",
    "learner": {"name": "mer", "hyperparameters": {"memory_size": 200, "learning_rate": 0.1}},
    "benchmark": {"name": "mnist-rotations", "options": {"tasks": 3}},
    "model": {"name": "benchmark_mlp"},
    "seeds": [7, 3],
    "evaluation": "needed",
    "alignment": True,
}
NAN = np.nan
FIRST = [[NAN, 0.2, 0.1], [0.8, 0.3, NAN], [NAN, 0.7, 0.4], [0.6, 0.5, 0.9]]
SECOND = [[NAN, 0.1, 0.1], [0.9, 0.3, NAN], [NAN, 0.9, 0.4], [0.6, 0.6, 0.9]]
MATRICES = np.array([FIRST, SECOND])
METRICS = metrics_over_seeds(MATRICES)
ALIGNMENT = {"gradient_alignment": mean_and_interval([0.02, 0.04])}
COST = (1.5, 0.5, 700 * 2**20, 3000)


class Written(NamedTuple):
    """What was written into the folder of a run."""

    folder: Path
    config: dict[str, Any]
    matrices: np.ndarray
    summary: Summary


@pytest.fixture
def written(tmp_path):
    folder, summary = tmp_path / "run", Summary(METRICS | ALIGNMENT, *COST)
    with own_folder(folder, CONFIG) as home:
        home.begin("mer on mnist-rotations", {"train-images.gz": "abc"})
    write_accuracy(folder, CONFIG["seeds"], MATRICES)
    write_summary(folder, summary)
    return Written(folder, CONFIG, MATRICES, summary)


@pytest.fixture
def run(written):
    return written.folder
