"""What learns best on features that others made, beside scikit-learn and River.

``python benchmarks/embeddings.py [DATA ...]``; all data unless some are given, of random, components and segments.
Stand-ins for a network are random features and principal components of scikit-learn's digits, and River's
ImageSegments as it is. What is measured is kept in ``docs/embeddings.json``, data after data, and the tables of
``docs/embeddings.md`` are written from it; with ``--page`` they are written again without measuring. It needs River
(the extra ``river``), and for times a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from perdure.cli.jax_settings import configure_jax

configure_jax()  # before JAX is imported: what the command line runs under
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # threads that wait for each other would count as CPU time

import numpy as np
import online_page
from river import datasets, linear_model, naive_bayes, optim
from sklearn.base import ClassifierMixin
from sklearn.datasets import load_digits
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import RidgeClassifier, SGDClassifier
from sklearn.neighbors import NearestCentroid

from perdure import compare_embeddings
from perdure.report.markdown import aligned_markdown
from perdure.storage.files import write_atomically
from perdure.streams.embeddings import Division, checked_embeddings, divide

DOCS = Path(__file__).parents[1] / "docs"
SEEDS = 3
ORDERS = ("classes", "shuffled")
METHODS = ("nearest-mean", "gaussian", "lda", "slda", "ridge", "online", "er", "mer")
MEMORY_SIZE = 200
BEGIN, END = "<!-- written by benchmarks/embeddings.py -->", "<!-- end -->"


def _digits() -> tuple[np.ndarray, np.ndarray]:
    digits: Any = load_digits()
    return digits.data, digits.target


def random_features() -> tuple[np.ndarray, np.ndarray]:
    """Return 256 random features of digits, cut off below zero, and their classes."""
    x, y = _digits()
    projected = (x - x.mean(axis=0)) / 8 @ np.random.default_rng(0).normal(size=(64, 256)) / 8
    return np.maximum(projected, 0).astype(np.float32), y


def principal_components() -> tuple[np.ndarray, np.ndarray]:
    """Return the first 32 principal components of digits, and their classes."""
    x, y = _digits()
    centred = x - x.mean(axis=0)
    return (centred @ np.linalg.svd(centred, full_matrices=False)[2][:32].T).astype(np.float32), y


def image_segments() -> tuple[np.ndarray, np.ndarray]:
    """Return River's ImageSegments: 18 numbers of patches of pictures, and what they show."""
    rows = list(datasets.ImageSegments())
    return np.asarray([list(x.values()) for x, _ in rows], np.float32), np.asarray([y for _, y in rows])


class _Data(NamedTuple):
    name: str
    make: Callable[[], tuple[np.ndarray, np.ndarray]]


DATA = {
    "random": _Data("digits, 256 random features", random_features),
    "components": _Data("digits, 32 principal components", principal_components),
    "segments": _Data("ImageSegments, 18 features", image_segments),
}


def _discriminants(part: Division) -> Any:
    model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.2).fit(part.x, part.y)
    model.intercept_ -= np.log(model.priors_)  # all classes are equally probable, as to perdure's
    return model


def _ridge(part: Division) -> Any:
    away = part.x - part.x.mean(axis=0)
    return RidgeClassifier(alpha=0.01 * float(np.mean(np.sum(away**2, axis=0)))).fit(part.x, part.y)


def _sgd(part: Division) -> Any:
    model = SGDClassifier(loss="log_loss", learning_rate="constant", eta0=2 / part.n_varying, random_state=0)
    classes = np.unique(part.y)
    for n in range(len(part.y)):
        model.partial_fit(part.x[n : n + 1], part.y[n : n + 1], classes)
    return model


AT_ONCE: dict[str, Callable[[Division], ClassifierMixin]] = {
    "scikit-learn NearestCentroid, all at once": lambda part: NearestCentroid().fit(part.x, part.y),
    "scikit-learn LDA, all at once": _discriminants,
    "scikit-learn RidgeClassifier, all at once": _ridge,
}
RIVERS: dict[str, Callable[[int], Any]] = {
    "River GaussianNB": lambda d: naive_bayes.GaussianNB(),
    "River SoftmaxRegression": lambda d: linear_model.SoftmaxRegression(optimizer=optim.SGD(2 / d)),
}


