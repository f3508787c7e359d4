"""perdure stream and perdure model, as they are typed."""

import csv
import io
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

import perdure

N = 300


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """A folder with rows to learn, and rows to answer."""
    folder = tmp_path_factory.mktemp("online")
    rng = np.random.default_rng(0)
    rows = pd.DataFrame({"id": [f"r{n}" for n in range(N)], "a": rng.normal(size=N), "b": rng.normal(size=N)})
    rows["state"] = np.where(rows["a"] > rows["b"], "up", "down")
    rows.to_csv(folder / "rows.csv", index=False)
    rows[["a", "b"]].head(20).to_csv(folder / "new.csv", index=False)
    return folder


@pytest.fixture
def typed(places):
    def run(*arguments, code=0, given=None):
        done = subprocess.run(
            [sys.executable, "-m", "perdure", *map(str, arguments)],
            cwd=places,
            env={**os.environ, "COLUMNS": "120"},
            input=given,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, done.stderr
        return done.stdout if code == 0 else done.stderr

    return run


@pytest.mark.long
def test_a_model_is_made_taught_asked_corrected_and_taken_along(typed, places):
    assert "a model in m; teach it: perdure model learn m FILE --label COLUMN" in typed(
        "model", "new", "m", "--method", "er"
    )
    assert "holds a model already" in typed("model", "new", "m", code=2)
    learn = ("model", "learn", "m", "rows.csv", "--label", "state", "--id", "id", "--quiet")
    assert typed(*learn) == f"learned {N} rows; the model knows {N}\n"
    assert typed(*learn) == f"learned 0 rows, {N} were known; the model knows {N}\n"

    lines = list(csv.DictReader(io.StringIO(typed("model", "predict", "m", "new.csv", "--probabilities"))))
    truth = pd.read_csv(places / "rows.csv")["state"].head(20)
    assert np.mean([it["prediction"] == it_is for it, it_is in zip(lines, truth, strict=True)]) > 0.8
    assert sum(float(lines[0][f"probability of {it}"]) for it in ("up", "down")) == pytest.approx(1, abs=1e-4)
    typed("model", "predict", "m", "new.csv", "--out", "answers.csv")
    assert (places / "answers.csv").read_text().splitlines()[1:] == [it["prediction"] for it in lines]

    assert "forgot example 300, 'r299'" in typed("model", "undo", "m")
    assert typed("model", "forget", "m", "r3", "r4") == f"forgot 2; the model knows {N - 3}\n"
    assert "has no example with the id 'zz'" in typed("model", "forget", "m", "zz", code=2)
    assert typed("model", "relabel", "m", "r5", "sideways") == "'r5' is 'sideways' now\n"
    shown = typed("model", "status", "m")
    for word in ("297, 3 forgotten", "3: ", "sideways", "er", "2: a, b"):
        assert word in shown
    assert "the model learns with online now; it knows 297" in typed("model", "adopt", "m", "online")
    typed("model", "export", "m", "m.safetensors")
    model = perdure.load(places / "m.safetensors")
    assert isinstance(model, perdure.OnlineClassifier)
    assert (model.method, sorted(model.classes_)) == ("online", ["down", "sideways", "up"])
    table = typed("model", "backtest", "m", "--methods", "online,slda", "--quiet", "--out", "backtest")
    for word in ("online", "slda", "Accuracy", "297 rows of m"):
        assert word in table


def test_a_stream_is_measured_shown_and_listed(typed, places):
    command = ("stream", "rows.csv", "--label", "state", "--methods", "online,slda", "--out", "runs/s", "--quiet")
    shown = typed(*command)
    for word in ("online", "slda", "Accuracy", "Kappa", "300 rows of rows.csv", "record and figures: runs/s"):
        assert word in shown
    assert {it.name for it in (places / "runs/s/figures").iterdir()} == {"prequential.png", "prequential.svg"}
    assert "finished before" in typed(*command)
    assert "online, slda on rows.csv" in typed("results")
    assert "Accuracy" in typed("report", "runs/s")
    assert "Accuracy" in typed("resume", "runs/s")


@pytest.mark.long
def test_standard_input_is_a_stream(typed, places):
    given = (places / "rows.csv").read_text()
    shown = typed("stream", "-", "--label", "state", "--methods", "slda", "--out", "piped", given=given)
    assert "300 rows of standard input" in shown


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("stream", "rows.csv", "--label", "stat"), "did you mean 'state'?"),
        (("stream", "rows.csv", "--label", "state", "--methods", "best"), "expected different ones of auto, online"),
        (("stream", "none.csv", "--label", "state"), "none.csv cannot be read: No such file"),
        (("stream", "rows.csv", "--label", "state", "--regression", "--methods", "online"), "expected a number"),
        (
            ("model", "learn", "nowhere", "rows.csv", "--label", "state"),
            "nowhere holds no model; make one: perdure model new",
        ),
        (("model", "status", "nowhere"), "nowhere holds no model; make one: perdure model new nowhere"),
        (("model", "new", "x", "--method", "best"), "method is 'best', expected a learner or one of auto"),
    ],
)
def test_what_is_wrong_is_said(arguments, words, typed, places):
    assert words in typed(*arguments, code=2)
    assert not (places / "nowhere").exists()
