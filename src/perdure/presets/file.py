"""Files of own presets, in the format of presets.toml."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from perdure.presets.learners import Preset, presets_in
from perdure.storage.files import make_folder, write_atomically

_TEXTS = ("learner", "source")


def read_presets(path: Path) -> list[Preset]:
    """Return every preset of a file.

    Raises:
        ValueError: if the file cannot be read, or is not in the format of presets.toml.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as cause:
        raise ValueError(
            f"{path} cannot be read as a file of presets: {cause}; give one that perdure tune wrote"
        ) from cause
    problem = _problem(content)
    if problem is not None:
        raise ValueError(f"{path} is no file of presets: {problem}; see docs/tuning.md for the format")
    return presets_in(content)


def add_preset(path: Path, preset: Preset) -> None:
    """Write a preset into a file, in place of that for the same learner, benchmark and memory if it has one.

    The file is written anew, without the comments it may have had.

    Raises:
        ValueError: if there is a file that does not hold presets.
        StorageError: if it cannot be written.
    """
    presets = [it for it in read_presets(path) if _key(it) != _key(preset)] if path.exists() else []
    make_folder(path.parent)
    write_atomically(path, _to_toml([*presets, preset]).encode())


def _key(preset: Preset) -> tuple[str, str, int | None]:
    return preset.learner, preset.benchmark, preset.memory_size


def _problem(content: Mapping[str, Any]) -> str | None:
    """Return what is wrong with the content of a file of presets, None if nothing is."""
    groups = content.get("group")
    if not isinstance(groups, list) or not groups:
        return "it has no [[group]]"
    for group in groups:
        if not isinstance(group, dict) or not all(isinstance(group.get(name), str) for name in _TEXTS):
            return "a [[group]] lacks its learner or its source"
        rows = group.get("presets")
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            return f"the group of {group['learner']} has no list of presets"
        for row in rows:
            if not isinstance(row.get("benchmark"), str):
                return f"a preset of {group['learner']} names no benchmark"
    return None


def _to_toml(presets: Sequence[Preset]) -> str:
    groups: dict[tuple[str, str], list[Preset]] = {}
    for preset in presets:
        groups.setdefault((preset.source, preset.learner), []).append(preset)
    blocks = [
        f"[[group]]\nsource = {_value(source)}\nlearner = {_value(learner)}\npresets = [\n"
        + "".join(f"  {_value(_row(preset))},\n" for preset in rows)
        + "]\n"
        for (source, learner), rows in groups.items()
    ]
    return "# Written by perdure tune; use it with perdure run … --preset FILE.\n\n" + "\n".join(blocks)


def _row(preset: Preset) -> dict[str, Any]:
    row = {"benchmark": preset.benchmark, **preset.hyperparameters}
    if preset.options:
        row["options"] = dict(preset.options)
    if preset.retained_accuracy is not None:
        row["retained_accuracy"] = list(preset.retained_accuracy)
    return row


def _value(value: Any) -> str:
    """Return a value as TOML writes it on one line."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{name} = {_value(it)}" for name, it in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_value, value)) + "]"
    return json.dumps(value, ensure_ascii=False)  # numbers, true, false and strings are the same in TOML
