"""Races, and what can be seen inside a model."""

from __future__ import annotations

import base64
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import perdure
from perdure.online.model import OnlineModel
from perdure.service import races
from perdure.service.problems import ProblemError
from perdure.service.races import Race, Races, digit_stream
from perdure.service.turns import CALLERS
from perdure.streams.digits import load_digits

QUICK = ["nearest-mean", "lda"]


def test_digits_come_one_class_after_another_and_none_is_tested_that_is_learned():
    stream = digit_stream("digits", 0)
    assert (np.diff(stream.y) >= 0).all()
    assert set(stream.y.tolist()) == set(range(10)) == set(stream.test_y.tolist())
    learned = {it.tobytes() for it in stream.x}
    _, test = load_digits()
    tested = {it.tobytes() for it in stream.test_x}
    assert tested <= {np.asarray(it).tobytes() for it in test.x}
    assert not learned & tested


def test_a_seed_changes_the_order_and_not_the_tests():
    one, other, again = (digit_stream("digits", seed) for seed in (0, 1, 0))
    assert (one.x != other.x).any()
    assert (one.test_x == other.test_x).all()
    assert (one.x == again.x).all()


def test_steps_come_to_the_same_as_one_another():
    whole, parts = Race(QUICK, "digits", 0), Race(QUICK, "digits", 0)
    for _ in range(2):
        whole.step(150)
    for n in (40, 100, 1, 159):
        parts.step(n)
    (one, other) = (it.described() for it in (whole, parts))
    assert one["position"] == other["position"] == 300
    accuracies = [[it["accuracy"] for it in race["methods"]] for race in (one, other)]
    assert accuracies[0] == accuracies[1]
    met = [number for number, share in enumerate(accuracies[0][0]) if share is not None]
    assert met == [0, 1, 2]
    assert len(other["history"]) == 4


def test_a_race_ends_with_the_digits():
    race = Race(["nearest-mean"], "digits", 0)
    length = race.described()["length"]
    while (last := race.step(200))["position"] < length:
        pass
    assert race.step(200) == last
    assert last["methods"][0]["accuracy"][0] > 0.8
    picture = last["pictures"][-1]
    assert picture["class"] == 9
    assert len(base64.b64decode(picture["pixels"])) == last["side"] ** 2


@pytest.mark.long
@pytest.mark.optimized
def test_online_forgets_the_first_digit_and_mer_does_not():
    race = Race(["online", "mer"], "digits", 0)
    while (last := race.step(200))["position"] < last["length"]:
        pass
    online, mer = (it["accuracy"] for it in last["methods"])
    assert mer[0] - online[0] > 0.15
    assert np.mean(mer) - np.mean(online) > 0.4


def test_races_are_bounded_and_give_way_when_nobody_looks(monkeypatch):
    kept = Races()
    begun = [kept.begin(["nearest-mean"], "digits", seed) for seed in range(races._MOST)]
    with pytest.raises(ProblemError, match="races are on already") as caught:
        kept.begin(["nearest-mean"], "digits", 0)
    assert caught.value.status == 429
    begun[3].last_used -= races._IDLE_SECONDS + 1
    assert kept.begin(["nearest-mean"], "digits", 0).id != begun[3].id
    with pytest.raises(ProblemError, match="there is no race"):
        kept.find(begun[3].id)
    kept.end(begun[0].id)
    with pytest.raises(ProblemError, match="there is no race"):
        kept.end(begun[0].id)


def test_races_are_found_while_another_one_begins(monkeypatch):
    kept = Races()
    race = kept.begin(["nearest-mean"], "digits", 0)
    loading, loaded = threading.Event(), threading.Event()

    def slowly(*arguments):
        loading.set()
        loaded.wait()
        return digit_stream(*arguments)

    monkeypatch.setattr(races, "digit_stream", slowly)
    with ThreadPoolExecutor(2) as pool:
        begun = pool.submit(kept.begin, ["nearest-mean"], "digits", 1)
        loading.wait()
        try:
            assert pool.submit(kept.find, race.id).result(timeout=60) is race
        finally:
            loaded.set()
        assert kept.find(begun.result().id) is begun.result()


