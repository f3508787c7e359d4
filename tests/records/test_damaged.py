"""Records that are damaged or hostile: refused by file and place, within bounds of memory and time."""

import json
import os
import subprocess
import sys
from typing import Any

import numpy as np
import pandas as pd
import pytest

from perdure.metrics.transfer import METRICS
from perdure.records.errors import ResultsError
from perdure.records.learner import RunRecord


def edit_json(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def refusal_of(run):
    """Return what loading a run complains of, None if it loads."""
    try:
        RunRecord.load(run)
    except ResultsError as error:
        return str(error)
    return None


def table_at(config, path):
    """Return the table that holds the entry at a path."""
    for name in path[:-1]:
        config = config[name]
    return config


LEAVES = [
    (["kind"], "'kind'"),
    (["learner"], "'learner'"),
    (["learner", "name"], "'learner' has no 'name'"),
    (["learner", "hyperparameters"], "'learner' has no 'hyperparameters'"),
    (["benchmark"], "'benchmark'"),
    (["benchmark", "name"], "'benchmark' has no 'name'"),
    (["benchmark", "options"], "'benchmark' has no 'options'"),
    (["model"], "'model'"),
    (["model", "name"], "'model' has no 'name'"),
    (["seeds"], "'seeds'"),
    (["evaluation"], "'evaluation'"),
    (["alignment"], "'alignment'"),
]


@pytest.mark.parametrize(("path", "place"), LEAVES)
def test_a_configuration_that_lacks_an_entry_is_refused_by_its_place(run, path, place):
    edit_json(run / "config.json", lambda config: table_at(config, path).pop(path[-1]))
    with pytest.raises(ResultsError, match=rf"config\.json.*{place}.*expected .*; delete the folder and run again"):
        RunRecord.load(run)


@pytest.mark.parametrize("path", [path for path, _ in LEAVES], ids=".".join)
@pytest.mark.parametrize(
    "value", [None, 7, "mer", [], ["a"], {}, 1e30, True, 10**30, [1.5], [True], [10**30]], ids=repr
)
def test_a_configuration_of_other_types_is_refused_by_its_place_or_read(run, path, value):
    kind = type(table_at(json.loads((run / "config.json").read_text()), path)[path[-1]])
    edit_json(run / "config.json", lambda config: table_at(config, path).update({path[-1]: value}))
    refusal = refusal_of(run)
    if refusal is None:
        assert type(value) is kind
    else:
        assert f"'{path[-1]}'" in refusal


def test_a_summary_that_lacks_a_field_is_refused(run):
    edit_json(run / "summary.json", lambda summary: summary["forgetting"].pop("ci95"))
    with pytest.raises(ResultsError, match=r"summary.json, 'forgetting' has no 'ci95', expected a number or null"):
        RunRecord.load(run)


SUMMARY = [
    ("forgetting", None, "expected a table of names and values"),
    ("forgetting", [], "expected a table"),
    ("training_seconds", "long", "'training_seconds' is 'long', expected a number"),
    ("training_seconds", True, "'training_seconds' is True, expected a number"),
    (
        "training_seconds",
        10**400,
        "'training_seconds' is a whole number of 1329 bits, expected a number of at most 64 bits",
    ),
    (
        "peak_memory_bytes",
        2**63,
        "'peak_memory_bytes' is 9223372036854775808, expected a whole number of at most 64 bits",
    ),
    ("peak_memory_bytes", 1.5, "'peak_memory_bytes' is 1.5, expected a whole number"),
    ("examples_seen", [1], "'examples_seen' is a list of length 1, expected a whole number"),
    ("retained_accuracy", {"mean": "a", "std": 0, "ci95": 0, "per_seed": []}, "'retained_accuracy', 'mean' is 'a'"),
    ("retained_accuracy", {"mean": 0, "std": 0, "ci95": 0, "per_seed": [{}]}, "'per_seed' is a table of 0 names"),
    ("examples_seen", 0, "'examples_seen' is 0, expected at least 1"),
    ("state_bytes", -1, "'state_bytes' is -1, expected at least 0"),
    ("retained_accuracy", {"mean": 0, "std": 0, "ci95": 0}, "'retained_accuracy' has no 'per_seed', expected a list"),
]


@pytest.mark.parametrize(("name", "value", "complaint"), SUMMARY)
def test_a_summary_of_other_types_is_refused_by_its_place(run, name, value, complaint):
    edit_json(run / "summary.json", lambda summary: summary.update({name: value}))
    with pytest.raises(ResultsError, match=rf"summary\.json, .*{complaint}.*; delete the folder and run again"):
        RunRecord.load(run)


@pytest.mark.parametrize("name", ["mean", "std", "ci95"])
def test_a_metric_that_is_not_that_of_its_seeds_is_refused(run, name):
    edit_json(run / "summary.json", lambda summary: summary["retained_accuracy"].update({name: 0.99}))
    with pytest.raises(ResultsError, match=rf"'retained_accuracy', '{name}' is 0.99, expected .*, as of 'per_seed'; "):
        RunRecord.load(run)


def test_metrics_of_another_number_of_seeds_are_refused(run):
    edit_json(run / "summary.json", lambda summary: summary["forgetting"]["per_seed"].pop())
    with pytest.raises(ResultsError, match=r"'forgetting', 'per_seed' is a list of length \d, expected \d, one a seed"):
        RunRecord.load(run)


@pytest.mark.parametrize("name", [*METRICS, "training_seconds", "examples_seen"])
def test_a_summary_that_lacks_an_entry_is_refused_by_its_name(run, name):
    edit_json(run / "summary.json", lambda summary: summary.pop(name))
    with pytest.raises(ResultsError, match=rf"summary\.json has no '{name}', expected"):
        RunRecord.load(run)


BROKEN_JSON = {
    "deep lists": "[" * 100_000 + "]" * 100_000,
    "deep objects": '{"a":' * 100_000 + "1" + "}" * 100_000,
    "33 levels": '{"a":' * 34 + "1" + "}" * 34,
    "NaN": '{"format": 2, "kind": "learner", "seeds": [NaN]}',
    "infinite": '{"format": 2, "kind": "learner", "status": -Infinity}',
    "a number of a million digits": '{"format": 2, "kind": ' + "9" * 1_000_000 + "}",
    "no UTF-8": b'{"format": 2, "kind": "\xff"}',
    "half": '{"format": 2, "kind": "lear',
    "a list": "[1, 2]",
    "larger than is read": '{"a": "' + "x" * 5_000_000 + '"}',
}


@pytest.mark.parametrize("name", ["config.json", "environment.json", "summary.json"])
@pytest.mark.parametrize("content", BROKEN_JSON)
def test_json_that_cannot_be_read_is_named(run, name, content):
    text = BROKEN_JSON[content]
    (run / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(
        ResultsError, match=rf"{name} .*(expected|cannot be read as JSON).*; delete the folder"
    ) as error:
        RunRecord.load(run)
    assert len(str(error.value)) < 500 + len(str(run))


def test_a_byte_order_mark_is_passed_over(run):
    for name in ("config.json", "environment.json", "summary.json"):
        (run / name).write_bytes(b"\xef\xbb\xbf" + (run / name).read_bytes())
    assert RunRecord.load(run).finished


def test_a_folder_in_a_file_s_place_is_named(run):
    for name in ("summary.json", "config.json"):
        (run / name).unlink()
        (run / name).mkdir()
        with pytest.raises(ResultsError, match=rf"{name} cannot be read: Is a directory"):
            RunRecord.load(run)


@pytest.mark.long
def test_a_flipped_bit_of_a_table_is_noticed_or_changes_nothing(run):
    """Every byte of it, and each time another bit."""
    path = run / "accuracy.parquet"
    content, written = path.read_bytes(), RunRecord.load(run).accuracy
    refused = 0
    for place in range(len(content)):
        flipped = bytearray(content)
        flipped[place] ^= 1 << place % 8
        path.write_bytes(flipped)
        refusal = refusal_of(run)
        if refusal is None:
            np.testing.assert_array_equal(RunRecord.load(run).accuracy, written)
        else:
            assert "accuracy.parquet" in refusal
            refused += 1
    assert refused > len(content) / 3


@pytest.mark.parametrize("place", [0, 5, 40, 300, 700, -1, -9])
def test_a_flipped_byte_of_a_table_is_named(run, place):
    path, written = run / "accuracy.parquet", RunRecord.load(run).accuracy
    content = bytearray(path.read_bytes())
    content[place] ^= 0xFF
    path.write_bytes(content)
    refusal = refusal_of(run)
    if refusal is None:
        np.testing.assert_array_equal(RunRecord.load(run).accuracy, written)
    else:
        assert "accuracy.parquet" in refusal


def table_of(seeds: Any, after_task: Any, test_task: Any) -> pd.DataFrame:
    columns = {"seed": seeds, "after_task": after_task, "test_task": test_task}
    n = max(np.size(it) for it in columns.values())
    table = pd.DataFrame({name: np.broadcast_to(it, n) for name, it in columns.items()})
    return table.astype("int64").assign(accuracy=0.5)


HOSTILE = {
    "accuracy.parquet of task 20,000": lambda: table_of(7, [-1, 20_000], [0, 20_000]),
    "accuracy.parquet of task 10^12": lambda: table_of(7, [-1, 10**12], [0, 10**12]),
    "accuracy.parquet of many rows": lambda: table_of(7, 0, np.zeros(15_000_000, np.int64)),
    "accuracy.parquet of as many rows as are read": lambda: table_of(7, 0, np.zeros(4_000_000, np.int64)),
    "accuracy.parquet of seeds of its own": lambda: table_of(np.arange(4_000_000), 0, 0),
    "accuracy.parquet of long words": lambda: table_of(7, 0, [0] * 3000).assign(accuracy="x" * 400_000),
    "config.json of lists": lambda: "[" + "[]," * 16_000_000 + "[]]",
    "config.json of objects": lambda: '{"a": [' + "{}," * 1_600_000 + "{}]}",
    "config.json of lists in lists": lambda: '{"a": [' + ("[" * 20 + "]" * 20 + ",") * 120_000 + "[]]}",
    "summary.json of numbers": lambda: '{"forgetting": [' + "0.5," * 1_200_000 + "1]}",
}

HEAVY = dict.fromkeys(["accuracy.parquet of seeds of its own", "accuracy.parquet of long words"], pytest.mark.long)

MEASURED = """
import resource, sys, time
from pathlib import Path
import numpy, pandas, pyarrow.parquet
from perdure.records.errors import ResultsError
from perdure.records.learner import RunRecord
from perdure.machine.process import peak_memory

before, began = peak_memory(), time.process_time()
try:
    RunRecord.load(Path(sys.argv[1]))
except ResultsError as error:
    print(str(error)[:2000])
print(peak_memory() - before, time.process_time() - began)
"""


@pytest.mark.parametrize("what", [pytest.param(it, marks=HEAVY.get(it, ())) for it in HOSTILE])
def test_reading_is_bounded_in_memory_and_time(run, what):
    content = HOSTILE[what]()
    path = run / what.partition(" ")[0]
    if isinstance(content, str):
        path.write_text(content)
    else:
        content.to_parquet(path, index=False)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", MEASURED, str(run)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    *said, figures = done.stdout.splitlines()
    memory, seconds = map(float, figures.split())
    assert path.name in said[0]
    assert "expected" in said[0] or "has task" in said[0]
    assert memory < 500e6, f"{memory / 1e6:.0f} MB"
    assert seconds < 10
