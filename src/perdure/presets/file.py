"""Files of own presets, in the format of learners.toml."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from perdure.presets.learners import Preset, presets_in
from perdure.storage.files import make_folder, write_atomically
from perdure.storage.reading import ContentError, read_toml


def read_presets(path: Path) -> list[Preset]:
    """Return every preset of a file.

    Raises:
        ValueError: if the file cannot be read, or is not in the format of learners.toml; the message names the place.
    """
    try:
        return presets_in(read_toml(path), path)
    except ContentError as cause:
        raise ValueError(f"{cause}; give a file of presets that perdure tune wrote, or see docs/tuning.md") from cause


def add_preset(path: Path, preset: Preset) -> None:
    """Write a preset into a file, in place of that for the same learner, benchmark and memory if it has one.

    The file is rewritten without the comments it may have had.

    Raises:
        ValueError: if there is a file that does not hold presets.
        StorageError: if it cannot be written.
    """
    presets = [it for it in read_presets(path) if _key(it) != _key(preset)] if path.exists() else []
    make_folder(path.parent)
    write_atomically(path, _to_toml([*presets, preset]).encode())


def _key(preset: Preset) -> tuple[str, str, int | None]:
    return preset.learner, preset.benchmark, preset.memory_size


def _to_toml(presets: Sequence[Preset]) -> str:
    groups: dict[tuple[str, str, bool], list[Preset]] = {}
    for preset in presets:
        groups.setdefault((preset.source, preset.learner, preset.tuned), []).append(preset)
    blocks = [
        f"[[group]]\nsource = {_value(source)}\nlearner = {_value(learner)}\n"
        + ("" if tuned else "tuned = false\n")
        + "presets = [\n"
        + "".join(f"  {_value(_row(preset))},\n" for preset in rows)
        + "]\n"
        for (source, learner, tuned), rows in groups.items()
    ]
    return "# Written by perdure tune; use it with perdure run … --preset FILE.\n\n" + "\n".join(blocks)


def _row(preset: Preset) -> dict[str, Any]:
    row = {"benchmark": preset.benchmark, **preset.hyperparameters}
    if preset.options:
        row["options"] = dict(preset.options)
    if preset.retained_accuracy is not None:
        row["retained_accuracy"] = [preset.retained_accuracy.mean, preset.retained_accuracy.std]
    return row


def _value(value: Any) -> str:
    """Return a value as TOML writes it on one line."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{name} = {_value(it)}" for name, it in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_value, value)) + "]"
    return json.dumps(value, ensure_ascii=False)  # numbers, true, false and strings are the same in TOML
