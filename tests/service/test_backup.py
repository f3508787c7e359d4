"""Backups of a server that is being taught, and restoring them."""

import threading
import time

import numpy as np
import pytest

from perdure.online.backup import backup_model, restore_model
from perdure.online.durable import DurableModel
from perdure.online.history import replay
from perdure.storage.lock import FolderInUseError
from tests.service.test_process import Load


def test_a_model_that_a_server_teaches_is_backed_up_and_restored(tmp_path, processes):
    models, copy, load = tmp_path / "models", tmp_path / "copy", Load(0)
    server = processes(models)
    assert server.http.post("/v1/models", json={"name": "m", "method": "nearest-mean"}).status_code == 201
    stop = threading.Event()
    threads = load.run(server.url, stop)
    while len(load.acknowledged) < 50:
        time.sleep(0.01)
    before = dict(load.acknowledged)
    position = backup_model(models / "m", copy)
    with pytest.raises(FolderInUseError, match=f"m is in use by process {server.process.pid}"):
        restore_model(copy, models / "m", set_aside=models / ".before")
    while len(load.acknowledged) < len(before) + 50:
        time.sleep(0.01)
    server.kill()
    stop.set()
    for it in threads:
        it.join()

    assert restore_model(copy, models / "m", set_aside=models / ".before") == position
    with DurableModel.open(models / "m", read_only=True) as model:
        entries = {it.id: it.position for it in model._journal.entries()}
        assert {id: entries.get(id) for id in before} == before
        relearned = model.settings.new_model()
        replay(model._journal, relearned, 0, position)
        for name, values in relearned.to_arrays()[0].items():
            np.testing.assert_array_equal(values, model.model.to_arrays()[0][name])
    with DurableModel.open(models / ".before", read_only=True) as model:
        assert model.position >= len(load.acknowledged)

    server = processes(models)
    assert server.http.get("/readyz").json() == {"status": "ready", "models": {"m": "ready"}}
    known = next(iter(before))
    answer = server.http.post("/v1/models/m/learn", json={"x": {"a": 1.0}, "y": "up", "id": known}).json()
    assert (answer["known"], answer["position"]) == (True, before[known])
    answer = server.http.post("/v1/models/m/learn", json={"x": {"a": 1.0}, "y": "up", "id": "new"}).json()
    assert (answer["known"], answer["position"]) == (False, position + 1)
