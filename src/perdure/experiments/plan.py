"""From names and options to a learner: published values where nothing else is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from perdure.core import Learner
from perdure.experiments.presets import find_preset
from perdure.experiments.results import ResultsError, RunRecord, config_digest
from perdure.learners.catalog import CATALOG, learner_class, make_learner
from perdure.learners.hyperparameters import hyperparameters
from perdure.models import benchmark_mlp
from perdure.streams.catalog import BenchmarkRecipe


class Choice(NamedTuple):
    """A learner with its hyper-parameters, and what a careful colleague would say about them."""

    learner: Learner[Any]
    notes: list[str]


def choose_learner(name: str, benchmark: str, given: Mapping[str, float | int]) -> Choice:
    """Return a learner with the hyper-parameters given and, for the others, those of its preset.

    Args:
        name: name of the learner.
        benchmark: name of the benchmark that it will learn.
        given: hyper-parameters that were asked for.

    Raises:
        ValueError: if there is no such learner, or a value is out of range.
        TypeError: if a hyper-parameter is neither given nor in a preset.
    """
    known = [it.name for it in hyperparameters(learner_class(name))]
    memory_size = given.get("memory_size") if "memory_size" in known else None
    preset = find_preset(name, benchmark, None if memory_size is None else int(memory_size))
    values = {**(preset.hyperparameters if preset else {}), **given}
    notes = []
    if preset is not None and not preset.exact and set(known) - set(given):
        notes.append(
            f"you asked for memory size {memory_size}; the hyper-parameters not given are those for "
            f"{preset.memory_size} and may not suit it"
        )
    return Choice(make_learner(name, **values), notes)


def default_folder(config: Mapping[str, Any], root: Path = Path("runs")) -> Path:
    """Return where a run goes unless told otherwise: one folder a configuration."""
    return root / f"{config['learner']['name']}-{config['benchmark']['name']}-{config_digest(config)}"


def arguments_of(record: RunRecord, data_dir: Path | None = None) -> dict[str, Any]:
    """Return the arguments with which `perdure.experiments.run.run` goes on with a recorded run.

    Raises:
        ResultsError: if the run used a learner, benchmark or model that is not perdure's own.
    """
    config = record.config
    learner, benchmark, model = config["learner"], config["benchmark"], config["model"]["name"]
    if learner["name"] not in CATALOG or "sha256" in benchmark["options"] or model != benchmark_mlp.__name__:
        raise ResultsError(
            f"{record.folder} was written from Python with learner {learner['name']}, benchmark {benchmark['name']} "
            f"and model {model}, not all of them perdure's own; go on from Python: perdure.run(…, folder=…)"
        )
    return {
        "learner": make_learner(learner["name"], **learner["hyperparameters"]),
        "benchmark": BenchmarkRecipe(benchmark["name"], benchmark["options"], data_dir),
        "seeds": record.seeds,
        "evaluation": config["evaluation"],
        "alignment": config["alignment"],
        "folder": record.folder,
    }
