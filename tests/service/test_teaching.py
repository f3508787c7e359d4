"""Examples over HTTP: learned, answered, corrected."""

import json

import numpy as np
import pytest

from perdure.online.drawings import text_of
from perdure.online.durable import DurableModel
from perdure.online.methods import METHODS


def test_an_example_is_answered_with_position_and_the_prediction_before(server):
    assert server.learn({"a": 1.0}, "up", id="1") == {"position": 1, "id": "1", "known": False, "prediction": None}
    assert server.learn({"a": 2.0}, "up", id="2") == {"position": 2, "id": "2", "known": False, "prediction": "up"}
    assert server.learn({"a": 2.0}, "up", id="2") == {"position": 2, "id": "2", "known": True, "prediction": None}
    found = server.post("/m/predict", {"x": {"a": 1.5}}).json()
    assert found.pop("prediction_id").startswith("p-")
    assert found == {"position": 2, "prediction": "up", "classes": ["up"], "probabilities": [1.0]}


def test_drawings_are_learned_and_answered(server, problem):
    server.make("drawings", features="omniglot-small-prototypes")
    rng = np.random.default_rng(0)
    ring, bar = ({"drawing": text_of(rng.integers(0, 256, (28, 28), np.uint8))} for _ in range(2))
    assert server.learn(ring, "ring", "drawings")["position"] == 1
    assert server.learn(bar, "bar", "drawings")["prediction"] == "ring"
    assert server.post("/drawings/predict", {"x": ring}).json()["prediction"] == "ring"
    assert server.post("/drawings/predict", {"rows": [bar, ring]}).json()["predictions"] == ["bar", "ring"]
    answer = server.post("/drawings/learn", {"x": {"a": 1.0}, "y": "ring"})
    problem(answer, 422, "bad-row", detail="expected 'drawing' alone")
    assert server.get("/drawings").json()["examples"] == 2


def test_an_example_without_an_id_is_given_one_by_which_it_is_forgotten(server):
    id = server.learn({"a": 1.0}, "up")["id"]
    assert server.post("/m/forget", {"ids": [id]}).json()["forgot"] == 1
    assert server.get("/m").json()["examples"] == 0


def test_several_are_learned_all_or_none(server, problem):
    examples = [{"x": {"a": 1.0}, "y": "up", "id": "1"}, {"x": {"a": 2.0}, "y": "down", "id": "2"}]
    found = server.post("/m/learn", {"examples": examples}).json()
    assert found["position"] == 2
    assert [it["position"] for it in found["examples"]] == [1, 2]
    bad = [{"x": {"a": 3.0}, "y": "up"}, {"x": {"a/b~": 1, "a": "text"}, "y": "up"}]
    answer = server.post("/m/learn", {"examples": bad})
    problem(answer, 422, "bad-row", detail="row 1, column 'a' is 'text', expected a number", field="/examples/1/x/a")
    assert server.get("/m").json()["position"] == 2


def test_a_stream_of_lines_is_learned_and_bad_lines_are_told(server):
    lines = [
        json.dumps({"x": {"a": float(n % 7)}, "y": "low" if n % 7 < 3 else "high", "id": f"{n}"}) for n in range(600)
    ]
    lines[10], lines[300], lines[301] = "nonsense", '{"x": {"a": "text"}, "y": "low"}', "   "
    lines[302] = lines[5]
    content = "\n".join(lines).encode()  # the last line has no end
    answer = server.http.post("/v1/models/m/learn", content=content, headers={"Content-Type": "application/x-ndjson"})
    told = [json.loads(line) for line in answer.text.splitlines()]
    assert sum(it["learned"] for it in told) == 596
    assert sum(it["known"] for it in told) == 1
    refused = [one for it in told for one in it.get("refused", [])]
    assert [it["line"] for it in refused] == [11, 301]
    assert refused[1]["field"] == "/x/a"
    assert refused[1]["detail"].startswith("line 301, column 'a' is 'text', expected a number")
    assert told[-1]["position"] == server.get("/m").json()["position"] == 596
    assert told[-1]["line"] == 600
    assert 200 < sum(it["right"] for it in told) <= 596
    ids = [int(it["id"]) for it in server.get("/m/examples", params={"limit": 500}).json()["examples"]]
    assert ids == sorted(ids, reverse=True)  # in the order of the lines, also those beside the bad one
    again = server.http.post("/v1/models/m/learn", content=content, headers={"Content-Type": "application/x-ndjson"})
    assert sum(json.loads(line)["learned"] for line in again.text.splitlines()) == 0


