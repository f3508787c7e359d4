"""Rows of files, piece by piece."""

import io
import json
import os
import sys
from datetime import date, time
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from perdure.core import PerdureWarning
from perdure.storage.reading import ContentError
from perdure.streams.raw import delimited, lines
from perdure.streams.raw.tables import PIECE, read_pieces, without

ROWS = 3 * PIECE + 5
LATE = 2 * PIECE + 7
"""Rows after which the kinds of columns have been told, with `short_beginning`."""


@pytest.fixture
def short_beginning(monkeypatch):
    monkeypatch.setattr(delimited, "FIRST_CHARACTERS", 1_000)


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


def test_whole_numbers_may_become_others_and_columns_that_begin_empty_numbers(tmp_path, short_beginning):
    lines = [*["1,,x"] * LATE, "0.5,2.5,y"]
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
        (
            "rows.csv",
            b"a,b\n1,2\n1,2,3\n",
            r"row 2 \(line 3\) has 3 values, expected 2, one for each",
        ),
        (
            "rows.csv",
            b"a,b\n" + b"1,2\n" * LATE + b"x,2\n",
            f"row {LATE + 1}, column 'a' is 'x', expected a number, .* such as '1'",
        ),
        ("rows.parquet", b"no parquet", "cannot be read: Parquet"),
        ("rows.ndjson", b'{"a": 1}\nnothing\n', "row 2 is no JSON"),
        ("rows.ndjson", b"[1]\n", "row 1 is list, expected an object from column to value"),
        ("rows.ndjson", b'{"a": {"b": 1}}\n', "row 1, column 'a' is an object, expected a number or a text"),
        ("rows.ndjson", b"[" * 100_000, "row 1 is no JSON"),
        ("rows.ndjson", b'{"a": [1]}\n', "row 1, column 'a' is a list, expected a number or a text"),
        ("rows.ndjson", b'{"a": 1}\n\n{"b": 1, "a": 2, "a": 3}\n', "row 2 has 2 columns named 'a'"),
        ("rows.ndjson", '{"a": "é"}'.encode("latin1"), "line 1 is not UTF-8"),
        ("rows.ndjson", b"\n", "has no rows, expected at least one"),
        ("rows.csv", b"a,b\n", "has no rows, expected at least one"),
        ("rows.csv", b"a,b,a\n1,2,3\n", "has 2 columns named 'a', expected different names; rename"),
        ("rows.csv", "a,b\n1,é\n".encode("latin1"), r"line 2 is not UTF-8, .* iconv -f latin1 -t utf-8 .*rows.csv > "),
        ("rows.csv", "é,b\n1,2\n".encode("latin1"), "line 1 is not UTF-8"),
        ("rows.csv", b"PK\x03\x04\x14\0\0", r"rows\.csv is a zip archive, .* give it the ending \.npz"),
        ("rows.csv", b"PAR1\x15\x04\0", r"rows\.csv is a Parquet file, .* \.parquet"),
        ("rows.csv", b"\x93NUMPY\1\0", "is an array of NumPy"),
        ("rows.csv", b"\x1f\x8b\x08\0", "is compressed with gzip"),
        ("rows.tsv", "a\tb\n1\t2\n".encode("utf-16"), "seems to be UTF-16, .* iconv -f utf-16"),
        ("rows.csv", b"a,b\n1,x\n1,x\0y\n", "line 3 has a NUL byte, expected text; remove it: tr -d"),
        ("rows.csv", b"a,b\n1,x\n1\n", r"row 2 \(line 3\) has 1 values, expected 2"),
        ("rows.csv", b'a,b\n"1\n2",x\n"3,x\n4,x\n', r"row 2 \(line 4\) has a double quote that is not closed"),
        ("rows.csv", b'a,b\n"1,x\n"2",x\n', r"row 1 \(line 2\) has text behind a closing double quote"),
        ("rows.csv", b'a,b\n"1,x\n' + b"2,x\n" * 40_000, r"row 1 \(line 2\) has a value of more than 131,072"),
        ("rows.csv", b'"a,b\n', r"line of column names \(line 1\) has a double quote that is not closed"),
        (
            "rows.csv",
            b"a,b\n" + b"1,true\n" * LATE + b"1,yes\n",
            f"row {LATE + 1}, .* is 'yes', expected true or false",
        ),
        (
            "rows.csv",
            b"a,b\n" + b"1,2026-01-01\n" * LATE + b"1,soon\n",
            f"row {LATE + 1}, .* 'soon', expected a moment",
        ),
    ],
)
def test_bad_files_are_named(name, content, words, tmp_path, short_beginning):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ContentError, match=words):
        list(read_pieces(path))


@pytest.mark.parametrize("ending", ["csv", "tsv", "parquet", "ndjson"])
def test_a_pipe_is_refused_and_keeps_nobody_waiting(ending, tmp_path):
    path = tmp_path / f"rows.{ending}"
    os.mkfifo(path)
    with pytest.raises(ContentError, match="it is a pipe, a socket or a device, expected a file"):
        list(read_pieces(path))


