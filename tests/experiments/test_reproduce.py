"""Measuring a study: on streams cut so short that its runs take seconds."""

import os
import signal
import threading
import time
from dataclasses import replace

import pytest

from perdure.experiments.reproduction.measure import find_tables, measure
from perdure.machine.signals import InterruptedRunError
from perdure.presets.learners import Preset
from perdure.presets.studies import Cell, Study

SHORT = {"tasks": 2, "examples_per_task": 20}


def cell(learner, options=SHORT, seeds=2, alignment=False, **values):
    preset = Preset(learner, "digits-rotations", values.get("memory_size"), values, "tests", None, options=options)
    return Cell(preset, seeds, "needed", alignment)


ONLINE = cell("online", learning_rate=0.05)
ER = cell("er", learning_rate=0.1, memory_size=20, replay_batch_size=5, alignment=True)
DIVERGING = cell("online", learning_rate=1e9)
ALONE = ONLINE._replace(n_seeds=1)
STUDY = Study({"first": [ONLINE, ER], "second": [ER], "third": [DIVERGING, ONLINE]}, [ALONE])


def written(measured):
    records = [record for table in measured.tables.values() for record in table] + measured.timing
    return {record.folder: (record.folder / "summary.json").stat().st_mtime_ns for record in records}


@pytest.mark.long
def test_every_run_of_the_tables_is_measured_once(tmp_path):
    measured = measure(STUDY, ["first", "second"], tmp_path, workers=2, progress=False)
    assert measured.failures == []
    first, second = measured.tables["first"], measured.tables["second"]
    assert [(it.learner, it.seeds, it.alignment is not None) for it in first] == [
        ("online", (0, 1), False),
        ("er", (0, 1), True),
    ]
    assert second[0].folder == first[1].folder
    assert [it.seeds for it in measured.timing] == [(0,)]
    assert len(list(tmp_path.iterdir())) == 3
    again = measure(STUDY, ["first", "second"], tmp_path, workers=2, progress=False)
    assert written(again) == written(measured)


def test_a_run_that_fails_is_told_and_the_others_are_there(tmp_path):
    measured = measure(STUDY, ["third"], tmp_path, workers=2, progress=False)
    (failure,) = measured.failures
    assert failure.name.startswith("online-digits-rotations-")
    assert failure.reason.startswith("DivergedError: training diverged")
    assert [it.config["learner"]["hyperparameters"] for it in measured.tables["third"]] == [{"learning_rate": 0.05}]


@pytest.mark.long
def test_after_a_stop_the_same_call_goes_on(tmp_path):
    study = Study({"slow": [ER._replace(preset=replace(ER.preset, options={"tasks": 2}))]}, [])

    def stop():
        while not list(tmp_path.glob("*/log.txt")):  # it is compiled next
            time.sleep(0.02)
        time.sleep(0.3)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=stop).start()
    with pytest.raises(InterruptedRunError):
        measure(study, ["slow"], tmp_path, workers=1, progress=False)
    (folder,) = tmp_path.iterdir()
    measured = measure(study, ["slow"], tmp_path, workers=1, progress=False)
    assert [it.folder for it in measured.tables["slow"]] == [folder]
    log = (folder / "log.txt").read_text()
    assert "stopped at example" in log
    assert "went on from example" in log


def test_unknown_tables_are_refused_with_those_there_are():
    with pytest.raises(ValueError, match="no table x; choose among: first, second, third, all"):
        find_tables(STUDY, ["first", "x"])
    assert find_tables(STUDY, ["all"]) == ["first", "second", "third"]
