"""Backtests as jobs: stopped when they are told to, and gone with their model."""

import threading
import time

import pytest

from perdure.online import prequential
from perdure.online.prequential import compare
from perdure.service import backtests


class Compare:
    """Takes the place of what measures; continues when it is told to."""

    def __init__(self):
        self.begun, self.go, self.error = threading.Event(), threading.Event(), None

    def __call__(self, models, pieces, **options):
        self.begun.set()
        assert self.go.wait(60)
        if self.error is not None:
            raise self.error
        return compare(models, pieces, **options)


@pytest.fixture
def comparing(monkeypatch):
    found = Compare()
    monkeypatch.setattr(backtests, "compare", found)
    yield found
    found.go.set()


def begin(server, *methods, **options):
    body = {"methods": list(methods or ["gaussian"]), **options}
    return f"/m/backtest/{server.post('/m/backtest', body).json()['id']}"


def until_over(server, path):
    until = time.monotonic() + 60
    while (found := server.get(path).json())["state"] in ("waiting", "running"):
        assert time.monotonic() < until
        time.sleep(0.01)
    return found


def stop(server, path):
    return server.http.delete(f"/v1/models{path}").json()["state"]


def test_a_job_that_waits_is_stopped_at_once_and_one_that_runs_soon(server, comparing):
    server.learn({"a": 1.0}, "up")
    first, second = begin(server), begin(server)
    assert comparing.begun.wait(60)
    assert stop(server, second) == "stopped"
    assert stop(server, first) == "running"
    comparing.go.set()
    assert until_over(server, first)["state"] == "stopped"
    assert server.get(second).json()["state"] == "stopped"


def test_a_running_job_is_asked_to_stop_before_each_method_and_block(server, monkeypatch):
    server.post("/m/learn", {"examples": [{"x": {"a": float(n)}, "y": "up"} for n in range(600)]})
    learned = []

    class Meter(prequential.Meter):
        def learn(self, rows, targets):
            learned.append((id(self), rows.n))
            (job,) = server.context.backtests.of("m")
            if len(learned) == 4:
                job.stop()
            super().learn(rows, targets)

    monkeypatch.setattr(prequential, "Meter", Meter)
    assert until_over(server, begin(server, "gaussian", "nearest-mean", "lda"))["state"] == "stopped"
    assert len(learned) == 4
    assert len({it for it, _ in learned}) == 3
    assert {n for _, n in learned} == {128}


def test_a_job_that_fails_says_why_and_makes_room(server, comparing, tmp_path):
    server.learn({"a": 1.0}, "up")
    comparing.error = MemoryError(f"no memory for {tmp_path / 'models' / 'm'}")
    comparing.go.set()
    found = until_over(server, begin(server))
    assert (found["state"], found["error"]) == ("failed", "MemoryError: no memory for m")


def test_jobs_are_gone_with_their_model(server, comparing):
    server.learn({"a": 1.0}, "up")
    path = begin(server)
    assert comparing.begun.wait(60)
    (job,) = server.context.backtests.of("m")
    server.http.delete("/v1/models/m?confirm=m").raise_for_status()
    server.make()
    assert server.get("/m/backtest").json()["backtests"] == []
    assert server.get(path).status_code == 404
    comparing.go.set()
    until = time.monotonic() + 60
    while job.state != "stopped":
        assert time.monotonic() < until


def test_models_are_closed_while_a_job_comes_to_its_end(serving, comparing):
    with serving() as server:
        served = server.make()
        server.learn({"a": 1.0}, "up")
        begin(server)
        assert comparing.begun.wait(60)

        def release():
            until = time.monotonic() + 60
            while not list(served.folder.glob("snapshots/*")) and time.monotonic() < until:
                time.sleep(0.01)
            seen.append(served.state)
            comparing.go.set()

        seen = []
        releasing = threading.Thread(target=release)
        releasing.start()
    releasing.join()
    assert seen == ["closed"]
