"""Snapshots: each belongs to the examples that it was made of, and what is written can be read."""

import shutil

import numpy as np
import pytest

import perdure
from perdure.core import PerdureWarning
from perdure.online.durable import DurableModel
from perdure.online.folder import JOURNAL, SNAPSHOTS
from perdure.storage import reading
from perdure.storage.arrays import load_arrays, save_arrays
from perdure.storage.files import StorageError
from perdure.storage.reading import ContentError

OPTIONS = {"method": "online", "hidden_sizes": (2,)}
PASSED_OVER = r"a snapshot is passed over: .*\.safetensors has learned other examples than those of .*journal"


def opened(folder):
    return DurableModel.open(folder, **OPTIONS)


def teach(model, numbers, labels="pq"):
    numbers = list(numbers)
    rows = [{"a": float(n % 7), "b": f"b{n % 3}"} for n in numbers]
    model.learn(rows, [labels[n % 2] for n in numbers], ids=[f"{labels}{n}" for n in numbers])


def teach_one_by_one(model, numbers):
    for n in numbers:
        teach(model, [n])


def taught(folder, *lessons):
    """Make a model, open and close it for each lesson."""
    for numbers, *labels in lessons:
        with opened(folder) as model:
            teach(model, numbers, *labels)
    return folder


def snapshots(folder):
    return sorted((folder / SNAPSHOTS).iterdir())


def test_a_snapshot_of_after_the_backup_that_was_restored_is_passed_over(tmp_path, assert_same_state):
    folder = taught(tmp_path / "m", [range(5)])
    shutil.copy(folder / JOURNAL, tmp_path / "backup")
    taught(folder, [range(5, 10), "rs"])
    shutil.copy(tmp_path / "backup", folder / JOURNAL)
    with opened(folder) as model:
        teach(model, range(10, 20))
        model.snapshot()
        with pytest.warns(PerdureWarning, match=PASSED_OVER):
            model.forget("pq19")
        assert model.classes == ["p", "q"]
        with opened(taught(tmp_path / "other", [[*range(5), *range(10, 19)]])) as other:
            assert_same_state(model.model, other.model)


def test_writing_a_snapshot_removes_those_of_later_positions(tmp_path):
    folder = taught(tmp_path / "m", [range(5)])
    shutil.copy(folder / JOURNAL, tmp_path / "backup")
    taught(folder, [range(5, 10), "rs"], [range(10, 15), "rs"])
    shutil.copy(tmp_path / "backup", folder / JOURNAL)
    taught(folder, [range(5, 8)])
    assert [int(it.stem) for it in snapshots(folder)] == [8]


@pytest.mark.parametrize("other", ["rs", "pq"])
def test_a_snapshot_of_another_folder_is_passed_over(tmp_path, assert_same_state, other):
    """Also if it has learned the same: only its own journal vouches for it."""
    folder, source = taught(tmp_path / "m", [range(6)]), taught(tmp_path / "o", [range(6), other])
    shutil.copy(snapshots(source)[-1], snapshots(folder)[-1])
    with (
        pytest.warns(PerdureWarning, match=PASSED_OVER),
        opened(folder) as model,
        opened(taught(tmp_path / "same", [range(6)])) as same,
    ):
        assert_same_state(model.model, same.model)


def test_the_snapshots_of_a_copied_folder_are_its_own(tmp_path):
    folder = taught(tmp_path / "m", [range(6)], [range(6, 9)])
    shutil.copytree(folder, tmp_path / "copy")
    with opened(tmp_path / "copy") as model:  # warnings are errors
        assert model.position == 9


def test_a_snapshot_of_before_a_new_label_is_passed_over(tmp_path):
    """As a backup of the snapshots brings it back."""
    folder = taught(tmp_path / "m", [range(6)])
    shutil.copytree(folder / SNAPSHOTS, tmp_path / "backup")
    with opened(folder) as model:
        model.relabel("pq2", "late")
    shutil.copytree(tmp_path / "backup", folder / SNAPSHOTS, dirs_exist_ok=True)
    with pytest.warns(PerdureWarning, match=PASSED_OVER), opened(folder) as model:
        assert model.classes == ["p", "q", "late"]


def changed_classes(metadata):
    metadata["model"]["classes"].reverse()


