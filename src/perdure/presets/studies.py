"""Which runs make up a published study: studies.toml and learners.toml put together."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from importlib import resources
from itertools import product
from typing import Any, Literal, NamedTuple

from perdure.presets.learners import Preset, load_presets


class Cell(NamedTuple):
    """A run of a study."""

    preset: Preset
    """Learner, hyper-parameters and benchmark."""
    n_seeds: int
    evaluation: Literal["needed", "full"]
    alignment: bool


class Study(NamedTuple):
    """What there is to measure."""

    tables: Mapping[str, list[Cell]]
    """Cells of each table by its name; one may stand in several."""
    timing: list[Cell]
    """To run alone, of one seed, for the time that it takes."""
    name: str
    seeds: int | None = None
    """Of each run, at most; None for as many as each table says."""
    quick: bool = False
    """Is it a quick pass over everything?"""


def study_names() -> list[str]:
    """Return the names of all studies."""
    return list(_file())


def load_study(name: str, seeds: int | None = None, *, quick: bool = False) -> Study:
    """Return a study.

    Args:
        name: one of `study_names()`.
        seeds: of each run, at most, except those for its time: the costliest have fewer; None for as many as each
            table says.
        quick: shorter streams, smaller memories in proportion, fewer seeds: to see that everything works.

    Raises:
        ValueError: if there is no such study, or a table has a learner without a preset for one of its benchmarks.
    """
    if name not in _file():
        raise ValueError(f"there is no study {name!r}, expected: {', '.join(_file())}")
    content = _file()[name]
    tables = {
        title: [
            _cell(content, preset, seeds or (content["quick"]["seeds"] if quick else table["seeds"]), quick)
            for preset in _presets_of(title, table)
        ]
        for title, table in content["tables"].items()
    }
    timing = [
        _cell(content, preset, 1, quick)._replace(evaluation="needed", alignment=False)
        for wanted in content["timing"]
        for preset in load_presets()
        if _is_of(preset, wanted)
    ]
    return Study(tables, timing, name, seeds, quick)


def _presets_of(title: str, table: Mapping[str, Any]) -> list[Preset]:
    """Return the presets of a table, by benchmark and learner in the order of the table."""
    known: dict[tuple[str, str], list[Preset]] = {}
    for preset in load_presets():
        known.setdefault((preset.benchmark, preset.learner), []).append(preset)
    wanted = list(product(table["benchmarks"], table["learners"]))
    if missing := [f"{learner} on {benchmark}" for benchmark, learner in wanted if (benchmark, learner) not in known]:
        raise ValueError(
            f"learners.toml has no preset of {', '.join(missing)}, expected one for each learner and benchmark of the "
            f"table {title}; add it there, or leave the learner out of studies.toml"
        )
    return [preset for pair in wanted for preset in known[pair]]


def _is_of(preset: Preset, wanted: Mapping[str, Any]) -> bool:
    names = (preset.learner, preset.benchmark, preset.memory_size)
    return names == (wanted["learner"], wanted["benchmark"], wanted.get("memory_size"))


def _cell(study: Mapping[str, Any], preset: Preset, n_seeds: int, quick: bool) -> Cell:
    full = any(
        preset.learner in wanted["learners"]
        and preset.benchmark in wanted["benchmarks"]
        and preset.memory_size in (None, wanted["memory_size"])
        for wanted in study["full_matrix"]
    )
    fewer = [wanted["seeds"] for wanted in study["fewer_seeds"] if _is_of(preset, wanted)]
    return Cell(
        preset=_cut_short(preset, study["quick"]) if quick else preset,
        n_seeds=min([n_seeds, *fewer]),
        evaluation="full" if full else "needed",
        alignment=preset.learner in study["logs_alignment"],
    )


def _cut_short(preset: Preset, quick: Mapping[str, Any]) -> Preset:
    """Return a preset for a quick pass, without its published figure, which holds for the whole stream only."""
    values = dict(preset.hyperparameters)
    if preset.memory_size is not None:
        values["memory_size"] = round(preset.memory_size * quick["memory_fraction"])
        if "replay_batch_size" in values:
            values["replay_batch_size"] = min(values["replay_batch_size"], values["memory_size"])
    options = {**preset.options, **quick["options"][preset.benchmark]}
    return replace(
        preset,
        memory_size=values.get("memory_size"),
        hyperparameters=values,
        options=options,
        retained_accuracy=None,
        exact=False,
    )


@cache
def _file() -> dict[str, Any]:
    return tomllib.loads(resources.files("perdure.presets").joinpath("studies.toml").read_text(encoding="utf-8"))
