"""The record of methods on a file of embeddings, laid out as `perdure.records.folder` tells.

embeddings.json  what each method was worth with each seed; rewritten after every one
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from perdure.records.errors import REPAIR, ResultsError, damaged
from perdure.records.folder import CONFIG, seeds_in
from perdure.records.requested import is_marked_finished, read_config_of
from perdure.storage.files import write_json
from perdure.storage.reading import ContentError, checked, entry, read_json

KIND = "embeddings"
EMBEDDINGS = "embeddings.json"
WITH_MEMORY = ("auto", "er", "mer", "averaged-er", "multi-timescale-mer")
"""Methods that keep examples, as many as `memory_size` says."""
_SETTINGS = {"name": str, "source": str, "label": str, "order": str, "test_share": float, "memory_size": int}
"""Of config.json, with their kinds."""


@dataclass(frozen=True)
class EmbeddingResult:
    """What a method was worth on embeddings, with one seed."""

    method: str
    seed: int
    held_out: float
    """Accuracy on the held-out examples after the last one was learned, 0..1."""
    prequential: float
    """Accuracy on examples just before they were learned, 0..1."""
    n_answered: int
    """Examples that the prequential accuracy is of."""
    microseconds: float
    """CPU time of learning an example."""
    n_bytes: int
    """What the model keeps between examples."""
    rows: Sequence[int]
    """Examples learned at each point of the curve."""
    curve: Sequence[float]
    """There, the accuracy on the held-out examples of the classes learned so far, 0..1."""


@dataclass(frozen=True)
class EmbeddingsRecord:
    """Methods on a file of embeddings as their folder tells it."""

    folder: Path
    config: Mapping[str, Any]
    results: Sequence[EmbeddingResult]
    """In the order of methods and seeds; those that are finished."""
    finished: bool

    @classmethod
    def load(cls, folder: Path) -> EmbeddingsRecord:
        """Read the record in `folder`.

        Raises:
            ResultsError: if the folder holds no such run, or a file of it is missing, damaged or of another format.
        """
        config, where = read_config_of(KIND, folder), folder / CONFIG
        try:
            seeds_in(config, where)
            if not entry(config, "methods", dict, where):
                raise ContentError(f"{where}, 'methods' is empty, expected at least one")
            for name, kind in {
                "name": str,
                "source": str,
                "label": str,
                "order": str,
                "test_share": float,
                "memory_size": int,
            }.items():
                entry(config, name, kind, where)
            results = read_results(folder, config)
        except ContentError as cause:
            raise damaged(cause) from cause
        record = cls(folder, config, results, is_marked_finished(folder))
        if record.finished and len(record.results) < record.n_parts:
            raise ResultsError(f"{folder / EMBEDDINGS} lacks figures of a finished run; {REPAIR}")
        return record

    @property
    def methods(self) -> dict[str, list[EmbeddingResult]]:
        """Results by method, the one that is most accurate on held-out examples first."""
        return best_first(self.results)

    @property
    def n_parts(self) -> int:
        """Methods times seeds."""
        return len(self.config["methods"]) * len(self.config["seeds"])

    @property
    def title(self) -> str:
        """The run in a few words: "lda, er on embeddings.npz"."""
        return f"{', '.join(self.config['methods'])} on {self.config['name']}"


def best_first(results: Sequence[EmbeddingResult]) -> dict[str, list[EmbeddingResult]]:
    """Return results by method, the one that is most accurate on held-out examples first."""
    by_method: dict[str, list[EmbeddingResult]] = {}
    for it in results:
        by_method.setdefault(it.method, []).append(it)
    return dict(sorted(by_method.items(), key=lambda it: -sum(own.held_out for own in it[1]) / len(it[1])))


def write_results(folder: Path, results: Sequence[EmbeddingResult]) -> None:
    """Write embeddings.json.

    Raises:
        StorageError: if it cannot be written.
    """
    write_json(folder / EMBEDDINGS, {"results": [asdict(it) for it in results]})


def read_results(folder: Path, config: Mapping[str, Any]) -> list[EmbeddingResult]:
    """Return what is finished of a run with this configuration, in the order of its methods and seeds.

    Raises:
        ContentError: if embeddings.json is damaged or at odds with the configuration.
    """
    path = folder / EMBEDDINGS
    if not path.exists():
        return []
    where = f"{path}, 'results'"
    found = {}
    for row in entry(read_json(path), "results", list, path):
        it = _result(checked(row, dict, where), where)
        if it.method not in config["methods"] or it.seed not in config["seeds"] or (it.method, it.seed) in found:
            raise ContentError(f"{where} has {it.method!r} with seed {it.seed}, expected each of {CONFIG} once")
        found[it.method, it.seed] = it
    if len({len(it.rows) for it in found.values()}) > 1:
        raise ContentError(f"{where} has curves of different lengths, expected one for all")
    wanted = [(method, seed) for method in config["methods"] for seed in config["seeds"]]
    return [found[it] for it in wanted if it in found]


def _result(row: Mapping[str, Any], where: str) -> EmbeddingResult:
    rows = [checked(it, int, f"{where}, 'rows'") for it in entry(row, "rows", list, where)]
    curve = [_fraction(it, f"{where}, 'curve'") for it in entry(row, "curve", list, where)]
    if len(rows) != len(curve) or not rows:
        raise ContentError(f"{where} has a curve of {len(curve)} values at {len(rows)} points, expected as many, ≥ 1")
    return EmbeddingResult(
        method=entry(row, "method", str, where),
        seed=entry(row, "seed", int, where),
        held_out=_fraction(entry(row, "held_out", float, where), where),
        prequential=_fraction(entry(row, "prequential", float, where), where),
        n_answered=entry(row, "n_answered", int, where),
        microseconds=_time(entry(row, "microseconds", float, where), where),
        n_bytes=entry(row, "n_bytes", int, where),
        rows=rows,
        curve=curve,
    )


def _time(value: float, where: str) -> float:
    if not value >= 0:
        raise ContentError(f"{where} has {value:g} microseconds, expected 0 or more")
    return float(value)


def _fraction(value: Any, where: str) -> float:
    number = float(checked(value, float, where))
    if not 0 <= number <= 1:
        raise ContentError(f"{where} has the accuracy {number:g}, expected 0 to 1")
    return number
