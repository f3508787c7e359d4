"""The record of a representation's training, laid out as `perdure.records.folder` tells.

representation.safetensors  the network that validated best, and how it came about
recipe.json                 what `perdure features train` was given, for `perdure resume`; absent if it was Python
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perdure.records.errors import ResultsError, damaged
from perdure.records.folder import CONFIG, SUMMARY, read_config
from perdure.storage.files import write_json
from perdure.storage.reading import ContentError, entry, read_json

KIND = "representation"
NETWORK = "representation.safetensors"
_RECIPE = "recipe.json"
_DOMAINS = {"SinePool": "sine waves", "ImageClasses": "classes of images"}
"""In words."""


@dataclass(frozen=True)
class TrainingSummary:
    """What came of a finished training."""

    steps: int
    """Steps taken."""
    best_score: float
    """Of the network that validated best; minus infinity if none was validated."""
    training_seconds: float
    training_cpu_seconds: float
    """CPU time of the process meanwhile, all its threads together."""
    compile_seconds: float
    peak_memory_bytes: int


@dataclass(frozen=True)
class TrainingRecord:
    """A representation's training as its folder tells it."""

    folder: Path
    config: Mapping[str, Any]
    summary: TrainingSummary | None
    """None while the training is unfinished."""

    @classmethod
    def load(cls, folder: Path) -> TrainingRecord:
        """Read the record in `folder`.

        Raises:
            ResultsError: if the folder holds no training, or a file of it is damaged or of another format.
        """
        config, where = read_config(folder), folder / CONFIG
        if config["kind"] != KIND:
            raise ResultsError(f"{folder} holds a run of the kind {config['kind']}, expected a {KIND}'s training")
        try:
            for part in ("domain", "method"):
                entry(entry(config, part, dict, where), "name", str, f"{where}, {part!r}")
            for number in ("steps", "seed", "validate_every", "patience"):
                entry(config, number, int, where)
            return cls(folder, config, _read_summary(folder / SUMMARY))
        except ContentError as cause:
            raise damaged(cause) from cause

    @property
    def finished(self) -> bool:
        """Has the training come to its end?"""
        return self.summary is not None

    @property
    def title(self) -> str:
        """The training in a few words: "OML on classes of images"."""
        return training_title(self.config)

    @property
    def best_validation(self) -> str | None:
        """The best validation in words: an accuracy, or an error, whose score is negative; None if there was none."""
        if self.summary is None or self.summary.best_score == float("-inf"):
            return None
        score = self.summary.best_score
        return f"error {-score:.4g}" if score < 0 else f"{score:.4g}"


def training_title(config: Mapping[str, Any]) -> str:
    """Return what a training's config describes, in a few words."""
    domain = config["domain"]["name"]
    return f"{config['method']['name']} on {_DOMAINS.get(domain, domain)}"


def write_training_summary(folder: Path, summary: TrainingSummary) -> None:
    """Write summary.json, which marks the training as finished.

    Raises:
        StorageError: if it cannot be written.
    """
    score = summary.best_score if summary.best_score > float("-inf") else None
    write_json(folder / SUMMARY, {"status": "finished", **vars(summary), "best_score": score})


def write_recipe(folder: Path, recipe: Mapping[str, Any]) -> None:
    """Write recipe.json.

    Raises:
        StorageError: if it cannot be written.
    """
    write_json(folder / _RECIPE, recipe)


def read_recipe(folder: Path) -> dict[str, Any]:
    """Return what recipe.json tells.

    Raises:
        ResultsError: if there is none, or it is damaged.
    """
    path = folder / _RECIPE
    if not path.exists():
        raise ResultsError(
            f"{folder} was begun from Python, so that its domain and method are not on paper; resume it with the same "
            "call of train_representation"
        )
    try:
        recipe = read_json(path)
        for name in ("domain", "size", "method", "command"):
            entry(recipe, name, str, path)
        entry(recipe, "changes", dict, path)
        return recipe
    except ContentError as cause:
        raise damaged(cause) from cause


def _read_summary(path: Path) -> TrainingSummary | None:
    if not path.exists():
        return None
    content = read_json(path)
    score = content.get("best_score")
    return TrainingSummary(
        entry(content, "steps", int, path),
        float("-inf") if score is None else float(entry(content, "best_score", float, path)),
        float(entry(content, "training_seconds", float, path)),
        float(entry(content, "training_cpu_seconds", float, path)),
        float(entry(content, "compile_seconds", float, path)),
        entry(content, "peak_memory_bytes", int, path),
    )
