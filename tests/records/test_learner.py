"""The record of a learner's run: read as it was written."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from perdure.metrics.transfer import METRICS
from perdure.records.errors import ResultsError
from perdure.records.folder import own_folder
from perdure.records.learner import RunRecord
from perdure.records.measurements import write_accuracy
from perdure.records.summary import write_summary


def edit_json(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def rewrite_accuracy(run, change):
    path = run / "accuracy.parquet"
    change(pd.read_parquet(path)).to_parquet(path, index=False)


def test_a_finished_run_is_read_as_it_was_written(run, written):
    record = RunRecord.load(run)
    assert record.finished
    assert record.config == written.config
    np.testing.assert_array_equal(record.accuracy, written.matrices)
    assert record.title == "mer, memory 200, on mnist-rotations"
    assert (record.learner, record.benchmark, record.memory_size) == ("mer", "mnist-rotations", 200)
    assert record.seeds == (7, 3)
    assert record.environment is not None
    assert record.environment["device"]
    assert record.environment["data_checksums"] == {"train-images.gz": "abc"}
    assert set(record.environment["versions"]) == {"python", "perdure", "jax", "jaxlib", "numpy", "equinox"}


def test_the_summary_holds_metrics_over_seeds_and_cost(run):
    summary = RunRecord.load(run).summary
    assert summary is not None
    retained = summary.metrics["retained_accuracy"]
    assert retained.per_seed == pytest.approx((2 / 3, 0.7))
    assert retained.mean == pytest.approx(41 / 60)
    assert retained.std == pytest.approx((0.7 - 2 / 3) / np.sqrt(2))
    assert summary.metrics["gradient_alignment"].mean == pytest.approx(0.03)
    assert np.isnan(summary.metrics["forgetting"].mean)
    cost = (
        summary.training_seconds,
        summary.training_cpu_seconds,
        summary.compile_seconds,
        summary.peak_memory_bytes,
        summary.examples_seen,
        summary.state_bytes,
    )
    assert cost == (1.5, 2.5, 0.5, 700 * 2**20, 3000, 400_000)


def test_what_was_not_evaluated_is_null_in_json_and_no_row_in_the_table(run):
    content = json.loads((run / "summary.json").read_text())
    assert content["status"] == "finished"
    assert content["forgetting"] == {"mean": None, "std": None, "ci95": None, "per_seed": [None, None]}
    table = pd.read_parquet(run / "accuracy.parquet")
    assert {name: str(dtype) for name, dtype in table.dtypes.items()} == {
        "seed": "int64",
        "after_task": "int64",
        "test_task": "int64",
        "accuracy": "float64",
    }
    assert len(table) == 18
    chosen = table.query("seed == 3 and after_task == -1")
    assert list(chosen["test_task"]) == [1, 2]
    assert list(chosen["accuracy"]) == [0.1, 0.1]


def test_alignment_is_absent_where_it_was_not_logged(run, written):
    metrics = {name: it for name, it in written.summary.metrics.items() if name in METRICS}
    write_summary(run, replace(written.summary, metrics=metrics))
    summary = RunRecord.load(run).summary
    assert summary is not None
    assert "gradient_alignment" not in summary.metrics


def test_the_same_accuracies_give_the_same_bytes(run, written):
    before = (run / "accuracy.parquet").read_bytes()
    write_accuracy(run, written.config["seeds"], written.matrices)
    assert (run / "accuracy.parquet").read_bytes() == before


@pytest.mark.parametrize("shape", [(1, 4, 3), (2, 3, 3)])
def test_accuracies_of_another_shape_are_refused(tmp_path, shape):
    with pytest.raises(ValueError, match=r"expected \(seeds, T \+ 1, T\)"):
        write_accuracy(tmp_path, [0, 1], np.zeros(shape))


def test_an_unfinished_run_is_told_as_such(tmp_path, written):
    with own_folder(tmp_path / "other", written.config):
        pass
    record = RunRecord.load(tmp_path / "other")
    assert not record.finished
    assert (record.environment, record.accuracy, record.summary) == (None, None, None)


def test_loading_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(ResultsError, match=r"holds no config\.json"):
        RunRecord.load(tmp_path)


@pytest.mark.parametrize("name", ["config.json", "environment.json", "summary.json", "accuracy.parquet"])
@pytest.mark.parametrize("content", [b"", b"\x00\xff half a fi", b"[1, 2]"])
def test_a_damaged_file_is_named(run, name, content):
    (run / name).write_bytes(content)
    with pytest.raises(ResultsError, match=rf"{name} .*(cannot be read|expected).*; delete the folder"):
        RunRecord.load(run)


def test_a_cut_off_table_is_named(run):
    path = run / "accuracy.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ResultsError, match=r"accuracy\.parquet cannot be read as Parquet"):
        RunRecord.load(run)


def test_a_summary_without_accuracies_is_refused(run):
    (run / "accuracy.parquet").unlink()
    with pytest.raises(ResultsError, match=r"summary\.json but no accuracy\.parquet"):
        RunRecord.load(run)


@pytest.mark.parametrize("version", [1, 3, None, "2", [2]])
def test_another_format_is_refused(run, version):
    edit_json(run / "config.json", lambda config: config.update(format=version))
    with pytest.raises(ResultsError, match=r"has format .*, expected 2; read it with the version"):
        RunRecord.load(run)


@pytest.mark.parametrize("kind", ["agent", "representation", "tuning"])
def test_another_kind_of_run_is_refused(run, kind):
    edit_json(run / "config.json", lambda config: config.update(kind=kind))
    with pytest.raises(ResultsError, match=f"holds a run of the kind {kind}, expected one of a learner"):
        RunRecord.load(run)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table.rename(columns={"seed": "run"}), "has columns .* expected"),
        (lambda table: table.astype({"seed": "int32"}), "has columns .* expected"),
        (lambda table: table[table.seed == 7], r"has seeds \[7\], expected \[3, 7\]"),
        (lambda table: table[table.after_task < 2], "task numbers that do not fit"),
        (lambda table: pd.concat([table, table[:1]]), "an entry twice"),
        (lambda table: table.assign(accuracy=77.0), "an accuracy that is above 1 or not finite"),
        (lambda table: table.assign(accuracy=-np.inf), "an accuracy that is above 1 or not finite"),
    ],
)
def test_a_table_at_odds_with_the_run_is_refused(run, change, message):
    rewrite_accuracy(run, change)
    with pytest.raises(ResultsError, match=message):
        RunRecord.load(run)


def test_a_learner_without_memory_is_called_by_its_name(run, written):
    learner = {"name": "online", "hyperparameters": {"learning_rate": 0.1}}
    record = replace(RunRecord.load(run), config={**written.config, "learner": learner})
    assert record.memory_size is None
    assert record.title == "online, on mnist-rotations"


def test_records_and_reports_load_without_jax():
    modules = "perdure.presets.learners, perdure.report.tables, perdure.report.figures"
    code = f"import sys, {modules}; print('jax' in sys.modules, 'matplotlib.pyplot' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout == "False False\n"
