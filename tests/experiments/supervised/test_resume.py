"""Runs that are broken off, at any place and in any way, end as if nothing had happened."""

import contextlib
import os
import shutil

import pytest

from perdure.execution import drive
from perdure.experiments.supervised import run as running
from perdure.learners.online import Online
from perdure.records.learner import RunRecord
from perdure.storage.checkpoints import CheckpointError, save_checkpoint
from perdure.storage.files import StorageError
from tests.conftest import first_short


def flip_bit(path):
    content = bytearray(path.read_bytes())
    content[1001 % len(content)] ^= 2
    path.write_bytes(content)


def truncate(path):
    os.truncate(path, 1001 % path.stat().st_size)


def empty(path):
    path.write_bytes(b"")


def append(path):
    path.write_bytes(path.read_bytes() + b"\0")


def rename(path):
    """Give the checkpoint another checksum."""
    path.rename(path.with_name(f"{path.name.partition('-')[0]}-{1001:032x}.safetensors"))


DAMAGES = [flip_bit, truncate, empty, append, rename]


def positions(paths):
    return [int(path.name.partition("-")[0]) for path in paths]


@pytest.mark.parametrize("position", first_short([30, 89, 1, 29, 31]))
def test_a_run_broken_off_ends_as_if_it_had_not_been(
    to_disk, power_cut_at, checkpoints, uninterrupted, assert_same, position
):
    power_cut_at(position, to_disk)
    assert positions(checkpoints()) == [n for n in (position - 1, position - 2) if n > 0]
    assert_same(to_disk(), uninterrupted)


@pytest.mark.long
def test_a_run_broken_off_again_and_again(to_disk, power_cut_at, uninterrupted, assert_same, tmp_path):
    for position in (4, 5, 60, 90):
        power_cut_at(position, to_disk)
        assert not RunRecord.load(tmp_path / "run").finished
    assert_same(to_disk(), uninterrupted)


def test_power_lost_between_the_last_checkpoint_and_the_record(
    to_disk, uninterrupted, assert_same, tmp_path, monkeypatch
):
    with monkeypatch.context() as patch:
        patch.setattr(running, "write_record", lambda *arguments: 1 // 0)
        with pytest.raises(ZeroDivisionError):
            to_disk()
    assert not RunRecord.load(tmp_path / "run").finished
    assert_same(to_disk(), uninterrupted)
    assert RunRecord.load(tmp_path / "run").finished


@pytest.mark.long
@pytest.mark.parametrize("damage", first_short(DAMAGES))
def test_a_run_resumes_from_the_previous_checkpoint(
    to_disk, power_cut_at, checkpoints, uninterrupted, assert_same, damage, tmp_path
):
    power_cut_at(50, to_disk)
    damage(checkpoints()[0])
    with pytest.raises(CheckpointError, match="--previous"):
        to_disk()
    assert_same(to_disk(previous=True), uninterrupted)
    assert "resumed from position 48 of 90 examples" in (tmp_path / "run" / "log.txt").read_text()


@pytest.mark.long
def test_checkpoint_of_another_run_in_the_folder_is_refused(quick_run, benchmark, to_disk, power_cut_at, tmp_path):
    power_cut_at(10, to_disk)
    quick_run(Online(learning_rate=0.1), benchmark, seeds=2, folder=tmp_path / "other")
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    (tmp_path / "other" / "checkpoints").rename(tmp_path / "run" / "checkpoints")
    complaint = r"belongs to another run: progress\.log\.alignment\.after is absent, expected float32\[2, 90\]"
    with pytest.raises(CheckpointError, match=complaint):
        to_disk()


@pytest.mark.long
@pytest.mark.parametrize("refusal", first_short(["limit", "full"]))
def test_a_run_out_of_disk_can_be_resumed_once_there_is_space(
    to_disk, one_by_one, checkpoints, uninterrupted, assert_same, tmp_path, monkeypatch, disk, refusal
):
    def save_on_a_disk_that_fills(folder, position, tree, metadata):
        with getattr(disk, refusal)() if position > 40 else contextlib.nullcontext():
            return save_checkpoint(folder, position, tree, metadata)

    with monkeypatch.context() as patch:
        patch.setattr(drive, "save_checkpoint", save_on_a_disk_that_fills)
        with pytest.raises(StorageError, match=r"000000000041-.*could not be written"):
            to_disk()
    assert positions(checkpoints()) == [40, 39]
    assert {path.suffix for path in (tmp_path / "run" / "checkpoints").iterdir()} == {".safetensors"}
    assert_same(to_disk(), uninterrupted)
