import hashlib
import json
import os
import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from perdure.records.run import (
    ResultsError,
    RunRecord,
    Summary,
    append_log,
    check_data,
    config_digest,
    list_runs,
    open_folder,
    write_environment,
    write_summary,
)

from perdure.metrics.transfer import mean_and_interval, metrics_over_seeds
from perdure.records.measurements import write_accuracy
from perdure.storage.files import StorageError

CONFIG = {
    "format": 1,
    "learner": {"name": "mer", "hyperparameters": {"memory_size": 200, "learning_rate": 0.1}},
    "benchmark": {"name": "mnist-rotations", "options": {"tasks": 3}},
    "model": {"hidden": [100, 100]},
    "seeds": [7, 3],
    "evaluation": "needed",
    "alignment": True,
}
NAN = np.nan
FIRST = [[NAN, 0.2, 0.1], [0.8, 0.3, NAN], [NAN, 0.7, 0.4], [0.6, 0.5, 0.9]]
SECOND = [[NAN, 0.1, 0.1], [0.9, 0.3, NAN], [NAN, 0.9, 0.4], [0.6, 0.6, 0.9]]
MATRICES = np.array([FIRST, SECOND])
METRICS = metrics_over_seeds(MATRICES)
ALIGNMENT = {"gradient_alignment": mean_and_interval([0.02, 0.04])}
COST = (1.5, 0.5, 700 * 2**20, 3000)


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "run"
    open_folder(folder, CONFIG)
    write_environment(folder, "cpu", {"train-images.gz": "abc"})
    write_accuracy(folder, CONFIG["seeds"], MATRICES)
    write_summary(folder, Summary(METRICS | ALIGNMENT, *COST))
    return folder


def rewrite_accuracy(run, change):
    path = run / "accuracy.parquet"
    change(pd.read_parquet(path)).to_parquet(path, index=False)


def edit_json(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_a_finished_run_is_read_as_it_was_written(run):
    record = RunRecord.load(run)
    assert record.finished
    assert record.config == CONFIG
    np.testing.assert_array_equal(record.accuracy, MATRICES)
    assert record.title == "mer, memory 200, on mnist-rotations"
    assert (record.learner, record.benchmark, record.memory_size) == ("mer", "mnist-rotations", 200)
    assert record.seeds == (7, 3)
    assert record.environment is not None
    assert record.environment["device"] == "cpu"
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
        summary.compile_seconds,
        summary.peak_memory_bytes,
        summary.examples_seen,
    )
    assert cost == COST


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


def test_alignment_is_absent_where_it_was_not_logged(run):
    write_summary(run, Summary(METRICS, *COST))
    summary = RunRecord.load(run).summary
    assert summary is not None
    assert "gradient_alignment" not in summary.metrics


def test_the_same_accuracies_give_the_same_bytes(run):
    before = (run / "accuracy.parquet").read_bytes()
    write_accuracy(run, CONFIG["seeds"], MATRICES)
    assert (run / "accuracy.parquet").read_bytes() == before


@pytest.mark.parametrize("shape", [(1, 4, 3), (2, 3, 3)])
def test_accuracies_of_another_shape_are_refused(tmp_path, shape):
    with pytest.raises(ValueError, match=r"expected \(seeds, T \+ 1, T\)"):
        write_accuracy(tmp_path, [0, 1], np.zeros(shape))


def test_an_unfinished_run_is_told_as_such(tmp_path):
    open_folder(tmp_path, CONFIG)
    record = RunRecord.load(tmp_path)
    assert not record.finished
    assert (record.environment, record.accuracy, record.summary) == (None, None, None)


def test_the_log_keeps_its_lines_in_order_with_their_times(tmp_path):
    append_log(tmp_path, "started")
    append_log(tmp_path, "task 1 learned")
    time = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00"
    assert re.fullmatch(f"{time} started\n{time} task 1 learned\n", (tmp_path / "log.txt").read_text())


def test_a_folder_of_the_same_configuration_is_opened_again(run):
    open_folder(run, {**CONFIG, "seeds": (7, 3)})
    assert RunRecord.load(run).finished


