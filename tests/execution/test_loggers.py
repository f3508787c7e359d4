"""Loggers are told what happens, continue after an interruption, and never stop a run."""

import csv
import importlib.util
import json
import os
import re
import signal
from pathlib import Path

import pytest

from perdure.core import PerdureWarning
from perdure.execution.drive import Driving, drive
from perdure.execution.job import DivergedError
from perdure.execution.loggers import observers
from perdure.execution.loggers.events import RunStart
from perdure.execution.loggers.files import CSVLogger, JSONLinesLogger, TensorBoardLogger
from perdure.execution.loggers.mlflow_store import MLflowLogger
from perdure.execution.loggers.observers import make_loggers
from perdure.execution.loggers.wandb_project import WandbLogger
from perdure.machine.signals import InterruptedRunError
from tests.execution.conftest import Sum


def need(package):
    """Skip where a package is not installed; fail where it is decided whether a change lands."""
    if importlib.util.find_spec(package) is None:
        absent = f"no {package}: install the extra dev"
        if os.environ.get("PERDURE_REQUIRE_DATA"):
            pytest.fail(absent)
        pytest.skip(absent)


class Notes:
    """Writes down all that it is told."""

    def __init__(self):
        self.told = []

    def start(self, run):
        self.told.append(("start", run.position, run.length, run.unit))

    def progress(self, position, values):
        self.told.append(("progress", position, set(values)))

    def evaluation(self, position, values):
        self.told.append(("evaluation", position, values["evaluated"]))

    def checkpoint(self, position, path):
        assert path.exists()
        self.told.append(("checkpoint", position))

    def end(self, status):
        self.told.append(("end", status))


def stopped(position):
    return lambda at: signal.raise_signal(signal.SIGTERM) if at == position else None


def interrupted_and_resumed(in_folder, make):
    """Drive a job of 10 numbers that is stopped at 6, and again."""
    with pytest.raises(InterruptedRunError):
        in_folder(Sum(10, (4, 10), at=stopped(6)), loggers=make())
    in_folder(Sum(10, (4, 10)), loggers=make())


def test_a_logger_is_told_everything_in_order(in_folder, stretches_of):
    stretches_of(3)
    notes = Notes()
    in_folder(Sum(10, (0, 4, 10)), loggers=[notes])
    assert notes.told == [
        ("start", 0, 10, "numbers"),
        ("evaluation", 0, 0.0),
        ("progress", 3, {"sum"}),
        ("checkpoint", 3),
        ("progress", 4, {"sum"}),
        ("evaluation", 4, 4.0),
        ("checkpoint", 4),
        ("progress", 7, {"sum"}),
        ("checkpoint", 7),
        ("progress", 10, {"sum"}),
        ("evaluation", 10, 10.0),
        ("checkpoint", 10),
        ("end", "finished"),
    ]


def test_a_logger_is_told_how_a_run_ended(in_folder, stretches_of):
    stretches_of(2)
    notes = Notes()
    interrupted_and_resumed(in_folder, lambda: [notes])
    assert [it for it in notes.told if it[0] in ("start", "end")] == [
        ("start", 0, 10, "numbers"),
        ("end", "stopped"),
        ("start", 6, 10, "numbers"),
        ("end", "finished"),
    ]
    notes = Notes()
    with pytest.raises(DivergedError):
        drive(Sum(10, bad_at=5), Driving(progress=False, loggers=[notes]))
    assert notes.told[-1] == ("end", "failed")


def test_an_own_logger_may_have_one_method_only():
    class Last:
        def end(self, status):
            self.status = status

    last = Last()
    drive(Sum(10, (4,)), Driving(progress=False, loggers=[last]))
    assert last.status == "finished"


@pytest.mark.parametrize("event", ["start", "progress", "evaluation", "checkpoint", "end"])
def test_a_logger_that_fails_is_named_once_and_the_run_continues(in_folder, stretches_of, event):
    stretches_of(2)

    def fail(self, *given):
        raise OSError("the store is full\nand more")

    broken, notes = type("Broken", (Notes,), {event: fail})(), Notes()
    job = Sum(10, (4, 10))
    with pytest.warns(PerdureWarning) as warned:
        in_folder(job, loggers=[broken, notes])
    assert job.position == 10
    assert [str(it.message) for it in warned] == [
        "logging to Broken has failed (OSError: the store is full); the run continues without it"
    ]
    assert notes.told[-1] == ("end", "finished")


