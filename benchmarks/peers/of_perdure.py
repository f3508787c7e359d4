"""perdure on the same stream: what `run.py` runs in its own environment."""

from __future__ import annotations

import json

import numpy as np

from perdure.cli.jax_settings import configure_jax

configure_jax()  # before JAX is imported: what the command line runs under

from streams import arguments, read_tasks

from perdure import from_arrays, make_learner, run

METHODS = ("online", "er", "a-gem", "ewc", "gem", "mer")


def main() -> None:
    """Learn the stream; the time to compile is no part of what is measured."""
    given = arguments(METHODS)
    tasks = read_tasks(given.stream)
    benchmark = from_arrays(
        train=[(it.x, it.y.astype("int32")) for it in tasks],
        test=[(it.test_x, it.test_y.astype("int32")) for it in tasks],
    )
    result = run(make_learner(given.method, **given.values), benchmark, seeds=1, evaluation="full", progress=False)
    n_examples = int(np.isfinite(result.losses).sum())
    found = {
        "cpu_ms": 1000 * result.training_cpu_seconds / n_examples,
        "learned": result.metrics["learning_accuracy"].mean,
        "retained": result.metrics["retained_accuracy"].mean,
    }
    print(json.dumps(found))


main()
