"""The command of a run is one that makes it again."""

import dataclasses
import shlex

import pytest
import typer

from perdure.cli import run as cli_run
from perdure.report.commands import command_of

OPTIONS = {"tasks": 3, "examples_per_task": 50}


@pytest.fixture
def parsed(monkeypatch):
    """Function that returns the configuration of the run that a command would do."""
    import perdure.experiments.supervised.apart as apart

    done = []
    monkeypatch.setattr(apart, "run_somewhere", lambda spec, how, folder, engine: done.append(spec.config))
    monkeypatch.setattr(cli_run, "report_run", lambda folder: None)

    def parse(command, folder):
        words = shlex.split(command)
        assert words[:2] == ["perdure", "run"]
        typer.main.get_command(cli_run.run_app)([*words[2:], "--out", str(folder)], standalone_mode=False)
        return done[-1]

    return parse


@pytest.mark.parametrize(
    ("learner", "hyperparameters", "options"),
    [
        ("mer", {"memory_size": 50, "learning_rate": 0.05, "beta": 0.03}, OPTIONS),
        ("la-maml", {"second_order": True}, {**OPTIONS, "task_order": [2, 0, 1]}),
        ("la-maml", {"second_order": False}, {**OPTIONS, "validation": True}),
    ],
)
def test_the_command_makes_the_run_again(made_up_run, parsed, tmp_path, learner, hyperparameters, options):
    record = made_up_run(learner, hyperparameters, "digits-rotations", options, seeds=2, alignment=[0.1, 0.2])
    config = parsed(command_of(record), tmp_path / "new")
    assert hyperparameters.items() <= config["learner"]["hyperparameters"].items()
    assert config["benchmark"]["options"] == options
    assert (config["seeds"], config["evaluation"], config["alignment"]) == ([0, 1], "full", True)
    again = dataclasses.replace(record, config=config)
    assert parsed(command_of(again), tmp_path / "newer") == config


def test_later_seeds_and_evaluations_within_tasks_are_kept(made_up_run, parsed, tmp_path):
    record = made_up_run("online", {"learning_rate": 0.1}, "digits-rotations", OPTIONS, full=False)
    changed = {**record.config, "seeds": [4, 5], "evaluate": {"every": 20, "test_examples": 30}}
    config = parsed(command_of(dataclasses.replace(record, config=changed)), tmp_path / "new")
    assert config["seeds"] == [4, 5]
    assert config["evaluate"] == {"every": 20, "test_examples": 30}


@pytest.mark.parametrize(
    "changed",
    [
        {"seeds": [0, 2]},
        {"learner": {"name": "mine", "hyperparameters": {}}},
        {"learner": {"name": "er", "hyperparameters": {}, "fields": {"loss": "x"}}},
        {"model": {"name": "mine"}},
        {"benchmark": {"name": "mine", "options": {}}},
    ],
)
def test_what_cannot_be_typed_has_no_command(made_up_run, changed):
    record = made_up_run()
    assert command_of(dataclasses.replace(record, config={**record.config, **changed})) is None
