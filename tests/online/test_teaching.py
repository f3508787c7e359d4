"""A durable model and files of rows."""

import json

import numpy as np
import pandas as pd
import pytest

import perdure
from perdure.online.errors import RowError
from perdure.online.teaching import answers_to_file, learn_file
from perdure.storage.reading import ContentError


@pytest.fixture
def model(tmp_path):
    with perdure.DurableModel.open(tmp_path / "model", method="online", hidden_sizes=(4,)) as opened:
        yield opened


def ids_of(model):
    return [it.id for it in model._journal.entries()]


NAMES = [str(2**53 + n) for n in range(6)]


@pytest.mark.parametrize("ending", ["csv", "parquet", "ndjson"])
def test_no_row_is_lost_to_the_name_of_another(ending, model, tmp_path):
    path = tmp_path / f"rows.{ending}"
    frame = pd.DataFrame({"id": [int(it) for it in NAMES], "a": 0.5, "y": ["p", "q"] * 3})
    if ending == "csv":
        frame.to_csv(path, index=False)
    elif ending == "parquet":
        frame.to_parquet(path)
    else:
        frame.to_json(path, orient="records", lines=True)
    assert learn_file(model, path, "y", "id", progress=False) == len(NAMES)
    assert ids_of(model) == NAMES
    learn_file(model, path, "y", "id", progress=False)
    assert model.n_examples == len(NAMES)


@pytest.mark.parametrize(
    "names",
    [
        ["007", "7"],
        ["1e5", "100000"],
        ["1.0", "1"],
        ["2026-01-01", "2026-01-01 00:00:00"],
        ["true", "True"],
        [" a", "a"],
    ],
)
def test_names_of_csv_are_those_in_the_file(names, model, tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("id,a,y\n" + "".join(f"{it},1,x\n" for it in names))
    learn_file(model, path, "y", "id", progress=False)
    assert ids_of(model) == names


@pytest.mark.parametrize(
    ("name", "words"), [(None, "row 2, column 'id' is missing"), (1.5, "row 2, column 'id' is 1.5"), (True, "is True")]
)
def test_names_that_cannot_be_told_apart_are_refused(name, words, model, tmp_path):
    path = tmp_path / "rows.ndjson"
    path.write_text("\n".join(json.dumps({"id": it, "a": 1, "y": "x"}) for it in ("u", name)))
    with pytest.raises(ContentError, match=rf"rows\.ndjson, .*{words}"):
        learn_file(model, path, "y", "id", progress=False)
    assert model.n_examples == 0


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (["true", "false"], ["true", "false"]),
        ([str(2**53 + 1), str(2**53)], [2**53 + 1, 2**53]),
        (["01", "1"], ["01", "1"]),
    ],
)
def test_classes_come_back_as_they_were_written(labels, classes, model, tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("a,y\n" + "".join(f"{n},{it}\n" for n, it in enumerate(labels)))
    learn_file(model, path, "y", progress=False)
    assert model.classes == classes
    (tmp_path / "new.csv").write_text("a\n1\n")
    header, answer = answers_to_file(model, tmp_path / "new.csv", probabilities=True)
    assert header == ["prediction", *(f"probability of {it}" for it in classes)]
    assert answer[0] in classes


def test_what_was_a_text_in_one_file_is_one_in_the_next(model, tmp_path):
    (tmp_path / "one.csv").write_text("code,y\nA1,u\n007,1\n")
    (tmp_path / "two.csv").write_text("code,y\n007,1\n12,1\n")
    for name in ("one.csv", "two.csv"):
        learn_file(model, tmp_path / name, "y", progress=False)
    assert list(model.model.columns.known["code"].categories) == ["A1", "007", "12"]
    assert model.classes == ["u", "1"]


def test_numbers_are_learned_as_such_for_regression(tmp_path):
    (tmp_path / "rows.csv").write_text("a,y\n1,007\n2,1\n3,2.5\n")
    with perdure.DurableModel.open(tmp_path / "model", method="online", regression=True) as model:
        learn_file(model, tmp_path / "rows.csv", "y", progress=False)
        assert [it.y for it in model._journal.entries()] == [7, 1, 2.5]


def test_label_and_name_are_two_columns(model, tmp_path):
    (tmp_path / "rows.csv").write_text("a,id\n1,u\n")
    with pytest.raises(ValueError, match="label and id are both 'id', expected two columns; leave id out"):
        learn_file(model, tmp_path / "rows.csv", "id", "id", progress=False)


def test_rows_of_nothing_are_answered(model, tmp_path):
    model.learn([{"a": 1.0, "c": "x"}, {"a": 2.0, "c": "y"}], ["p", "q"])
    path = tmp_path / "rows.ndjson"
    path.write_text("{}\n{}\n")
    answers = list(answers_to_file(model, path, probabilities=False))
    path.write_text('{"a": null, "c": null}\n' * 2)
    assert answers == list(answers_to_file(model, path, probabilities=False))
    assert len(answers) == 3


def test_nothing_is_written_before_there_are_answers(model, tmp_path):
    model.learn([{"a": 1.0}, {"a": 2.0}], ["p", "q"])
    for name, content in (("rows.csv", "a\n"), ("rows.ndjson", ""), ("rows.csv", "a\ninf\n")):
        (tmp_path / name).write_text(content)
        lines = answers_to_file(model, tmp_path / name, probabilities=False)
        with pytest.raises(ValueError, match=r"no rows|row 1, column 'a' is inf"):
            next(lines)


@pytest.mark.parametrize("bad", [1, 2, 1_024, 1_025, 1_500])
def test_a_row_that_cannot_be_learned_is_named(bad, model, tmp_path):
    values = np.ones(1_500)
    values[bad - 1] = np.inf
    for ending in ("csv", "parquet"):
        path = tmp_path / f"rows.{ending}"
        frame = pd.DataFrame({"a": values, "y": ["u", "v"] * 750})
        frame.to_csv(path, index=False) if ending == "csv" else frame.to_parquet(path)
        with pytest.raises(RowError, match=rf"rows\.{ending}, row {bad}, column 'a' is inf.* \(rows are counted from"):
            learn_file(model, path, "y", progress=False)


def test_numbers_that_are_hardly_classes_are_said(model, tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("a,y\n" + "".join(f"1,{n / 2}\n" for n in range(60)))
    with pytest.raises(ContentError, match=r"'y' holds numbers such as 0.5, .*perdure model new FOLDER --regression"):
        learn_file(model, path, "y", progress=False)
    assert model.n_examples == 0
    path.write_text("a,y\n" + "".join(f"1,{n}\n" for n in range(60)))
    with pytest.warns(perdure.PerdureWarning, match="'y' holds 60 different numbers in 60 rows"):
        learn_file(model, path, "y", progress=False)


def test_classes_with_fractions_that_a_model_knows_are_learned(model, tmp_path):
    model.learn({"a": 1.0}, 0.5)
    path = tmp_path / "rows.csv"
    path.write_text("a,y\n1,0.5\n1,1.5\n1,2\n")
    learn_file(model, path, "y", progress=False)
    assert model.classes == [0.5, 1.5, 2]