@pytest.mark.parametrize("name", ["csv", "jsonl"])
def test_files_hold_every_value_once_after_an_interruption(in_folder, stretches_of, tmp_path, name):
    stretches_of(2)
    interrupted_and_resumed(in_folder, lambda: make_loggers([name], folder=tmp_path))
    file = tmp_path / "run" / f"log.{name}"
    if name == "csv":
        rows = list(csv.DictReader(file.read_text(encoding="utf-8").splitlines()))
        found = [(it["event"], int(it["position"])) for it in rows]
    else:
        lines = [json.loads(it) for it in file.read_text(encoding="utf-8").splitlines()]
        found = [(it["event"], it["position"]) for it in lines if "values" in it]
    assert found == [
        ("progress", 2),
        ("progress", 4),
        ("evaluation", 4),
        ("progress", 6),
        ("progress", 8),
        ("progress", 10),
        ("evaluation", 10),
    ]


@pytest.mark.parametrize("make", [CSVLogger, JSONLinesLogger])
def test_what_came_after_the_last_checkpoint_is_dropped(make, tmp_path):
    from perdure.execution.loggers.events import RunStart

    file = tmp_path / "log"
    for position in (0, 4):
        logger = make(file)
        logger.start(RunStart("sum", "numbers", position, 10, {}, None, {}))
        logger.progress(position + 2, {"sum": 0.5})
        logger.progress(position + 6, {"sum": 0.5})
    with file.open("a") as cut_off:
        cut_off.write('{"event": "prog')
    logger = make(file)
    logger.start(RunStart("sum", "numbers", 6, 10, {}, None, {}))
    text = file.read_text()
    positions = [int(it) for it in re.findall(r'(?:"progress", "position": |^)(\d+)', text, re.MULTILINE)]
    assert positions == [2, 6]


def test_a_resumed_run_is_logged_where_it_was(in_folder, stretches_of, tmp_path):
    stretches_of(2)
    with pytest.raises(InterruptedRunError):
        in_folder(Sum(10, (4, 10), at=stopped(6)), loggers=make_loggers("csv", folder=tmp_path))
    in_folder(Sum(10, (4, 10)))
    assert "10,evaluation,evaluated,10.0" in (tmp_path / "run/log.csv").read_text()


def mlflow_store(tmp_path):
    return f"sqlite:///{tmp_path}/mlflow.db"


def test_mlflow_keeps_a_run_in_its_local_store(in_folder, stretches_of, tmp_path, monkeypatch):
    need("mlflow")
    from mlflow.tracking import MlflowClient

    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_store(tmp_path))
    monkeypatch.chdir(tmp_path)
    stretches_of(2)
    interrupted_and_resumed(in_folder, lambda: make_loggers(["mlflow"], folder=None))
    client = MlflowClient()
    experiment = client.get_experiment_by_name("perdure")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"
    assert run.data.params["of"] == "Sum"
    assert [it.step for it in client.get_metric_history(run.info.run_id, "sum")] == [2, 4, 6, 8, 10]
    assert run.data.metrics["evaluated"] == 10.0


def test_mlflow_has_no_value_twice_after_a_kill(tmp_path):
    need("mlflow")
    from mlflow.tracking import MlflowClient

    known = {}
    for resumed_at, positions in ((0, (20, 40, 60)), (20, (40, 50, 60, 80))):
        logger = MLflowLogger(mlflow_store(tmp_path))
        known = logger.start(_start()._replace(position=resumed_at, known=known))
        for position in positions:
            logger.progress(position, {"sum": 0.5})
        logger.evaluation(60, {"evaluated": 1.0})  # had not been logged if the kill was just before
    history = MlflowClient(mlflow_store(tmp_path)).get_metric_history
    assert [it.step for it in history(known["run_id"], "sum")] == [20, 40, 60, 80]
    assert [it.step for it in history(known["run_id"], "evaluated")] == [60]


def steps_shown(folder):
    """Return the steps of the values that TensorBoard shows, which drops those from the step of each start on."""
    from tensorboardX.proto.event_pb2 import Event  # pyright: ignore[reportAttributeAccessIssue]

    steps = []
    for file in sorted(folder.glob("events.*")):
        content, at = file.read_bytes(), 0
        while at < len(content):
            length = int.from_bytes(content[at : at + 8], "little")
            event = Event.FromString(content[at + 12 : at + 12 + length])
            if event.HasField("session_log"):
                steps = [it for it in steps if it < event.step]
            steps += [event.step] * len(event.summary.value)
            at += 16 + length
    return steps


