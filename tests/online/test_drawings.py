"""Drawings as rows: taught by their features, kept as they were drawn."""

import json

import numpy as np
import pytest

from perdure import DurableModel, OnlineClassifier, RowError, load
from perdure.online.drawings import COLUMN, drawing_features, text_of
from perdure.online.rows import as_rows
from perdure.online.settings import ModelSettings

FEATURES = "omniglot-small"


@pytest.fixture(scope="module")
def symbols():
    """Three symbols, five drawings of each, no two alike: (3, 5, 28, 28)."""
    rng = np.random.default_rng(0)
    symbols = np.zeros((3, 5, 28, 28), np.uint8)
    for drawing in range(5):
        at = 12 + rng.integers(-3, 4)
        symbols[0, drawing, at : at + 2, 4:24] = 255  # a dash
        symbols[1, drawing, 4:24, at : at + 2] = 255  # a stroke
        for step in range(4, 24):
            symbols[2, drawing, step, (step + at - 12) % 28] = 255  # a slanted line
    return symbols


def rows_of(drawings):
    return [{COLUMN: text_of(it)} for it in drawings]


def test_three_drawings_of_a_symbol_are_enough(symbols, tmp_path):
    model = DurableModel.open(tmp_path / "symbols", method="nearest-mean", features=FEATURES, standardize=False)
    with model:
        for drawing in range(3):
            for name, symbol in zip(("dash", "stroke", "slant"), symbols, strict=True):
                model.learn(rows_of(symbol[drawing : drawing + 1]), [name])
        for name, symbol in zip(("dash", "stroke", "slant"), symbols, strict=True):
            assert model.predict(rows_of(symbol[3:])) == [name] * 2
        before = model.predict_proba(rows_of(symbols[0]))
        entry = model.undo()
        assert entry is not None
        assert entry.x == rows_of(symbols[2][2:3])[0]  # the journal holds what was drawn
    with DurableModel.open(tmp_path / "symbols") as again:
        again.learn(entry.x, entry.y)
        np.testing.assert_array_equal(again.predict_proba(rows_of(symbols[0])), before)


def test_many_at_once_equal_one_by_one_however_they_are_given(symbols):
    drawings, y = symbols.reshape(-1, 28, 28), np.repeat(["a", "b", "c"], 5)
    options = {"method": "lda", "features": FEATURES, "standardize": False}
    at_once = OnlineClassifier(**options).fit(drawings, y)
    one_by_one = OnlineClassifier(**options)
    for row, label in zip(rows_of(drawings), y, strict=True):
        one_by_one.learn_one(row, label)
    expected = at_once.predict_proba(drawings)
    np.testing.assert_array_equal(at_once.predict_proba(rows_of(drawings)), expected)
    np.testing.assert_array_equal([[*one_by_one.predict_proba_one(it).values()] for it in rows_of(drawings)], expected)


def test_a_saved_model_knows_its_features(symbols, tmp_path):
    y = np.repeat(["a", "b", "c"], 5)
    model = OnlineClassifier(method="nearest-mean", features=FEATURES).fit(symbols.reshape(-1, 28, 28), y)
    model.save(tmp_path / "model.safetensors")
    again = load(tmp_path / "model.safetensors")
    assert isinstance(again, OnlineClassifier)
    drawings = symbols[:, 0]
    np.testing.assert_array_equal(again.predict_proba(drawings), model.predict_proba(drawings))
    np.testing.assert_array_equal(again.partial_fit(drawings, ["d", "b", "c"]).predict(drawings)[1:], ["b", "c"])


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            [{"pixel": 1.0}],
            "rows have the columns 'pixel', expected 'drawing' alone: base64 of 784 bytes, 28 rows",
        ),
        ([{COLUMN: text_of(np.zeros((9, 9), np.uint8))}], "row 0 has a drawing that is of 81 bytes, expected"),
        ([{COLUMN: "no base64!"}], "row 0 has a drawing that is no base64 text, expected"),
        ([{COLUMN: None}], "row 0 has a drawing that is no base64 text, expected"),
        (np.zeros((1, 9, 9), np.uint8), r"drawings have shape \(9, 9\) and type uint8, expected \(28, 28\) and uint8"),
        (np.zeros((1, 64)), r"x has shape \(1, 64\), expected drawings, \(rows, 28, 28\) of uint8, .*; resize them"),
        (np.zeros((1, 784)), r"x has shape \(1, 784\), .*; x\.reshape\(-1, 28, 28\)"),
        (np.zeros((1, 28, 28)), r"shape \(28, 28\) and type float64, expected \(28, 28\) and uint8"),
    ],
)
def test_what_is_no_drawing_is_refused_and_nothing_is_learned(symbols, rows, message):
    model = ModelSettings(method="nearest-mean", features=FEATURES).new_model()
    with pytest.raises(RowError, match=message):
        model.learn(as_rows(rows), ["a"])
    assert not model.has_learned
    model.learn(as_rows(symbols[:, 0]), ["a", "b", "c"])
    for act in (lambda: model.learn(as_rows(rows), ["d"]), lambda: model.predict(as_rows(rows))):
        with pytest.raises(RowError, match=message):
            act()
    assert model.classes == ["a", "b", "c"]


def test_features_are_those_that_come_with_perdure(tmp_path):
    assert FEATURES in drawing_features()
    with pytest.raises(ValueError, match=r"features is '../x', expected None or one of omniglot-small"):
        DurableModel.open(tmp_path / "model", features="../x")
    assert not (tmp_path / "model").exists()


def test_settings_of_before_there_were_features_are_read():
    settings = ModelSettings(method="er").to_json()
    del settings["features"]
    assert ModelSettings.of_json(json.loads(json.dumps(settings)), "settings").features is None
