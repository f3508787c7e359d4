"""Methods side by side on features from any network: one pass over the examples, and what is right at the end."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Int64

from perdure.core import Learner
from perdure.execution.parts import Advanced, Finished, keeps, parts_progress
from perdure.execution.progress import Watch, say
from perdure.experiments.representations.embedding_methods import embedding_classifier, embedding_method
from perdure.experiments.supervised.spec import RUNS
from perdure.learners.closed_form import CLOSED_FORM
from perdure.memory.buffer import LARGEST_COUNT
from perdure.online.estimators import OnlineClassifier
from perdure.online.methods import METHODS
from perdure.online.stream import methods_given
from perdure.records.describe import describe
from perdure.records.embeddings import (
    KIND,
    EmbeddingResult,
    EmbeddingsRecord,
    best_first,
    read_results,
    write_results,
)
from perdure.records.errors import damaged
from perdure.records.folder import FORMAT, RunFolder, config_digest, own_folder
from perdure.records.requested import write_finished
from perdure.shown import Drawing, InShort, Shown, counted
from perdure.storage.reading import ContentError, open_file, shortened
from perdure.streams.embeddings import (
    Division,
    Embeddings,
    FeatureError,
    check_division,
    checked_embeddings,
    divide,
    encoded,
)
from perdure.streams.raw.embeddings import TEST, RawEmbeddings, read_embeddings

DEFAULT_METHODS = ("nearest-mean", "lda", "ridge", "er", "mer")
_N_ANSWERED = 100
"""Examples answered just before they are learned: some heads take d³ operations to answer after every change."""
_MOST_SEEDS = 1_000
_N_POINTS = 10
"""Of the curve at most."""
_HASHED = 1 << 20
"""Bytes read at a time."""


@dataclass(frozen=True, repr=False)
class Comparison(Shown):
    """Methods side by side on embeddings."""

    results: Sequence[EmbeddingResult]
    """Of each method with each seed."""
    learners: Mapping[str, str | Learner[Any]]
    """Of each method what `OnlineClassifier` takes."""

    def __repr__(self) -> str:
        """Return a line for each method, the best first: accuracies in percent, microseconds, bytes."""
        lines = ["method            held out  prequential  µs an example  bytes kept"]
        for name, (held_out, prequential, cost, size) in self._means().items():
            lines.append(f"{name:<16}{100 * held_out:>10.1f}{100 * prequential:>13.1f}{cost:>15,.0f}{size:>12,.0f}")
        return "\n".join(lines)

    def in_short(self) -> InShort:
        """Return the accuracy of each method on held-out examples, the best first."""
        means = {name: f"{100 * it[0]:.1f} %" for name, it in self._means().items()}
        seeds = len({it.seed for it in self.results})
        return InShort(f"{counted(len(means), 'method')} on embeddings, {counted(seeds, 'seed')}", means)

    def rows(self) -> list[dict[str, Any]]:
        """Return a row for each method and seed: accuracies as fractions, time and bytes."""
        return [
            {name: getattr(it, name) for name in ("method", "seed", *_MEASURES)}
            for own in best_first(self.results).values()
            for it in own
        ]

    def drawing(self) -> Drawing:
        """Return what draws accuracies over the stream and against cost."""
        arguments = ("Embeddings", best_first(self.results))
        return Drawing("perdure.report.figures.embeddings", "methods_side_by_side", arguments)

    def _means(self) -> dict[str, list[float]]:
        """Return the means of `_MEASURES` over seeds of each method, the best first."""
        return {
            name: [float(np.mean([getattr(it, what) for it in own])) for what in _MEASURES]
            for name, own in best_first(self.results).items()
        }


_MEASURES = ("held_out", "prequential", "microseconds", "n_bytes")


def compare_embeddings(
    x: Any,
    y: Any,
    *,
    test_x: Any = None,
    test_y: Any = None,
    encode: Callable[[Any], Any] | None = None,
    methods: Sequence[str] = DEFAULT_METHODS,
    order: str = "classes",
    test_share: float = 0.2,
    seeds: int = 1,
    memory_size: int = 2_000,
    progress: bool | Watch = False,
) -> Comparison:
    """Let methods learn features in one pass, and return what each is worth.

    Features are standardized by their mean and deviation over the examples to be learned.

    Args:
        x: features from any network, (n, d); or with `encode`, its inputs.
        y: a class for each, whole numbers or texts.
        test_x: what to hold out, as x; None to hold out a part of x.
        test_y: its classes.
        encode: from a batch of inputs to their features, (batch, d); None if x are features.
        methods: of `perdure.online.methods.METHODS`.
        order: "classes", one class after another in an order drawn by the seed; "shuffled"; or "file", as given.
        test_share: part of each class that is held out if there is no test_x.
        seeds: seeds of division, order and methods, from 0 on.
        memory_size: examples that a method with a memory keeps.
        progress: show a progress bar; or a function to which progress is reported.

    Raises:
        TypeError: if something is no array of numbers.
        ValueError: naming what is wrong: shapes, a feature that is not finite, classes, an unknown method or order.
    """
    plan = EmbeddingsPlan(methods_given(_names(methods), METHODS), order, test_share, seeds, memory_size)
    if encode is not None:
        x, test_x = encoded(x, encode), None if test_x is None else encoded(test_x, encode)
    data = checked_embeddings(x, y, test_x, test_y)
    n_varying = int((data.x.min(axis=0) < data.x.max(axis=0)).sum())
    learners = {name: embedding_method(name, n_varying, memory_size) for name in plan.methods}
    _check_room(data, plan)
    return Comparison(_measure_missing(data, plan, [], None, "embeddings", progress), learners)


def _names(methods: Any) -> str:
    """Return names of methods as "lda,er"."""
    if isinstance(methods, str):
        return methods
    if isinstance(methods, Sequence) and all(isinstance(it, str) for it in methods):
        return ",".join(methods)
    raise TypeError(
        f"methods is {shortened(repr(methods))}, expected names such as ['lda', 'er']; what a learner with other "
        "hyper-parameters is worth, OnlineClassifier(learner).fit(x, y).score(test_x, test_y) tells"
    )


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
            "answered": _N_ANSWERED,
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
            _division(data, self.plan, seed=0)  # what cannot be divided or standardized is told before a folder is made
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


def run_embeddings(spec: EmbeddingsSpec, folder: Path, *, progress: bool | Watch = True) -> EmbeddingsRecord:
    """Do or resume a comparison, and return its record; what the folder has already is not measured again.

    Raises:
        ContentError: if a file cannot be read, or its content cannot be learned.
        ResultsError: if the folder holds another run.
        InterruptedRunError: after a request to stop; methods that were finished are in the folder.
    """
    data = spec.load()
    _check_room(data, spec.plan)  # raises before a folder is made
    with own_folder(folder, spec.config) as home:
        home.begin(f"{', '.join(spec.plan.methods)} on {Path(spec.source).name}", spec.checksums)
        try:
            known = read_results(folder, home.config)
        except ContentError as cause:
            raise damaged(cause) from cause
        if home.finished:
            say(f"these are the figures of the finished run in {folder}; delete it to run again", show=progress)
        else:
            results = _measure_missing(data, spec.plan, known, home, Path(spec.source).name, progress)
            if home.is_there():
                home.log(f"finished: {len(results)} figures")
                write_finished(home, {"figures": len(results)})
    return EmbeddingsRecord.load(folder)


def resume_embeddings(folder: Path, *, progress: bool | Watch = True) -> EmbeddingsRecord:
    """Resume the comparison in a folder; see `run_embeddings`."""
    return run_embeddings(EmbeddingsSpec.of_config(EmbeddingsRecord.load(folder).config), folder, progress=progress)


def _check_room(data: Embeddings, plan: EmbeddingsPlan) -> None:
    """Check that what each method keeps fits the memory."""
    n_features = data.x.shape[1]
    for name in plan.methods:
        learner = embedding_method(name, n_features, plan.memory_size)
        embedding_classifier(learner, plan.memory_size).begun().check_room(n_features, len(data.classes))


def _measure_missing(
    data: Embeddings,
    plan: EmbeddingsPlan,
    known: Sequence[EmbeddingResult],
    home: RunFolder | None,
    name: str,
    progress: bool | Watch,
) -> list[EmbeddingResult]:
    """Return results of all methods and seeds, which are kept as they are measured."""
    found = {(it.method, it.seed): it for it in known}
    n_rows = len(_division(data, plan, 0).y)
    n_parts = plan.seeds * len(plan.methods)

    def how_far() -> Finished:
        return Finished(len(found), n_parts, "methods and seeds")

    label, total = f"{', '.join(plan.methods)} on {name}", 2 * n_rows * (n_parts - len(found))
    with parts_progress(label, total, "rows", how_far, folder=home, show=progress) as advanced:
        for seed in range(plan.seeds):
            missing = [method for method in plan.methods if (method, seed) not in found]
            part = _division(data, plan, seed) if missing else None
            for method in missing:
                assert part is not None
                found[method, seed] = _measured(part, method, plan.memory_size, seed, advanced)
                if home is not None and keeps(home):
                    write_results(home.path, list(found.values()))
    return [found[method, seed] for method in plan.methods for seed in range(plan.seeds)]


def _division(data: Embeddings, plan: EmbeddingsPlan, seed: int) -> Division:
    return divide(data, order=plan.order, test_share=plan.test_share, seed=seed)


def _measured(part: Division, method: str, memory_size: int, seed: int, advanced: Advanced) -> EmbeddingResult:
    """Return what a method was worth: first with answers along the way, then timed, without them."""
    learner = embedding_method(method, part.n_varying, memory_size)
    right, curve = _along_the_way(embedding_classifier(learner, memory_size, seed), part, advanced)
    model, n_rows = embedding_classifier(learner, memory_size, seed), len(part.y)
    began = time.process_time()
    state = model.partial_fit(part.x, part.y).fitted().state  # waits for what is still being learned
    seconds = time.process_time() - began
    assert state is not None
    advanced(n_rows)
    return EmbeddingResult(
        method=method,
        seed=seed,
        held_out=_accuracy(model, part.test_x, part.test_y),
        prequential=float(np.mean(right)),
        n_answered=len(right),
        microseconds=1e6 * seconds / n_rows,
        n_bytes=model.fitted().n_bytes,
        rows=list(curve),
        curve=list(curve.values()),
    )


def _points(part: Division) -> set[int]:
    """Return after how many examples the curve has its points, spread evenly.

    If one class comes after another they are at the ends of classes: a class of which one or two examples have been
    learned would seem forgotten.
    """
    n_rows = len(part.y)
    if not part.by_class:
        return {max(n_rows * (n + 1) // _N_POINTS, 1) for n in range(_N_POINTS)}
    ends = [*(np.flatnonzero(np.diff(part.y)) + 1).tolist(), n_rows]
    n_points = min(len(ends), _N_POINTS)
    return {ends[len(ends) * (n + 1) // n_points - 1] for n in range(n_points)}


def _along_the_way(model: OnlineClassifier, part: Division, advanced: Advanced) -> tuple[list[bool], dict[int, float]]:
    """Let a model learn; return whether it was right on examples just before they were learned, spread evenly.

    And by the number of examples learned, what is right of those held out of the classes learned so far.
    """
    n_rows, done = len(part.y), 0
    answered = set(np.linspace(0, n_rows - 1, min(n_rows, _N_ANSWERED)).astype(int).tolist())
    points = _points(part)
    right, curve = [], {}
    for stop in sorted(answered | points):
        if stop > done:
            model.partial_fit(part.x[done:stop], part.y[done:stop])
            advanced(stop - done)
            done = stop
        if stop in answered:
            own = slice(stop, stop + 1)
            right.append(done > 0 and bool(model.predict(part.x[own])[0] == part.y[stop]))
        if stop in points:
            known = np.isin(part.test_y, part.y[:stop])
            # A given test set may have no example of the first classes.
            curve[stop] = _accuracy(model, part.test_x[known], part.test_y[known]) if known.any() else 0.0
    return right, curve


def _accuracy(model: OnlineClassifier, x: Float32[np.ndarray, "n d"], y: Int64[np.ndarray, " n"]) -> float:
    return float(np.mean(model.predict(x) == y))


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    try:
        with open_file(path) as file:
            while content := file.read(_HASHED):
                digest.update(content)
    except OSError as cause:
        raise ContentError(f"{path} cannot be read: {cause.strerror or cause}") from cause
    return digest.hexdigest()
