"""What a run leaves in its folder, and what it makes of what it finds there."""

import functools
import json
import shutil
import warnings

import numpy as np
import pytest

from perdure.core import PerdureWarning
from perdure.experiments.supervised.job import LearnerJob
from perdure.learners.online import Online
from perdure.records.errors import ResultsError
from perdure.records.folder import own_folder
from perdure.records.learner import RunRecord
from perdure.storage.files import StorageError


def test_record_tells_what_was_requested_and_what_came_of_it(to_disk, uninterrupted, assert_same, tmp_path):
    result = to_disk()
    assert_same(result, uninterrupted)
    folder = tmp_path / "run"
    names = {"config.json", "environment.json", "log.txt", "accuracy.parquet", "alignment.parquet", "summary.json"}
    assert {path.name for path in folder.iterdir()} == {*names, "checkpoints", ".lock"}
    record = RunRecord.load(folder)
    assert record.summary is not None
    assert record.seeds == (0, 1)
    assert (record.learner, record.benchmark, record.memory_size) == ("er", "arrays", 10)
    assert record.config["evaluation"] == "full"
    assert record.config["alignment"] is True
    assert record.config["model"]["name"] == "small_mlp"
    np.testing.assert_array_equal(record.accuracy, result.accuracy)
    np.testing.assert_equal(dict(record.summary.metrics), result.metrics)
    assert record.summary.examples_seen == 90
    assert record.summary.training_seconds == result.training_seconds
    assert record.summary.training_cpu_seconds == result.training_cpu_seconds
    assert record.summary.state_bytes == result.state_bytes
    assert record.summary.peak_memory_bytes > 10 * 2**20


@pytest.mark.long
def test_finished_run_is_read_not_learned_again(to_disk, uninterrupted, assert_same, tmp_path, monkeypatch):
    to_disk()
    summary = (tmp_path / "run" / "summary.json").read_bytes()

    def refuse(*arguments):
        raise AssertionError("learned or compiled again")

    monkeypatch.setattr(LearnerJob, "advance", refuse)
    monkeypatch.setattr(LearnerJob, "compile", refuse)
    assert_same(to_disk(), uninterrupted)
    assert (tmp_path / "run" / "summary.json").read_bytes() == summary


def test_an_answer_from_a_finished_record_says_so(quick_run, online, benchmark, tmp_path, capsys):
    first = quick_run(online, benchmark, folder=tmp_path, progress=True)
    assert not first.from_record
    assert "finished run" not in capsys.readouterr().err
    again = quick_run(online, benchmark, folder=tmp_path, progress=True)
    assert again.from_record
    said = capsys.readouterr()
    assert said.out == ""
    assert f"these figures are those of the finished run in {tmp_path}; delete it to run again\n" in said.err
    quick_run(online, benchmark, folder=tmp_path, progress=False)
    assert capsys.readouterr().err == "", "nothing is said where no progress is shown"


@pytest.mark.long
def test_a_finished_run_without_its_checkpoints_is_learned_again(to_disk, uninterrupted, assert_same, tmp_path):
    to_disk()
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    again = to_disk()
    assert not again.from_record
    assert_same(again, uninterrupted)
    assert RunRecord.load(tmp_path / "run").finished


@pytest.mark.parametrize("kind", ["agent", "representation", "tuning"])
def test_the_folder_of_another_kind_of_run_is_refused_before_anything_is_written(
    quick_run, online, benchmark, tmp_path, kind
):
    with own_folder(tmp_path, {"format": 2, "kind": kind}):
        pass
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(ResultsError, match=f"kind: {kind} there, learner requested"):
        quick_run(online, benchmark, folder=tmp_path)
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}


@pytest.mark.parametrize("position", [1, 45, 90])
def test_a_run_whose_folder_is_deleted_says_so_at_once_and_returns_its_result(
    to_disk, act_at, one_by_one, uninterrupted, assert_same, tmp_path, position
):
    seen = []

    def delete():
        shutil.rmtree(tmp_path / "run")
        if position < 90:
            act_at(position + 1, lambda: seen.append([str(it.message) for it in caught]))

    act_at(position, delete)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = to_disk()
    assert_same(result, uninterrupted)
    (told,) = [str(it.message) for it in caught if it.category is PerdureWarning]
    assert f"the folder {tmp_path / 'run'} was deleted during the run: nothing more is kept of it" in told
    assert seen == [[told]] * (position < 90), "before the next example"
    assert not (tmp_path / "run").exists()


def test_folder_of_another_configuration_is_refused(quick_run, online, benchmark, tmp_path):
    quick_run(online, benchmark, folder=tmp_path)
    with pytest.raises(ResultsError) as error:
        quick_run(Online(learning_rate=0.2), benchmark, folder=tmp_path, evaluation="full")
    assert "learner.hyperparameters.learning_rate: 0.1 there, 0.2 requested" in str(error.value)
    assert "evaluation: needed there, full requested" in str(error.value)
    assert "seeds" not in str(error.value)


def test_folder_that_cannot_be_made_is_named(quick_run, online, benchmark, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match=r"folder .*file/run could not be made: .*; choose another place"):
        quick_run(online, benchmark, folder=tmp_path / "file" / "run")


def test_network_may_come_from_any_callable(quick_run, online, benchmark, small_mlp, tmp_path):
    quick_run(online, benchmark, model=functools.partial(small_mlp), folder=tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["model"]["name"] == "small_mlp()"
