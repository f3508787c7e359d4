"""What a run leaves in its folder, and what it makes of what it finds there."""

import functools
import json

import numpy as np
import pytest

from perdure.experiments.supervised.job import LearnerJob
from perdure.learners.online import Online
from perdure.records.errors import ResultsError
from perdure.records.learner import RunRecord
from perdure.storage.files import StorageError


def test_record_tells_what_was_asked_and_what_came_of_it(to_disk, uninterrupted, assert_same, tmp_path):
    result = to_disk()
    assert_same(result, uninterrupted)
    folder = tmp_path / "run"
    names = {"config.json", "environment.json", "log.txt", "accuracy.parquet", "alignment.parquet", "summary.json"}
    assert {path.name for path in folder.iterdir()} == {*names, "checkpoints"}
    record = RunRecord.load(folder)
    assert record.summary is not None
    assert record.seeds == (0, 1)
    assert (record.learner, record.benchmark, record.memory_size) == ("er", "arrays", 10)
    assert record.config["evaluation"] == "full"
    assert record.config["alignment"] is True
    assert record.config["model"] == {"name": "small_mlp"}
    np.testing.assert_array_equal(record.accuracy, result.accuracy)
    np.testing.assert_equal(dict(record.summary.metrics), result.metrics)
    assert record.summary.examples_seen == 90
    assert record.summary.training_seconds == result.training_seconds
    assert record.summary.peak_memory_bytes > 10 * 2**20


def test_finished_run_is_read_not_learned_again(to_disk, uninterrupted, assert_same, tmp_path, monkeypatch):
    to_disk()
    summary = (tmp_path / "run" / "summary.json").read_bytes()

    def refuse(*arguments):
        raise AssertionError("learned or compiled again")

    monkeypatch.setattr(LearnerJob, "advance", refuse)
    monkeypatch.setattr(LearnerJob, "compile", refuse)
    assert_same(to_disk(), uninterrupted)
    assert (tmp_path / "run" / "summary.json").read_bytes() == summary


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
    assert json.loads((tmp_path / "config.json").read_text())["model"] == {"name": "small_mlp()"}
