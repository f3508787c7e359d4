"""What repeats a run, as it is typed."""

from __future__ import annotations

import shlex

from perdure.learners.catalog import CATALOG
from perdure.named import typed_options
from perdure.records.learner import RunRecord
from perdure.streams.catalog import BENCHMARKS


def command_of(record: RunRecord) -> str | None:
    """Return the `perdure run` that repeats a run; None for one with parts that the command line cannot make.

    Those are own learners, networks, losses, optimizers and benchmarks, and seeds that do not follow one another.
    """
    config, seeds = record.config, record.seeds
    learner, benchmark = config["learner"], config["benchmark"]
    is_own = any(key in part for part in (learner, benchmark, config["model"]) for key in ("fields", "source"))
    if is_own or record.learner not in CATALOG or record.benchmark not in BENCHMARKS:
        return None
    if config["model"]["name"] != BENCHMARKS[record.benchmark].network:
        return None
    if list(seeds) != list(range(seeds[0], seeds[0] + len(seeds))):
        return None
    evaluate = config.get("evaluate", {})
    options = {
        **learner["hyperparameters"],
        **benchmark["options"],
        "seeds": len(seeds),
        "first_seed": seeds[0] or None,
        "full_matrix": config["evaluation"] == "full" or None,
        "alignment": config["alignment"] or None,
        "evaluate_every": evaluate.get("every"),
        "evaluate_on": evaluate.get("test_examples"),
    }
    return shlex.join(["perdure", "run", record.learner, record.benchmark, *typed_options(options)])
