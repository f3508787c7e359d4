"""Methods side by side on features from any network: one pass over the examples, and what is right at the end."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Int64

from perdure.core import Learner
from perdure.execution.parts import Advanced, Finished, keeps, parts_progress
from perdure.execution.progress import Watch, say
from perdure.experiments.representations.embedding_methods import embedding_classifier, embedding_method
from perdure.experiments.representations.embeddings_spec import (
    DEFAULT_METHODS,
    N_ANSWERED,
    EmbeddingsPlan,
    EmbeddingsSpec,
    division_of,
)
from perdure.online.estimators import OnlineClassifier
from perdure.online.methods import METHODS
from perdure.online.stream import methods_given
from perdure.records.embeddings import EmbeddingResult, EmbeddingsRecord, best_first, read_results, write_results
from perdure.records.errors import damaged
from perdure.records.folder import RunFolder, own_folder
from perdure.records.requested import write_finished
from perdure.shown import Drawing, InShort, Shown, counted
from perdure.storage.reading import ContentError, shortened
from perdure.streams.embeddings import Division, Embeddings, checked_embeddings, encoded

_N_POINTS = 10
"""Of the curve at most."""


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
    n_rows = len(division_of(data, plan, 0).y)
    n_parts = plan.seeds * len(plan.methods)

    def how_far() -> Finished:
        return Finished(len(found), n_parts, "methods and seeds")

    label, total = f"{', '.join(plan.methods)} on {name}", 2 * n_rows * (n_parts - len(found))
    with parts_progress(label, total, "rows", how_far, folder=home, show=progress) as advanced:
        for seed in range(plan.seeds):
            missing = [method for method in plan.methods if (method, seed) not in found]
            part = division_of(data, plan, seed) if missing else None
            for method in missing:
                assert part is not None
                found[method, seed] = _measured(part, method, plan.memory_size, seed, advanced)
                if home is not None and keeps(home):
                    write_results(home.path, list(found.values()))
    return [found[method, seed] for method in plan.methods for seed in range(plan.seeds)]


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
    answered = set(np.linspace(0, n_rows - 1, min(n_rows, N_ANSWERED)).astype(int).tolist())
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