def measured(data: _Data) -> dict[str, Any]:
    """Return held-out accuracies in percent by order and method, and µs of CPU time for an example learned."""
    x, y = data.make()
    return {order: _on(x, y, order, f"{data.name}, {order}") for order in ORDERS}


def _on(x: np.ndarray, y: np.ndarray, order: str, what: str) -> dict[str, Any]:
    print(what, file=sys.stderr, flush=True)
    found: dict[str, Any] = {}
    ours = compare_embeddings(x, y, methods=METHODS, order=order, seeds=SEEDS, memory_size=MEMORY_SIZE)
    for it in ours.results:
        _add(found, f"perdure {it.method}", it.held_out, it.microseconds)
    for seed in range(SEEDS):
        part = divide(checked_embeddings(x, y), order=order, test_share=0.2, seed=seed)
        for name, fit in {**AT_ONCE, "scikit-learn SGDClassifier, one by one": _sgd}.items():
            began = time.process_time()
            model: Any = fit(part)
            cost = (time.process_time() - began) / len(part.y)
            _add(found, name, float(np.mean(model.predict(part.test_x) == part.test_y)), 1e6 * cost)
        for name, build in RIVERS.items():
            model, began = build(part.n_varying), time.process_time()
            for row, label in zip(_rows(part.x), part.y.tolist(), strict=True):
                model.learn_one(row, label)
            cost = (time.process_time() - began) / len(part.y)
            right = [
                model.predict_one(row) == label for row, label in zip(_rows(part.test_x), part.test_y, strict=True)
            ]
            _add(found, name, float(np.mean(right)), 1e6 * cost)
    return found


def _rows(x: np.ndarray) -> list[dict[int, float]]:
    return [dict(enumerate(row)) for row in x.tolist()]


def _add(found: dict[str, Any], name: str, held_out: float, microseconds: float) -> None:
    own = found.setdefault(name, {"held_out": [], "microseconds": []})
    own["held_out"].append(100 * held_out)
    own["microseconds"].append(microseconds)


def write_tables(numbers: Mapping[str, Any], path: Path) -> None:
    """Write the tables into the page, between its marks."""
    data = {it.name: numbers[key] for key, it in DATA.items() if key in numbers}
    methods = list(next(iter(data.values()))[ORDERS[0]])
    headers = ["Held out, %", *(f"{name}: {order}" for name in data for order in ORDERS)]
    accuracies = [
        [method, *(_mean(found[order][method]["held_out"]) for found in data.values() for order in ORDERS)]
        for method in methods
    ]
    costs = [[method, *(f"{_cost(found, method):,.0f}" for found in data.values())] for method in methods]
    text = "\n\n".join(
        [
            BEGIN,
            aligned_markdown(headers, accuracies, (0,)),
            aligned_markdown(["µs of CPU time to learn an example", *data], costs, (0,)),
            f"Measured on {numbers['machine']}.",
            END,
        ]
    )
    before, _, rest = path.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    write_atomically(path, f"{before}{text}{after}".encode())


def _mean(values: Sequence[float]) -> str:
    return f"{statistics.fmean(values):.1f} ± {statistics.stdev(values):.1f}"


def _cost(found: Mapping[str, Any], method: str) -> float:
    return statistics.median(it for order in ORDERS for it in found[order][method]["microseconds"])


def main() -> None:
    """Measure, and write the page's tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="*", choices=[*DATA, []], help="what to measure on; all unless given")
    parser.add_argument("--page", action="store_true", help="write the tables from what was measured before")
    given, path = parser.parse_args(), DOCS / "embeddings.json"
    numbers = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    for key in [] if given.page else given.data or DATA:
        numbers |= {key: measured(DATA[key]), "machine": online_page.machine()}
        write_atomically(path, json.dumps(numbers, indent=1).encode() + b"\n")
    write_tables(numbers, DOCS / "embeddings.md")


if __name__ == "__main__":
    main()