def test_a_race_is_shown_while_it_learns_and_few_wait_to_continue_it(server, problem, monkeypatch):
    begun = server.http.post("/v1/races", json={"methods": ["nearest-mean"]}).json()
    path = f"/v1/races/{begun['id']}"
    learning, go_on, learn = threading.Event(), threading.Event(), OnlineModel.predict_then_learn

    def slowly(*arguments):
        learning.set()
        go_on.wait()
        return learn(*arguments)

    def step():
        return server.http.post(f"{path}/step", json={"examples": 10})

    monkeypatch.setattr(OnlineModel, "predict_then_learn", slowly)
    with ThreadPoolExecutor(CALLERS) as pool:
        steps = [pool.submit(step)]
        learning.wait()
        try:
            assert server.http.get(path, timeout=60).json() == {**begun, "history": []}
            steps += [pool.submit(step) for _ in range(CALLERS - 1)]
            turns = server.context.races.find(begun["id"])._turns
            while turns._callers._value:
                time.sleep(0.01)
            problem(step(), 429, "too-many-requests", detail=f"{CALLERS} others are continuing this race")
        finally:
            go_on.set()
        assert sorted(it.result().json()["position"] for it in steps) == [10, 20, 30, 40]


def test_a_race_over_http(server, problem):
    choices = server.http.get("/v1/races").json()
    assert "digits" in choices["data"]
    assert {"online", "mer"} <= set(choices["methods"])
    begun = server.http.post("/v1/races", json={"methods": QUICK, "data": "digits", "seed": 3})
    assert begun.status_code == 201
    path = f"/v1/races/{begun.json()['id']}"
    stepped = server.http.post(f"{path}/step", json={"examples": 10}).json()
    assert (stepped["position"], stepped["starts"][0]) == (10, 0)
    assert stepped["methods"][0]["examples_per_second"] > 0
    shown = server.http.get(path).json()
    assert shown["history"] == [{"position": 10, "accuracy": [it["accuracy"] for it in stepped["methods"]]}]
    assert server.http.delete(path).json() == {"ended": shown["id"]}
    problem(server.http.get(path), 404, "no-job", detail="there is no race")


@pytest.mark.parametrize(
    ("path", "body", "status", "kind", "field"),
    [
        ("", {"methods": ["none"]}, 422, "bad-settings", "/methods/0"),
        ("", {"methods": ["online", "oops"]}, 422, "bad-settings", "/methods/1"),
        ("", {"methods": []}, 422, "bad-body", "/methods"),
        ("", {"methods": ["online"] * 5}, 422, "bad-body", "/methods"),
        ("", {"data": "none"}, 422, "bad-body", "/data"),
        ("", {"seed": -1}, 422, "bad-body", "/seed"),
        ("", {"speed": 1}, 422, "bad-body", "/speed"),
        ("/r-none/step", {"examples": 0}, 422, "bad-body", "/examples"),
        ("/r-none/step", {"examples": 10_000}, 422, "bad-body", "/examples"),
        ("/r-none/step", {"examples": 1}, 404, "no-job", None),
    ],
)
def test_what_cannot_be_raced(server, path, body, status, kind, field):
    answer = server.http.post(f"/v1/races{path}", json=body)
    assert (answer.status_code, answer.json()["type"]) == (status, f"urn:perdure:problem:{kind}")
    assert answer.json().get("field") == field


def test_what_a_memory_holds(server):
    server.make("er", method="er", memory_size=4)
    for n in range(6):
        server.learn({"a": float(n)}, "even" if n % 2 == 0 else "odd", name="er")
    inside = server.get("/er/inside").json()
    memory = inside["memory"]
    assert (memory["size"], memory["filled"]) == (4, 4)
    assert sum(it["examples"] for it in memory["classes"]) == 4
    assert {it["class"] for it in memory["classes"]} <= {"even", "odd"}
    assert inside["experts"] == {}


def test_a_method_without_a_memory_holds_none(server):
    assert server.get("/m/inside").json()["memory"] is None
    server.learn({"a": 1.0}, "x")
    assert server.get("/m/inside").json() == {"experts": {}, "memory": None, "method": "nearest-mean"}


def test_a_model_is_downloaded_as_a_file_that_can_be_read(server, problem, tmp_path):
    problem(server.get("/m/file"), 404, "not-found", detail="has learned nothing yet")
    for n, label in enumerate("abab"):
        server.learn({"a": float(n % 2)}, label)
    answer = server.get("/m/file")
    assert answer.status_code == 200
    assert 'filename="m.safetensors"' in answer.headers["content-disposition"]
    (tmp_path / "m.safetensors").write_bytes(answer.content)
    model = perdure.load(tmp_path / "m.safetensors")
    assert list(model.predict([{"a": 0.0}, {"a": 1.0}])) == ["a", "b"]
