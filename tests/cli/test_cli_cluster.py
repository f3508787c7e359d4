"""perdure … --ray ADDRESS: what is refused before anything is computed, and runs on a real Ray cluster."""

import socket
import time

import pytest

from perdure.records.evaluation import EvaluationRecord
from perdure.records.learner import RunRecord
from perdure.records.tuning import TuningRecord

SHORT = ["digits-rotations", "--tasks", "2", "--examples-per-task", "20", "--quiet"]
COMMANDS = {
    "run": ["run", "online", *SHORT, "--seeds", "2"],
    "tune": ["tune", "online", *SHORT, "--learning-rate", "0.01,0.1", "--seeds", "1"],
    "evaluate": ["features", "evaluate", "sine", "--heads", "ridge", "--runs", "1", "--quiet"],
    "compare": ["compare", "online", *SHORT],
}


@pytest.fixture
def nobody():
    """An address at which nothing listens."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{unused.getsockname()[1]}"


@pytest.mark.parametrize("name", COMMANDS)
def test_an_address_that_does_not_answer_is_named_in_time(typed, tmp_path, nobody, name):
    began = time.monotonic()
    ended = typed(*COMMANDS[name], "--ray", nobody, cwd=tmp_path)
    assert time.monotonic() - began < 10
    assert ended.returncode == 2
    assert f"no Ray cluster answers at {nobody}" in ended.stderr
    assert not (tmp_path / "runs").exists()


def test_a_run_is_resumed_on_a_cluster(typed, tmp_path, nobody):
    assert typed(*COMMANDS["run"], "--out", "it", cwd=tmp_path).returncode == 0
    (tmp_path / "it" / "summary.json").unlink()
    ended = typed("resume", "it", "--ray", nobody, cwd=tmp_path)
    assert f"no Ray cluster answers at {nobody}" in ended.stderr


def test_what_is_one_part_is_refused(typed, tmp_path):
    (tmp_path / "a.csv").write_text("a,b,y\n1,2,0\n2,1,1\n" * 5)
    assert typed("stream", "a.csv", "--label", "y", "--quiet", "--out", "it", cwd=tmp_path).returncode == 0
    (tmp_path / "it" / "summary.json").unlink()
    ended = typed("resume", "it", "--ray", "local", cwd=tmp_path)
    assert ended.returncode == 2
    assert "--ray is for runs of many parts: learner, tuning" in ended.stderr
    assert "it holds a run of the kind stream, which is one part: leave it out" in ended.stderr


@pytest.mark.long
def test_parts_are_done_on_a_ray_cluster(perdure, tmp_path):
    """Ray of this machine alone: starting it takes most of the time."""
    for name in ("run", "tune", "evaluate"):
        ended = perdure(*COMMANDS[name], "--ray", "local", "--out", name, cwd=tmp_path)
        assert ended.returncode == 0, ended.stderr
        assert not (tmp_path / name / "parts").exists()
    run = RunRecord.load(tmp_path / "run")
    assert run.summary is not None
    assert run.seeds == (0, 1)
    assert TuningRecord.load(tmp_path / "tune").finished
    assert EvaluationRecord.load(tmp_path / "evaluate").finished
