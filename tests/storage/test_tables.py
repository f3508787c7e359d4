"""Tables as Parquet files: what is written is read back, what is damaged or too large is refused."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.storage import tables
from perdure.storage.reading import ContentError
from perdure.storage.tables import read_table, write_table

COLUMNS = {"n": "int64", "value": "float64"}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "table.parquet"


rows = st.lists(st.tuples(st.integers(-(2**63), 2**63 - 1), st.floats()), max_size=20)


@given(rows=rows)
def test_what_is_written_is_read_back(rows, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "read-back.parquet"
    table = {"n": np.asarray([n for n, _ in rows], np.int64), "value": np.asarray([it for _, it in rows], np.float64)}
    write_table(path, table)
    for name, column in read_table(path, COLUMNS).items():
        assert column.dtype == COLUMNS[name]
        np.testing.assert_array_equal(column, table[name])
    pd.testing.assert_frame_equal(pd.read_parquet(path), pd.DataFrame(table))


def test_narrow_and_strided_columns_are_widened(path):
    write_table(path, {"n": np.arange(6, dtype=np.int32)[::2], "value": np.asarray([0.5, 1, 2], np.float32)})
    n, value = read_table(path, COLUMNS).values()
    np.testing.assert_array_equal(n, [0, 2, 4])
    np.testing.assert_array_equal(value, [0.5, 1, 2])


def test_a_missing_value_is_nan_among_floats_and_refused_among_integers(path):
    table = pd.DataFrame({"n": [1, 2], "value": [0.5, None]})
    table.to_parquet(path, index=False)
    np.testing.assert_array_equal(read_table(path, COLUMNS)["value"], [0.5, np.nan])
    table.astype({"n": "Int64"}).assign(n=pd.array([1, None], "Int64")).to_parquet(path, index=False)
    with pytest.raises(ContentError, match=r"has columns .*'n': 'float64'.* expected .*'n': 'int64'"):
        read_table(path, COLUMNS)


def test_a_flipped_bit_is_refused_or_changes_nothing(path):
    """Every byte, each time another bit; some make Parquet read fewer rows of one column than of the other."""
    table = {"n": np.arange(8), "value": np.arange(8) / 8}
    write_table(path, table)
    content, refusals = path.read_bytes(), []
    for place in range(len(content)):
        flipped = bytearray(content)
        flipped[place] ^= 1 << place % 8
        path.write_bytes(flipped)
        try:
            found = read_table(path, COLUMNS)
        except ContentError as error:
            refusals.append(str(error))
            continue
        for name, column in found.items():
            np.testing.assert_array_equal(column, table[name])
    assert any("has 0 rows in column 'n', expected 8" in refusal for refusal in refusals)


def test_more_rows_than_may_be_read_are_refused(path, monkeypatch):
    write_table(path, {"n": np.arange(10), "value": np.zeros(10)})
    monkeypatch.setattr(tables, "MAX_TABLE_BYTES", 9 * 16)
    with pytest.raises(ContentError, match="has 10 rows, expected at most 9"):
        read_table(path, COLUMNS)


def test_pandas_is_not_loaded(path):
    program = (
        "import sys, pathlib, numpy as np\n"
        "from perdure.storage.tables import read_table, write_table\n"
        "assert 'pyarrow' not in sys.modules\n"
        "path = pathlib.Path(sys.argv[1])\n"
        "write_table(path, {'n': np.arange(3)})\n"
        "assert read_table(path, {'n': 'int64'})['n'].tolist() == [0, 1, 2]\n"
        "assert 'pandas' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program, str(path)], check=True)


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="threads are counted as Linux shows them")
def test_reading_starts_no_thread(path):
    """PyArrow's threads may close the file after the interpreter has ended, which aborts the process."""
    program = (
        "import os, pathlib, sys, numpy as np\n"
        "from perdure.storage.tables import read_table, write_table\n"
        "from perdure.streams.raw.parquet import open_parquet, read_batches\n"
        "def threads(): return len(os.listdir('/proc/self/task'))\n"
        "path = pathlib.Path(sys.argv[1])\n"
        "write_table(path, {'n': np.arange(100_000)})\n"
        "before = threads()\n"
        "read_table(path, {'n': 'int64'})\n"
        "assert threads() == before, 'records'\n"
        "with open(path, 'rb') as file, open_parquet(file, 'table') as table:\n"
        "    assert sum(it.num_rows for it in read_batches(table, ['n'], 1_000)) == 100_000\n"
        "assert threads() == before, 'examples'\n"
    )
    subprocess.run([sys.executable, "-c", program, str(path)], check=True)
