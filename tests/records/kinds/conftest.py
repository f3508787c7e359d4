"""A finished folder of every kind of run, made up."""

import json

import numpy as np
import pytest

from perdure.metrics.transfer import mean_and_interval, metrics_over_seeds
from perdure.records import (
    agent,
    comparison,
    embeddings,
    evaluation,
    methods,
    representation,
    reproduction,
    stream,
    tuning,
)
from perdure.records.folder import FORMAT, KINDS, own_folder
from perdure.records.measurements import alignment_curves, write_accuracy, write_alignment
from perdure.records.over_time import AccuracyOverTime, write_over_time
from perdure.records.requested import note_request, write_finished
from perdure.records.summary import Summary, write_summary

SEEDS = [7, 3]
NAN = np.nan
FIRST = [[NAN, 0.2, 0.1], [0.8, 0.3, NAN], [NAN, 0.7, 0.4], [0.6, 0.5, 0.9]]
SECOND = [[NAN, 0.1, 0.1], [0.9, 0.3, NAN], [NAN, 0.9, 0.4], [0.6, 0.6, 0.9]]
MATRICES = np.array([FIRST, SECOND])
OVER_TIME = AccuracyOverTime(
    np.array([10, 20, 30]),
    np.array(
        [[[0.8, NAN, NAN], [0.7, 0.7, NAN], [0.6, 0.5, 0.9]], [[0.9, NAN, NAN], [0.5, 0.9, NAN], [0.6, 0.6, 0.9]]]
    ),
    np.array([[[0.5, NAN], [0.5, 0.25], [0.75, 1.0]], [[0.5, 0.5], [0.25, 0.25], [1.0, 1.0]]]),
)
LEARNER = {
    "learner": {"name": "mer", "hyperparameters": {"memory_size": 200, "learning_rate": 0.1}},
    "benchmark": {"name": "mnist-rotations", "options": {"tasks": 3}},
    "model": {"name": "benchmark_mlp"},
    "seeds": SEEDS,
    "evaluation": "needed",
    "alignment": True,
}
COST = (1.5, 2.5, 0.5, 700 * 2**20, 3000, 400_000)


def _learner(home):
    write_accuracy(home.path, SEEDS, MATRICES)
    values = np.random.default_rng(0).normal(size=(3, 2, 90)).astype(np.float32)
    write_alignment(home.path, SEEDS, alignment_curves(*values))
    write_over_time(home.path, SEEDS, OVER_TIME)
    logged = {"gradient_alignment": mean_and_interval([0.02, 0.04])}
    write_summary(home.path, Summary(metrics_over_seeds(MATRICES) | logged, *COST))


def _search(home):
    combinations = [{"learning_rate": rate, "memory_size": 5, "flag": True} for rate in (0.1, 0.01)]
    note_request(home, tuning.TuningRequest({"learning_rate": (0.1, 0.01)}, None, combinations).to_json())
    scores = [(0.5, 0.625), (0.25, NAN)]
    trials = [tuning.Trial(it, mean_and_interval(s)) for it, s in zip(combinations, scores, strict=True)]
    tuning.write_trials(home.path, trials)
    write_finished(home, {"combinations": 2})


def _study(home):
    with own_folder(home.path / "cell", {"format": FORMAT, "kind": "learner", **LEARNER}) as cell:
        cell.begin("cell", {})
        _learner(cell)
    note_request(home, reproduction.ReproductionRequest({"retained": ["cell"]}, ["cell"]).to_json())
    write_finished(home, {"runs": 1})


def _methods(home):
    with own_folder(home.path / "mer-run", {"format": FORMAT, "kind": "learner", **LEARNER}) as run:
        run.begin("run", {})
        _learner(run)
    one = methods.Method("mer", LEARNER["learner"]["hyperparameters"], "mer-run")
    note_request(home, methods.MethodsRequest([one], "mer", "perdure compare mer mnist-rotations").to_json())
    write_finished(home, {"methods": 1})


def _training(home):
    (home.path / representation.NETWORK).write_bytes(b"a network")
    representation.write_recipe(
        home.path,
        {"domain": "sine", "size": "paper", "method": "oml", "command": "perdure features train", "changes": {}},
    )
    representation.write_training_summary(home.path, representation.TrainingSummary(9, -0.5, 1.0, 1.5, 0.5, 2**20))


def _evaluation(home):
    note_request(home, {"representations": ["omniglot-small", "sine"]})
    accuracies = np.full((2, 2), 0.75, np.float32)
    classes = [
        evaluation.ClassResult(head, n, rate, *accuracies)
        for head, rate in (("sgd", 0.1), ("lda", None))
        for n in (5, 10)
    ]
    sines = evaluation.SineResult("sgd", 0.01, np.array([[[0.5, 1], [2, 3]], [[1, 1], [1, NAN]]], np.float32))
    evaluation.write_evaluations(
        home.path, [evaluation.Evaluation("small", {}, classes), evaluation.Evaluation("sine", {}, [sines])]
    )
    write_finished(home, {"representations": 2})


def _comparison(home):
    features = comparison.FeatureSet("oml", "ab" * 16, "linear_head")
    note_request(home, comparison.ComparisonRequest(["omniglot-small"], False, [features]).to_json())
    figures = [
        comparison.LearnerFigure(features, "online", "1×50", 0.1, (0.5, 0.25), (64.7, 2.6)),
        comparison.LearnerFigure(features, "er", "1×50", 0.1, (1.0, 0.0), None),
    ]
    comparison.write_figures(home.path, figures)
    write_finished(home, {"figures": 2})