def test_many_rows_are_answered(server):
    for n in [0, 1, 8, 9] * 4:
        server.learn({"a": float(n)}, "low" if n < 2 else "high")
    rows = [{"a": float([0, 1, 8, 9][n % 4])} for n in range(40)]
    found = server.post("/m/predict", {"rows": rows}).json()
    assert found["predictions"][:4] == ["low", "low", "high", "high"]
    assert len(found["probabilities"]) == len(found["prediction_ids"]) == 40
    assert found["classes"] == ["low", "high"]
    short = server.post("/m/predict", {"rows": rows[:2], "feedback": False, "probabilities": False}).json()
    assert short == {"position": 16, "predictions": ["low", "low"]}


def test_a_label_that_comes_later(server, problem):
    server.learn({"a": 0.0}, "low")
    server.learn({"a": 9.0}, "high")
    id = server.post("/m/predict", {"x": {"a": 8.0}}).json()["prediction_id"]
    found = server.post("/m/feedback", {"prediction_id": id, "y": "low"}).json()
    assert found == {"position": 3, "id": id, "known": False, "prediction": "high", "predicted": "high"}
    again = server.post("/m/feedback", {"prediction_id": id, "y": "low"}).json()
    assert (again["position"], again["known"]) == (3, True)
    problem(
        server.post("/m/feedback", {"prediction_id": "p-none", "y": "low"}),
        404,
        "no-prediction",
        detail="one waits 7 days",
        field="/prediction_id",
    )
    ids = server.post("/m/predict", {"rows": [{"a": 1.0}, {"a": 2.0}]}).json()["prediction_ids"]
    labels = [{"prediction_id": it, "y": "low"} for it in ids]
    assert [it["position"] for it in server.post("/m/feedback", {"labels": labels}).json()["examples"]] == [4, 5]


def test_of_two_labels_for_a_prediction_the_first_is_learned(server):
    server.learn({"a": 0.0}, "low")
    id = server.post("/m/predict", {"x": {"a": 8.0}}).json()["prediction_id"]
    labels = [{"prediction_id": id, "y": it} for it in ("high", "low")]
    told = {"position": 2, "id": id, "predicted": "low"}
    assert server.post("/m/feedback", {"labels": labels}).json()["examples"] == [
        {**told, "known": False, "prediction": "low"},
        {**told, "known": True, "prediction": None},
    ]
    assert server.get("/m/examples").json()["examples"][0]["y"] == "high"


def test_labels_come_after_the_server_has_been_begun_again(serving):
    with serving() as server:
        server.make()
        server.learn({"a": 0.0}, "low")
        id = server.post("/m/predict", {"x": {"a": 8.0, "b": "t"}}).json()["prediction_id"]
    with serving() as server:
        assert server.post("/m/feedback", {"prediction_id": id, "y": "high"}).json()["position"] == 2
        assert server.get("/m/examples").json()["examples"][0]["x"] == {"a": 8.0, "b": "t"}


def test_corrections_come_to_the_model_that_never_saw_them(server, tmp_path):
    rows = [({"a": float(n), "b": "xy"[n % 2]}, "low" if n < 5 else "high") for n in range(10)]
    for n, (x, y) in enumerate(rows):
        server.learn(x, y, id=f"{n}")
    assert server.post("/m/forget", {"ids": ["3", "4"]}).json()["forgot"] == 2
    assert server.post("/m/undo").json()["forgot"]["id"] == "9"
    assert server.post("/m/relabel", {"id": "2", "y": "high"}).status_code == 200
    asked = [x for x, _ in rows]
    found = server.post("/m/predict", {"rows": asked}).json()
    with DurableModel.open(tmp_path / "other", method="nearest-mean") as other:
        for n, (x, y) in enumerate(rows[:9]):
            if n not in (3, 4):
                other.learn(x, "high" if n == 2 else y)
        assert found["probabilities"] == [[round(float(p), 6) for p in row] for row in other.predict_proba(asked)]


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/forget", {"ids": ["9"]}, "/ids"),
        ("/relabel", {"id": "9", "y": "up"}, "/id"),
    ],
)
def test_an_example_that_is_not_there(server, problem, path, body, field):
    server.learn({"a": 1.0}, "up", id="1")
    problem(server.post(f"/m{path}", body), 404, "no-example", detail="'9'", field=field)


