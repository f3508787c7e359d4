"""The record of learners compared on representations, laid out as `perdure.records.folder` tells.

request.json     the representations that were last requested
comparison.json  the figure of every learner on every representation; rewritten after each

Representations may be added from call to call: only figures that were not measured yet are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from perdure.records.errors import REPAIR, ResultsError, damaged
from perdure.records.folder import CONFIG, seeds_in
from perdure.records.requested import REQUEST, is_marked_finished, read_config_of, read_request
from perdure.storage.files import write_json
from perdure.storage.reading import ContentError, checked, entry, read_json

KIND = "comparison"
COMPARISON = "comparison.json"


@dataclass(frozen=True)
class FeatureSet:
    """What learners learn from, and with which network."""

    name: str
    """How the representation was trained: "oml", "pretraining", "sr-nn"; or "raw"."""
    sha256: str
    """Of the features, or images."""
    network: str
    """Of the learners."""


@dataclass(frozen=True)
class LearnerFigure:
    """What a learner has come to on a representation."""

    features: FeatureSet
    learner: str
    tasks: str
    """Classes a task × number of tasks, "5×20"."""
    rate: float | None
    """Learning rate that was chosen on validation classes; None for a head in closed form, which has none."""
    retained: tuple[float, ...]
    """Retained accuracy of each seed, a fraction."""
    published: tuple[float, float] | None
    """Mean and standard deviation of the published figure, in percent."""

    @property
    def representation(self) -> str:
        """Name of the features."""
        return self.features.name


@dataclass(frozen=True)
class ComparisonRequest:
    """What was last requested of a comparison."""

    representations: Sequence[str]
    """Names, files or folders, from which they can be loaded again."""
    raw: bool
    """Also from the images themselves?"""
    features: Sequence[FeatureSet]
    """Of the representations, and of the images."""

    def to_json(self) -> dict[str, Any]:
        """Return it as request.json has it."""
        features = [asdict(it) for it in self.features]
        return {"representations": list(self.representations), "raw": self.raw, "features": features}


@dataclass(frozen=True)
class ComparisonRecord:
    """A comparison of learners as its folder tells it."""

    folder: Path
    config: Mapping[str, Any]
    request: ComparisonRequest
    all_figures: Sequence[LearnerFigure]
    """All that were measured, those of earlier requests too."""
    finished: bool
    """Was every figure measured that was requested last?"""

    @classmethod
    def load(cls, folder: Path) -> ComparisonRecord:
        """Read the record in `folder`.

        Raises:
            ResultsError: if the folder holds no comparison, or a file of it is missing, damaged or of another format.
        """
        config, where = read_config_of(KIND, folder), folder / CONFIG
        try:
            seeds_in(config, where)
            for part in ("tasks", "learners"):
                entry(config, part, dict, where)
            request = _request(read_request(folder), folder / REQUEST)
            figures = read_figures(folder, len(config["seeds"]))
        except ContentError as cause:
            raise damaged(cause) from cause
        record = cls(folder, config, request, figures, is_marked_finished(folder))
        if record.finished and len(record.figures) < record.n_figures:
            raise ResultsError(f"{folder / COMPARISON} lacks figures of a finished comparison; {REPAIR}")
        return record

    @property
    def figures(self) -> list[LearnerFigure]:
        """Those that were requested last, in their order."""
        known = {(it.features, it.tasks, it.learner): it for it in self.all_figures}
        wanted = [
            (features, tasks, learner)
            for features in self.request.features
            for tasks in self.config["tasks"]
            for learner in self.config["learners"]
        ]
        return [known[it] for it in wanted if it in known]

    @property
    def n_figures(self) -> int:
        """How many were requested."""
        return len(self.request.features) * len(self.config["tasks"]) * len(self.config["learners"])

    @property
    def title(self) -> str:
        """What is compared, in a few words: "online, er on oml, raw"."""
        return f"{', '.join(self.config['learners'])} on {', '.join(it.name for it in self.request.features)}"


def write_figures(folder: Path, figures: Sequence[LearnerFigure]) -> None:
    """Write comparison.json.

    Raises:
        StorageError: if it cannot be written.
    """
    write_json(folder / COMPARISON, {"figures": [asdict(it) for it in figures]})


def read_figures(folder: Path, n_seeds: int) -> list[LearnerFigure]:
    """Return the figures in a folder; none if nothing was measured yet.

    Raises:
        ContentError: if comparison.json is damaged, or has not a figure for each of the seeds.
    """
    path = folder / COMPARISON
    if not path.exists():
        return []
    where = f"{path}, 'figures'"
    return [_figure(checked(it, dict, where), n_seeds, where) for it in entry(read_json(path), "figures", list, path)]


def _figure(row: Mapping[str, Any], n_seeds: int, where: str) -> LearnerFigure:
    retained = [_fraction(it, where) for it in entry(row, "retained", list, where)]
    if len(retained) != n_seeds:
        raise ContentError(f"{where} has {len(retained)} retained accuracies, expected {n_seeds}, one per seed")
    published = None
    if row.get("published") is not None:
        mean_and_std = [float(checked(it, float, where)) for it in entry(row, "published", list, where)]
        if len(mean_and_std) != 2:
            raise ContentError(f"{where} has {len(mean_and_std)} published numbers, expected a mean and a deviation")
        published = (mean_and_std[0], mean_and_std[1])
    return LearnerFigure(
        _features(entry(row, "features", dict, where), where),
        entry(row, "learner", str, where),
        entry(row, "tasks", str, where),
        None if row.get("rate", 0) is None else float(entry(row, "rate", float, where)),
        tuple(retained),
        published,
    )


def _fraction(value: Any, where: str) -> float:
    number = float(checked(value, float, where))
    if not 0 <= number <= 1:
        raise ContentError(f"{where} has the retained accuracy {number:g}, expected 0 to 1")
    return number


def _features(row: Mapping[str, Any], where: str) -> FeatureSet:
    return FeatureSet(*(entry(row, name, str, where) for name in ("name", "sha256", "network")))


def _request(content: Mapping[str, Any], where: Path) -> ComparisonRequest:
    names = entry(content, "representations", list, where)
    features = entry(content, "features", list, where)
    return ComparisonRequest(
        [checked(it, str, f"{where}, 'representations'") for it in names],
        entry(content, "raw", bool, where),
        [_features(checked(it, dict, f"{where}, 'features'"), f"{where}, 'features'") for it in features],
    )
