"""Runs of learners that are not given all hyper-parameters."""

import dataclasses

import numpy as np
import pytest

from perdure.core import PerdureWarning
from perdure.experiments.supervised.defaults import stream_typed
from perdure.experiments.supervised.plan import spec_of
from perdure.experiments.supervised.run import run
from perdure.learners.gdumb import GDumb
from perdure.learners.online import Online
from perdure.records.learner import RunRecord
from perdure.records.requested import read_request
from perdure.streams.arrays import from_arrays
from perdure.streams.catalog import BenchmarkRecipe

SMALL = {"tasks": 2, "examples_per_task": 10}


def test_a_run_warns_and_its_record_keeps_the_mark(tmp_path):
    stream = "digits-split --tasks 2 --examples-per-task 10"
    search = f"perdure tune online {stream} --learning-rate 0.005,"
    with pytest.warns(PerdureWarning, match=f"learning_rate = 0.05 was not chosen for {stream}, .*: {search}"):
        run(Online(), BenchmarkRecipe("digits-split", SMALL), folder=tmp_path, progress=False)
    mark = {"chosen_for": "digits-rotations", "hyperparameters": {"learning_rate": 0.05}}
    assert read_request(tmp_path) == {"defaults": mark}
    assert spec_of(RunRecord.load(tmp_path)).learner == Online(0.05)


def test_the_search_for_own_arrays_is_proposed_in_python(quick_run):
    x, y = np.ones((6, 2), "float32"), np.arange(6) % 2
    with pytest.warns(PerdureWarning, match=r"perdure.tune\('online', STREAM, \{'learning_rate': \[0.005, 0.015, "):
        quick_run(Online(), from_arrays([(x, y)], None, name="mine"))


@pytest.mark.parametrize("learner", [Online(0.05), Online()])
def test_what_was_given_or_chosen_for_the_stream_is_not_warned_of(quick_run, learner):
    quick_run(learner, BenchmarkRecipe("digits-rotations", SMALL))


@pytest.mark.parametrize("options", [{"task_order": [1, 0]}, {"validation": True}, {"tests": "none"}])
def test_the_search_that_is_proposed_takes_its_options(options, quick_run):
    stream = "digits-split --tasks 2 --examples-per-task 10 --learning-rate 0.005"
    with pytest.warns(PerdureWarning, match=f"perdure tune online {stream}"):
        quick_run(Online(), BenchmarkRecipe("digits-split", {**SMALL, **options}))


def test_the_search_proposed_for_a_file_does_not_name_its_digest():
    assert stream_typed("data.pt", {"file_sha256": "0f", "tasks": 3}) == "data.pt --tasks 3"


def test_gdumb_that_is_never_trained_is_told(quick_run):
    learner = GDumb(learning_rate=0.1, memory_size=10, epochs=1, batch_size=5, retrain_every=15)
    with pytest.warns(PerdureWarning, match="ends after 10 and the last after 20: the tests after 10 examples are of"):
        quick_run(learner, BenchmarkRecipe("digits-rotations", SMALL))
    learner = dataclasses.replace(learner, retrain_every=50)
    with pytest.warns(PerdureWarning, match="all tests are of a network that has not been trained"):
        quick_run(learner, BenchmarkRecipe("digits-rotations", SMALL))
