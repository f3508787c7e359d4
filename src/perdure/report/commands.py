"""What repeats a run, as it is typed."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from perdure.learners.catalog import CATALOG
from perdure.named import typed_options
from perdure.records.errors import ResultsError
from perdure.records.learner import RunRecord
from perdure.records.requested import REQUEST, read_request
from perdure.streams.catalog import BENCHMARKS

_TYPED = ("hidden", "model", "optimizer", "label", "task", "features", "test")
"""Options of a run that are in its request, not in its configuration."""
_PATHS = ("learner", "benchmark", "model", "optimizer", "test")
"""What of a request may begin with the path of a file."""


def command_of(record: RunRecord) -> str | None:
    """Return the `perdure run` that repeats a run; None for one with parts that the command line cannot make.

    Those are own learners, networks, losses, optimizers and benchmarks that were not typed but given from Python, and
    seeds that do not follow one another. Files are named from the working directory, if they lie in it.
    """
    config, seeds, typed = record.config, record.seeds, _typed(record)
    learner, benchmark = config["learner"], config["benchmark"]
    if not _can_be_typed(record, typed) or list(seeds) != list(range(seeds[0], seeds[0] + len(seeds))):
        return None
    evaluate = config.get("evaluate", {})
    options = {
        **learner["hyperparameters"],
        **{name: it for name, it in benchmark["options"].items() if name != "sha256"},
        **{name: typed.get(name) for name in _TYPED},
        "seeds": len(seeds),
        "first_seed": seeds[0] or None,
        "full_matrix": config["evaluation"] == "full" or None,
        "alignment": config["alignment"] or None,
        "evaluate_every": evaluate.get("every"),
        "evaluate_on": evaluate.get("test_examples"),
    }
    names = [typed.get("learner", record.learner), typed.get("benchmark", record.benchmark)]
    return shlex.join(["perdure", "run", *names, *typed_options(options)])


def _can_be_typed(record: RunRecord, typed: Mapping[str, Any]) -> bool:
    """Tell whether every part of a run is perdure's own, or was typed."""
    learner, benchmark, model = (record.config[it] for it in ("learner", "benchmark", "model"))
    is_known = record.learner in CATALOG and "source" not in learner
    others = set(learner.get("fields", {})) - ({"optimizer"} & typed.keys())
    if others or not (is_known or "learner" in typed):
        return False
    if "benchmark" in typed:
        network = "benchmark_mlp"
        if str(typed["benchmark"]).endswith(".pt"):  # whose options hold more than was typed
            return False
    elif record.benchmark in BENCHMARKS and not {"fields", "source", "code"} & benchmark.keys():
        network = BENCHMARKS[record.benchmark].network
    else:
        return False
    return model["name"] == network or bool({"model", "hidden"} & typed.keys())


def _typed(record: RunRecord) -> dict[str, Any]:
    """Return what of a run was typed and is not in its configuration, files as they are named from here."""
    if not (record.folder / REQUEST).exists():
        return {}
    with suppress(ResultsError):  # a damaged request takes the command away, not the report
        request = read_request(record.folder)
        texts = {name: it for name, it in request.items() if isinstance(it, str) or (name == "hidden" and it)}
        return {name: _from_here(it) if name in _PATHS else it for name, it in texts.items()}
    return {}


def _from_here(name: str) -> str:
    """Return own code or a file as it is named from the working directory, if it lies in it."""
    here = Path.cwd()
    path = Path(name)
    return str(path.relative_to(here)) if path.is_absolute() and path.is_relative_to(here) else name