def test_a_line_without_end_is_refused_before_all_of_it_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(lines, "LONGEST_LINE", 100)
    for name, content in (("rows.csv", "a,b\n" + "1," * 200), ("rows.ndjson", '{"a": 1}\n' + " " * 200)):
        path = tmp_path / name
        path.write_text(content)
        with pytest.raises(ContentError, match=f"{name}, line 2 is longer than 100 characters"):
            list(read_pieces(path))


def column_of(path, name, **options):
    """Return the values of a column of all pieces."""
    return [it for piece in read_pieces(path, **options) for it in list(piece.columns[name])]


NAMES = [str(2**53 + n) for n in range(4)] + [str(2**64 - n) for n in (1, 2)] + ["1", "2"]


@pytest.mark.parametrize(
    "given",
    [
        NAMES,
        ["007", "7"],
        ["1e5", "100000", "1.0"],
        ["2026-01-01", "2026-01-01 00:00:00"],
        ["true", "True"],
        [" x ", "x"],
    ],
)
def test_texts_of_csv_are_what_is_written(given, tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("id,a\n" + "".join(f"{it},1\n" for it in [*given, "", "NA"]))
    assert column_of(path, "id", texts=["id"]) == [*given, None, None]


@pytest.mark.parametrize(
    ("kind", "given", "expected"),
    [
        (pa.int64(), [2**53, 2**53 + 1, None], [str(2**53), str(2**53 + 1), None]),
        (pa.uint64(), [2**64 - 1, 2**64 - 2], [str(2**64 - 1), str(2**64 - 2)]),
        (pa.decimal128(30, 2), [Decimal("12345678901234567890.10")], ["12345678901234567890.10"]),
        (pa.date32(), [date(2026, 1, 2)], ["2026-01-02"]),
        (pa.binary(), ["é".encode()], ["é"]),
        (pa.dictionary(pa.int8(), pa.string()), ["007", "7"], ["007", "7"]),
    ],
)
def test_texts_of_parquet_are_exact(kind, given, expected, tmp_path):
    path = tmp_path / "rows.parquet"
    parquet.write_table(pa.table({"id": pa.array(given, kind)}), path)
    assert column_of(path, "id", texts=["id"]) == expected


@pytest.mark.parametrize("ending", ["csv", "parquet", "ndjson"])
def test_whole_classes_are_exact(ending, tmp_path):
    given = [2**53 + 1, 2**53, 3, -4]
    path = written(pd.DataFrame({"y": given, "number": 0.5}), tmp_path / f"rows.{ending}")
    assert column_of(path, "y", classes="y") == given


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["true", "false"], ["true", "false"]),
        (["TRUE", "false"], ["TRUE", "false"]),
        (["007", "7"], ["007", "7"]),
        (["007", "7.5"], ["007", "7.5"]),
        (["2026-01-01", "2026-01-02"], ["2026-01-01", "2026-01-02"]),
        (["1", "0"], [1, 0]),
        ([str(2**70), "1"], [2**70, 1]),
        (["0.5", str(2**53 + 1)], [0.5, 2**53 + 1]),
        (["a", "1"], ["a", "1"]),
    ],
)
def test_classes_of_csv_come_back_as_written(given, expected, tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("y,a\n" + "".join(f"{it},1\n" for it in given))
    found = column_of(path, "y", classes="y")
    assert found == expected
    assert [isinstance(it, str) for it in found] == [isinstance(it, str) for it in expected]


def test_a_class_that_would_become_another_is_refused(tmp_path, short_beginning):
    path = tmp_path / "rows.csv"
    path.write_text("y,a\n" + "7,1\n" * LATE + "007,1\n")
    with pytest.raises(
        ContentError, match=f"row {LATE + 1}, column 'y' is '007', expected a number without a needless 0"
    ):
        column_of(path, "y", classes="y")
    assert column_of(path, "y")[-1] == 7


def test_true_and_false_of_parquet_are_classes(tmp_path):
    path = tmp_path / "rows.parquet"
    parquet.write_table(pa.table({"y": [True, False]}), path)
    assert [str(it) for it in column_of(path, "y", classes="y")] == ["True", "False"]
    assert column_of(path, "y") == [1.0, 0.0]


@pytest.mark.parametrize("odd", ["0.5", ""])
def test_whole_numbers_are_whole_in_every_piece(odd, tmp_path, short_beginning):
    path = tmp_path / "rows.csv"
    path.write_text("n,a\n" + "1,2\n" * LATE + f"{odd},2\n")
    *before, last = column_of(path, "n")
    assert {str(it) for it in before} == {"1"}
    assert last == 0.5 if odd else np.isnan(last)


def test_what_begins_as_fractions_stays_so(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("n,a\n0.5,1\n" + "1,2\n" * 3 * PIECE)
    assert {str(it) for it in column_of(path, "n")} == {"0.5", "1.0"}


def test_times_of_day_are_texts(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("when,a\n10:20,1\n11:30,2\n")
    assert column_of(path, "when") == ["10:20", "11:30"]
    parquet.write_table(pa.table({"when": [time(10, 20)]}), tmp_path / "rows.parquet")
    assert column_of(tmp_path / "rows.parquet", "when") == ["10:20:00.000000"]


def test_moments_of_all_formats_are_the_same_seconds(tmp_path):
    parquet.write_table(pa.table({"when": [date(1970, 1, 2), None]}), tmp_path / "rows.parquet")
    (tmp_path / "rows.csv").write_text("when,z,n\n1970-01-02,1970-01-02T00:00:00Z,1970-01-02 00:00:00.000000001\n,,\n")
    for ending, name in (("parquet", "when"), ("csv", "when"), ("csv", "z"), ("csv", "n")):
        first, second = column_of(tmp_path / f"rows.{ending}", name)
        assert first == pytest.approx(86_400)
        assert np.isnan(second)


def test_numbers_of_parquet_are_read_whatever_their_type(tmp_path):
    table = pa.table(
        {
            "whole": [1, None],
            "tenths": pa.array([Decimal("1.5"), None]),
            "large": pa.array([Decimal(2**53 + 1), None], pa.decimal128(20, 0)),
        }
    )
    parquet.write_table(table, tmp_path / "rows.parquet")
    for name, value in (("whole", 1), ("tenths", 1.5), ("large", 2**53 + 1)):
        first, second = column_of(tmp_path / "rows.parquet", name)
        assert (first, str(first)) == (value, str(value))
        assert np.isnan(second)


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ([("a", [1]), ("a", [2])], "has 2 columns named 'a', expected different names"),
        ([("a", [[1, 2]])], "column 'a' is of type list<.*>, expected numbers or texts; write its parts as columns"),
        ([("a", [b"caf\xe9"])], "column 'a' is of type binary and cannot be read as text"),
        ([("a", pa.array([], pa.int64()))], "has no rows, expected at least one"),
    ],
)
def test_bad_parquet_files_are_named(columns, words, tmp_path):
    path = tmp_path / "rows.parquet"
    names, values = zip(*columns, strict=True)
    parquet.write_table(pa.Table.from_arrays([pa.array(it) for it in values], names), path)
    with pytest.raises(ContentError, match=words):
        list(read_pieces(path))


def test_line_breaks_in_quotes_and_byte_order_marks_are_no_fault(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_bytes(b'\xef\xbb\xbfa,b\r\n"one\r\n\r\ntwo ""2""",1\r\n\r\n5" pipe,2\r\n')
    (piece,) = read_pieces(path)
    assert piece.columns["a"] == ['one\r\n\r\ntwo "2"', '5" pipe']
    (tmp_path / "rows.ndjson").write_bytes(b'\xef\xbb\xbf{"a": 1}\n')
    assert column_of(tmp_path / "rows.ndjson", "a") == [1]


def test_empty_objects_are_rows(tmp_path):
    path = tmp_path / "rows.ndjson"
    path.write_text("{}\n" * (PIECE + 1) + '{"a": 1}\n')
    first, second = read_pieces(path)
    assert (first.columns, first.n_rows) == ({}, PIECE)
    assert (second.columns, second.first_row, second.n_rows) == ({"a": [None, 1]}, PIECE + 1, 2)


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


@pytest.mark.parametrize(("name", "has_metadata"), [(None, True), ("id", True), (None, False)])
def test_the_index_of_pandas_is_left_out_unless_it_is_named(name, has_metadata, tmp_path):
    path, column = tmp_path / "rows.parquet", name or "__index_level_0__"
    rows = pa.Table.from_pandas(pd.DataFrame({"a": [1.0, 2.0], "y": [0, 1]}, index=pd.Index([9, 8], name=name)))
    parquet.write_table(rows if has_metadata else rows.replace_schema_metadata(None), path)
    (piece,) = read_pieces(path)
    words = rf"rows has the index of a table of pandas, '{column}', which is not learned from; .*index=False"
    with pytest.warns(PerdureWarning, match=words):
        columns, _ = without(piece, ["y"], "rows")
    assert list(columns) == ["a"]
    columns, (found, _) = without(piece, [column, "y"], "rows")
    assert list(columns) == ["a"]
    assert list(found) == [9, 8]


@pytest.mark.parametrize("told", [b"no JSON", b"[]", b'{"index_columns": 3}', b'{"index_columns": [{"start": 0}]}'])
def test_a_file_that_tells_no_index_has_none(told, tmp_path):
    parquet.write_table(pa.table({"a": [1.0]}).replace_schema_metadata({"pandas": told}), tmp_path / "rows.parquet")
    (piece,) = read_pieces(tmp_path / "rows.parquet")
    assert piece.index_columns == []
