"""The client: an estimator's methods, and tries again that do no harm."""

import numpy as np
import pandas as pd
import pytest

import perdure
from perdure import Client, OnlineClassifier, ServiceError
from perdure.client import transport
from perdure.service.app import make_app
from perdure.service.limits import Limits
from tests.service.in_thread import InThread


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    """Address of a server in a thread of this process."""
    app = make_app(tmp_path_factory.mktemp("client") / "models", Limits(answer_seconds=600.0))
    with InThread(app) as running:
        yield running.url


@pytest.fixture
def client(url, request, monkeypatch):
    monkeypatch.setattr(transport, "_FIRST_WAIT", 0.001)
    with Client(url, timeout=600.0, batch_size=7) as client:
        name = f"m{abs(hash(request.node.name))}"
        client.create(name, method="nearest-mean")
        yield client
        client.delete(name)


def rows(n):
    values = np.random.default_rng(0).normal(size=(n, 3))
    return values, ["up" if it[0] > it[1] else "down" for it in values.tolist()]


def test_it_answers_as_an_estimator_in_this_process(client):
    X, y = rows(30)
    estimator = OnlineClassifier("nearest-mean").partial_fit(X, y)
    assert client.partial_fit(X, y) is client
    assert client.classes_.tolist() == estimator.classes_.tolist()
    assert client.predict(X).tolist() == estimator.predict(X).tolist()
    np.testing.assert_allclose(client.predict_proba(X), estimator.predict_proba(X), atol=1e-6)
    row = {f"x{place}": value for place, value in enumerate(X[0].tolist())}
    assert client.predict_one(row) == estimator.predict_one(row)
    assert client.predict_proba_one(row) == pytest.approx(estimator.predict_proba_one(row), abs=1e-6)
    assert client.score(X, y) == estimator.score(X, y)
    assert client.describe()["examples"] == 30


@pytest.mark.parametrize("kind", ["dictionaries", "frame", "array"])
def test_rows_of_every_kind(client, kind):
    X, y = rows(9)
    frame = pd.DataFrame(X, columns=["x0", "x1", "x2"])
    given = {"dictionaries": frame.to_dict("records"), "frame": frame, "array": X}[kind]
    assert [it["position"] for it in client.learn_many(given, y)] == list(range(1, 10))
    assert sorted(client.describe()["columns"]) == ["x0", "x1", "x2"]
    assert len(client.predict(given)) == 9


def test_missing_values_and_numbers_of_numpy(client):
    client.learn_one({"a": np.float32(1.5), "b": float("nan"), "c": None}, np.int64(3))
    (example,) = client.examples()
    assert (example["x"], example["y"]) == ({"a": 1.5, "b": None, "c": None}, 3)
    frame = pd.DataFrame({"a": [1.0, float("nan")], "c": ["x", None]})
    client.learn_many(frame, np.array([3, 4]))
    assert [(it["x"], it["y"]) for it in client.examples()][:2] == [
        ({"a": None, "c": None}, 4),
        ({"a": 1.0, "c": "x"}, 3),
    ]
    assert len(client.predict(frame)) == 2


def test_examples_are_corrected_and_labels_come_later(client):
    client.learn_many([{"a": float(n)} for n in range(4)], ["low", "low", "high", "high"], ids=list("wxyz"))
    assert client.undo()["id"] == "z"
    assert client.forget(["w"]) == 1
    client.relabel("x", "high")
    assert [it["id"] for it in client.examples(label="high")] == ["y", "x"]
    asked = client.ask({"a": 9.0})
    assert (asked.prediction, asked.position, sum(asked.probabilities.values())) == (
        "high",
        4,
        pytest.approx(1, abs=1e-5),
    )
    assert client.feedback(asked.id or "", "low")["position"] == 5
    assert client.backtest(["gaussian"])["gaussian"]["rows"] == 3


