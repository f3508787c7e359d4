"""`perdure rl` as a user meets it."""

import json

import pytest

SHORT = ["--schedule", "0:1000", "--seeds", "2", "--episodes", "1", "--replay-batch-size", "2", "--quiet"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory, perdure):
    """A folder of a short run, and what the command printed."""
    folder = tmp_path_factory.mktemp("runs") / "short"
    process = perdure("rl", "train", "dqn", "catcher", *SHORT, "--out", folder)
    assert process.returncode == 0, process.stderr
    return folder, process


@pytest.mark.long
def test_training_ends_with_a_table_and_says_where_the_record_is(trained):
    folder, process = trained
    assert "All levels" in process.stdout
    assert f"record: {folder}" in process.stdout
    assert (folder / "summary.json").exists()


@pytest.mark.long
def test_the_same_command_again_plays_nothing(trained, perdure):
    folder, first = trained
    before = (folder / "summary.json").stat().st_mtime_ns
    process = perdure("rl", "train", "dqn", "catcher", *SHORT, "--out", folder)
    assert process.stdout == first.stdout
    assert (folder / "summary.json").stat().st_mtime_ns == before


@pytest.mark.long
def test_another_schedule_or_game_is_refused(trained, perdure):
    folder, _ = trained
    process = perdure("rl", "train", "dqn", "catcher", *SHORT, "--schedule", "1:1000", "--out", folder)
    assert process.returncode == 2
    assert "stages: [[0, 1000]] there, [[1, 1000]] requested" in process.stderr
    process = perdure("rl", "train", "dqn", "flappy-bird", *SHORT, "--out", folder)
    assert process.returncode == 2
    assert "environment.name: catcher there, flappy-bird requested" in process.stderr


@pytest.mark.long
def test_small_frames_loss_and_unit_of_the_target_are_recorded(perdure, tmp_path):
    options = [
        "--observation",
        "frames-small",
        "--target-unit",
        "episodes",
        "--target-period",
        "2",
        "--loss",
        "squared",
    ]
    few = [
        "--target-period",
        "2",
        "--memory-size",
        "50",
        "--episodes",
        "1",
        "--replay-batch-size",
        "2",
        "--warmup-frames",
        "900",
        "--quiet",
    ]
    folder = tmp_path / "r"
    process = perdure("rl", "train", "dqn-mer", "catcher", *options, *few, "--schedule", "0:1000", "--out", folder)
    assert process.returncode == 0, process.stderr
    config = json.loads((folder / "config.json").read_text())
    assert config["environment"] == {"name": "catcher", "observation": "frames-small"}
    its = config["agent"]["hyperparameters"]
    assert (its["target_unit"], its["target_period"], its["loss"]) == ("episodes", 2, "squared")
    process = perdure("rl", "play", folder, "--frames", "3", "--out", tmp_path / "a.gif")
    assert process.returncode == 0, process.stderr


@pytest.mark.long
def test_runs_are_compared_and_watched(trained, perdure, tmp_path):
    folder, _ = trained
    process = perdure("rl", "compare", folder, "--figures", tmp_path)
    assert process.returncode == 0, process.stderr
    assert (tmp_path / "scores-catcher.png").exists()
    process = perdure("rl", "play", folder, "--level", "1", "--frames", "5", "--out", tmp_path / "a.mp4")
    assert process.returncode == 0, process.stderr
    assert "score" in process.stdout
    assert "▀" not in process.stdout  # no pictures where there is no terminal
    assert (tmp_path / "a.mp4").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "dqn-mr", "catcher"], "unknown agent 'dqn-mr'; did you mean 'dqn-mer'?"),
        (["train", "dqn", "pong"], "unknown environment 'pong'; did you mean"),
        (["train", "dqn", "LunarLander-v3"], "LunarLander-v3 needs what is not installed: Box2D is not installed"),
        (["train", "dqn", "no_such_module:Env-v0"], "Env-v0 needs what is not installed: No module named 'no_such"),
        (["train", "dqn", "Pendulum-v1"], "the actions of Pendulum-v1 are Box(-2.0, 2.0, (1,), float32)"),
        (
            ["train", "dqn", "CartPole-v1", "--observation", "frames"],
            "--observation frames was given for CartPole-v1",
        ),
        (["train", "dqn", "CartPole-v1", "--schedule", "0:400"], "lasts 400 frames, less than an episode"),
        (["train", "dqn", "own.py:Env"], "own.py does not exist; give the path of your file"),
        (["train", "dqn", "catcher", "--observation", "sound"], "unknown observation 'sound'"),
        (["train", "dqn", "catcher", "--schedule", "1-5"], "expected level:frames separated by commas"),
        (["train", "dqn", "catcher", "--schedule", "0:500"], "lasts 500 frames, less than an episode"),
        (["train", "dqn", "catcher", "--schedule", "6:5000"], "level = 6, expected a whole number from 0 to 5"),
        (
            ["train", "dqn", "catcher", "--target-unit", "minutes"],
            "--target-unit is minutes, expected one of frames",
        ),
        (["train", "dqn-mer", "catcher", "--loss", "l1"], "--loss is l1, expected one of huber, squared"),
        (
            ["train", "dqn", "catcher", "--memory-rule", "half"],
            "--memory-rule is half, expected one of ring, reservoir, halves",
        ),
        (
            ["train", "dqn", "CartPole-v1", "--memory-rule", "halves", "--memory-size", "11"],
            "--memory-size is 11, expected an even",
        ),
        (
            ["train", "ppo", "catcher", "--minibatches", "7"],
            "--minibatches is 7, expected a number that divides the 1024",
        ),
        (["train", "stream-q", "catcher", "--observation", "frames-small"], "the network of Stream-Q is a perceptron"),
        (["train", "dqn", "catcher", "--discount", "2"], "--discount is 2.0, expected a number from 0 to 1"),
        (["play", "nowhere", "--out", "a.avi"], "a.avi was given as the film to write, expected a name that ends"),
        (["compare", "nowhere"], "nowhere does not exist; give the folder of a run"),
    ],
)
def test_mistakes_are_told(typed, tmp_path, arguments, message):
    process = typed("rl", *arguments, cwd=tmp_path)
    assert process.returncode == 2
    assert message in " ".join(process.stderr.split())
    assert list(tmp_path.iterdir()) == []
