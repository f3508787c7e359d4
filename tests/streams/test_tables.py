"""Rows of files, piece by piece."""

import io
import json
import sys

import numpy as np
import pandas as pd
import pytest

from perdure.storage.reading import ContentError
from perdure.streams.raw.tables import PIECE, read_pieces, without

ROWS = 3 * PIECE + 5


@pytest.fixture
def frame():
    rng = np.random.default_rng(0)
    whole = rng.integers(0, 9, ROWS)
    return pd.DataFrame(
        {
            "number": rng.normal(size=ROWS).round(3),
            "sometimes": np.where(whole > 6, np.nan, rng.normal(size=ROWS).round(3)),
            "whole": whole,
            "word": rng.choice(["red", "green, or so", "blue"], ROWS),
        }
    )


def together(pieces):
    """Return the columns of all pieces."""
    pieces = list(pieces)
    firsts = [it.first_row for it in pieces]
    sizes = [len(it.columns["number"]) for it in pieces]
    assert firsts == (1 + np.cumsum([0, *sizes[:-1]])).tolist()
    assert max(sizes) <= PIECE
    return pd.DataFrame({name: np.concatenate([it.columns[name] for it in pieces]) for name in pieces[0].columns})


def written(frame, path):
    if path.suffix == ".csv":
        frame.to_csv(path, index=False)
    elif path.suffix == ".tsv":
        frame.to_csv(path, index=False, sep="\t")
    elif path.suffix == ".parquet":
        frame.to_parquet(path, index=False)
    else:
        frame.to_json(path, orient="records", lines=True)
    return path


@pytest.mark.parametrize("ending", ["csv", "tsv", "parquet", "ndjson", "jsonl"])
def test_every_format_gives_the_same_rows(ending, frame, tmp_path):
    path = written(frame, tmp_path / f"rows.{ending}")
    pieces = list(read_pieces(path))
    found = together(pieces)
    found["sometimes"] = found["sometimes"].astype(float)
    pd.testing.assert_frame_equal(found, frame, check_dtype=False)
    shares = [it.share or 0 for it in pieces]
    assert shares == sorted(shares)
    assert 0 < shares[-1] <= 1


@pytest.mark.parametrize("ending", ["csv", "ndjson"])
def test_standard_input_is_told_by_its_beginning(ending, frame, tmp_path, monkeypatch):
    content = written(frame, tmp_path / f"rows.{ending}").read_bytes()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    pieces = list(read_pieces("-"))
    assert len(together(pieces)) == ROWS
    assert {it.share for it in pieces} == {None}


def test_whole_numbers_may_become_others_and_columns_that_begin_empty_numbers(tmp_path):
    lines = [*["1,,x"] * 300_000, "0.5,2.5,y"]
    path = tmp_path / "late.csv"
    path.write_text("a,b,c\n" + "\n".join(lines) + "\n")
    *_, last = read_pieces(path)
    assert (last.columns["a"][-1], last.columns["b"][-1], last.columns["c"][-1]) == (0.5, 2.5, "y")


def test_moments_in_time_are_seconds(tmp_path):
    path = tmp_path / "times.csv"
    path.write_text("when\n2026-01-01 00:00:00\n2026-01-01 00:01:00\n")
    (piece,) = read_pieces(path)
    assert np.diff(piece.columns["when"]).tolist() == [60.0]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("rows.txt", b"a\n1\n", "ends in '.txt', expected .csv, .tsv, .parquet, .ndjson or .jsonl"),
        ("rows.csv", b"  \n", "is empty, expected a line of column names"),
        ("rows.csv", b"a,b\n1,2\n1,2,3\n", r"row 2 \(line 3\) has 3 values, expected 2, one for each column; put double quotes"),
        ("rows.csv", b"a,b\n" + b"1,2\n" * 400_000 + b"x,2\n", "row 400001, column 'a' is 'x', expected a number, as in the rows before, such as '1'"),
        ("rows.parquet", b"no parquet", "cannot be read: Parquet"),
        ("rows.ndjson", b'{"a": 1}\nnothing\n', "row 2 is no JSON"),
        ("rows.ndjson", b"[1]\n", "row 1 is list, expected an object from column to value"),
        ("rows.ndjson", b'{"a": {"b": 1}}\n', "row 1, column 'a' is an object, expected a number or a text"),
        ("rows.ndjson", b"[" * 100_000, "row 1 is no JSON"),
    ],
)
def test_bad_files_are_named(name, content, words, tmp_path):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ContentError, match=words):
        list(read_pieces(path))


def test_a_file_that_is_not_there_is_named(tmp_path):
    for ending in ("csv", "parquet"):
        with pytest.raises(ContentError, match=rf"none\.{ending}"):
            list(read_pieces(tmp_path / f"none.{ending}"))


def test_columns_are_taken_out(tmp_path):
    path = tmp_path / "rows.ndjson"
    path.write_text(json.dumps({"label": "x", "value": 1}))
    (piece,) = read_pieces(path)
    assert without(piece, ["label"], "rows") == ({"value": [1]}, [["x"]])
    with pytest.raises(ContentError, match="rows has no column 'lable'; did you mean 'label'"):
        without(piece, ["lable"], "rows")
    with pytest.raises(ContentError, match="rows has no column 'zzz'; it has 'label', 'value'"):
        without(piece, ["zzz"], "rows")
    with pytest.raises(ContentError, match="rows has only 'label', 'value', expected other columns"):
        without(piece, ["label", "value"], "rows")
