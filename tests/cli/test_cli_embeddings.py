"""`perdure features compare` as a user meets it."""

import numpy as np
import pytest
from sklearn.datasets import load_iris

from perdure.records.embeddings import EmbeddingsRecord


@pytest.fixture
def folder(tmp_path):
    x, y = load_iris(return_X_y=True)
    np.savez(tmp_path / "iris.npz", emb=x, species=np.array(["setosa", "versicolor", "virginica"])[y])
    x = 1e-5 * x.astype(np.float32)
    np.savez(tmp_path / "far.npz", x=x, y=y, test_x=[x[0], [3e38, 0, 0, 0]], test_y=[0, 1])
    (tmp_path / "iris.csv").write_text("a,b,y\n1,2,0\n3,4,1\n")
    (tmp_path / "gap.csv").write_text("a,b,y\n1,,0\n3,4,1\n")
    return tmp_path


COMPARE = ("features", "compare", "iris.npz", "--features", "emb", "--label", "species", "--quiet")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            COMPARE[:3],
            "iris.npz has no array 'x'; it has 'emb' (150, 4) float64, 'species' (150,) <U10: give --features",
        ),
        (COMPARE[:5], "has no array 'y'"),
        ((*COMPARE, "--methods", "ldaa"), "methods has 'ldaa', expected different ones of auto, online"),
        ((*COMPARE, "--methods", "lda,merr"), "did you mean mer?"),
        ((*COMPARE, "--test-share", "nan"), "--test-share is nan, expected more than 0 and less than 1"),
        (("features", "compare", "iris.csv", "--features", "é"), "--features é was given for iris.csv, a table whose"),
        (("features", "compare", "far.npz"), "far.npz, array 'test_x' has 3e+38 in row 1, column 0, counted from 0"),
        (("features", "compare", "gap.csv"), "gap.csv, column 'b' has nan in row 1, counted from 1, expected finite"),
        ((*COMPARE, "--order", "sorted"), "--order is sorted, expected one of classes, shuffled, file"),
        ((*COMPARE, "--test-share", "1"), "--test-share is 1, expected more than 0 and less than 1"),
        ((*COMPARE, "--test", "none.npz"), "none.npz cannot be read: No such file"),
        (("features", "compare", "iris.pt"), "iris.pt cannot be read: No such file"),
        ((*COMPARE, "--heads", "lda"), "there is no option --heads"),
    ],
)
def test_mistakes_are_explained(typed, folder, arguments, words):
    ended = typed(*arguments, cwd=folder)
    assert ended.returncode == 2
    assert words in " ".join(ended.stderr.split())
    assert not (folder / "runs").exists()


@pytest.mark.long
def test_a_comparison_shows_a_table_and_leaves_a_record(typed, folder):
    ended = typed(*COMPARE, "--methods", "lda,er", "--seeds", "2", "--out", "run", cwd=folder)
    assert ended.returncode == 0, ended.stderr
    shown = " ".join(ended.stdout.split())
    assert "iris.npz: 120 examples learned in one pass, one class after another" in shown
    assert "means over 2 seeds" in shown
    record = EmbeddingsRecord.load(folder / "run")
    assert record.finished
    assert next(iter(record.methods)) == "lda"
    assert (folder / "run" / "figures" / "embeddings.png").exists()
    again = typed(*COMPARE, "--methods", "lda,er", "--seeds", "2", "--out", "run", cwd=folder)
    assert again.stdout == ended.stdout
