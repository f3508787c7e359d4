"""Hyper-parameters with a known source, and the published figures that runs are compared with."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import resources
from typing import Any, NamedTuple

from perdure.storage.reading import ContentError, checked, entry


class Published(NamedTuple):
    """A published figure: mean and standard deviation over five runs."""

    mean: float
    std: float | None = None
    """None where it is not known here."""
    remembered: bool = False
    """Has it not been held against the publication yet?"""


@dataclass(frozen=True)
class Preset:
    """A configuration of a learner for a benchmark."""

    learner: str
    benchmark: str
    memory_size: int | None
    """Memory for which the values were chosen; None for a learner without memory."""
    hyperparameters: Mapping[str, float | int]
    """The learner's fields by name, `memory_size` among them where it has one."""
    source: str
    """Who chose the values."""
    retained_accuracy: Published | None
    """Published retained accuracy of exactly this configuration, in percent."""
    tuned: bool = True
    """False if the values are usual ones that no search has chosen, for no benchmark."""
    exact: bool = True
    """False if the values were chosen for another memory size than the requested one."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Options of the benchmark for which the values were chosen, if it is not the whole of it."""


def load_presets() -> list[Preset]:
    """Return every preset, in the order of learners.toml.

    Source: Riemer et al. 2019, appendix and released run script; results of tables 1 and 2.
    """
    return presets_in(_file())


def presets_in(content: Mapping[str, Any], where: object = "presets/learners.toml") -> list[Preset]:
    """Return every preset in the content of learners.toml, or of a file like it.

    Args:
        content: as TOML has it.
        where: the file, for errors.

    Raises:
        ContentError: naming the place of what is missing or of another kind.
    """
    groups = entry(content, "group", list, where)
    if not groups:
        raise ContentError(f"{where}, 'group' is an empty list, expected at least one [[group]]")
    return [
        preset for place, group in enumerate(groups) for preset in _presets_of(group, f"{where}, group {place + 1}")
    ]


def find_preset(
    learner: str, benchmark: str, memory_size: int | None = None, presets: Sequence[Preset] | None = None
) -> Preset | None:
    """Return the preset of a learner on a benchmark, None if the pair has none.

    Args:
        learner: name of the learner.
        benchmark: name of the benchmark.
        memory_size: memory to be used; None for the smallest that the pair has a preset for. If no preset
            has this size, that of the nearest size is returned with `exact` False, no published figure, and
            the requested size among its hyper-parameters. A learner without memory takes no notice of it.
        presets: where to look; None for perdure's own.
    """
    known = load_presets() if presets is None else presets
    rows = [row for row in known if (row.learner, row.benchmark) == (learner, benchmark)]
    if not rows:
        return None
    wanted = memory_size or 0
    nearest = min(rows, key=lambda row: abs((row.memory_size or 0) - wanted))
    if memory_size is None or nearest.memory_size in (None, memory_size):
        return nearest
    hyperparameters = {**nearest.hyperparameters, "memory_size": memory_size}
    return replace(nearest, hyperparameters=hyperparameters, retained_accuracy=None, exact=False)


DEFAULTS_FROM = ("digits-rotations", "mnist-rotations", "digits-split")
"""Benchmarks whose presets serve on others that have none, the first that there is."""


def find_default(learner: str, memory_size: int | None = None) -> Preset | None:
    """Return a preset of a learner to begin with on a benchmark that has none: it was chosen for another benchmark.

    Args:
        learner: name of the learner.
        memory_size: as in `find_preset`.
    """
    found = (find_preset(learner, benchmark, memory_size) for benchmark in DEFAULTS_FROM)
    return next((it for it in found if it is not None), None)


def published(learner: str, benchmark: str, memory_size: int | None) -> Published | None:
    """Return the published retained accuracy in percent for exactly this memory size, None if there is none.

    Source: Riemer et al. 2019, tables 1 and 2; Gupta et al. 2020, the table of MNIST.
    """
    return published_figures().get((learner, benchmark, memory_size))


def published_figures() -> dict[tuple[str, str, int | None], Published]:
    """Return all published retained accuracies in percent, by learner, benchmark and memory size.

    Source: Riemer et al. 2019, tables 1 and 2; Gupta et al. 2020, the table of MNIST.
    """
    of_presets = {(it.learner, it.benchmark, it.memory_size): it.retained_accuracy for it in load_presets()}
    figures = {key: figure for key, figure in of_presets.items() if figure is not None}
    without_presets = {
        (row["learner"], row["benchmark"], row.get("memory_size")): Published(*row["retained_accuracy"])
        for row in _file()["published_only"]
    }
    means = {
        (row["learner"], row["benchmark"], row["memory_size"]): Published(
            row["retained_accuracy"], remembered=row["remembered"]
        )
        for row in _file()["published_means"]
    }
    return figures | without_presets | means


def published_alignment(learner: str, benchmark: str) -> Published | None:
    """Return the published gradient alignment (mean dot product over learning), None if there is none.

    Source: Riemer et al. 2019, table of gradient dot products.
    """
    figure = _file()["gradient_alignment"].get(learner, {}).get(benchmark)
    return None if figure is None else Published(*figure)


def follows_protocol(benchmark: str, options: Mapping[str, Any]) -> bool:
    """Tell whether a benchmark's options agree with the stream on which its published figures were measured.

    Options that are left out, or that the protocol does not fix, agree; tasks must come in order
    (`task_order` None), and with all their examples if the protocol does not say how many. A validation stream
    and a benchmark without published figures follow none.
    """
    protocol = _file()["protocols"].get(benchmark)
    if protocol is None or options.get("validation"):
        return False
    expected = {"task_order": None, "examples_per_task": None, **protocol}
    return all(options.get(name, value) == value for name, value in expected.items())


def _presets_of(group: Any, where: str) -> list[Preset]:
    group = checked(group, dict, where)
    learner, source = entry(group, "learner", str, where), entry(group, "source", str, where)
    tuned = entry(group, "tuned", bool, where) if "tuned" in group else True
    rows = entry(group, "presets", list, where)
    return [
        replace(_preset(learner, source, row, f"{where}, preset {place}"), tuned=tuned)
        for place, row in enumerate(rows, start=1)
    ]


def _preset(learner: str, source: str, row: Any, where: str) -> Preset:
    row = checked(row, dict, where)
    others = ("benchmark", "options", "retained_accuracy")
    hyperparameters = {name: _number(it, f"{where}, {name!r}") for name, it in row.items() if name not in others}
    return Preset(
        learner=learner,
        benchmark=entry(row, "benchmark", str, where),
        memory_size=entry(row, "memory_size", int, where) if "memory_size" in row else None,
        hyperparameters=hyperparameters,
        source=source,
        retained_accuracy=_published(row["retained_accuracy"], where) if "retained_accuracy" in row else None,
        options=entry(row, "options", dict, where) if "options" in row else {},
    )


def _number(value: Any, where: str) -> float | int:
    """Return a hyper-parameter; true and false are some, too."""
    return value if isinstance(value, bool) else checked(value, float, where)


def _published(figure: Any, where: str) -> Published:
    where = f"{where}, 'retained_accuracy'"
    numbers = [float(checked(it, float, where)) for it in checked(figure, list, where)]
    if len(numbers) != 2:
        raise ContentError(f"{where} has {len(numbers)} numbers, expected a mean and a standard deviation")
    mean, std = numbers
    return Published(mean, std)


@cache
def _file() -> dict[str, Any]:
    return tomllib.loads(resources.files("perdure.presets").joinpath("learners.toml").read_text(encoding="utf-8"))
