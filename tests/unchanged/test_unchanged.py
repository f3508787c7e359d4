"""Every learner, agent and way to train a representation comes to the figures that were recorded."""

from __future__ import annotations

import json
import sys
from collections import Counter
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
import pandas as pd
import pytest

sys.path.insert(0, str(Path(__file__).parent))
if TYPE_CHECKING:
    import record
    import small_runs as runs
else:
    record, runs = import_module("record"), import_module("small_runs")
sys.path.pop(0)

pytestmark = pytest.mark.optimized

# On another processor, or with other versions, a program is compiled to other instructions: sums are taken in another
# order and products are rounded or not before they are added. That moves weights in their last digits, and over some
# dozens of examples figures a little: an example that lies at a boundary falls on the other side. Of the smallest test
# sets, 60 and 100 digits, that is one or two.
FEW_EXAMPLES = 0.04
RELATIVE, ABSOLUTE = 1e-2, 1e-3
"""Of losses, errors and weights."""
ANOTHER_PROCESSOR = "another-processor"
"""Folder of a second recording, by the same code on another processor, of a run in which rounding flips an action: from
there on an agent plays another game. A run must come to one of the two, within the same bounds."""


def this_machine() -> bool:
    return json.loads((record.DATA / "machine.json").read_text()) == record.machine()


def parameter(name: str, case: runs.Case) -> Any:
    marks = [pytest.mark.real_data] if case.data else []
    return pytest.param(name, marks=[*marks, *([] if name in runs.SHORT else [pytest.mark.long])])


@pytest.fixture(params=[parameter(name, case) for name, case in runs.CASES.items()])
def name(request):
    """The case, with the real data that it needs."""
    fixture = runs.CASES[request.param].data
    if fixture is not None:
        request.getfixturevalue(fixture)
    return request.param


def test_figures_are_bit_identical_on_the_machine_that_recorded_them():
    if not this_machine():
        pytest.skip("another processor or other versions than those of data/machine.json: figures are compared roughly")


def test_every_case_is_recorded():
    assert {path.parent.name for path in record.DATA.glob("*/figures.json")} == set(runs.CASES)


def test_unchanged(name, tmp_path):
    found = record.figures_of(runs.CASES[name], tmp_path)
    there = record.DATA / name
    if this_machine() or not (there / ANOTHER_PROCESSOR).exists():
        check(there, found, tmp_path, exactly=this_machine())
        return
    try:
        check(there, found, tmp_path, exactly=False)
    except AssertionError:  # what another processor came to counts as much
        check(there / ANOTHER_PROCESSOR, found, tmp_path, exactly=False)


def check(there: Path, found: dict[str, Any], folder: Path, *, exactly: bool) -> None:
    """Compare a run, whose tables are in `folder`, with what was recorded."""
    recorded = json.loads((there / "figures.json").read_text())
    assert recorded["figures"].keys() <= found["figures"].keys()
    for figure, value in recorded["figures"].items():
        compare(figure, found["figures"][figure], value, exactly=exactly)
    for table, path in record.tables_in(there).items():
        before, now = pd.read_parquet(path), pd.read_parquet(folder / table)
        for column in before:
            assert now[column].dtype == before[column].dtype
            compare(f"{table}: {column}", now[column].to_numpy(), before[column].to_numpy(), exactly=exactly)
    if exactly:
        missing = Counter(map(json.dumps, recorded["arrays"])) - Counter(map(json.dumps, found["arrays"]))
        assert not missing, "arrays have other bits than those recorded"
    else:
        for array in recorded["arrays"]:
            assert any(roughly_alike(array, other) for other in found["arrays"]), array


def compare(what: str, found: Any, recorded: Any, *, exactly: bool) -> None:
    found, recorded = np.asarray(found), np.asarray(recorded)
    if exactly:
        np.testing.assert_array_equal(found, recorded, err_msg=what)
    else:
        atol = FEW_EXAMPLES if "loss" not in what and "errors" not in what else ABSOLUTE
        np.testing.assert_allclose(found, recorded, rtol=RELATIVE, atol=atol, err_msg=what)


def roughly_alike(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Are two arrays of one kind alike in their first values?"""
    alike = (one["shape"], one["dtype"]) == (other["shape"], other["dtype"])
    return alike and np.allclose(one["first"], other["first"], rtol=RELATIVE, atol=ABSOLUTE)


@pytest.fixture(autouse=True)
def forget_the_last_case():
    yield
    jax.clear_caches()
