"""Parquet files that repeat what they hold take little memory, and whatever is wrong with them is named."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from perdure.storage.reading import ContentError
from perdure.streams.raw import embeddings, piece
from perdure.streams.raw import parquet as reading
from perdure.streams.raw.embeddings import read_embeddings
from perdure.streams.raw.tables import read_pieces
from tests.damaged import count_refused

MEBI = 2**20


@pytest.fixture
def peak():
    """Function that returns the most bytes that PyArrow has held since the test began."""
    before = pa.default_memory_pool()
    pool = pa.proxy_memory_pool(before)
    pa.set_memory_pool(pool)
    yield pool.max_memory
    pa.set_memory_pool(before)


def write(path, tables):
    """Write tables as row groups of one file."""
    with parquet.ParquetWriter(path, tables[0].schema, compression="zstd") as writer:
        for table in tables:
            writer.write_table(table)


def zeros(n, row):
    lists = pa.ListArray.from_arrays(pa.array([0, n], pa.int32()), pa.array(np.zeros(n)))
    return pa.table({"e": lists, "y": [row % 2]})


def missing_lists():
    """Lists of a fixed size: a missing one takes no room in the file, and as much as the others in memory."""
    return [pa.table({"e": pa.array([None] * 4, pa.list_(pa.float32(), MEBI)), "y": [0, 1, 0, 1]})]


@pytest.mark.parametrize("tables", [lambda: [zeros(200_000, row) for row in range(20)], missing_lists])
def test_lists_of_too_many_numbers_are_refused_unread(tmp_path, peak, monkeypatch, tables):
    monkeypatch.setattr(embeddings, "MAX_BYTES", 4 * MEBI)
    write(tmp_path / "own.parquet", tables())
    assert (tmp_path / "own.parquet").stat().st_size < 20_000
    before = peak()
    with pytest.raises(ContentError, match="features of more than 4,194,304 bytes"):
        read_embeddings(tmp_path / "own.parquet")
    assert peak() - before < MEBI


def test_wide_lists_are_read_a_few_rows_at_a_time(tmp_path, peak, monkeypatch):
    monkeypatch.setattr(reading, "BATCH_BYTES", 4 * MEBI)
    monkeypatch.setattr(embeddings, "BATCH_BYTES", 4 * MEBI)
    write(tmp_path / "own.parquet", [zeros(100_000, row) for row in range(40)])
    before = peak()
    assert read_embeddings(tmp_path / "own.parquet").x.shape == (40, 100_000)
    assert peak() - before < 16 * MEBI  # all rows take 32 MB as float64


@pytest.mark.parametrize("is_label", [False, True])
def test_a_long_text_that_is_repeated_takes_room_once(tmp_path, peak, is_label):
    table = pa.table({"t": ["a" * MEBI] * 64 + ["b"], "n": np.arange(65.0)})
    write(tmp_path / "own.parquet", [table])
    before = peak()
    found = next(read_pieces(tmp_path / "own.parquet", classes="t" if is_label else None))
    assert found.columns["t"] == ["a" * MEBI] * 64 + ["b"]
    assert peak() - before < 16 * MEBI


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_classes_that_would_make_a_huge_array_are_refused(tmp_path, ending, monkeypatch):
    monkeypatch.setattr(embeddings, "MAX_BYTES", 4 * 11 * 1_000)
    path = tmp_path / f"own.{ending}"
    for length in (1_000, 1_001):
        frame = pd.DataFrame({"n": np.zeros(11), "y": ["a", "b" * length] + ["c"] * 9})
        frame.to_csv(path, index=False) if ending == "csv" else frame.to_parquet(path)
        if length == 1_000:
            assert len(read_embeddings(path).y) == 11
    with pytest.raises(ContentError, match=r"'y' has a text of 1,001 characters in row 2, .* of at most 1,000"):
        read_embeddings(path)


def test_texts_come_in_order_across_row_groups(tmp_path):
    texts = [None if n % 7 == 3 else f"name {n % 11}" for n in range(3000)]
    parquet.write_table(pa.table({"t": texts, "n": np.arange(3000)}), tmp_path / "own.parquet", row_group_size=700)
    pieces = list(read_pieces(tmp_path / "own.parquet"))
    assert [it for one in pieces for it in one.columns["t"]] == texts
    assert max(it.n_rows for it in pieces) <= piece.PIECE
    assert [it.first_row for it in pieces] == [1, *np.cumsum([it.n_rows for it in pieces])[:-1] + 1]


@pytest.mark.parametrize("label", ["y", "e"])
def test_nested_columns_are_refused_unread(tmp_path, peak, label):
    nested = pa.array([{"a": [0.0] * MEBI}] * 8)
    write(tmp_path / "own.parquet", [pa.table({"e": nested, "y": np.arange(8)})])
    before = peak()
    with pytest.raises(ContentError, match=r"column 'e' is of type struct<.*, expected numbers or texts"):
        read_embeddings(tmp_path / "own.parquet", label=label)
    assert peak() - before < MEBI


def test_labels_that_are_lists_are_refused(tmp_path):
    parquet.write_table(pa.table({"e": [[1.0, 2.0]] * 2, "y": [[1], [2]]}), tmp_path / "own.parquet")
    with pytest.raises(ContentError, match="column 'y' is of type list"):
        read_embeddings(tmp_path / "own.parquet", "e")


def test_wide_tables_are_read_a_few_rows_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "BATCH_BYTES", 100 * 8 * 40)
    parquet.write_table(pa.table({f"c{n}": np.zeros(200) for n in range(40)}), tmp_path / "own.parquet")
    assert max(it.n_rows for it in read_pieces(tmp_path / "own.parquet")) <= 100


def test_texts_that_are_not_utf_8_are_named(tmp_path):
    raw = pa.array([b"\xff\xfe", b"a"], pa.binary())
    texts = pa.Array.from_buffers(pa.string(), 2, raw.buffers())
    parquet.write_table(pa.table({"y": texts, "n": [1.0, 2.0]}), tmp_path / "own.parquet")
    with pytest.raises(ContentError, match=r"own\.parquet, column 'y' is of type string and cannot be read as text"):
        read_embeddings(tmp_path / "own.parquet")


@pytest.mark.parametrize("kind", [pa.list_(pa.float32()), None])
def test_whatever_bytes_are_changed_is_named_or_read(tmp_path, kind):
    columns = {"e": pa.array([[1.0, 2.0]] * 30, kind)} if kind else {"a": np.arange(30.0), "b": np.arange(30)}
    path = tmp_path / "own.parquet"
    parquet.write_table(pa.table({**columns, "y": ["cat", "dog", "eel"] * 10}), path)
    assert count_refused(path, read_embeddings, 200) > 100