@pytest.mark.parametrize("resumed_at", [0, 20])
def test_tensorboard_has_every_value_once_after_a_kill(resumed_at, tmp_path):
    need("tensorboardX")
    for part, started_at in enumerate((0, resumed_at)):
        logger = TensorBoardLogger(tmp_path)
        logger.start(_start()._replace(position=started_at))
        for position in range(started_at or -20, 60, 20):
            logger.progress(position + 20, {"sum": 0.5})
        logger.end("failed")
        (file,) = tmp_path.glob("events.out.*")
        file.rename(tmp_path / f"events.{part}")  # another one made in this second would overwrite it
    assert steps_shown(tmp_path) == [0, 20, 40, 60]


def test_a_full_mlflow_store_does_not_stop_a_run(stretches_of, tmp_path, disk, monkeypatch):
    need("mlflow")
    monkeypatch.chdir(tmp_path)
    stretches_of(1)
    MLflowLogger(mlflow_store(tmp_path)).start(*[_start()])  # the store exists
    job = Sum(30)
    with disk.limit(4096), pytest.warns(PerdureWarning, match="logging to mlflow has failed") as warned:
        drive(job, Driving(progress=False, loggers=[MLflowLogger(mlflow_store(tmp_path))]))
    assert job.position == 30
    assert len(warned) == 1


def test_a_server_that_is_lost_does_not_stop_a_run(stretches_of):
    need("mlflow")
    stretches_of(5)
    job = Sum(10)
    with pytest.warns(PerdureWarning, match="logging to mlflow has failed"):
        drive(job, Driving(progress=False, loggers=[MLflowLogger("http://127.0.0.1:9")]))
    assert job.position == 10


def _start():
    from perdure.execution.loggers.events import RunStart

    return RunStart("sum", "numbers", 0, 10, {}, None, {})


def test_wandb_offline_continues_one_run(in_folder, stretches_of, tmp_path, monkeypatch):
    need("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    stretches_of(2)
    interrupted_and_resumed(in_folder, lambda: [WandbLogger()])
    folders = list((tmp_path / "run" / "wandb").glob("offline-run-*"))
    assert len(folders) >= 1
    assert len({it.name.rpartition("-")[2] for it in folders}) == 1, "one run, in one part for each process"
    content = b"".join(it.read_bytes() for folder in folders for it in folder.glob("*.wandb"))
    assert b"evaluated" in content
    assert b"position" in content


def test_names_and_objects_are_checked(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="unknown logger 'mlfow'; did you mean 'mlflow'"):
        make_loggers("mlfow", folder=tmp_path)
    with pytest.raises(ValueError, match="csv writes into the folder of the run, which has none"):
        make_loggers(["csv"], folder=None)
    with pytest.raises(TypeError, match="one or more of the methods start, progress, evaluation, checkpoint, end"):
        make_loggers([object()], folder=tmp_path)
    monkeypatch.setattr(observers, "find_spec", lambda name: None)
    for name in ("mlflow", "wandb", "tensorboard"):
        with pytest.raises(ValueError, match=rf"not installed: pip install 'perdure\[{name}\]'"):
            make_loggers(["csv", name], folder=tmp_path)


def test_a_damaged_note_of_loggers_costs_no_run(in_folder, stretches_of, tmp_path):
    stretches_of(2)
    with pytest.raises(InterruptedRunError):
        in_folder(Sum(10, at=stopped(6)), loggers=make_loggers("csv", folder=tmp_path))
    Path(tmp_path / "run/loggers.json").write_text("{")
    job = Sum(10)
    with pytest.warns(PerdureWarning, match="the run is logged as a new one"):
        in_folder(job)
    assert job.position == 10


@pytest.mark.parametrize("given", ["csv,csv", ["jsonl", "csv", "jsonl"]])
def test_a_logger_is_named_once(given, tmp_path):
    with pytest.raises(ValueError, match=r"^the logger (csv|jsonl) is named twice, expected each once; leave one out"):
        make_loggers(given, folder=tmp_path)


@pytest.mark.parametrize("given", [Notes(), None, 3])
def test_loggers_are_a_list(given, tmp_path):
    with pytest.raises(TypeError, match=r"^loggers is .*, expected a list of names and objects"):
        make_loggers(given, folder=tmp_path)


def test_the_run_of_a_logger_that_fails_on_resumption_is_not_forgotten(tmp_path):
    """Its server may be back when the run is resumed once more."""

    class Away:
        name = "mlflow"

        def start(self, run):
            raise ConnectionError("no answer")

    kept = {"loggers": {"mlflow": {"run_id": "1"}}}
    (tmp_path / "loggers.json").write_text(json.dumps(kept))
    with pytest.warns(PerdureWarning, match="logging to mlflow has failed"):
        observers.Observers([Away()]).start(RunStart("it", "examples", 5, 10, {}, tmp_path, {}))
    assert json.loads((tmp_path / "loggers.json").read_text()) == kept