def test_a_folder_of_another_configuration_is_refused_with_the_differences(run):
    before = (run / "config.json").read_bytes()
    hyperparameters = {"memory_size": 200, "learning_rate": 0.03, "beta": 0.1}
    other = {**CONFIG, "learner": {"name": "mer", "hyperparameters": hyperparameters}, "seeds": [0]}
    with pytest.raises(ResultsError) as caught:
        open_folder(run, other)
    lines = str(caught.value).splitlines()
    assert lines[1:4] == [
        "  learner.hyperparameters.beta: None there, 0.1 asked for",
        "  learner.hyperparameters.learning_rate: 0.1 there, 0.03 asked for",
        "  seeds: [7, 3] there, [0] asked for",
    ]
    assert "--out" in lines[4]
    assert (run / "config.json").read_bytes() == before


def test_the_digest_is_that_of_canonical_json():
    # sha256 of {"a":[1,2],"b":{"c":0.5}}
    expected = hashlib.sha256(b'{"a":[1,2],"b":{"c":0.5}}').hexdigest()[:8]
    assert config_digest({"b": {"c": 0.5}, "a": [1, 2]}) == expected


@given(st.dictionaries(st.text(), st.integers() | st.floats(allow_nan=False, allow_infinity=False), min_size=1))
def test_the_digest_depends_on_values_not_on_order(config):
    reverse = dict(reversed(config.items()))
    assert config_digest(reverse) == config_digest(config)
    key = next(iter(config))
    assert config_digest({**config, key: "other"}) != config_digest(config)


def test_runs_are_listed_by_name_and_other_folders_passed_over(run):
    root = run.parent
    (root / "notes").mkdir()
    (root / "file.txt").write_text("")
    open_folder(root / "another", CONFIG)
    assert [(record.folder.name, record.finished) for record in list_runs(root)] == [
        ("another", False),
        ("run", True),
    ]
    assert [record.folder for record in list_runs(run)] == [run]


def test_listing_what_is_no_folder_is_refused(tmp_path):
    with pytest.raises(ResultsError, match="nothing is not a folder"):
        list_runs(tmp_path / "nothing")


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


def test_another_format_is_refused(run):
    edit_json(run / "config.json", lambda config: config.update(format=2))
    with pytest.raises(ResultsError, match="has format 2, expected 1; read it with the version"):
        RunRecord.load(run)


@pytest.mark.parametrize(
    ("key", "value"),
    [("learner", "mer"), ("learner", {"name": "mer"}), ("benchmark", {}), ("seeds", []), ("seeds", ["a"])],
)
def test_a_configuration_that_describes_no_run_is_refused(run, key, value):
    edit_json(run / "config.json", lambda config: config.update({key: value}))
    with pytest.raises(ResultsError, match=r"config\.json lacks"):
        RunRecord.load(run)


def test_a_summary_that_lacks_a_field_is_refused(run):
    edit_json(run / "summary.json", lambda summary: summary["forgetting"].pop("ci95"))
    with pytest.raises(ResultsError, match=r"summary.json lacks or misspells a field \(KeyError: 'ci95'\)"):
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


def test_a_learner_without_memory_is_called_by_its_name(run):
    learner = {"name": "online", "hyperparameters": {"learning_rate": 0.1}}
    record = replace(RunRecord.load(run), config={**CONFIG, "learner": learner})
    assert record.memory_size is None
    assert record.title == "online, on mnist-rotations"


def test_records_and_reports_load_without_jax():
    modules = "perdure.presets.learners, perdure.report.tables, perdure.report.figures"
    code = f"import sys, {modules}; print('jax' in sys.modules, 'matplotlib.pyplot' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout == "False False\n"


def test_a_run_goes_on_only_with_the_data_it_began_with(run):
    check_data(run, {"train-images.gz": "abc"})
    with pytest.raises(ResultsError, match=r"begun on other data: .*abc.* there, .*def.* now"):
        check_data(run, {"train-images.gz": "def"})


def test_a_log_that_cannot_be_written_is_told(tmp_path):
    with pytest.raises(StorageError, match=r"log\.txt could not be written: No such file or directory"):
        append_log(tmp_path / "absent", "started")
