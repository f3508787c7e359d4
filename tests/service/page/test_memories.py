"""What the memories of a model hold, example by example."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import jax
import numpy as np
import pytest

from perdure.memory.buffer import filled
from perdure.online import remembered
from perdure.online.durable import DurableModel
from perdure.online.journal import Journal
from perdure.online.remembered import Remembered, memories_of
from perdure.service import memories
from perdure.service.memories import is_memory
from perdure.service.turns import CALLERS

SETTINGS = {"standardize": False, "hidden_sizes": (3,), "memory_size": 12}


def numbers_in(model):
    """Return the only input of each example in each memory of a model, as whole numbers."""
    held = []
    for it in jax.tree.leaves(model.state.learner, is_leaf=is_memory):
        if is_memory(it):
            one = jax.tree.map(lambda leaf: leaf[0], it) if np.ndim(it.seen) else it  # experts side by side
            x = np.asarray(one.examples.x)[: int(filled(one)), 0]
            held.append(sorted(x.astype(int).tolist(), reverse=True))
    return held


def remembered_of(folder):
    journal = Journal(folder / "journal.sqlite", writable=False)
    found = Remembered()
    found.follow(journal)
    positions = [found.held(place) for place in range(len(found.memories))]
    journal.close()
    return positions


def rows(start, stop):
    return [{"a": float(n)} for n in range(start, stop)], ["abcde"[n * n % 7 % 5] for n in range(start, stop)]


@pytest.mark.parametrize(
    ("method", "rule"),
    [
        ("er", "reservoir"),
        ("er", "ring"),
        ("er", "recent"),
        ("mer", "balanced"),
        ("averaged-er", "reservoir"),
        pytest.param("auto", "reservoir", marks=pytest.mark.long),
    ],
)
def test_the_examples_found_are_those_that_the_memory_holds(tmp_path, method, rule):
    with DurableModel.open(tmp_path / "m", method=method, memory_rule=rule, seed=3, **SETTINGS) as model:
        model.learn(*rows(1, 61))
        assert remembered_of(model.folder) == numbers_in(model.model)
        x, y = rows(61, 90)
        model.learn(x, y, ids=[f"m{n}" for n in range(61, 90)])
        model.forget(["m70", "m89"])
        held = numbers_in(model.model)
        assert remembered_of(model.folder) == held
        assert not {70, 89} & {it for positions in held for it in positions}


def test_new_examples_are_gone_through_from_where_it_was_left(tmp_path, monkeypatch):
    monkeypatch.setattr(remembered, "_PIECE", 16)
    monkeypatch.setattr(remembered, "_FIRST_CLASSES", 2)  # and classes for which there was no room
    with DurableModel.open(tmp_path / "m", method="er", memory_rule="balanced", **SETTINGS) as model:
        found, journal = Remembered(), None
        for start in (1, 20, 21, 70):
            model.learn(*rows(start, start + 1 if start == 20 else start + 19))
            journal = journal or Journal(model.folder / "journal.sqlite", writable=False)
            found.follow(journal)
            at_once = remembered_of(model.folder)
            assert [found.held(0)] == at_once
        assert journal is not None
        journal.close()


def test_numbers_are_remembered_too(tmp_path):
    with DurableModel.open(tmp_path / "m", method="er", regression=True, **SETTINGS) as model:
        model.learn([{"a": float(n)} for n in range(1, 41)], [0.5 * n for n in range(1, 41)])
        assert remembered_of(model.folder) == numbers_in(model.model)


def test_methods_without_a_memory_have_none(tmp_path):
    with DurableModel.open(tmp_path / "m", method="lda") as model:
        model.learn(*rows(1, 9))
        assert memories_of(model.model.learner) == []
        assert remembered_of(model.folder) == []


def test_the_memory_is_listed_page_by_page(server, problem):
    server.make("er", method="er", memory_size=8, hidden_sizes=[3])
    assert server.get("/er/memory").json()["examples"] == []
    examples = [{"x": {"a": float(n)}, "y": "ab"[n % 2], "id": f"m{n}"} for n in range(1, 31)]
    server.post("/er/learn", {"examples": examples})
    whole = server.get("/er/memory").json()
    assert (whole["position"], whole["memory"], whole["before"]) == (30, "memory", None)
    assert whole["memories"] == [{"name": "memory", "rule": "reservoir", "size": 8, "filled": 8}]
    positions = [it["position"] for it in whole["examples"]]
    assert positions == sorted(positions, reverse=True)
    assert all(it["x"]["a"] == it["position"] and it["id"] == f"m{it['position']}" for it in whole["examples"])
    paged, before = [], None
    while before is not None or not paged:
        page = server.get("/er/memory", params={"limit": 3} | ({"before": before} if before else {})).json()
        paged, before = paged + page["examples"], page["before"]
    assert paged == whole["examples"]
    classes = {it["class"]: it["examples"] for it in server.get("/er/inside").json()["memory"]["classes"]}
    assert classes == {name: sum(it["y"] == name for it in paged) for name in classes}
    server.post("/er/forget", {"ids": [paged[0]["id"]]})
    assert paged[0]["position"] not in {it["position"] for it in server.get("/er/memory").json()["examples"]}
    problem(server.get("/er/memory?memory=no"), 400, "bad-request", detail="expected one of memory", field="/memory")
    problem(server.get("/m/memory?memory=no"), 400, "bad-request", detail="has no memory", field="/memory")
    assert server.get("/m/memory").json()["memories"] == []


@pytest.mark.long
def test_the_experts_of_auto_have_memories_of_their_own(server):
    server.make("auto", method="auto", memory_size=20, hidden_sizes=[2])
    examples = [{"x": {"a": float(n)}, "y": "ab"[n % 2], "id": f"m{n}"} for n in range(1, 31)]
    server.post("/auto/learn", {"examples": examples})
    inside = server.get("/auto/inside").json()
    assert (inside["memory"]["size"], inside["memory"]["filled"]) == (20, 20)
    assert sum(it["examples"] for it in inside["memory"]["classes"]) == 20
    assert sum(inside["experts"].values()) == pytest.approx(1, abs=1e-4)
    first = server.get("/auto/memory").json()
    assert [it["filled"] for it in first["memories"]] == [20, 2, 20]
    assert first["memory"] == "replay of 20"
    last = server.get("/auto/memory", params={"memory": "replay of the last 2"}).json()
    assert [it["position"] for it in last["examples"]] == [30, 29]


@pytest.mark.parametrize("query", ["limit=0", "limit=501", "before=0", "before=x"])
def test_a_page_of_the_memory_is_bounded(server, query):
    assert server.get(f"/m/memory?{query}").status_code == 422


@pytest.mark.parametrize("what", ["memories", "old_views"])
def test_few_wait_for_their_turn_and_the_others_come_again(server, problem, what):
    server.learn({"a": 1.0}, "x")
    turns = getattr(server.context.models.find("m"), what)._turns

    def ask():
        return server.get("/m/memory") if what == "memories" else server.post("/m/at/1/predict", {"x": {"a": 1.0}})

    with ThreadPoolExecutor(CALLERS) as pool:
        with turns.turn():
            waiting = [pool.submit(ask) for _ in range(CALLERS - 1)]
            while turns._callers._value:
                time.sleep(0.01)
            answer = ask()
        assert [it.result().status_code for it in waiting] == [200] * (CALLERS - 1)
    problem(answer, 429, "too-many-requests", detail=f"{CALLERS} others are looking")
    assert answer.headers["retry-after"] == "2"
    assert ask().status_code == 200


def test_a_journal_that_is_too_long_is_not_gone_through(server, problem, monkeypatch):
    monkeypatch.setattr(memories, "_LONGEST", 2)
    server.make("er", method="er", hidden_sizes=[3])
    for n in range(3):
        server.learn({"a": float(n)}, "x", name="er")
    problem(server.get("/er/memory"), 400, "bad-request", detail="has 3 positions")
