"""A finished run of a learner, as its folder tells it; modules written to be described."""

import importlib.util
import sys
import textwrap
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from perdure.metrics.transfer import mean_and_interval, metrics_over_seeds
from perdure.records.describe import describe
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
COST = (1.5, 2.5, 0.5, 700 * 2**20, 3000, 400_000)


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


@pytest.fixture
def written_code(tmp_path, monkeypatch):
    """Function that writes a module `own` in a folder of its own, imports it and describes its `thing`.

    Each version lies elsewhere, as if the file had been edited between two processes.
    """
    versions = iter(range(100))

    def module_of(text, name="own", **helpers):
        folder = tmp_path / str(next(versions))
        folder.mkdir()
        for helper, its_text in {**helpers, name: text}.items():
            path = folder / f"{helper}.py"
            path.write_text(textwrap.dedent(its_text))
            spec = importlib.util.spec_from_file_location(helper, path)
            assert spec is not None
            assert spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            monkeypatch.setitem(sys.modules, helper, module)
            spec.loader.exec_module(module)
        return sys.modules[name]

    def described(text, **helpers):
        return describe(module_of(text, **helpers).thing)

    vars(described)["module_of"] = module_of
    return described
