"""Messages name options as they are typed."""

import json

import numpy as np
import pytest

from perdure.cli.spelling import spelled

OPTIONS = {
    it: f"--{it.replace('_', '-')}"
    for it in (
        "scenario",
        "rounds",
        "tests",
        "tasks",
        "label",
        "memory_size",
        "learning_rate",
        "task_order",
        "data_dir",
    )
} | {"hides_tasks": "--hide-tasks"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("give hides_tasks=False, or leave out hides_tasks=True", "give no --hide-tasks, or leave out --hide-tasks"),
        ("scenario is 'task' and rounds is 2, but", "--scenario is task and --rounds is 2, but"),
        ("memory_size = 200, learning_rate = 0.1 were not", "--memory-size 200, --learning-rate 0.1 were not"),
        ("memory_size = 200, beta = 0.1 were not", "memory_size = 200, beta = 0.1 were not"),
        ("learning_rate = -1.0, expected", "--learning-rate is -1.0, expected"),
        ("has no option tests, expected: tasks, task_order", "has no option --tests, expected: --tasks, --task-order"),
        ("give it a memory_size of at least 10", "give it a --memory-size of at least 10"),
        ("task_order is [0, 1], expected each of", "--task-order is 0,1, expected each of"),
        ("give label='NAME'", "give --label NAME"),
        # words of a sentence, own quotations, paths and other spellings
        ("its label is 3, in two rounds of tests", "its label is 3, in two rounds of tests"),
        ("config.json, 'memory_size' is missing", "config.json, 'memory_size' is missing"),
        ("--set is 'er.learning_rate=a'", "--set is 'er.learning_rate=a'"),
        ("perdure tune er x --learning-rate 0.1", "perdure tune er x --learning-rate 0.1"),
        ("def make(seed, *, tasks=None, data_dir=None)", "def make(seed, *, tasks=None, data_dir=None)"),
        ("runs/tasks=3 cannot be read", "runs/tasks=3 cannot be read"),
        ("evaluate_every = 3 is given", "evaluate_every = 3 is given"),
    ],
)  # fmt: skip
def test_options_are_named_as_they_are_typed(text, expected):
    assert spelled(text, OPTIONS) == expected
    assert spelled(text, {}) == text


def test_the_array_of_a_file_is_named_as_the_message_says(typed, tmp_path):
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "own.npz", inputs=rng.normal(size=(20, 3)).astype("float32"), y=np.arange(20) % 2)
    command = ["run", "online", "own.npz", "--learning-rate", "0.1", "--quiet"]
    ended = typed(*command, cwd=tmp_path)
    assert "own.npz has no array 'x'; it has 'inputs'" in ended.stderr
    assert "give --features NAME" in ended.stderr
    assert typed(*command, "--features", "inputs", cwd=tmp_path).returncode == 0


def test_the_record_of_a_run_marks_what_was_not_chosen_for_its_stream(typed, tmp_path):
    small = ["--tasks", "1", "--examples-per-task", "5", "--quiet", "--out", "run"]
    ended = typed("run", "online", "digits-split", *small, cwd=tmp_path)
    assert "note: --learning-rate 0.05 was not chosen for digits-split --tasks 1" in ended.stderr
    mark = {"chosen_for": "digits-rotations", "hyperparameters": {"learning_rate": 0.05}}
    assert json.loads((tmp_path / "run" / "request.json").read_text()) == {"defaults": mark}
    assert typed("resume", "run", cwd=tmp_path).returncode == 0


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("run ewc digits-split --hide-tasks", "that shows them (no --hide-tasks)"),
        ("run er-ace-released digits-split --hide-tasks", "such as er-ace-released-task-free, or"),
        ("run er digits-rotations --hide-tasks", "has no option --hide-tasks, expected some of: --tasks, "),
        ("run er digits-split --scenario task --hide-tasks", "choose --scenario class, or leave out --hide-tasks"),
        ("run er digits-split --scenario task --rounds 2", "--scenario is task and --rounds is 2, but"),
        ("run er digits-split --blur 0.2", "--blur 0.2 has no effect, for it is of --boundaries blurry"),
        ("run er digits-split --classes-per-task 20", "--classes-per-task is 20, expected 1 to 10"),
        ("run er digits-split --evaluate-on 5", "--evaluate-on 5 is given without --evaluate-every; give both"),
        ("compare er,ewc digits-split --hide-tasks", "ewc needs task numbers, which digits-split hides; leave it out"),
        ("tune er digits-split --tests none --learning-rate 0.1,1", "choose --tests task or --tests all"),
        ("run er digits-turning --degrees 9000", "--degrees is 9000.0, expected -3600 to 3600"),
        ("run er digits-rotations --degrees 90", "digits-rotations has no option --degrees"),
        ("tune er digits-split --learning-rate 0.1 --imbalance 0.5", "--imbalance is 0.5, expected"),
    ],
)  # fmt: skip
def test_what_is_refused_is_named_as_it_was_typed(typed, tmp_path, command, message):
    ended = typed(*command.split(), cwd=tmp_path)
    assert ended.returncode == 2
    assert message in " ".join(ended.stderr.split())
