"""`perdure tune` as a user meets it."""

import json

import pytest

from perdure.presets.file import read_presets

pytestmark = pytest.mark.long

SMALL = ["digits-rotations", "--tasks", "2", "--examples-per-task", "30", "--quiet"]


@pytest.fixture(scope="module")
def tuned(tmp_path_factory, perdure):
    """A folder of a finished search, and what the command printed."""
    folder = tmp_path_factory.mktemp("searches") / "online"
    process = perdure("tune", "online", *SMALL, "--learning-rate", "0.01,0.1,1e9", "--out", folder)
    assert process.returncode == 0, process.stderr
    return folder, process


def test_a_search_shows_all_and_writes_record_figure_and_preset(tuned):
    folder, process = tuned
    trials = json.loads((folder / "trials.json").read_text())["trials"]
    assert len(trials) == 3
    for trial in trials:
        scores = trial["retained_accuracy"]
        shown = "diverged" if None in scores else f"{50 * sum(scores):.2f}"
        assert shown in process.stdout
    assert process.stdout.count("← chosen") == 1
    assert "seeds 1000, 1001; tasks 2; examples_per_task 30" in process.stdout
    assert sorted(path.name for path in (folder / "figures").iterdir()) == ["search.png", "search.svg"]
    (preset,) = read_presets(folder / "preset.toml")
    assert preset.options == {"tasks": 2, "examples_per_task": 30}
    best = max(
        (trial for trial in trials if None not in trial["retained_accuracy"]),
        key=lambda it: sum(it["retained_accuracy"]),
    )
    assert preset.hyperparameters == best["hyperparameters"]


def test_the_preset_is_what_a_run_uses(tuned, tmp_path, perdure):
    folder, process = tuned
    command = process.stdout.partition("measure the chosen: perdure ")[2].split()
    size = ["--tasks", "2", "--examples-per-task", "30"]
    preset = ["--preset", str(folder / "preset.toml")]
    assert command == ["run", "online", "digits-rotations", *preset, "--seeds", "5", *size]
    run = perdure(*command, "--quiet", "--out", tmp_path / "run")
    assert run.returncode == 0, run.stderr
    assert "chosen for a part" not in run.stderr
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["learner"]["hyperparameters"] == read_presets(folder / "preset.toml")[0].hyperparameters
    assert config["learner"]["hyperparameters"]["learning_rate"] != 0.05  # that of the built-in preset


def test_searches_at_random_gather_in_one_file_of_presets(tmp_path, perdure):
    arguments = ["--search", "random", "--trials", 3, "--seeds", 1, "--preset", "own.toml"]
    for learner, options in (("online", []), ("er", ["--memory-size", 20, "--replay-batch-size", 2])):
        process = perdure("tune", learner, *SMALL, "--learning-rate", "0.01..0.1", *options, *arguments, cwd=tmp_path)
        assert process.returncode == 0, process.stderr
    online, er = read_presets(tmp_path / "own.toml")
    assert (online.learner, er.learner, er.memory_size) == ("online", "er", 20)
    folders = sorted(path.name.rpartition("-")[0] for path in (tmp_path / "runs").iterdir())
    assert folders == ["tune-er-digits-rotations", "tune-online-digits-rotations"]


def test_help_names_hyperparameters_and_takes_lists(perdure):
    text = perdure("tune", "mer", "--help").stdout
    for word in ("--learning-rate", "--beta", "--search", "--trials", "--preset", "mnist-rotations"):
        assert word in text


BAD = {
    "learner": (["merr", *SMALL], "did you mean 'mer'"),
    "nothing to choose": (["online", *SMALL], "one combination only"),
    "text": (["online", *SMALL, "--learning-rate", "0.1,high"], "--learning-rate is '0.1,high', expected numbers"),
    "interval in a grid": (["online", *SMALL, "--learning-rate", "0.1..1"], "which only random search draws from"),
    "low > high": (["online", *SMALL, "--learning-rate", "1..0.1", "--search", "random"], "expected 0 < low < high"),
    "trials of a grid": (["online", *SMALL, "--learning-rate", "0.1,1", "--trials", "3"], "add --search random"),
    "one trial": (["online", *SMALL, "--search", "random", "--trials", "1"], "Invalid value for '--trials'"),
    "all diverge": (["online", *SMALL, "--learning-rate", "1e9,1e10"], "all 2 combinations diverged"),
    "no preset in the file": (["online", *SMALL, "--learning-rate", "0.1,1", "--preset", "."], "cannot be read"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_message_and_status_2(name, tmp_path, perdure):
    arguments, message = BAD[name]
    process = perdure("tune", *arguments, cwd=tmp_path)
    assert process.returncode == 2
    assert message in process.stderr
    assert "Traceback" not in process.stderr


def test_a_run_with_a_file_that_holds_no_such_preset_is_refused(tuned, perdure):
    process = perdure("run", "er", *SMALL, "--preset", tuned[0] / "preset.toml")
    assert process.returncode == 2
    assert (
        "holds no preset of er for digits-rotations, expected one; it holds online for digits-rotations"
        in process.stderr
    )
