"""Published cells: names, and measuring one on streams cut short."""

import pytest

from perdure.experiments import reproduce
from perdure.experiments.presets import find_preset
from perdure.experiments.reproduce import DEFAULT_CELLS, MER_CELLS, Cell, find_cells


def test_every_cell_has_published_hyperparameters_and_a_published_figure():
    for benchmark, memory_size in MER_CELLS.values():
        preset = find_preset("mer", benchmark, memory_size)
        assert preset is not None
        assert preset.exact
        assert preset.retained_accuracy is not None
        er = find_preset("er", benchmark, memory_size)
        assert er is not None
        assert er.exact


def test_default_cells_exist():
    assert len(find_cells(DEFAULT_CELLS)) == 5


def test_unknown_cells_are_refused_with_those_there_are():
    with pytest.raises(ValueError, match=r"no cell rotations-7; choose among: rotations-200, "):
        find_cells(["rotations-200", "rotations-7"])


def test_a_cell_takes_three_runs_and_is_not_measured_twice(tmp_path):
    cell = Cell("digits-rotations", 200)  # the same road as the published cells, without their minutes
    records = reproduce.measure_cells([cell], 2, tmp_path, progress=False)
    assert all(it.finished for it in records)
    assert [(it.learner, it.seeds, it.config["alignment"]) for it in records] == [
        ("mer", (0, 1), True),
        ("er", (0, 1), True),
        ("mer", (0,), False),
    ]
    before = [(it.folder / "summary.json").stat().st_mtime_ns for it in records]
    again = reproduce.measure_cells([cell], 2, tmp_path, progress=False)
    assert [(it.folder / "summary.json").stat().st_mtime_ns for it in again] == before
