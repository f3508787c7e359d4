"""Nonsense over HTTP: never an error of the server, nothing learned from what was refused, no growing memory."""

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest

from perdure.service.limits import Limits

LIMITS = replace(Limits(), answer_seconds=600.0, requests_per_second=1e9, inputs=64, classes=20, models=3)
PATHS = [
    ("POST", "/v1/models/m/learn"),
    ("POST", "/v1/models/m/learn"),
    ("POST", "/v1/models/m/predict"),
    ("POST", "/v1/models/m/feedback"),
    ("POST", "/v1/models/m/undo"),
    ("POST", "/v1/models/m/forget"),
    ("POST", "/v1/models/m/relabel"),
    ("POST", "/v1/models/m/at/1/predict"),
    ("POST", "/v1/models/m/at/99999999999999999999/predict"),
    ("POST", "/v1/models"),
    ("GET", "/v1/models/m/examples"),
    ("GET", "/v1/models/m/memory"),
    ("GET", "/v1/models/m/inside"),
    ("GET", "/v1/models/m/backtest/x"),
    ("POST", "/v1/races"),
    ("POST", "/v1/races/x/step"),
    ("DELETE", "/v1/models/m"),
    ("PUT", "/v1/models/m"),
    ("GET", "/v1/models/%00"),
    ("GET", "/v1/models/%ff%fe"),
    ("PATCH", "/../../etc/passwd"),
]
TYPES = ["application/json"] * 8 + ["application/x-ndjson", "text/plain", "", "application/json; charset=utf-16"]
TEXTS = [
    "",
    "a",
    "b",
    "c",
    "x",
    "y",
    "id",
    "\x00",
    "ä",
    "💥",
    "__class__",
    "a" * 300,
    "nan",
    "1e400",
    "../..",
    "<script>",
]
NUMBERS = [0, 1, -1, 0.5, 1e38, 1e39, -1e300, 2**63, 2**70, 10**400, 5e-324, True, False, None]


class Nonsense:
    """Bodies that are nearly right, and bodies that are not."""

    def __init__(self, seed):
        self.random = random.Random(seed)

    def value(self, depth=0):
        pick = self.random.random()
        if pick < 0.4 or depth > 3:
            return self.random.choice(NUMBERS)
        if pick < 0.7:
            return self.random.choice(TEXTS)
        if pick < 0.85:
            return [self.value(depth + 1) for _ in range(self.random.randrange(4))]
        return {self.random.choice(TEXTS): self.value(depth + 1) for _ in range(self.random.randrange(4))}

    def row(self):
        if self.random.random() < 0.15:
            return self.value()
        return {self.random.choice("abc"): self.random.choice([1.0, 2, "t", None, *NUMBERS]) for _ in range(3)}

    def example(self):
        body = {"x": self.row(), "y": self.random.choice(["up", "down", self.value()]), "id": self.value()}
        for name in list(body):
            if self.random.random() < 0.2:
                del body[name]
        if self.random.random() < 0.1:
            body[self.random.choice(TEXTS)] = self.value()
        return body

    def body(self):
        kinds = [
            self.example,
            self.example,
            lambda: {"examples": [self.example() for _ in range(self.random.randrange(4))]},
            lambda: {"rows": [self.row() for _ in range(self.random.randrange(4))], "feedback": self.value()},
            lambda: {"prediction_id": self.value(), "y": self.value()},
            lambda: {"ids": [self.value()], "id": self.value(), "y": self.value()},
            lambda: {"name": self.value(), "method": self.value(), "seed": self.value()},
            self.value,
        ]
        return self.random.choice(kinds)()

    def content(self):
        text = json.dumps(self.body()).encode()
        pick = self.random.random()
        if pick < 0.1:
            cut = self.random.randrange(len(text) + 1)
            return text[:cut] + bytes([self.random.randrange(256)]) + text[cut:]
        if pick < 0.15:
            return text[: self.random.randrange(len(text) + 1)]
        if pick < 0.2:
            return self.random.randbytes(self.random.randrange(60))
        if pick < 0.22:
            return b"[" * 20_000
        return text


def memory():
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return 1024 * int(status["VmRSS"].split()[0])


@pytest.mark.parametrize(
    "n_requests",
    [
        300,
        pytest.param(2_000, marks=pytest.mark.long),
        pytest.param(100_000, marks=pytest.mark.endurance),
    ],
    ids=lambda it: f"{it} requests",
)
def test_nonsense_is_refused_and_never_fails(serving, n_requests):
    nonsense = Nonsense(0)
    with serving(limits=LIMITS) as server:
        server.make()
        server.learn({"a": 1.0, "b": 2.0, "c": "t"}, "up", id="first")
        began, counted = None, 0
        for n in range(n_requests):
            method, path = nonsense.random.choice(PATHS)
            kind = nonsense.random.choice(TYPES)
            name = nonsense.random.choice(["before", "limit", "text", "label", "id", "memory"])
            params = {name: nonsense.random.choice(TEXTS)}
            before = server.context.models.find("m").n_examples
            answer = server.http.request(
                method,
                path,
                content=nonsense.content() if method != "GET" else None,
                headers={"Content-Type": kind} if kind else {},
                params=params if nonsense.random.random() < 0.3 else None,
            )
            assert answer.status_code < 500, (answer.text, answer.request.content)
            if answer.status_code >= 400:
                assert answer.headers["content-type"] == "application/problem+json"
                assert answer.json()["detail"]
                assert server.context.models.find("m").n_examples == before
            counted += answer.status_code == 200
            if n == n_requests // 10:
                began = memory()
        assert counted > n_requests / 50
        assert began is not None
        assert memory() - began < 200e6
        assert server.http.get("/readyz").json()["models"]["m"] == "ready"
