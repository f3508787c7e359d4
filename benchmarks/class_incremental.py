"""Our learner beside published ones where classes arrive one after another: ``python benchmarks/class_incremental.py``.

Two streams, one pass, one output for each class: split MNIST, five tasks of two digits in an order that the seed draws,
2,000 images each; and five alphabets of Omniglot. The rates of the published methods are chosen by `perdure.tune` on
validation streams, for each size of memory; ours keeps its own. Writes docs/multi-timescale-mer.md between its marks.
Searches and runs are kept in runs/class-incremental: what is there is not computed again, and Ctrl-C loses nothing.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from perdure.cli.jax_settings import configure_jax

configure_jax()  # before JAX is imported: what the command line runs under

from marked_block import write_measured
from multi_timescale import retained

from perdure.experiments.methods.compare import compare, comparison
from perdure.experiments.tuning.tune import tune
from perdure.learners.catalog import learner_class, make_learner
from perdure.learners.hyperparameters import hyperparameters
from perdure.learners.multi_timescale import MultiTimescaleMER
from perdure.metrics.transfer import paired_difference
from perdure.records.learner import RunRecord
from perdure.report.markdown import aligned_markdown
from perdure.report.tables import cpu_seconds_per_example
from perdure.streams.catalog import BenchmarkRecipe

PAGE = Path(__file__).parents[1] / "docs" / "multi-timescale-mer.md"
OURS = "multi-timescale-mer"
RATES = (0.01, 0.03, 0.1, 0.2)
REPLAY: Mapping[str, Any] = {"learning_rate": RATES, "replay_batch_size": 10}
GRIDS: dict[str, Mapping[str, Any]] = {
    "er": REPLAY,
    "mir": {**REPLAY, "candidates": 50},
    "er-ace": REPLAY,
    "der": {**REPLAY, "alpha": (0.1, 0.3, 1.0)},
    "der++": {**REPLAY, "alpha": (0.1, 0.3, 1.0), "beta": (0.5, 1.0)},
    "cls-er": {
        **REPLAY,
        "consistency": (0.1, 0.3, 1.0),
        "plastic_probability": 0.9,
        "plastic_decay": 0.99,
        "stable_probability": 0.7,
        "stable_decay": (0.99, 0.998),
    },
    "gdumb": {"learning_rate": RATES, "epochs": 30, "batch_size": 10, "retrain_every": 2000},
    "la-maml": {
        "initial_rate": (0.05, 0.15),
        "rate_learning_rate": (0.1, 0.3),
        "replay_batch_size": 10,
        "batch_size": 10,
        "glances": 5,
        "clip_norm": 2.0,
    },
    "mer": {
        "learning_rate": (0.01, 0.03, 0.1),
        "beta": (0.01, 0.03, 0.1),
        "gamma": 1.0,
        "replay_batch_size": 5,
        "batches_per_example": 10,
    },
    "random-fourier-ridge": {"frequencies": 500, "length_scale": (2.0, 4.0, 8.0), "penalty": (0.01, 0.1, 1.0)},
}
CONVOLUTIONS_RATES = (0.01, 0.03, 0.1)
CONVOLUTIONS_GRIDS: dict[str, Mapping[str, Any]] = {
    "er": {**GRIDS["er"], "learning_rate": CONVOLUTIONS_RATES},
    "er-ace": {**GRIDS["er-ace"], "learning_rate": CONVOLUTIONS_RATES},
    "gdumb": {**GRIDS["gdumb"], "learning_rate": CONVOLUTIONS_RATES, "retrain_every": 700},
    "mir": {**GRIDS["mir"], "learning_rate": (0.03, 0.1)},
    "der": {**GRIDS["der"], "learning_rate": CONVOLUTIONS_RATES, "alpha": 1.0},
    "der++": {**GRIDS["der++"], "learning_rate": CONVOLUTIONS_RATES, "alpha": 1.0, "beta": 0.5},
    "cls-er": {**GRIDS["cls-er"], "learning_rate": CONVOLUTIONS_RATES, "consistency": 1.0, "stable_decay": 0.998},
    "la-maml": {**GRIDS["la-maml"], "rate_learning_rate": 0.1},
    "mer": {**GRIDS["mer"], "learning_rate": (0.01, 0.03), "beta": (0.1, 0.3), "batches_per_example": 3},
    "random-fourier-ridge": {**GRIDS["random-fourier-ridge"], "penalty": (0.01, 0.1)},
}
"""Of a network of convolutions, where the whole search would take hours: the rates. The other hyper-parameters are
those chosen on split MNIST with a memory of 200, and of MER fewer batches. GDumb trains shortly before the end, both of
validation streams (2,107 examples) and of those reported (2,808)."""


class Setting(NamedTuple):
    """A stream on which all methods are measured."""

    mark: str
    """Of its table."""
    stream: BenchmarkRecipe
    memory_sizes: tuple[int, ...]
    grids: Mapping[str, Mapping[str, Any]]
    """What is tried of each method; a tuple is searched."""


SETTINGS = {
    "split-mnist": Setting(
        "class-incremental",
        BenchmarkRecipe("mnist-split", {"scenario": "class", "shuffle_classes": True, "examples_per_task": 2000}),
        (200, 500),
        GRIDS,
    ),
    "omniglot": Setting("omniglot", BenchmarkRecipe("omniglot", {"tasks": 5}), (200,), CONVOLUTIONS_GRIDS),
}
HEADERS = ("memory", "method", "chosen", "retained accuracy", "difference from ours", "CPU ms per example")


def chosen(folder: Path, setting: Setting, name: str, memory_size: int) -> dict[str, Any]:
    """Return the hyper-parameters that retain most on validation streams."""
    grid = dict(setting.grids[name])
    if any(it.name == "memory_size" for it in hyperparameters(learner_class(name))):
        grid["memory_size"] = memory_size
    return dict(tune(name, setting.stream, grid, folder=folder / f"tune-{name}-{memory_size}").best.hyperparameters)


def measured(folder: Path, setting: Setting, memory_size: int, seeds: int) -> list[list[str]]:
    """Return the rows of a size of memory, the method that retains most first."""
    values = {name: chosen(folder, setting, name, memory_size) for name in setting.grids}
    learners = [*(make_learner(name, **it) for name, it in values.items()), MultiTimescaleMER(memory_size)]
    what = comparison(learners, setting.stream, seeds=seeds, baseline=OURS)
    command = f"python benchmarks/class_incremental.py --seeds {seeds}"
    runs = {it.learner: it for it in compare(what, folder / f"memory-{memory_size}", command=command).record.runs}
    order = sorted(runs, key=lambda name: -retained(runs[name]).mean)
    return [_row(runs[name], runs[OURS], _searched(setting, name, values), memory_size) for name in order]


def _searched(setting: Setting, name: str, values: Mapping[str, Mapping[str, Any]]) -> str:
    """Return what was chosen for a method, in words."""
    names = [it for it, tried in setting.grids.get(name, {}).items() if isinstance(tried, tuple)]
    return ", ".join(f"{it} {values[name][it]:g}" for it in names) or "its own"


def _row(run: RunRecord, ours: RunRecord, rates: str, memory_size: int) -> list[str]:
    own = retained(run)
    difference = paired_difference(own, retained(ours))
    apart = "" if run.learner == OURS else f"{100 * difference.mean:+.1f} ± {100 * difference.ci95:.1f}"
    cost = cpu_seconds_per_example(run)
    return [
        f"{memory_size:,}",
        f"**{run.learner}**" if run.learner == OURS else run.learner,
        rates.replace("_", " "),
        f"{100 * own.mean:.1f} ± {100 * own.ci95:.1f}",
        apart,
        f"{1000 * cost:.2f}",
    ]


def main() -> None:
    """Measure, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("streams", nargs="*", choices=[*SETTINGS, []], help="both unless given")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--folder", type=Path, default=Path("runs/class-incremental"))
    given = parser.parse_args()
    for name in given.streams or SETTINGS:
        setting, rows = SETTINGS[name], []
        for memory_size in setting.memory_sizes:
            rows += measured(given.folder / name, setting, memory_size, given.seeds)
            write_measured(PAGE, aligned_markdown(HEADERS, rows, (1, 2)), setting.mark)


if __name__ == "__main__":
    main()