def changed_count(metadata):
    metadata["model"]["n_seen"] += 1


def changed_settings(metadata):
    metadata["settings"]["standardize"] = False


def changed_position(metadata):
    metadata["position"] += 1


@pytest.mark.parametrize("change", [changed_classes, changed_count, changed_settings, changed_position])
def test_what_is_said_about_the_arrays_cannot_be_altered(tmp_path, change):
    folder = taught(tmp_path / "m", [range(6)])
    with opened(folder) as model:
        model.save(tmp_path / "saved.safetensors")
    for path in (tmp_path / "saved.safetensors", snapshots(folder)[-1]):
        arrays, metadata = load_arrays(path)
        change(metadata)
        save_arrays(path, arrays, metadata)
    with pytest.raises(ContentError, match="was altered: its content has another checksum than what was written"):
        perdure.load(tmp_path / "saved.safetensors")
    with pytest.warns(PerdureWarning, match="a snapshot is passed over: .* was altered"), opened(folder) as model:
        assert model.classes == ["p", "q"]


def test_a_saved_model_is_no_snapshot(tmp_path):
    folder = taught(tmp_path / "m", [range(6)])
    with opened(folder) as model:
        model.save(tmp_path / "saved.safetensors")
    shutil.copy(tmp_path / "saved.safetensors", snapshots(folder)[-1])
    with pytest.warns(PerdureWarning, match=PASSED_OVER), opened(folder) as model:
        assert model.position == 6


def test_what_a_killed_process_has_left_is_removed(tmp_path):
    folder = taught(tmp_path / "m", [range(6)])
    (newest,) = snapshots(folder)
    partial = newest.with_name(f".{newest.name}.0a1b2c3d.tmp")
    shutil.copy(newest, partial)
    with DurableModel.open(folder, read_only=True):
        assert partial.exists()  # it may be the writer's
    with opened(folder):
        assert snapshots(folder) == [newest]


def test_a_snapshot_that_could_not_be_read_is_not_written(tmp_path, monkeypatch):
    with opened(tmp_path / "m") as model:
        teach(model, range(6))
        model.snapshot()
        (before,) = snapshots(model.folder)
        with monkeypatch.context() as patch:
            patch.setattr(reading, "MAX_TEXT_BYTES", 100)
            teach(model, range(6, 9))
            patch.setattr(model._schedule, "_examples", 1)
            with pytest.warns(PerdureWarning, match="no snapshot could be made: .* larger than 100 bytes.* is lost"):
                teach(model, range(9, 12))
        assert snapshots(model.folder) == [before]
        teach(model, range(12, 13))
    with opened(tmp_path / "m") as model:
        assert model.position == 13
        assert np.isfinite(model.predict_proba({"a": 1.0})).all()


def test_however_many_and_odd_the_texts_are_there_are_snapshots(tmp_path, assert_same_state):
    long = [f"{n} " + "я" * 9_000 for n in range(64)]
    rows = [{"a": it, "b": f"{it}ю", "c\0": "\0" if n % 2 else "\ud800"} for n, it in enumerate(long)]
    with opened(tmp_path / "m") as model:
        model.learn(rows, ["p\0q" if n % 2 else "q" for n in range(64)])
        model.snapshot()
        model.save(tmp_path / "saved.safetensors")
        state = model.model
    with opened(tmp_path / "m") as again:
        assert_same_state(state, again.model)
    loaded = perdure.load(tmp_path / "saved.safetensors")
    assert isinstance(loaded, perdure.OnlineClassifier)
    assert loaded.classes_.tolist() == ["p\0q", "q"]


def test_a_snapshot_that_fails_is_not_tried_again_at_once(tmp_path, monkeypatch):
    tries = []

    def full(position, *_):
        tries.append(position)
        raise StorageError(28, "no space left")

    with DurableModel.open(tmp_path / "m", **OPTIONS, snapshot_examples=10) as model:
        with monkeypatch.context() as patch:
            patch.setattr(model._snapshots, "write", full)
            with pytest.warns(PerdureWarning, match="no snapshot could be made"):
                teach_one_by_one(model, range(35))
        assert tries == [10, 20, 30]
        teach(model, range(35, 45))
    assert [int(it.stem) for it in snapshots(tmp_path / "m")] == [45]