def test_a_correction_that_cannot_be_learned_changes_nothing(server, problem):
    server.learn({"a": 1.0}, "up", id="1")
    server.learn({"a": 2.0}, "down", id="2")
    problem(server.post("/m/relabel", {"id": "2", "y": 7}), 422, "bad-row", detail="row 2 has the class 7", field="/y")
    assert [it["y"] for it in server.get("/m/examples").json()["examples"]] == ["down", "up"]


def test_undo_of_nothing(server):
    assert server.post("/m/undo").json()["forgot"] is None


def test_examples_page_by_page(server):
    for n in range(5):
        server.learn({"subject": f"mail {n}"}, n % 2 == 0)
    page = server.get("/m/examples", params={"limit": 2}).json()
    assert [it["position"] for it in page["examples"]] == [5, 4]
    page = server.get("/m/examples", params={"limit": 9, "before": page["before"]}).json()
    assert ([it["position"] for it in page["examples"]], page["before"]) == ([3, 2, 1], None)
    assert [it["position"] for it in server.get("/m/examples", params={"text": "MAIL 3"}).json()["examples"]] == [4]
    found = server.get("/m/examples", params={"label": "true"}).json()["examples"]
    assert [it["position"] for it in found] == [5, 3, 1]


def test_the_methods_that_a_history_can_measure_are_listed(server):
    for name, regression in (("classes", False), ("numbers", True)):
        server.http.post("/v1/models", json={"name": name, "method": "online", "regression": regression})
    classes, numbers = (server.get(f"/{it}/backtest").json()["methods"] for it in ("classes", "numbers"))
    assert classes == list(METHODS)
    assert "ridge" in numbers
    assert "gaussian" not in numbers
    assert server.post("/numbers/backtest", {"methods": numbers}).status_code == 202


def test_a_backtest_is_a_job(server, problem):
    for n in range(30):
        server.learn({"a": float(n % 5)}, "low" if n % 5 < 2 else "high")
    job = server.post("/m/backtest", {"methods": ["gaussian", "nearest-mean"], "window": 10})
    assert job.status_code == 202
    path = f"/m/backtest/{job.json()['id']}"
    while (found := server.get(path).json())["state"] in ("waiting", "running"):
        assert 0 <= found["progress"] <= 1
    assert (found["state"], found["progress"]) == ("done", 1.0)
    assert found["results"]["gaussian"]["rows"] == 30
    assert 0.5 < found["results"]["nearest-mean"]["metrics"]["accuracy"] <= 1
    assert server.http.delete(f"/v1/models{path}").json()["state"] == "done"
    assert [it["id"] for it in server.get("/m/backtest").json()["backtests"]] == [found["id"]]
    problem(server.get("/m/backtest/b-none"), 404, "no-job", detail="has no backtest 'b-none'")
    answer = server.post("/m/backtest", {"methods": ["gaussian", "best"]})
    problem(answer, 422, "bad-settings", detail="method is 'best', expected", field="/methods/1")


def test_the_model_as_it_was(server, problem):
    server.learn({"a": 0.0}, "low")
    server.learn({"a": 9.0}, "high")
    found = server.post("/m/at/1/predict", {"x": {"a": 9.0}}).json()
    assert (found["position"], found["prediction"]) == (1, "low")
    assert server.post("/m/at/2/predict", {"x": {"a": 9.0}}).json()["prediction"] == "high"
    problem(server.post("/m/at/3/predict", {"x": {}}), 404, "no-example", detail="expected 0 to 2", field="/position")


def test_numbers_are_learned_too(serving, problem):
    with serving() as server:
        server.make("price", method="online", regression=True, hidden_sizes=[4])
        for n in range(20):
            server.learn({"a": float(n)}, 2.0 * n, name="price")
        found = server.post("/price/predict", {"x": {"a": 3.0}}).json()
        assert isinstance(found["prediction"], float)
        assert "probabilities" not in found
        problem(
            server.post("/price/learn", {"x": {"a": 1.0}, "y": "much"}),
            422,
            "bad-row",
            detail="/y is a text, expected a number",
            field="/y",
        )
        assert server.get("/price").json()["scores"]["metrics"]["mae"] > 0