def test_an_error_is_the_servers_own(client):
    client.learn_one({"a": 1.0}, "up")
    with pytest.raises(ServiceError, match="row 0, column 'a' is 'text', expected a number") as caught:
        client.learn_one({"a": "text"}, "up")
    assert (caught.value.status, caught.value.field) == (422, "/x/a")
    assert caught.value.type == "urn:perdure:problem:bad-row"
    assert len(caught.value.request_id or "") == 16
    with pytest.raises(ServiceError, match="has no example with the id"):
        client.forget(["none"])
    with pytest.raises(ServiceError, match="method is 'best'"):
        client.backtest(["best"])


class Flaky:
    """Loses answers, or refuses, a few times before a request goes through."""

    def __init__(self, client, failures):
        self.http = client._transport._http
        self.request = self.http.request
        self.failures = list(failures)
        self.sent = 0

    def __call__(self, *arguments, **options):
        self.sent += 1
        failure = self.failures.pop(0) if self.failures else None
        if failure == "lost answer":
            self.request(*arguments, **options)
        if failure in ("lost answer", "lost request"):
            import httpx

            raise httpx.ReadError("gone")
        if failure is not None:
            import httpx

            return httpx.Response(failure, headers={"Retry-After": "0"}, request=httpx.Request("GET", "http://x"))
        return self.request(*arguments, **options)


def test_what_was_lost_is_sent_again_and_learned_once(client, monkeypatch):
    client.learn_one({"a": 0.0}, "up")
    flaky = Flaky(client, ["lost answer", 503, "lost request", 429])
    monkeypatch.setattr(flaky.http, "request", flaky)
    told = client.learn_one({"a": 1.0}, "up")
    assert (told["position"], told["known"], flaky.sent) == (2, True, 5)
    flaky.failures = ["lost answer"]
    client.learn_many([{"a": float(n)} for n in range(9)], ["up"] * 9)
    assert client.describe()["position"] == 11


def test_what_may_not_be_done_twice_is_not_sent_again(client, monkeypatch):
    client.learn_many([{"a": 0.0}, {"a": 1.0}], ["up", "up"])
    flaky = Flaky(client, ["lost answer"])
    monkeypatch.setattr(flaky.http, "request", flaky)
    with pytest.raises(ServiceError, match="gave no answer: gone; is the server running there"):
        client.undo()
    assert client.describe()["examples"] == 1
    flaky.failures = [429]
    assert client.undo() is not None


def test_a_refusal_is_not_sent_again(client, monkeypatch):
    flaky = Flaky(client, [])
    monkeypatch.setattr(flaky.http, "request", flaky)
    with pytest.raises(ServiceError):
        client.learn_one({"a": [1]}, "up")
    assert flaky.sent == 1


def test_the_only_model_need_not_be_named(url):
    with Client(url) as client:
        with pytest.raises(ValueError, match=r"the server has the models \(none yet\); choose one"):
            client.predict_one({"a": 1.0})
        client.create("one", method="nearest-mean")
        with Client(url) as other:
            assert other.predict_one({"a": 1.0}) is None
            client.create("two", method="online", regression=True, hidden_sizes=[2])
        with Client(url) as third, pytest.raises(ValueError, match="the models one, two; choose one"):
            third.predict_one({"a": 1.0})
        X = [{"a": float(n)} for n in range(20)]
        client.learn_many(X, [2.0 * n for n in range(20)])
        assert client.predict(X).shape == (20,)
        assert client.score(X, [2.0 * n for n in range(20)]) <= 1
        for name in ("one", "two"):
            client.delete(name)


def test_no_server(monkeypatch):
    monkeypatch.setattr(transport, "_FIRST_WAIT", 0.001)
    with Client("http://127.0.0.1:9", retries=2) as client, pytest.raises(ServiceError, match="Tried 3 times"):
        client.models()
    with pytest.raises(ValueError, match="expected an address such as http"):
        Client("127.0.0.1:8000")


def test_without_httpx_the_extra_is_named(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "httpx", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'perdure\[client\]'"):
        perdure.Client("http://127.0.0.1:8000")
