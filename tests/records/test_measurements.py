"""Gradient alignment on disk: averaged over windows, written, read back, refused where damaged."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.records.measurements import (
    WINDOWS,
    ResultsError,
    alignment_curves,
    read_alignment,
    write_alignment,
)

SEEDS = [7, 3]


def curves_of(length, seeds=2):
    values = np.random.default_rng(0).normal(size=(3, seeds, length)).astype(np.float32)
    values[:, :, 0] = np.nan  # the first example has no past
    return values, alignment_curves(*values)


@given(st.integers(1, 1000))
def test_windows_cover_all_but_the_first_example_once(length):
    values, curves = curves_of(length)
    assert len(curves.position) == min(WINDOWS, length - 1)
    widths = np.diff(curves.position, prepend=1)
    assert (widths >= 1).all()
    assert widths.max(initial=1) - widths.min(initial=widths.max(initial=1)) <= 1
    if length > 1:
        assert curves.position[-1] == length
        total = values[:, :, 1:].astype(np.float64).sum(axis=2)
        np.testing.assert_allclose([(it * widths).sum(axis=1) for it in curves[1:]], total, rtol=1e-9, atol=1e-9)


def test_a_window_is_the_mean_of_its_examples():
    values, curves = curves_of(401)  # 200 windows of two
    np.testing.assert_array_equal(curves.position, np.arange(3, 402, 2))
    expected = values[:, :, 1:].astype(np.float64).reshape(3, 2, 200, 2).mean(axis=3)
    np.testing.assert_allclose(curves[1:], expected, rtol=1e-12, atol=1e-15)


def test_what_is_written_is_read_back_seed_by_seed(tmp_path):
    _, curves = curves_of(90)
    write_alignment(tmp_path, SEEDS, curves)
    for one, other in zip(read_alignment(tmp_path / "alignment.parquet", SEEDS), curves, strict=True):
        np.testing.assert_array_equal(one, other)
    swapped = read_alignment(tmp_path / "alignment.parquet", SEEDS[::-1])
    np.testing.assert_array_equal(swapped.before, curves.before[::-1])


def test_a_stream_of_one_example_has_no_window(tmp_path):
    _, curves = curves_of(1)
    write_alignment(tmp_path, SEEDS, curves)
    assert read_alignment(tmp_path / "alignment.parquet", SEEDS).before.shape == (2, 0)


DAMAGE = {
    "columns": (lambda table: table.drop(columns="cosine"), "has columns"),
    "a missing seed": (lambda table: table[table["seed"] == 7], "for each of the seeds"),
    "a missing row": (lambda table: table[1:], "for each of the seeds"),
    "other windows": (lambda table: table.assign(position=range(len(table))), "other windows"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_refused(name, tmp_path):
    change, message = DAMAGE[name]
    write_alignment(tmp_path, SEEDS, curves_of(90)[1])
    path = tmp_path / "alignment.parquet"
    change(pd.read_parquet(path)).to_parquet(path, index=False)
    with pytest.raises(ResultsError, match=message):
        read_alignment(path, SEEDS)


def test_what_is_no_parquet_is_refused(tmp_path):
    path = tmp_path / "alignment.parquet"
    path.write_text("nothing")
    with pytest.raises(ResultsError, match="cannot be read as Parquet"):
        read_alignment(path, SEEDS)
