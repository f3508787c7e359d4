"""Backups and restoring, killed at every step."""

import shutil

import pytest

from perdure.online.backup import backup_model
from perdure.online.durable import DurableModel
from perdure.online.folder import JOURNAL
from tests.conftest import first_short
from tests.online.backups.folders import content, names


def shares(short):
    """Return shares of an operation's steps at which it dies: few, or with the long tests all."""
    return first_short([short, None], 1)


def steps_to_die_at(killed_at, share, *command):
    """Return the steps of a command, of which it needs a first run to count them."""
    n = killed_at(0, *command)
    assert n is not None
    assert n > 10
    return range(1, n + 1) if share is None else sorted({1 + k * (n - 1) // (share - 1) for k in range(share)})


def only_whole(folder, expected):
    """Check that what a killed process has left beside a model is whole, or is known not to be."""
    for path in folder.glob(".*.partial"):
        if not (path / ".incomplete").exists() and names(path) not in ([], [".lock"]):
            assert len(content(path)) in expected


@pytest.mark.parametrize("share", shares(6))
def test_a_backup_that_is_killed_is_whole_or_not_there(taught, tmp_path, killed_at, share):
    source = taught("m", 200)
    place = tmp_path / "copies"
    found = content(source)
    for step in steps_to_die_at(killed_at, share, "backup", source, place / "first"):
        assert killed_at(step, "backup", source, place / "copy") is None
        assert content(source) == found
        if (place / "copy").exists():
            assert content(place / "copy") == found
            shutil.rmtree(place / "copy")
        if place.exists():
            only_whole(place, {200})
    assert killed_at(0, "backup", source, place / "copy")
    assert not [it for it in place.glob(".*.partial") if (it / ".incomplete").exists()]


@pytest.mark.parametrize("share", shares(6))
def test_restoring_that_is_killed_leaves_a_model_or_none(taught, tmp_path, killed_at, share):
    backup_model(taught("m", 200), tmp_path / "copy")
    found, place = content(tmp_path / "copy"), tmp_path / "models"
    for step in steps_to_die_at(killed_at, share, "restore", tmp_path / "copy", place / "first"):
        assert killed_at(step, "restore", tmp_path / "copy", place / "m") is None
        if (place / "m").exists():
            assert content(place / "m") == found
            shutil.rmtree(place / "m")
        only_whole(place, {200})
    assert content(tmp_path / "copy") == found


@pytest.mark.parametrize("share", shares(6))
def test_replacing_that_is_killed_leaves_one_or_the_other_and_loses_neither(taught, tmp_path, killed_at, share):
    backup_model(taught("m", 200), tmp_path / "copy")
    place = tmp_path / "models"

    def again(name):
        shutil.rmtree(place, ignore_errors=True)
        return taught(f"models/{name}", 50)

    again("first")
    command = ("replace", tmp_path / "copy", place / "first", place / ".aside")
    for step in steps_to_die_at(killed_at, share, *command):
        again("m")
        assert killed_at(step, "replace", tmp_path / "copy", place / "m", place / ".aside") is None
        assert len(content(place / "m")) in (50, 200)
        only_whole(place, {50, 200})
        others = [it for it in place.iterdir() if it.name != "m" and not (it / ".incomplete").exists()]
        kept = [len(content(it)) for it in [place / "m", *others] if (it / JOURNAL).exists()]
        assert 50 in kept
        if len(content(place / "m")) == 200:
            with DurableModel.open(place / "m") as model:
                assert model.n_examples == 200
