"""Options and commands as they are mistyped, and the help that comes of it."""

import inspect
from itertools import pairwise

import pytest

from perdure.cli import features, rl
from perdure.cli.app import COMMANDS
from perdure.cli.run import _run
from perdure.cli.tune import _tune
from perdure.experiments.agents.run import run_agent
from perdure.experiments.representations.train import train_representation
from perdure.experiments.supervised.run import run
from perdure.experiments.tuning.tune import tune
from perdure.learners.catalog import CATALOG, learner_class


@pytest.fixture
def mistake(typed, tmp_path):
    """Function that returns the message that a command line of words ends with."""

    def message(command):
        process = typed(*command.split(), cwd=tmp_path)
        assert process.returncode == 2
        assert list(tmp_path.iterdir()) == []
        return " ".join(process.stderr.split())

    return message


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("rnu er digits-rotations", "unknown command 'rnu'; did you mean 'run'? Known: run, stream, model, serve"),
        ("run merr digits-rotations", "unknown learner 'merr'; did you mean 'mer'?"),
        ("rl trian dqn catcher", "unknown command 'trian'; did you mean 'train'?"),
        ("rl train dqn-mr catcher", "unknown agent 'dqn-mr'; did you mean 'dqn-mer'?"),
        ("features evaluat sine", "unknown command 'evaluat'; did you mean 'evaluate'?"),
        ("data fech mnist", "unknown command 'fech'; did you mean 'fetch'?"),
        ("run er digits-rotations --gamma 0.1", "er has no --gamma; mer, mer-algorithm-6, mer-algorithm-7 have"),
        ("run online digits-rotations --memory-size=5", "online has no --memory-size; "),
        ("tune er digits-rotations --batches-per-example 1", "er has no --batches-per-example; mer"),
        ("tune er digits-rotations --memory-rule ring", "there is no option --memory-rule; did you mean"),
        ("rl train dqn catcher --gamma 1", "dqn has no --gamma; dqn-mer has"),
        ("run er digits-rotations --qiet", "there is no option --qiet; did you mean --quiet?"),
        ("run er digits-rotations --seed 3", "there is no option --seed; did you mean --seeds or --first-seed?"),
        ("results --rot runs", "there is no option --rot; --help lists the options that there are"),
        ("compare er digits-rotations --seed 3", "there is no option --seed; did you mean --seeds or --first-seed?"),
        ("report runs --figure x", "there is no option --figure; did you mean --figures?"),
        ("reproduce mer --fast", "there is no option --fast; --help lists the options that there are"),
        ("features train sine --step 3", "there is no option --step; did you mean --steps"),
        ("run er digits-rotations -x", "there is no option -x; --help lists the options that there are"),
        ("run mer", "give a benchmark: digits-rotations, digits-split, "),
        ("run mer", "or your own: my_stream.py:make, data.csv, data.npz, data.pt"),
        ("tune mer", "give a benchmark: digits-rotations"),
        ("rl train dqn", "give a game: catcher, flappy-bird"),
        ("features train", "give a domain: omniglot, sine"),
        ("run mer digits-rotations --data-file x.pt", "give a benchmark or --data-file, not both"),
    ],
)
def test_a_mistake_is_explained(mistake, command, message):
    assert message in mistake(command)


def test_values_that_look_like_options_are_none(mistake):
    assert "--learning-rate is -0.1" in mistake("run online digits-rotations --tasks 1 --learning-rate -0.1")
    assert "--task-order is '--x'" in mistake("run online digits-rotations --task-order --x")


COMMAND_LINES = [
    [],
    *([name] for name in COMMANDS),
    ["run", "er"],
    ["tune", "er"],
    ["rl", "train"],
    ["rl", "train", "dqn"],
    ["rl", "compare"],
    ["rl", "play"],
    *(["features", name] for name in ("train", "evaluate", "visualize", "learners")),
    *(["data", name] for name in ("list", "fetch", "verify")),
]


@pytest.mark.parametrize("words", COMMAND_LINES, ids=" ".join)
def test_both_kinds_of_help_show_examples_that_begin_with_the_command(words, typed):
    short, long = typed(*words, "-h"), typed(*words, "--help")
    assert short.returncode == long.returncode == 0
    assert short.stdout == long.stdout
    assert short.stderr == long.stderr == ""
    text = short.stdout
    assert "Examples:" in text
    prose = text.partition("╭")[0].splitlines()
    for line, following in pairwise(prose):  # no line ends early
        assert not line.strip() or not following.strip() or len(f"{line.rstrip()} {following.split()[0]}") > 78
    first = text.partition("Examples:")[2].strip().splitlines()[0].strip()
    assert first.startswith(" ".join(["perdure", *words]))


@pytest.mark.parametrize("name", CATALOG)
def test_help_of_a_learner_keeps_every_word_of_its_docstring(name, typed):
    shown = typed("run", name, "--help").stdout.replace("│", " ").split()
    assert set((learner_class(name).__doc__ or "").split()) <= set(shown)


# --- the command line and Python agree


def defaults(function):
    """Return a function's defaults by the names of its parameters."""
    parameters = inspect.signature(function).parameters.values()
    return {it.name: it.default for it in parameters if it.default is not inspect.Parameter.empty}


ELSEWHERE = {"seeds", "steps", "folder", "progress", "first_seed", "trials", "model", "stages", "validate_every"}
"""Defaults that are said otherwise: seeds by their number and the first, presets that the command line reads."""


@pytest.mark.parametrize(
    ("command", "function"),
    [(_run, run), (_tune, tune), (rl._train, run_agent), (features.train, train_representation)],
    ids=["run", "tune", "rl train", "features train"],
)
def test_a_default_is_the_same_in_python(command, function):
    typed, called = defaults(command), defaults(function)
    shared = (typed.keys() & called.keys()) - ELSEWHERE
    assert {name: typed[name] for name in shared} == {name: called[name] for name in shared}
    assert shared or command is _tune


def test_several_seeds_are_said_alike_everywhere():
    for command in (_run, rl._train):
        assert {"seeds", "first_seed"} <= defaults(command).keys()
        assert "seed" not in defaults(command)
