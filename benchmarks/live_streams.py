"""Streams of rows that River ships or makes, and its pipelines for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from river import datasets, forest, linear_model, preprocessing, tree
from river.datasets import synth
from sklearn.datasets import load_digits

Stream = tuple[Sequence[Mapping[str, Any]], Sequence[Any]]
"""Rows and their classes, in order."""

_LENGTH = 10_000
"""Rows of the streams that are made."""


def _shuffled(dataset: Any, seed: int) -> Stream:
    rows = list(dataset)
    order = np.random.default_rng(seed).permutation(len(rows))
    return [rows[place][0] for place in order], [rows[place][1] for place in order]


def _first(stream: Any) -> Stream:
    rows = list(stream.take(_LENGTH))
    return [x for x, _ in rows], [y for _, y in rows]


def _sea(seed: int) -> Stream:
    before, after = synth.SEA(variant=0, seed=seed), synth.SEA(variant=3, seed=seed + 1)
    return _first(synth.ConceptDriftStream(before, after, position=_LENGTH // 2, width=50, seed=seed))


def _agrawal(seed: int) -> Stream:
    before = synth.Agrawal(classification_function=0, seed=seed)
    after = synth.Agrawal(classification_function=4, seed=seed + 1)
    return _first(synth.ConceptDriftStream(before, after, position=_LENGTH // 2, width=500, seed=seed))


def _led(seed: int) -> Stream:
    return _first(synth.LEDDrift(seed=seed, noise_percentage=0.1, irrelevant_features=True, n_drift_features=4))


def _hyperplane(seed: int) -> Stream:
    return _first(synth.Hyperplane(seed=seed, n_features=10, n_drift_features=5, mag_change=0.001))


REPORTED: dict[str, Callable[[int], Stream]] = {
    "Phishing": lambda seed: _shuffled(datasets.Phishing(), seed),
    "Bananas": lambda seed: _shuffled(datasets.Bananas(), seed),
    "ImageSegments": lambda seed: _shuffled(datasets.ImageSegments(), seed),
    "SEA, abrupt drift": _sea,
    "Agrawal, drift": _agrawal,
    "LED, drift": _led,
    "Hyperplane": _hyperplane,
}
"""From a seed to a stream: a shuffle of data, or what a generator makes."""


def _turned_digits(seed: int, seasons: int = 20, season: int = 200) -> Stream:
    """Return handwritten digits in seasons, in each of which they are turned by 0, 1, 2 or 3 quarters, in turn."""
    digits: Any = load_digits()
    rng = np.random.default_rng(seed)
    x, y = [], []
    for number in range(seasons):
        for place in rng.permutation(len(digits.target))[:season]:
            pixels = np.rot90(digits.images[place], number % 4).ravel().tolist()
            x.append({f"pixel {n}": value for n, value in enumerate(pixels)})
            y.append(int(digits.target[place]))
    return x, y


def _seasons(seed: int, seasons: int = 16, season: int = 500) -> Stream:
    """Return rows whose class depends on other columns in each of four seasons, which the rows tell, in turn."""
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=(4, 8))
    x, y = [], []
    for number in range(seasons):
        values = rng.normal(size=(season, 8))
        above = values @ weights[number % 4] > 0
        for row, is_above in zip(values, above, strict=True):
            x.append({f"c{n}": float(it) for n, it in enumerate(row)} | {"season": f"s{number % 4}"})
            y.append(bool(is_above))
    return x, y


RETURNING: dict[str, Callable[[int], Stream]] = {
    "Digits turned by quarters, 20 seasons of 200": _turned_digits,
    "Rules of four seasons, 16 seasons of 500": _seasons,
}
"""From a seed to a stream whose contexts come again."""

PIPELINES: dict[str, Callable[[int], Any]] = {
    "River softmax regression": lambda seed: preprocessing.StandardScaler() | linear_model.SoftmaxRegression(),
    "River Hoeffding adaptive tree": lambda seed: tree.HoeffdingAdaptiveTreeClassifier(seed=seed),
    "River adaptive random forest, 10 trees": lambda seed: forest.ARFClassifier(n_models=10, seed=seed),
}
"""From a seed to a pipeline."""
