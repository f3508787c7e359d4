"""What goes wrong while a job is driven: it diverges, its checkpoints are of no use, its folder is deleted."""

import shutil
import signal
import warnings
from typing import Any

import pytest

from perdure.core import PerdureWarning
from perdure.execution.drive import drive
from perdure.execution.job import DivergedError
from perdure.machine.signals import InterruptedRunError
from perdure.records.folder import own_folder
from perdure.storage.checkpoints import CheckpointError, checkpoint_files, load_checkpoint
from perdure.storage.files import StorageError
from tests.execution.conftest import CONFIG, QUIET, Sum


def test_divergence_is_told_with_the_checkpoints_that_stay(in_folder, stretches_of):
    stretches_of(4)
    with pytest.raises(DivergedError) as error:
        in_folder(Sum(10, bad_at=6))
    first, second = str(error.value).split(". ")
    assert first == "training diverged: the sum is nan at number 6"
    assert second.startswith("Checkpoints written before stay in ")
    assert in_folder.checkpoints() == [4]
    assert in_folder.log() == ["training diverged: the sum is nan at number 6"]


def test_divergence_before_the_first_checkpoint_promises_none(in_folder, stretches_of):
    stretches_of(4)
    with pytest.raises(DivergedError, match=r"^training diverged: the sum is nan at number 2$"):
        in_folder(Sum(10, bad_at=2))


@pytest.mark.parametrize("kept", [True, False])
def test_what_is_not_sound_is_neither_kept_nor_a_result(in_folder, stretches_of, kept):
    stretches_of(4)
    job = Sum(10, unsound_at=8)
    with pytest.raises(DivergedError, match=r"^training diverged: a weight is not finite after (8|10) numbers"):
        in_folder(job) if kept else drive(job, QUIET)
    assert not kept or in_folder.checkpoints() == [4]


def test_other_errors_pass_as_they_are(in_folder, stretches_of):
    stretches_of(4)

    def broken(position):
        if position == 8:
            raise KeyError("own")

    with pytest.raises(KeyError, match="own"):
        in_folder(Sum(10, at=broken))
    job, whole = Sum(10), Sum(10)
    in_folder(job)
    drive(whole, QUIET)
    assert job.stretches[0][0] == 4
    assert job.outcome == whole.outcome


def test_a_checkpoint_of_another_job_is_refused(in_folder):
    in_folder(Sum(10))
    with pytest.raises(CheckpointError, match=r"another run: values is float64\[11\], expected float64\[13\]"):
        in_folder(Sum(12))


def test_the_checkpoint_before_is_taken_on_request(in_folder, stretches_of, tmp_path):
    stretches_of(4)
    whole = Sum(10)
    in_folder(whole)
    newest, before = checkpoint_files(tmp_path / "run/checkpoints")
    newest.write_bytes(newest.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match="--previous"):
        in_folder(Sum(10))
    job = Sum(10)
    in_folder(job, previous=True)
    assert job.stretches == [(8, 10)]
    assert job.outcome == whole.outcome
    assert before.exists()


def test_a_checkpoint_that_cannot_be_written_stops_the_job_and_leaves_the_last(in_folder, stretches_of, disk):
    stretches_of(4)
    refusals = []

    def fill(position):
        if position == 8:
            refusals.append(disk.full())
            refusals[0].__enter__()

    try:
        with pytest.raises(StorageError, match="could not be written: No space left on device"):
            in_folder(Sum(10, at=fill))
    finally:
        refusals[0].__exit__(None, None, None)
    assert in_folder.checkpoints() == [4]


@pytest.mark.parametrize("renamed", [False, True])
def test_a_folder_that_is_deleted_is_noticed_at_once_and_the_job_goes_to_its_end(
    in_folder, stretches_of, tmp_path, renamed
):

    stretches_of(2)
    noticed: list[Any] = []

    def delete(position):
        noticed.append([str(it.message) for it in caught])
        if position == 4:
            (tmp_path / "run").rename(tmp_path / "elsewhere") if renamed else shutil.rmtree(tmp_path / "run")

    job, whole = Sum(10, at=delete), Sum(10)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        in_folder(job)
    assert [len(it) for it in noticed] == [0, 0, 1, 1, 1], "once, after the stretch in which it was deleted"
    assert caught[0].category is PerdureWarning
    assert f"{tmp_path / 'run'} was deleted during the run: nothing more is kept of it" in noticed[-1][0]
    drive(whole, QUIET)
    assert job.outcome == whole.outcome
    assert not (tmp_path / "run").exists()


def test_a_folder_that_was_made_anew_by_another_run_is_left_to_it(in_folder, stretches_of, tmp_path):

    stretches_of(2)
    others = []

    def take(position):
        if position == 4:
            shutil.rmtree(tmp_path / "run")
            others.append(own_folder(tmp_path / "run", CONFIG))
            others[0].__enter__()

    job = Sum(10, at=take)
    with pytest.warns(PerdureWarning, match="was deleted during the run"):
        in_folder(job)
    assert job.position == 10
    assert load_checkpoint(tmp_path / "run/checkpoints", job.snapshot()) is None
    others[0].__exit__(None, None, None)


def test_a_stop_after_the_folder_was_deleted_says_that_nothing_is_kept(in_folder, stretches_of, tmp_path):

    stretches_of(2)

    def delete(position):
        if position == 4:
            shutil.rmtree(tmp_path / "run")
            signal.raise_signal(signal.SIGTERM)

    with (
        pytest.warns(PerdureWarning, match="was deleted during the run"),
        pytest.raises(InterruptedRunError, match="nothing is kept of a run without a folder"),
    ):
        in_folder(Sum(10, at=delete))
