"""Measuring a study: on streams cut so short that its runs take seconds."""

import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace

import pytest

from perdure.execution.processes import Processes
from perdure.experiments.reproduction.measure import default_study_folder, find_tables, measure
from perdure.machine.signals import InterruptedRunError
from perdure.presets.learners import Preset
from perdure.presets.studies import Cell, Study
from perdure.records.errors import ResultsError

SHORT = {"tasks": 2, "examples_per_task": 20}


def cell(learner, options=SHORT, seeds=2, alignment=False, **values):
    preset = Preset(learner, "digits-rotations", values.get("memory_size"), values, "tests", None, options=options)
    return Cell(preset, seeds, "needed", alignment)


ONLINE = cell("online", learning_rate=0.05)
ER = cell("er", learning_rate=0.1, memory_size=20, replay_batch_size=5, alignment=True)
DIVERGING = cell("online", learning_rate=1e9)
ALONE = ONLINE._replace(n_seeds=1)
STUDY = Study({"first": [ONLINE, ER], "second": [ER], "third": [DIVERGING, ONLINE]}, [ALONE], "small")


def runs_in(folder):
    return sorted(path.parent for path in folder.glob("*/config.json"))


def written(record):
    records = [it for table in record.tables.values() for it in table] + record.timing
    return {it.folder: (it.folder / "summary.json").stat().st_mtime_ns for it in records}


@pytest.mark.long
def test_every_run_of_the_tables_is_measured_once(tmp_path):
    record, failures = measure(STUDY, ["first", "second"], tmp_path, engine=Processes(2), progress=False)
    assert failures == []
    assert record.finished
    first, second = record.tables["first"], record.tables["second"]
    assert [(it.learner, it.seeds, it.alignment is not None) for it in first] == [
        ("online", (0, 1), False),
        ("er", (0, 1), True),
    ]
    assert second[0].folder == first[1].folder
    assert [it.seeds for it in record.timing] == [(0,)]
    assert len(runs_in(tmp_path)) == 3
    again = measure(STUDY, ["first", "second"], tmp_path, engine=Processes(2), progress=False)
    assert written(again.record) == written(record)
    summary = (tmp_path / "summary.json").stat().st_mtime_ns
    fewer = measure(STUDY, ["second"], tmp_path, engine=Processes(2), progress=False).record
    assert list(fewer.tables) == ["second"]
    assert fewer.finished
    assert (tmp_path / "summary.json").stat().st_mtime_ns > summary  # of what was requested last


@pytest.mark.long
def test_a_run_that_fails_is_told_and_the_others_are_there(tmp_path):
    record, failures = measure(STUDY, ["third"], tmp_path, engine=Processes(2), progress=False)
    (failure,) = failures
    assert failure.name.startswith("online-digits-rotations-")
    assert failure.reason.startswith("DivergedError: training diverged")
    assert [it.config["learner"]["hyperparameters"] for it in record.tables["third"]] == [{"learning_rate": 0.05}]
    assert (record.finished, record.n_finished, len(record.request.runs)) == (False, 2, 3)


@pytest.mark.long
def test_another_study_in_the_folder_is_refused(tmp_path):
    measure(STUDY._replace(timing=[]), ["second"], tmp_path, engine=Processes(1), progress=False)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.json")}
    for other in (STUDY._replace(name="other"), STUDY._replace(quick=True), STUDY._replace(seeds=2)):
        with pytest.raises(ResultsError, match="holds a run of another configuration"):
            measure(other, ["first"], tmp_path, engine=Processes(1), progress=False)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.json")} == before


def test_default_folders_tell_quick_passes_from_whole_studies(tmp_path):
    assert default_study_folder(STUDY, tmp_path) == tmp_path / "reproduce-small"
    assert default_study_folder(STUDY._replace(quick=True), tmp_path) == tmp_path / "reproduce-small-quick"


@pytest.mark.long
def test_after_a_stop_the_same_call_resumes(tmp_path):
    study = Study({"slow": [ER._replace(preset=replace(ER.preset, options={"tasks": 2}))]}, [], "slow")

    def stop():
        while not list(tmp_path.glob("*/log.txt")):  # it is compiled next
            time.sleep(0.02)
        time.sleep(0.3)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=stop).start()
    with pytest.raises(InterruptedRunError, match="stopped; resume with `perdure resume"):
        measure(study, ["slow"], tmp_path, engine=Processes(1), progress=False)
    (folder,) = runs_in(tmp_path)
    record = measure(study, ["slow"], tmp_path, engine=Processes(1), progress=False).record
    assert [it.folder for it in record.tables["slow"]] == [folder]
    log = (folder / "log.txt").read_text()
    assert "stopped after" in log
    assert "resumed from position" in log


KILLED = """
import sys
from pathlib import Path
from perdure.execution.processes import Processes
from perdure.experiments.reproduction.measure import measure
from perdure.presets.learners import Preset
from perdure.presets.studies import Cell, Study
from perdure.records.errors import ResultsError
from perdure.storage.lock import FolderInUseError, FolderLock
values = {"learning_rate": 0.1, "memory_size": 20, "replay_batch_size": 5}
options = {"tasks": 2, "examples_per_task": 200}
cell = Cell(Preset("er", "digits-rotations", 20, values, "tests", None, options=options), 2, "needed", False)
if __name__ == "__main__":
    study = Study({"slow": [cell]}, [], "slow")
    measured = measure(study, ["slow"], Path(sys.argv[1]), engine=Processes(1), progress=False)
    print([it.accuracy.tolist() for it in measured.record.tables["slow"]], measured.failures)
"""


@pytest.mark.long
def test_a_restart_beside_the_workers_of_a_killed_measurement_ends_as_if_nothing_had_happened(tmp_path):
    script = tmp_path / "killed.py"
    script.write_text(KILLED)

    def start(name):
        command = [sys.executable, script, tmp_path / name]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    untouched = start("untouched").communicate()[0]
    for seconds in (0.0, 0.2, 1.0):
        process = start("killed")
        while process.poll() is None and not list((tmp_path / "killed").glob("*/log.txt")):
            time.sleep(0.01)
        time.sleep(seconds)
        process.kill()
        process.communicate()
    printed, errors = start("killed").communicate()
    assert printed == untouched, errors
    assert "[]" in printed  # no failure
    assert list((tmp_path / "killed").rglob(".*.tmp")) == []


def test_unknown_tables_are_refused_with_those_there_are():
    with pytest.raises(ValueError, match="no table x; choose among: first, second, third, all"):
        find_tables(STUDY, ["first", "x"])
    assert find_tables(STUDY, ["all"]) == ["first", "second", "third"]