def _agent(home):
    frames, scores = np.array([0, 10, 20]), np.arange(12.0).reshape(2, 3, 2)
    agent.write_scores(home.path, SEEDS, frames, scores)
    write_summary(home.path, Summary(agent.score_metrics(frames, scores, [(0, 10), (1, 10)]), *COST))


def _stream(home):
    rows, values = np.arange(1, 4) * 100, np.array([0.5, 0.75, 1.0])
    metrics = {"accuracy": 0.75, "balanced_accuracy": 0.7, "kappa": 0.5, "log_loss": 0.25}
    results = [
        stream.MethodResult("auto", metrics, {"up": 0.75, "down": 0.65}, [200], 1.5, rows, values),
        stream.MethodResult("er", {**metrics, "kappa": NAN}, {"up": 0.5, "down": 0.9}, [], 0.5, rows, values / 2),
    ]
    stream.write_results(home.path, results, 300)


def _embeddings(home):
    results = [
        embeddings.EmbeddingResult("er", 0, 0.5, 0.25, 4, 90.0, 2000, [1, 2], [1.0, 0.5]),
        embeddings.EmbeddingResult("lda", 0, 0.75, 0.5, 4, 30.0, 1000, [1, 2], [1.0, 0.75]),
    ]
    embeddings.write_results(home.path, results)
    write_finished(home, {"figures": 2})


CONFIGS = {
    "learner": LEARNER,
    "tuning": {
        "learner": {"name": "mer"},
        "benchmark": {"name": "digits-rotations", "options": {"tasks": 2}},
        "model": {"name": "benchmark_mlp"},
        "seeds": [1000, 1001],
    },
    "reproduction": {"study": "mer", "quick": False, "seeds": None},
    "representation": {
        "domain": {"name": "SinePool"},
        "method": {"name": "OML"},
        "steps": 9,
        "seed": 0,
        "validate_every": 3,
        "patience": 2,
    },
    "evaluation": {
        "representations": [
            {
                "name": "small",
                "network": {"encoder": {"kind": "convolutional"}},
                "sha256": "ab",
                "heads": ["sgd", "lda"],
            },
            {"name": "sine", "network": {"encoder": {"kind": "dense"}}, "sha256": "cd", "heads": ["sgd"]},
        ],
        "classes": [5, 10],
        "runs": 2,
        "order": "sorted",
        "oracle": None,
        "fresh_head": False,
        "seed": 0,
    },
    "comparison": {"learners": {"online": {}, "er": {}}, "tasks": {"1×50": [1, 50]}, "rates": [0.1], "seeds": [0, 1]},
    "agent": {
        "agent": {"name": "dqn", "hyperparameters": {}},
        "environment": {"name": "catcher", "observation": "state"},
        "levels": [[1], [2]],
        "stages": [[0, 10], [1, 10]],
        "network": {"name": "default_network"},
        "evaluation": {"every": 10, "episodes": 1},
        "seeds": SEEDS,
    },
    "stream": {
        "name": "rows.csv",
        "source": "rows.csv",
        "label": "state",
        "regression": False,
        "methods": {"auto": {"name": "auto"}, "er": {"name": "er"}},
        "memory_size": 2000,
        "memory_rule": "reservoir",
        "hidden_sizes": [64, 64],
        "delay": 0,
        "window": 500,
        "seed": 0,
    },
    "embeddings": {
        "name": "own.npz",
        "source": "own.npz",
        "features": None,
        "label": "y",
        "test": None,
        "order": "classes",
        "test_share": 0.2,
        "memory_size": 2000,
        "methods": {"er": {"name": "er"}, "lda": {"name": "lda"}},
        "seeds": [0],
        "answered": 200,
    },
    "methods": {name: LEARNER[name] for name in ("benchmark", "model", "seeds", "evaluation")},
}
WRITERS = {
    "learner": _learner,
    "tuning": _search,
    "reproduction": _study,
    "representation": _training,
    "evaluation": _evaluation,
    "comparison": _comparison,
    "agent": _agent,
    "stream": _stream,
    "embeddings": _embeddings,
    "methods": _methods,
}
assert tuple(CONFIGS) == tuple(WRITERS) == KINDS


def write_record(kind, folder):
    """Write a finished record of a kind, and return its folder."""
    with own_folder(folder, {"format": FORMAT, "kind": kind, **CONFIGS[kind]}) as home:
        home.begin(f"a {kind}", {"train-images.gz": "abc"})
        WRITERS[kind](home)
    return folder


@pytest.fixture
def record_of(tmp_path):
    """Function that writes a finished record of a kind into a folder of its name, and returns the folder."""
    return lambda kind: write_record(kind, tmp_path / kind)


@pytest.fixture(scope="session")
def edit_json():
    """Function that changes the content of a JSON file."""

    def edit(path, change):
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))

    return edit


@pytest.fixture(scope="session")
def pristine(tmp_path_factory):
    """A finished record of each kind, not to be changed."""
    root = tmp_path_factory.mktemp("pristine")
    return {kind: write_record(kind, root / kind) for kind in KINDS}
