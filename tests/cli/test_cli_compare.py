"""perdure compare: what is refused before anything is computed, and one comparison in whole."""

import json
import shutil
import sys

import numpy as np
import pytest

from perdure.cli.compare import _names, _values
from perdure.records.methods import MethodsRecord
from tests import own_code


def test_a_benchmark_alone_means_the_default_methods():
    assert _names("digits-rotations", None) == (None, "digits-rotations")
    assert _names("er, mer,", "digits-rotations") == (["er", "mer"], "digits-rotations")


def test_values_are_read_by_their_kind():
    given = ["er.learning_rate=0.1", "er.memory-size=50", "er.memory_rule=ring"]
    assert _values(given) == {"er": {"learning_rate": 0.1, "memory_size": 50, "memory_rule": "ring"}}
    assert _values(["la-maml.second_order=true"]) == {"la-maml": {"second_order": True}}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give a benchmark: "),
        (["er,mer"], "give a benchmark after er,mer: "),
        (
            ["digits-rotations", "er,mer"],
            "digits-rotations is a benchmark and stands where the methods belong; give the methods first: perdure "
            "compare er,mer digits-rotations",
        ),
        (
            ["er", "digits-rotations", "--label", "y"],
            "--label is of a stream in a file with columns or arrays, and digits-rotations",
        ),
        (["er,absent.py:It", "digits-rotations"], "absent.py does not exist; give the path of your file"),
        (["er", "absent.py:make"], "absent.py does not exist; give the path of your file"),
        (["er", "absent.csv", "--task", "part"], "absent.csv"),
        (["er", "digits-rotations", "--set", "er"], "--set is 'er', expected METHOD.NAME=VALUE"),
        (["er", "digits-rotations", "--set", "er.beta=1"], "but er has no beta; it has learning_rate"),
        (["er", "digits-rotations", "--set", "er.memory_size=2.5"], "expected a whole number after the equals sign"),
        (
            ["er", "digits-rotations", "--set", "er.memory_size=0"],
            "'er.memory_size=0', expected a whole number ≥ 1 after",
        ),
        (["er", "digits-rotations", "--set", "er.learning_rate=nan"], "=nan', expected a finite number ≥ 0 after the"),
        (["er", "digits-rotations", "--set", "er.memory_rule=odd"], "=odd', expected one of reservoir, ring, recent, "),
        (["er", "digits-rotations", "--set", "mer.beta=1"], "values are given for mer, not among the methods: er"),
        (["er", "digits-rotations", "--baseline", "mer"], "the baseline is mer, expected one of the methods: er"),
        (["er", "digits-rotations", "--evaluate-on", "5"], "--evaluate-on 5 is given without --evaluate-every"),
        (["er,no-such", "digits-rotations"], "unknown learner 'no-such'"),
    ],
)
def test_wrong_arguments_are_explained(typed, arguments, message, tmp_path):
    ended = typed("compare", *arguments, cwd=tmp_path)
    assert ended.returncode == 2
    assert message in ended.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.long
def test_a_comparison_from_the_command_line(perdure, tmp_path):
    arguments = ["compare", "online,er", "digits-rotations", "--tasks", 2, "--examples-per-task", 30, "--seeds", 2]
    first = perdure(*arguments, "--evaluate-every", 20, "--out", "both", cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    assert "2 of 2" in first.stderr
    for name in ("results.md", "results.html", "figures/accuracy-over-time-digits-rotations.png"):
        assert (tmp_path / "both" / name).stat().st_size > 0
    again = perdure(*arguments, "--evaluate-every", 20, "--out", "both", "--quiet", cwd=tmp_path)
    assert again.stdout == first.stdout
    for command in (["report", "both"], ["resume", "both"], ["results", "."]):
        assert perdure(*command, cwd=tmp_path).returncode == 0


def test_the_runs_of_a_comparison_mark_what_was_not_chosen_for_their_stream(typed, tmp_path):
    small = ["--tasks", "1", "--examples-per-task", "5", "--seeds", "1", "--workers", "1", "--quiet", "--out", "both"]
    ended = typed("compare", "online,er", "digits-split", *small, cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert "fewer than 3 seeds, too few to compare by: " in ended.stderr
    mark = {"defaults": {"chosen_for": "digits-rotations", "hyperparameters": {"learning_rate": 0.05}}}
    (run,) = (tmp_path / "both").glob("online-*")
    assert json.loads((run / "request.json").read_text()) == mark
    for finished in (tmp_path / "both", run):
        (finished / "summary.json").unlink()
    (run / "request.json").unlink()  # as if the run had not been begun
    assert typed("resume", "both", "--quiet", cwd=tmp_path).returncode == 0
    assert json.loads((run / "request.json").read_text()) == mark


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with own code; what is imported from it is forgotten afterwards."""
    own_code.write_own_code(tmp_path)
    (tmp_path / "beside.py").write_text("def half(x):\n    return x / 2\n")
    method = tmp_path / "my_method.py"
    method.write_text("from beside import half\n" + method.read_text().replace("self.learning_rate)", "half(0.2))"))
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield tmp_path
    own_code.forget(sys.modules, tmp_path)


def test_own_code_is_told_from_learners(folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert _names("my_stream.py:make", None) == (None, "my_stream.py:make")
    assert _names("data.csv", None) == (None, "data.csv")
    with pytest.raises(ValueError, match=r"give a benchmark after my_method.py:MyLearner: digits-rotations"):
        _names("my_method.py:MyLearner", None)
    given = ["my_method.py:MyLearner.my_field=3", "er.memory_size=5"]
    assert _values(given) == {"my_method.py:MyLearner": {"my_field": 3}, "er": {"memory_size": 5}}


def test_own_learners_and_streams_are_compared_and_resumed(typed, folder):
    given = ["--set", "my_method.py:MyLearner.learning_rate=0.1", "--set", "er.memory_size=5", "--baseline", "er"]
    both = ["compare", "my_method.py:MyLearner,er", "my_stream.py:make", *given, "--model", "my_net.py:Net"]
    ended = typed(*both, "--seeds", "2", "--workers", "1", "--quiet", "--out", "both", cwd=folder)
    assert ended.returncode == 0, ended.stderr
    record = MethodsRecord.load(folder / "both")
    assert [it.learner for it in record.runs] == ["MyLearner", "er"]
    assert {it.benchmark for it in record.runs} == {"my_stream.make"}
    before = [it.accuracy for it in record.runs]
    shutil.rmtree(folder / "both" / record.request.methods[0].run)
    (folder / "elsewhere").mkdir()
    own_code.forget(sys.modules, folder)
    ended = typed("resume", folder / "both", "--quiet", cwd=folder / "elsewhere")
    assert ended.returncode == 0, ended.stderr
    again = MethodsRecord.load(folder / "both")
    np.testing.assert_array_equal([it.accuracy for it in again.runs], before)
    assert json.loads((folder / "both" / "request.json").read_text())["methods"][1]["typed"]["benchmark"]


def test_files_are_compared(typed, folder):
    from tests.cli.test_cli_own import write_table

    write_table(folder / "data.npz", 20)
    write_table(folder / "test.npz", 12)
    options = ["--label", "kind", "--task", "part", "--test", "test.npz", "--set", "er.memory_size=5"]
    ended = typed("compare", "online,er", "data.npz", *options, "--seeds", "1", "--workers", "1", "--quiet", cwd=folder)
    assert ended.returncode == 0, ended.stderr
    (out,) = (folder / "runs").iterdir()
    assert [it.benchmark for it in MethodsRecord.load(out).runs] == ["data", "data"]
