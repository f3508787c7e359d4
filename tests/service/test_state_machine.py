"""Any sequence of requests comes to what a list of examples comes to."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from perdure.online.durable import DurableModel
from perdure.service.app import make_app
from perdure.service.limits import Limits
from tests.service.in_thread import InThread

IDS = st.sampled_from([f"i{n}" for n in range(12)])
ROWS = st.fixed_dictionaries({"a": st.sampled_from([0.0, 1.0, 2.5])}, optional={"b": st.sampled_from(["x", "y"])})
LABELS = st.sampled_from(["up", "down", "left"])
BAD = st.sampled_from(
    [
        {"x": {"a": "text"}, "y": "up"},
        {"x": {"a": [1]}, "y": "up"},
        {"x": {"a": 1.0}, "y": 3},
        {"x": {"a": 1e300}, "y": "up"},
        {"x": {"a": 1.0}},
        {"y": "up"},
        {"x": {"a": 1.0}, "y": "up", "z": 1},
    ]
)


class Requests(RuleBasedStateMachine):
    """Sends requests to a server, and does the same to a list."""

    def __init__(self):
        super().__init__()
        self.folder = tempfile.TemporaryDirectory(prefix="perdure-machine-")
        self.examples: dict[str, list | None] = {}  # by id in the order of learning: row, label; None if forgotten
        self.waiting: list[tuple[str, dict]] = []
        self.begin()
        made = self.http.post("/v1/models", json={"name": "m", "method": "nearest-mean"})
        assert made.status_code == 201
        self.learn("first", {"a": 1.0}, "up")  # so that kinds are settled

    def begin(self):
        self.running = InThread(make_app(Path(self.folder.name), Limits(answer_seconds=600.0))).__enter__()
        self.http = self.running.http

    def post(self, path, body=None):
        return self.http.post(f"/v1/models/m{path}", json=body)

    @property
    def left(self):
        return {id: it for id, it in self.examples.items() if it is not None}

    def expect(self, answer, id, x, y):
        known = id in self.examples
        if not known:
            self.examples[id] = [x, y]
        assert (answer["known"], answer["position"]) == (known, list(self.examples).index(id) + 1)

    @rule(id=IDS, x=ROWS, y=LABELS)
    def learn(self, id, x, y):
        answer = self.post("/learn", {"x": x, "y": y, "id": id})
        assert answer.status_code == 200
        self.expect(answer.json(), id, x, y)

    @rule(examples=st.lists(st.tuples(IDS, ROWS, LABELS), min_size=1, max_size=4))
    def learn_several(self, examples):
        body = [{"x": x, "y": y, "id": id} for id, x, y in examples]
        for answer, (id, x, y) in zip(
            self.post("/learn", {"examples": body}).json()["examples"], examples, strict=True
        ):
            if id not in self.examples:
                self.examples[id] = [x, y]
                assert not answer["known"]
            assert answer["position"] == list(self.examples).index(id) + 1

    @rule(bad=BAD, good=st.lists(ROWS, max_size=2))
    def be_refused(self, bad, good):
        assert self.post("/learn", bad).status_code == 422
        body = [*({"x": it, "y": "up"} for it in good), bad]
        assert self.post("/learn", {"examples": body}).status_code == 422

    @rule(x=ROWS)
    def predict(self, x):
        found = self.post("/predict", {"x": x}).json()
        assert found["position"] == len(self.examples)
        assert found["prediction"] in {y for _, y in self.left.values()} or not self.left
        self.waiting.append((found["prediction_id"], x))

    @precondition(lambda self: self.waiting)
    @rule(place=st.integers(0, 100), y=LABELS)
    def give_feedback(self, place, y):
        id, x = self.waiting[place % len(self.waiting)]
        answer = self.post("/feedback", {"prediction_id": id, "y": y})
        assert answer.status_code == 200
        self.expect(answer.json(), id, x, y)

    @rule(id=IDS)
    def forget(self, id):
        answer = self.post("/forget", {"ids": [id]})
        if id not in self.examples:
            assert answer.status_code == 404
            return
        assert answer.json()["forgot"] == int(self.examples[id] is not None)
        self.examples[id] = None

    @precondition(lambda self: len(self.left) > 1)
    @rule()
    def undo(self):
        last = list(self.left)[-1]
        assert self.post("/undo").json()["forgot"]["id"] == last
        self.examples[last] = None

    @rule(id=IDS, y=LABELS)
    def relabel(self, id, y):
        answer = self.post("/relabel", {"id": id, "y": y})
        if self.examples.get(id) is None:
            assert answer.status_code == 404
            return
        assert answer.status_code == 200
        self.examples[id] = [self.left[id][0], y]

    @rule()
    def begin_again(self):
        self.running.__exit__()
        self.begin()

    @invariant()
    def the_examples_are_those_of_the_list(self):
        found = self.http.get("/v1/models/m/examples", params={"limit": 500}).json()["examples"]
        shown = [(it["id"], {name: v for name, v in it["x"].items() if v is not None}, it["y"]) for it in found]
        assert shown[::-1] == [(id, x, y) for id, (x, y) in self.left.items()]

    def teardown(self):
        self.running.__exit__()
        asked = [{"a": 0.0, "b": "x"}, {"a": 2.5}]
        with (
            tempfile.TemporaryDirectory() as other,
            DurableModel.open(Path(self.folder.name) / "m") as model,
            DurableModel.open(other, method="nearest-mean") as fresh,
        ):
            for x, y in self.left.values():
                fresh.learn(x, y)
            assert model.predict_proba(asked).tolist() == fresh.predict_proba(asked).tolist()
        self.folder.cleanup()


def run(n_examples, n_steps):
    from hypothesis.stateful import run_state_machine_as_test

    checks = [HealthCheck.too_slow, HealthCheck.data_too_large]
    run_state_machine_as_test(
        Requests,
        settings=settings(
            max_examples=n_examples, stateful_step_count=n_steps, deadline=None, suppress_health_check=checks
        ),
    )


def test_any_sequence_of_requests():
    run(5, 20)


@pytest.mark.long
def test_any_sequence_of_requests_for_long():
    run(25, 40)
