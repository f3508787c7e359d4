"""The models of a folder: loaded, made, deleted."""

import sqlite3
import threading

import pytest

from perdure.online.durable import DurableModel
from perdure.online.folder import JOURNAL
from perdure.service import served
from perdure.service.problems import ProblemError
from perdure.service.registry import Registry
from tests.service.conftest import PATIENT

N_AT_A_TIME = 2
"""Models that are loaded at the same time."""


@pytest.fixture
def registry(tmp_path):
    """Models that were taught, and not loaded yet."""
    for name in "abc":
        with DurableModel.open(tmp_path / name, method="gaussian") as model:
            model.learn({"x": 1.0}, "y")
    registry = Registry(tmp_path, PATIENT)
    yield registry
    registry.close(60.0)


@pytest.fixture
def opening(monkeypatch):
    """What waits until models are being opened, and what lets them be opened."""
    begun, go = threading.Semaphore(0), threading.Event()

    def opened(*arguments, **options):
        begun.release()
        assert go.wait(60)
        return DurableModel.open(*arguments, **options)

    class Slow:
        open = staticmethod(opened)

    monkeypatch.setattr(served, "DurableModel", Slow)
    yield begun, go
    go.set()


def test_what_is_deleted_while_models_are_loaded_stays_deleted(registry, opening, tmp_path):
    begun, go = opening
    loading = threading.Thread(target=registry.load)
    loading.start()
    for _ in range(N_AT_A_TIME):
        assert begun.acquire(timeout=60)
    registry.delete("c")  # its turn has not come
    deleting = threading.Thread(target=registry.delete, args=("a",))
    deleting.start()
    go.set()
    for thread in (loading, deleting):
        thread.join(60)
        assert not thread.is_alive()
    assert [(it.name, it.state) for it in registry] == [("b", "ready")]
    assert [it.name for it in tmp_path.iterdir()] == ["b"]
    registry.create("c", {"method": "nearest-mean"})
    with pytest.raises(ProblemError, match="there is no model 'a'"):
        registry.find("a")


def test_a_model_whose_making_was_cut_short_is_not_served_as_another(tmp_path):
    with DurableModel.open(tmp_path / "m", method="gaussian"):
        pass
    connection = sqlite3.connect(tmp_path / "m" / JOURNAL)
    connection.execute("DELETE FROM meta WHERE name = 'settings'")
    connection.commit()
    connection.close()
    registry = Registry(tmp_path, PATIENT)
    registry.load()
    (model,) = registry
    assert model.state == "read-only"
    assert model.reason == "m holds no model: making it was cut short before it was taught; delete it, and make it anew"
    registry.delete("m")
    assert registry.create("m", {"method": "gaussian"}).state == "ready"
    registry.close(60.0)