def test_models_are_made_listed_described_and_deleted(server, problem, tmp_path):
    server.make("other-1", seed=3)
    assert [it["name"] for it in server.get("").json()["models"]] == ["m", "other-1"]
    assert server.get("/other-1").json()["settings"]["seed"] == 3
    problem(server.post("", {"name": "other-1"}), 409, "exists", detail="'other-1'", field="/name")
    problem(server.post("", {"name": "x", "method": "best"}), 422, "bad-settings", detail="method is 'best', expected")
    assert not (tmp_path / "models" / "x").exists()
    delete = server.http.delete
    problem(delete("/v1/models/other-1"), 422, "not-confirmed", detail="confirm it: ?confirm=other-1")
    problem(delete("/v1/models/other-1?confirm=m"), 422, "not-confirmed")
    assert delete("/v1/models/other-1?confirm=other-1").json() == {"deleted": "other-1"}
    problem(server.get("/other-1"), 404, "no-model", detail="there are: m")
    assert [it.name for it in (tmp_path / "models").iterdir() if it.is_dir()] == ["m"]
    server.make("other-1")
    assert server.get("/other-1").json()["settings"]["seed"] == 0


@pytest.mark.parametrize(
    "name", ["", ".", "..", ".hidden", "../x", "a/b", "A", "ä", "a" * 65, "a b", "tokens.json", "a\n", "\x00"]
)
def test_names_that_no_model_can_have(server, problem, name, tmp_path):
    problem(server.post("", {"name": name}), 422, "bad-name", field="/name")
    assert sorted(it.name for it in (tmp_path / "models").iterdir() if it.is_dir()) == ["m"]


def test_events_tell_what_was_learned(server):
    server.learn({"a": 1.0}, "up")
    server.learn({"a": 1.0}, "up")
    served = server.context.models.find("m")
    served.close(60.0)  # so that the events come to an end
    with server.http.stream("GET", "/v1/models/m/events") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert "event: gone" in "".join(answer.iter_text())
    assert server.context.n_subscribers == 0


def test_figures_for_prometheus(server):
    server.learn({"a": 1.0}, "up")
    server.post("/m/predict", {"x": {"a": 1.0}})
    text = server.http.get("/metrics").text
    assert 'perdure_examples_total{model="m"} 1.0' in text
    assert 'perdure_predictions_total{model="m"} 1.0' in text
    assert 'perdure_model_state{model="m",state="ready"} 1.0' in text
    assert 'route="/v1/models/{name}/learn",status="200"} 1.0' in text


def test_openapi_explains_each_request(server):
    content = server.http.get("/openapi.json").json()
    for path, methods in content["paths"].items():
        for method, described in methods.items():
            assert described["summary"], path
            if "requestBody" in described:
                (body,) = described["requestBody"]["content"].values()
                assert body["example"], (method, path)
    assert "Problem" in content["components"]["schemas"]
    text = json.dumps(content)
    names = {it.split('"')[0] for it in text.split('"#/components/schemas/')[1:]}
    assert names <= set(content["components"]["schemas"])


def test_a_stream_of_numbers_tells_how_far_off_the_answers_were(server):
    server.make("price", method="online", regression=True, hidden_sizes=[4])
    lines = [{"x": {"a": float(n % 3)}, "y": 2.0 * (n % 3), "id": f"p{n}"} for n in range(300)]
    body = "".join(f"{json.dumps(it)}\n" for it in lines)
    headers = {"Content-Type": "application/x-ndjson"}
    first = [json.loads(it) for it in server.post("/price/learn", content=body, headers=headers).text.splitlines()]
    assert sum(it["learned"] for it in first) == sum(it["answered"] for it in first) == 300
    assert 0 < sum(it["error"] for it in first) < 300
    assert "right" not in first[0]
    again = [json.loads(it) for it in server.post("/price/learn", content=body, headers=headers).text.splitlines()]
    assert [(it["answered"], it["error"]) for it in again] == [(0, 0.0)] * len(again)
