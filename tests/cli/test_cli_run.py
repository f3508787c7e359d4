"""Where the stream of `perdure run` comes from: a benchmark, its validation stream, or a file."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from perdure.cli.resume import resume
from perdure.cli.run import run_app
from perdure.experiments.supervised.run import run
from perdure.learners.online import Online
from perdure.machine.signals import InterruptedRunError
from perdure.records.learner import RunRecord
from perdure.streams.benchmark import checksum
from perdure.streams.catalog import BenchmarkRecipe
from perdure.streams.raw.registry import DataError
from perdure.streams.torch_file import DataFileRecipe

SMALL = {"tasks": 2, "examples_per_task": 15}
SMALL_OPTIONS = ["--tasks", "2", "--examples-per-task", "15"]


def perdure_run(*arguments):
    """Run `perdure run` in this process; what goes wrong is raised."""
    commands = typer.Typer()
    commands.add_typer(run_app, name="run")
    arguments = ["run", "online", "--learning-rate", "0.1", "--quiet", *map(str, arguments)]
    assert CliRunner().invoke(commands, arguments, catch_exceptions=False).exit_code == 0


def checksums(folder):
    return json.loads((folder / "environment.json").read_text())["data_checksums"]


@pytest.fixture
def data_file(tmp_path):
    """A file of three small tasks as the released programs write it."""
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)

    def part(n):
        return [0, torch.as_tensor(rng.random((n, 6), dtype=np.float32)), torch.as_tensor(rng.integers(0, 3, n))]

    path = tmp_path / "own" / "rotations.pt"
    path.parent.mkdir()
    torch.save([[part(20) for _ in range(3)], [part(9) for _ in range(3)]], path)
    return path


@pytest.mark.long
def test_a_run_learns_from_a_data_file(data_file, tmp_path):
    folder = tmp_path / "run"
    perdure_run("--data-file", data_file, *SMALL_OPTIONS, "--task-order", "1,0", "--first-seed", 3, "--out", folder)
    recipe = DataFileRecipe(data_file, {**SMALL, "task_order": [1, 0]})
    record = RunRecord.load(folder)
    assert record.config["benchmark"] == {"name": "rotations", "options": dict(recipe.options)}
    assert checksums(folder) == {"benchmark of seed 3": checksum(recipe(3))}
    expected = run(Online(0.1), recipe, seeds=[3], progress=False)
    np.testing.assert_array_equal(record.accuracy, expected.accuracy)


@pytest.mark.long
def test_a_run_of_a_data_file_goes_on_where_the_file_is(data_file, tmp_path, monkeypatch):
    recipe = DataFileRecipe(data_file, SMALL | {"tasks": 3})

    def stop(moment):
        if moment.position == 15:
            signal.raise_signal(signal.SIGTERM)

    advice = f"perdure resume {tmp_path / 'run'} --data-dir {data_file.parent}`"
    with pytest.raises(InterruptedRunError, match=re.escape(advice)):
        run(
            Online(0.1),
            recipe,
            folder=tmp_path / "run",
            checkpoint_seconds=0.0,
            progress=stop,
        )
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=r"rotations\.pt does not exist, .*: perdure resume run --data-dir FOLDER"):
        resume(Path("run"), quiet=True)
    resume(Path("run"), data_dir=data_file.parent, quiet=True)
    assert "resumed from position" in (tmp_path / "run" / "log.txt").read_text()
    expected = run(Online(0.1), recipe, progress=False)
    np.testing.assert_array_equal(RunRecord.load(tmp_path / "run").accuracy, expected.accuracy)


def test_another_file_is_refused_for_the_rest(data_file, tmp_path):
    def stop(moment):
        signal.raise_signal(signal.SIGTERM)

    with pytest.raises(InterruptedRunError):
        run(Online(0.1), DataFileRecipe(data_file, SMALL), folder=tmp_path / "run", progress=stop)
    data_file.write_bytes(data_file.read_bytes() + b" ")
    with pytest.raises(DataError, match=r"has sha256 .*, expected .*; give the file that the run began with"):
        resume(tmp_path / "run", data_dir=data_file.parent, quiet=True)


@pytest.mark.long
def test_validation_learns_the_validation_stream(tmp_path):
    perdure_run("digits-rotations", *SMALL_OPTIONS, "--validation", "--out", tmp_path)
    config = RunRecord.load(tmp_path).config
    assert config["benchmark"] == {"name": "digits-rotations", "options": {**SMALL, "validation": True}}
    reported, validation = (
        checksum(BenchmarkRecipe("digits-rotations", {**SMALL, **more})(0)) for more in ({}, {"validation": True})
    )
    assert checksums(tmp_path) == {"benchmark of seed 0": validation}
    assert validation != reported


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "give a benchmark: digits-rotations, .*, or your own: my_stream.py:make"),
        (["digits-rotations", "--data-file", "some.pt"], "not both: digits-rotations and some.pt were given"),
    ],
)
def test_a_run_has_one_source(given, message):
    with pytest.raises(ValueError, match=message):
        perdure_run(*given)


def test_a_data_file_has_no_validation_stream(data_file):
    with pytest.raises(TypeError, match="a data file has no option validation, expected some of: tasks"):
        perdure_run("--data-file", data_file, "--validation")


@pytest.mark.long
def test_no_program_is_compiled_but_to_start_to_learn_and_to_answer(tmp_path):
    """Small programs on the way, such as for a conversion, each take a hundredth of a second at every start."""
    command = "run online digits-rotations --tasks 1 --examples-per-task 5 --quiet --out"
    logged = subprocess.run(
        [sys.executable, "-m", "perdure", *command.split(), str(tmp_path / "run")],
        env={**os.environ, "JAX_LOG_COMPILES": "1"},
        capture_output=True,
        text=True,
        check=True,
    ).stderr
    compiled = re.findall(r"Finished XLA compilation of jit\((\w+)\)", logged)
    assert compiled == ["start", "_advance_each", "_outputs"]
