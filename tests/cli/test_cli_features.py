"""`perdure features` as a user meets it."""

import re

import pytest

from perdure.records.evaluation import ClassResult, EvaluationRecord
from perdure.representation.file import load_representation
from perdure.representation.heads import HEADS, default_heads

pytestmark = [pytest.mark.long, pytest.mark.optimized]

TRAIN = ("features", "train", "sine", "--method", "pretraining", "--quiet", "--steps")


@pytest.fixture(scope="module")
def trained(tmp_path_factory, perdure):
    """A folder of a short training on sine waves, and what the command printed."""
    folder = tmp_path_factory.mktemp("trainings") / "sine"
    process = perdure(*TRAIN, "3", "--out", folder)
    assert process.returncode == 0, process.stderr
    return folder, process


def test_training_says_where_it_is(trained):
    folder, process = trained
    assert "representation.safetensors" in process.stdout
    assert (folder / "representation.safetensors").exists()


def test_the_same_command_again_trains_nothing(trained, perdure):
    folder, _ = trained
    before = (folder / "representation.safetensors").stat().st_mtime_ns
    process = perdure(*TRAIN, "3", "--out", folder)
    assert process.returncode == 0, process.stderr
    assert (folder / "representation.safetensors").stat().st_mtime_ns == before


def test_another_training_is_refused(trained, perdure):
    folder, _ = trained
    process = perdure(*TRAIN, "4", "--out", folder)
    assert process.returncode == 2
    assert "steps: 3 there, 4 requested" in process.stderr


def test_features_are_shown(trained, perdure, tmp_path):
    folder, _ = trained
    process = perdure("features", "visualize", folder, "sine", "--out", tmp_path)
    assert process.returncode == 0, process.stderr
    assert "Active" in process.stdout
    assert (tmp_path / "features.png").exists()


def test_an_evaluation_leaves_a_record_and_figures(perdure, tmp_path, real_omniglot_dir):
    arguments = ["omniglot-small", "--classes", "5", "--runs", "3", "--heads", "sgd, lda", "--quiet", "--out", tmp_path]
    process = perdure("features", "evaluate", *arguments, "--data-dir", real_omniglot_dir)
    assert process.returncode == 0, process.stderr
    assert "omniglot-small" in process.stdout
    (evaluation,) = EvaluationRecord.load(tmp_path).evaluations
    results = [it for it in evaluation.results if isinstance(it, ClassResult)]
    assert [(it.head, it.rate is None, len(it.held_out)) for it in results] == [("sgd", False, 3), ("lda", True, 3)]
    assert (tmp_path / "figures" / "classes.svg").exists()


@pytest.mark.parametrize(
    ("name", "heads"),
    [
        ("omniglot-small-pretraining", "else nearest-mean and lda"),
        ("omniglot-small-anml", "sgd if the file holds a network for it (omniglot-small-anml, sine)"),
        ("sine", "sgd if the file holds a network for it (omniglot-small-anml, sine)"),
        ("omniglot-small-gemcl", "gaussian, gaussian-map and lda for GeMCL"),
    ],
)
def test_help_names_the_heads_that_are_taken(name, heads, typed):
    text = " ".join(typed("features", "evaluate", "--help").stdout.replace("│", " ").split())
    assert heads in text
    assert set(default_heads(load_representation(name).model)) == set(re.findall("|".join(HEADS[::-1]), heads))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "omniglot", "--size", "huge"], "there is no preset for omniglot, size huge, method oml; there are:"),
        (["train", "sine", "--method", "pretraining", "--inner-rate", "1"], "pretraining has no --inner-rate; it has"),
        (["evaluate", "nothing"], "there is no representation 'nothing'; choose one of omniglot-small"),
        (["evaluate", "omniglot-small", "--heads", "ld"], "there is no head 'ld'; choose one of sgd, nearest-mean"),
        (["evaluate", "sine", "--order", "up"], "--order is up, expected one of sorted, random"),
        (["evaluate", "sine", "--classes", "ten"], "--classes is 'ten', expected numbers separated by commas"),
    ],
)
def test_mistakes(arguments, message, perdure, tmp_path):
    process = perdure("features", *arguments, "--quiet", cwd=tmp_path)
    assert process.returncode == 2
    assert message in process.stderr
