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
def said(typed, places):
    """Function that runs the command line in this process, and returns what it says where it should have ended so."""

    def run(*arguments, code=0):
        ended = typed(*arguments, cwd=places)
        assert ended.returncode == code, ended.stderr
        return ended.stderr if code else ended.stdout

    return run


@pytest.mark.long
def test_a_model_is_made_taught_asked_corrected_and_taken_along(said, places):
    assert "a model in m; teach it: perdure model learn m FILE --label COLUMN" in said(
        "model", "new", "m", "--method", "er"
    )
    assert "holds a model already" in said("model", "new", "m", code=2)
    learn = ("model", "learn", "m", "rows.csv", "--label", "state", "--id", "id", "--quiet")
    assert said(*learn) == f"learned {N} rows; the model knows {N}\n"
    assert said(*learn) == f"learned 0 rows, {N} were known; the model knows {N}\n"

    lines = list(csv.DictReader(io.StringIO(said("model", "predict", "m", "new.csv", "--probabilities"))))
    truth = pd.read_csv(places / "rows.csv")["state"].head(20)
    assert np.mean([it["prediction"] == it_is for it, it_is in zip(lines, truth, strict=True)]) > 0.8
    assert sum(float(lines[0][f"probability of {it}"]) for it in ("up", "down")) == pytest.approx(1, abs=1e-4)
    said("model", "predict", "m", "new.csv", "--out", "answers.csv")
    assert (places / "answers.csv").read_text().splitlines()[1:] == [it["prediction"] for it in lines]

    assert "forgot example 300, 'r299'" in said("model", "undo", "m")
    assert said("model", "forget", "m", "r3", "r4") == f"forgot 2; the model knows {N - 3}\n"
    assert "has no example with the id 'zz'" in said("model", "forget", "m", "zz", code=2)
    assert said("model", "relabel", "m", "r5", "sideways") == "'r5' is 'sideways' now\n"
    shown = said("model", "status", "m")
    for word in ("297, 3 forgotten", "3: ", "sideways", "er", "2: a, b"):
        assert word in shown
    assert "the model learns with online now; it knows 297" in said("model", "adopt", "m", "online")
    said("model", "export", "m", "m.safetensors")
    model = perdure.load(places / "m.safetensors")
    assert isinstance(model, perdure.OnlineClassifier)
    assert (model.method, sorted(model.classes_)) == ("online", ["down", "sideways", "up"])
    table = said("model", "backtest", "m", "--methods", "online,er", "--quiet", "--out", "backtest")
    for word in ("online", "er", "Accuracy", "297 rows of m"):
        assert word in table


def test_a_stream_is_measured_shown_and_listed(said, places):
    command = ("stream", "rows.csv", "--label", "state", "--methods", "online,er", "--out", "runs/s", "--quiet")
    shown = said(*command)
    for word in ("online", "er", "Accuracy", "Kappa", "300 rows of rows.csv", "record and figures: runs/s"):
        assert word in shown
    assert {it.name for it in (places / "runs/s/figures").iterdir()} == {"prequential.png", "prequential.svg"}
    assert "finished before" in said(*command)
    assert "online, er on rows.csv" in said("results")
    assert "Accuracy" in said("report", "runs/s")
    assert "Accuracy" in said("resume", "runs/s")


@pytest.mark.long
def test_standard_input_is_a_stream(places):
    command = [sys.executable, "-m", "perdure", "stream", "-", "--label", "state", "--methods", "online"]
    with (places / "rows.csv").open() as given:
        shown = subprocess.run(command, stdin=given, cwd=places, capture_output=True, text=True, check=True).stdout
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
        (("model", "status", "no where"), "no where holds no model; make one: perdure model new 'no where'"),
        (("model", "new", "x", "--method", "best"), "--method is best, expected a learner or one of auto"),
    ],
)
def test_what_is_wrong_is_said(arguments, words, said, places):
    assert words in said(*arguments, code=2)
    assert not (places / "nowhere").exists()


@pytest.fixture
def odd(places):
    """Files of which something is wrong."""
    contents = {
        "header.csv": b"id,a,y\n",
        "latin.csv": "a,y\n1,x\n2,caf\u00e9\n".encode("latin1"),
        "twice.csv": b"a,a,y\n1,2,x\n",
        "quote.csv": b'a,y\n1,x\n"2,z\n1,x\n',
        "infinite.csv": b"a,y\n" + b"1,x\n2,z\n" * 15 + b"inf,z\n",
        "empty.ndjson": b"{}\n{}\n",
    }
    for name, content in contents.items():
        (places / name).write_bytes(content)
    if not (places / "pipe.csv").exists():
        os.mkfifo(places / "pipe.csv")


@pytest.mark.parametrize("command", [("stream",), ("stream", "--delay", "3"), ("model", "learn", "taught")])
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("header.csv", "header.csv has no rows, expected at least one"),
        ("latin.csv", "latin.csv, line 3 is not UTF-8"),
        ("twice.csv", "twice.csv has 2 columns named 'a'"),
        ("quote.csv", "quote.csv, row 2 (line 3) has a double quote that is not closed"),
        ("infinite.csv", "infinite.csv, row 31, column 'a' is inf"),
        ("pipe.csv", "pipe.csv cannot be read: it is a pipe"),
    ],
)
def test_odd_files_are_refused_by_name(command, name, words, said, places, odd):
    if not (places / "taught").exists():
        said("model", "new", "taught", "--method", "online")
    assert words in said(*command, name, "--label", "y", "--quiet", code=2)


def test_label_and_name_of_rows_are_two_columns(said):
    said("model", "new", "same", "--method", "online")
    words = said("model", "learn", "same", "rows.csv", "--label", "id", "--id", "id", "--quiet", code=2)
    assert "label and id are both 'id', expected two columns" in words


def test_answers_are_as_many_as_rows_or_none(said, places, odd):
    said("model", "new", "few", "--method", "online")
    said("model", "learn", "few", "rows.csv", "--label", "state", "--quiet")
    assert len(said("model", "predict", "few", "empty.ndjson").splitlines()) == 3
    assert "has no rows" in said("model", "predict", "few", "header.csv", "--out", "none.csv", code=2)
    assert not (places / "none.csv").exists()


@pytest.mark.long
def test_the_remedy_for_text_that_is_not_utf8_works(said, places, odd):
    words = said("stream", "latin.csv", "--label", "y", "--methods", "online", "--quiet", code=2)
    command = words.split("Latin-1: ")[1].strip()
    subprocess.run(command, shell=True, cwd=places, check=True)
    said("model", "new", "drinks", "--method", "online")
    said("model", "learn", "drinks", "latin-utf8.csv", "--label", "y", "--quiet")
    assert "café" in said("model", "status", "drinks")
