"""What a comparison of methods on embeddings is."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from perdure.experiments.representations.embedding_methods import embedding_method
from perdure.experiments.supervised.spec import RUNS
from perdure.learners.closed_form import CLOSED_FORM
from perdure.memory.buffer import LARGEST_COUNT
from perdure.records.describe import describe
from perdure.records.embeddings import KIND
from perdure.records.folder import FORMAT, config_digest
from perdure.storage.reading import ContentError, open_file
from perdure.streams.embeddings import Division, Embeddings, FeatureError, check_division, checked_embeddings, divide
from perdure.streams.raw.embeddings import TEST, RawEmbeddings, read_embeddings

DEFAULT_METHODS = ("nearest-mean", "lda", "ridge", "er", "mer")
N_ANSWERED = 100
"""Examples answered just before they are learned: some heads take d³ operations to answer after every change."""
_MOST_SEEDS = 1_000
_HASHED = 1 << 20
"""Bytes read at a time."""


@dataclass(frozen=True)
class EmbeddingsPlan:
    """How methods are compared.

    Raises:
        TypeError: if a number is not whole.
        ValueError: naming the number that is out of range.
    """

    methods: tuple[str, ...] = DEFAULT_METHODS
    order: str = "classes"
    test_share: float = 0.2
    seeds: int = 3
    memory_size: int = 2_000

    def __post_init__(self):
        check_division(self.order, self.test_share)
        for name, value in (("seeds", self.seeds), ("memory_size", self.memory_size)):
            if isinstance(value, bool) or not isinstance(value, int | np.integer):
                raise TypeError(f"{name} is {value!r}, expected a whole number from 1, such as 3")
        if self.seeds < 1 or self.memory_size < 1:
            raise ValueError(
                f"seeds = {self.seeds} and memory_size = {self.memory_size} were given, expected at least 1 of each"
            )
        for name, value, most in (("seeds", self.seeds, _MOST_SEEDS), ("memory_size", self.memory_size, LARGEST_COUNT)):
            if value > most:
                raise ValueError(f"{name} is {value}, expected at most {most}")


@dataclass(frozen=True)
class EmbeddingsSpec:
    """A comparison of methods on a file."""

    source: str
    features: str | None
    label: str
    test: str | None
    """File of what is held out; None for what the first one tells."""
    plan: EmbeddingsPlan

    @property
    def config(self) -> dict[str, Any]:
        """All that decides the figures but the data, as config.json holds it."""
        settings = {name: it for name, it in asdict(self.plan).items() if name not in ("methods", "seeds")}
        described = {
            name: CLOSED_FORM.get(name, embedding_method(name, 1, self.plan.memory_size)) for name in self.plan.methods
        }
        return {
            "format": FORMAT,
            "kind": KIND,
            "name": Path(self.source).name,
            "source": self.source,
            "features": self.features,
            "label": self.label,
            "test": self.test,
            **settings,
            "methods": {
                name: {"name": name} if isinstance(it, str) else describe(it, name) for name, it in described.items()
            },
            "learning_rates": "for one feature; divided by the number of features that vary",
            "seeds": list(range(self.plan.seeds)),
            "answered": N_ANSWERED,
        }

    @classmethod
    def of_config(cls, config: Mapping[str, Any]) -> EmbeddingsSpec:
        """Return what `config` described."""
        plan = EmbeddingsPlan(
            tuple(config["methods"]),
            config["order"],
            config["test_share"],
            len(config["seeds"]),
            config["memory_size"],
        )
        return cls(config["source"], config["features"], config["label"], config["test"], plan)

    @property
    def checksums(self) -> dict[str, str]:
        """SHA-256 of each file."""
        files = {Path(self.source).name: self.source}
        if self.test is not None:
            files[f"held out: {Path(self.test).name}"] = self.test
        return {name: _sha256(Path(it)) for name, it in files.items()}

    def default_folder(self, root: Path = RUNS) -> Path:
        """Return where the run goes unless told otherwise: other files are another run."""
        stem = Path(self.source).stem.replace(" ", "-")
        return root / f"embeddings-{stem}-{config_digest({**self.config, 'data': self.checksums})}"

    def load(self) -> Embeddings:
        """Return the data.

        Raises:
            ContentError: naming the file, if it cannot be read, or its content cannot be learned or divided.
        """
        found = read_embeddings(Path(self.source), self.features, self.label)
        test = None
        if self.test is not None:
            test = read_embeddings(Path(self.test), self.features, self.label)
            found = found._replace(test_x=test.x, test_y=test.y)
        try:
            data = checked_embeddings(found.x, found.y, found.test_x, found.test_y)
            division_of(
                data, self.plan, seed=0
            )  # what cannot be divided or standardized is told before a folder is made
            return data
        except FeatureError as cause:
            raise ContentError(self._in_file(cause, found, test)) from cause
        except (TypeError, ValueError) as cause:
            raise ContentError(f"{self.source}: {cause}") from cause

    def _in_file(self, cause: FeatureError, found: RawEmbeddings, test: RawEmbeddings | None) -> str:
        """Return what is wrong with a feature, and where it is in the file."""
        source, raw, is_test = self.source, found, cause.part == "test_x"
        if is_test and test is not None:
            source, raw, is_test = str(self.test), test, False
        name = (TEST if is_test else "") + (self.features or "x")
        row = f"row {cause.row + 1}, counted from 1"
        if raw.columns:
            what, place = f"column {raw.columns[cause.column]!r}", row
        elif Path(source).suffix.lower() == ".npz":
            what, place = f"array {name!r}", f"row {cause.row}, column {cause.column}, counted from 0"
        else:
            what, place = "the column of lists", f"{row}, number {cause.column + 1} of the list"
        problem = cause.problem.format(place=place)
        return f"{source}, {what} {problem}; correct it, or leave such rows out, with their classes"


def division_of(data: Embeddings, plan: EmbeddingsPlan, seed: int) -> Division:
    """Return the examples to learn and those held out, as a seed draws them."""
    return divide(data, order=plan.order, test_share=plan.test_share, seed=seed)


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    try:
        with open_file(path) as file:
            while content := file.read(_HASHED):
                digest.update(content)
    except OSError as cause:
        raise ContentError(f"{path} cannot be read: {cause.strerror or cause}") from cause
    return digest.hexdigest()
