"""Folders of models are backed up and restored."""

import shutil

import pytest

from perdure.online.backups import backup_models, restore_models
from perdure.storage.files import StorageError
from tests.online.backups.folders import content, damage, names


def test_a_folder_of_models_is_backed_up_and_restored(taught, tmp_path):
    taught("models/one", 5)
    taught("models/two", 6)
    (tmp_path / "models" / "tokens.json").write_text("{}")
    (tmp_path / "models" / "one" / "predictions.sqlite").write_text("")
    copies = tmp_path / "copies"
    assert backup_models(tmp_path / "models", copies) == {"one": 5, "two": 6}
    assert [it for it in names(copies) if it != ".lock"] == ["one", "two"]
    assert "predictions.sqlite" not in names(copies / "one")
    with pytest.raises(StorageError, match="one is there already"):
        restore_models(copies, tmp_path / "models")
    shutil.rmtree(tmp_path / "models" / "two")
    taught("models/one", 9)
    aside = tmp_path / "models" / ".aside"
    assert restore_models(copies, tmp_path / "models", set_aside=aside) == {"one": 5, "two": 6}
    assert [len(content(it)) for it in (tmp_path / "models/one", tmp_path / "models/two", aside / "one")] == [5, 6, 9]
    assert names(tmp_path / "models") == [".aside", "one", "tokens.json", "two"]


def test_one_damaged_model_keeps_no_other_from_its_backup(taught, tmp_path):
    for name in ("one", "two", "three"):
        taught(f"models/{name}", 5)
    damage(tmp_path / "models" / "three")
    with pytest.raises(StorageError, match=r"^2 of 3 models were backed up to .*copies; three: no backup was made: "):
        backup_models(tmp_path / "models", tmp_path / "copies")
    assert [it for it in names(tmp_path / "copies") if it != ".lock"] == ["one", "two"]
    damage(tmp_path / "copies" / "one")
    with pytest.raises(StorageError, match=r"^1 of 2 models were restored; one: the backup cannot be restored, and"):
        restore_models(tmp_path / "copies", tmp_path / "again")
    assert names(tmp_path / "again") == ["two"]
    for name in ("one", "two"):
        damage(tmp_path / "models" / name)
    with pytest.raises(StorageError, match=r"^0 of 3 models were backed up; one: no backup"):
        backup_models(tmp_path / "models", tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_a_folder_without_models_is_told(tmp_path):
    with pytest.raises(StorageError, match="holds no model, and no folder in it does"):
        backup_models(tmp_path, tmp_path / "copies")
    with pytest.raises(StorageError, match="holds no backup of models"):
        restore_models(tmp_path, tmp_path / "copies")
