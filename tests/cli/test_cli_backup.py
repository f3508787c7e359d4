"""perdure model backup, restore and migrate, as they are typed."""

import pytest

from perdure.online.durable import DurableModel
from tests.online.test_migrations import of_schema_1


def learned(folder, n):
    with DurableModel.open(folder, method="nearest-mean") as model:
        for k in range(n):
            model.learn({"a": float(k)}, "pq"[k % 2])
    return model


@pytest.fixture
def said(typed, tmp_path):
    """Function that runs the command line in this process, and returns what it says where it should have ended so."""

    def run(*arguments, code=0):
        ended = typed("model", *arguments, cwd=tmp_path)
        assert ended.returncode == code, ended.stderr
        return " ".join((ended.stderr if code else ended.stdout).split())

    return run


def test_a_model_is_backed_up_while_it_is_owned_and_restored(said, tmp_path):
    learned(tmp_path / "models/mail", 5)
    with DurableModel.open(tmp_path / "models/mail") as model:
        assert said("backup", "models/mail", "monday") == "backed up models/mail as it was after example 5"
        model.learn({"a": 1.0}, "p")
        words = said("restore", "monday", "models/mail", "--set-aside", "models/.old", code=2)
        assert "models/mail is in use by" in words
    assert "monday exists, and a backup replaces nothing" in said("backup", "models/mail", "monday", code=2)
    words = said("restore", "monday", "models/mail", code=2)
    remedy = words.partition("takes its place: ")[2].split()[:2]
    assert remedy == ["--set-aside", "models/.mail-replaced"]
    restored = said("restore", "monday", "models/mail", *remedy)
    assert restored == "restored models/mail as it was after example 5"
    with DurableModel.open(tmp_path / "models/.mail-replaced", read_only=True) as model:
        assert model.position == 6


def test_a_folder_of_models_is_backed_up_and_restored(said, tmp_path):
    learned(tmp_path / "models/mail", 5)
    learned(tmp_path / "models/price", 4)
    assert said("backup", "models", "monday") == (
        "backed up mail as it was after example 5 backed up price as it was after example 4"
    )
    assert said("restore", "monday", "again") == (
        "restored mail as it was after example 5 restored price as it was after example 4"
    )
    assert said("migrate", "again").count("is of this version's form; the model knows") == 2
    assert "holds no model, and no folder in it does" in said("backup", "nowhere", "copy", code=2)
    assert "nowhere holds no backup of a model" in said("restore", "nowhere", "copy", code=2)
    assert "nowhere holds no model" in said("migrate", "nowhere", code=2)


def test_a_model_of_an_older_version_says_how_it_is_migrated(said, tmp_path):
    of_schema_1(tmp_path / "mail")
    words = said("status", "mail", code=2)
    assert "mail/journal.sqlite has schema 1, expected 2; bring it to this version's schema: " in words
    remedy = words.partition("perdure model ")[2].split()
    assert remedy == ["migrate", "mail"]
    assert said(*remedy) == "mail is of this version's form; the model knows 29 examples"
    assert "29, 1 forgotten" in said("status", "mail")
