"""Every limit: its status, its message, and nothing learned beyond it."""

import contextlib
import json
import socket
import threading
import time
from dataclasses import replace

import pytest

from perdure.service import bodies
from perdure.service.http import HEAD_BYTES
from perdure.service.limits import MAX_ROWS, Limits
from perdure.service.rates import Rates

PATIENT = Limits(answer_seconds=600.0, body_seconds=60.0)
TIGHT = replace(
    PATIENT, body_bytes=2_000, line_bytes=500, rows=5, columns=8, text=50, name=20, inputs=12, classes=3, models=2
)
ONE = {"x": {"a": 1.0}, "y": "up"}


@pytest.fixture
def tight(serving):
    with serving(limits=TIGHT) as server:
        server.make()
        yield server
        assert server.get("/m").json()["position"] == 0


@pytest.mark.parametrize(
    ("body", "status", "kind", "detail", "field"),
    [
        ({"examples": [ONE] * 6}, 413, "too-large", "6 rows were given, expected at most 5", "/examples"),
        ({"x": {"a": "t" * 2_000}, "y": "up"}, 413, "too-large", "more than 2,000 bytes", None),
        ({"x": dict.fromkeys("abcdefghi", 1), "y": "up"}, 422, "bad-row", "9 columns, expected at most 8", "/x"),
        ({"x": {"a": "t" * 51}, "y": "up"}, 422, "bad-row", "column 'a' has 51 characters", "/x/a"),
        ({"x": {"n" * 21: 1}, "y": "up"}, 422, "bad-row", "whose name has 21 characters", "/x"),
        (
            {"x": {"a": 1}, "y": "u" * 51},
            422,
            "bad-row",
            "/y is a text of 51 characters, expected a text of at most 50",
            "/y",
        ),
        ({**ONE, "id": "i" * 21}, 422, "bad-body", "has 21 characters, expected at most 20", "/id"),
        ({"x": {"a": [1]}, "y": "up"}, 422, "bad-row", "column 'a' is a list", "/x/a"),
        ({"x": {"a": {}}, "y": "up"}, 422, "bad-row", "column 'a' is an object", "/x/a"),
        ({"x": {"a": 1}, "y": None}, 422, "bad-row", "/y is missing, expected a class", "/y"),
        ({"x": {"a": 1}, "y": ["up"]}, 422, "bad-row", "/y is a list, expected a class", "/y"),
        ({"x": {"a": 1}, "y": 2**70}, 422, "bad-row", "a whole number of 71 bits", "/y"),
        ({"x": {"a": 1e39}, "y": "up"}, 422, "bad-row", "finite number that fits float32", "/x/a"),
        ({"x": {"a": -1e39}, "y": "up"}, 422, "bad-row", "give no value there (null in JSON", "/x/a"),
        ({"x": {"a": 10**400}, "y": "up"}, 422, "bad-row", "finite number that fits float32", "/x/a"),
        ({"y": "up"}, 422, "bad-body", "neither x nor examples", "/x"),
        ({**ONE, "examples": [ONE]}, 422, "bad-body", "beside examples", "/x"),
        ({**ONE, "weight": 2}, 422, "bad-body", "/weight: Extra inputs", "/weight"),
        ({"examples": []}, 422, "bad-body", "/examples", "/examples"),
        ([], 422, "bad-body", "Input should be", None),
        (
            {"examples": [{"x": {f"{n}": "t"}, "y": "up"} for n in range(5)]},
            422,
            "bad-row",
            "expected at most 12",
            "/examples/0/x/4",
        ),
        (
            {"examples": [{"x": {}, "y": f"{n}"} for n in range(4)]},
            422,
            "bad-row",
            "row 3 has the class '3', which would be one of 4, expected at most 3",
            "/examples/3/y",
        ),
    ],
)
def test_what_is_refused_says_where_and_learns_nothing(tight, problem, body, status, kind, detail, field):
    problem(tight.post("/m/learn", body), status, kind, detail=detail, field=field)


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"", "bad-json"),
        (b"{", "bad-json"),
        (b'{"x":{"a":NaN},"y":"up"}', "bad-json"),
        (b"[" * 1_900, "bad-json"),
        (b'{"x":{"a":"\\ud800"},"y":"up"}', "bad-json"),
        (b"\xff\xfe", "bad-json"),
    ],
)
def test_bodies_that_are_no_json(tight, problem, content, kind):
    answer = tight.http.post("/v1/models/m/learn", content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422)
    assert answer.json()["type"].endswith((kind, "bad-body", "bad-row"))


MANY = 20_000


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/m/learn", {"examples": [{}] * MANY}, "/examples/0/x"),
        ("/m/learn", {f"k{n}": n for n in range(MANY)}, None),
        ("/m/predict", {"rows": [0] * MANY}, "/rows/0"),
        ("/m/feedback", {"labels": [0] * MANY}, "/labels/0"),
        ("/m/forget", {"ids": [""] * MANY}, "/ids/0"),
        ("/m/relabel", {"id": "1", "y": "up", **{f"k{n}": n for n in range(MANY)}}, None),
        ("/m/backtest", {"methods": [0] * MANY}, "/methods/0"),
        ("", {"name": "x", "hidden_sizes": ["a"] * MANY}, "/hidden_sizes/0"),
    ],
)
def test_of_many_faults_the_first_is_told_or_how_many_there_are(server, problem, monkeypatch, path, body, field):
    """Each told by itself takes a kilobyte and ten microseconds, and all others wait if the event loop tells it."""
    threads, told = [], bodies._problem

    def noted(error, kind):
        threads.append(threading.get_ident())
        assert error.error_count() < 3 or field is None
        return told(error, kind)

    async def thread_of_the_loop():
        return threading.get_ident()

    monkeypatch.setattr(bodies, "_problem", noted)
    answer = server.post(path, body)
    detail = f"the body has {MANY:,} faults, expected none" if field is None else field
    problem(answer, 422, "bad-body", detail=detail, field=field)
    assert len(threads) == 1
    assert threads != [server.call(thread_of_the_loop).result()]


@pytest.mark.parametrize(
    ("path", "name", "item"),
    [
        ("learn", "examples", {"x": {}, "y": 1}),
        ("predict", "rows", {}),
        ("forget", "ids", "i"),
        ("feedback", "labels", {"prediction_id": "p", "y": 1}),
    ],
)
def test_what_no_limit_allows_is_not_read_to_its_end(server, problem, path, name, item):
    answer = server.post(f"/m/{path}", {name: [item] * (MAX_ROWS + 1)})
    problem(answer, 413, "too-large", detail=f"more than {MAX_ROWS:,} were given, expected fewer", field=f"/{name}")


@pytest.mark.parametrize("kind", ["text/plain", "", "application/x-www-form-urlencoded"])
def test_a_body_of_another_type_is_refused(tight, problem, kind):
    """A page of another site can send these unasked."""
    headers = {"Content-Type": kind}
    answer = tight.http.post("/v1/models/m/learn", content=json.dumps(ONE), headers=headers)
    problem(answer, 415, "wrong-type", detail="set Content-Type: application/json")


def test_lines_have_a_length_and_a_stream_has_none(tight):
    line = json.dumps({"x": {"a": "t" * 40}, "y": "up"}).encode() + b"\n"
    content = b"{" + b" " * 600
    answer = tight.http.post("/v1/models/m/learn", content=content, headers={"Content-Type": "application/x-ndjson"})
    told = [json.loads(it) for it in answer.text.splitlines()]
    assert told[-1]["problem"]["type"].endswith("too-large")
    assert "line 1 has more than 500 bytes" in told[-1]["problem"]["detail"]
    assert len(line) < 500


def test_a_long_stream_takes_no_more_memory(serving):
    with serving(limits=TIGHT) as server:
        server.make()
        line = json.dumps({"x": {"a": 1.0}, "y": "up"}).encode() + b"\n"

        def lines():
            for _ in range(20):
                yield line * 100  # each piece is larger than a body may be

        answer = server.http.post(
            "/v1/models/m/learn", content=lines(), headers={"Content-Type": "application/x-ndjson"}
        )
        assert sum(json.loads(it)["learned"] for it in answer.text.splitlines()) == 2_000


def test_a_class_too_many_is_not_given_by_correction_either(serving, problem):
    with serving(limits=TIGHT) as server:
        server.make()
        for n in range(4):
            server.learn({"a": float(n)}, f"{min(n, 2)}", id=f"{n}")
        answer = server.post("/m/relabel", {"id": "3", "y": "new"})
        problem(answer, 422, "bad-row", detail="'new' would be one of 4, expected at most 3", field="/y")
        assert server.get("/m").json()["classes"] == ["0", "1", "2"]
        assert server.post("/m/relabel", {"id": "3", "y": "1"}).status_code == 200
        server.make("numbers", method="online", regression=True, hidden_sizes=[2])
        for n in range(5):
            server.learn({"a": float(n)}, float(n), name="numbers", id=f"{n}")
        assert server.post("/numbers/relabel", {"id": "3", "y": 9.5}).status_code == 200


def test_models_are_limited(tight, problem):
    tight.make("second")
    problem(tight.post("", {"name": "third"}), 409, "too-many-models", detail="expected at most that; delete one")


def test_a_full_queue_refuses_and_what_it_held_is_learned(serving, problem):
    with serving(limits=replace(PATIENT, queue=3)) as server:
        served = server.make()
        server.learn({"a": 0.0}, "up")
        began, go = threading.Event(), threading.Event()

        async def hold():
            return await served.change(lambda model: (began.set(), go.wait(600)))

        answers = []
        held = server.call(hold)
        began.wait(600)
        threads = [
            threading.Thread(
                target=lambda n=n: answers.append(server.post("/m/learn", {"x": {"a": float(n)}, "y": "up"}))
            )
            for n in range(3)
        ]
        for thread in threads:
            thread.start()
        while served.depth < 3:
            time.sleep(0.01)
        answer = server.post("/m/learn", ONE)
        problem(answer, 429, "queue-full", detail="send it again a little later")
        assert answer.headers["retry-after"] == "1"
        assert server.post("/m/predict", {"x": {"a": 0.0}}).json()["prediction"] == "up"  # nobody waits
        go.set()
        for thread in threads:
            thread.join()
        held.result(600)
        assert sorted(it.json()["position"] for it in answers) == [2, 3, 4]


def test_an_answer_that_does_not_come(serving, problem):
    with serving(limits=replace(PATIENT, answer_seconds=0.2)) as server:
        served = server.make()
        began, go = threading.Event(), threading.Event()
        held = server.call(served.change, lambda model: (began.set(), go.wait(600)))
        began.wait(600)
        problem(server.post("/m/learn", ONE), 503, "no-answer", detail="send it again with the same id")
        go.set()
        held.result(600)


def test_too_many_requests(serving, problem):
    with serving(limits=replace(PATIENT, requests_per_second=0.001)) as server:
        answer = server.get("")
        problem(answer, 429, "too-many-requests", detail="requests a second came from address 127.0.0.1")
        assert int(answer.headers["retry-after"]) > 1
        assert server.http.get("/healthz").status_code == 200


def test_rates_fill_again_and_callers_do_not_share():
    now = [0.0]
    rates = Rates(2.0, lambda: now[0])
    assert [rates.take("a") for _ in range(3)] == [None, None, 1]
    assert rates.take("b") is None
    now[0] = 0.5
    assert [rates.take("a"), rates.take("a")] == [None, 1]
    now[0] = 100.0
    assert [rates.take("a") for _ in range(3)] == [None, None, 1]


def test_limits_are_above_zero():
    with pytest.raises(ValueError, match="rows is 0, expected a number above 0"):
        Limits(rows=0)
    with pytest.raises(ValueError, match="rows is 100001, expected at most 100000: send more as NDJSON"):
        Limits(rows=MAX_ROWS + 1)


@pytest.mark.parametrize("piece", [b"a" * 1_000, b"a: b\r\n" * 100], ids=["one header", "many headers"])
def test_headers_without_an_end_are_given_up(server, piece):
    host, port = server.url.removeprefix("http://").split(":")
    answer = b""
    with socket.create_connection((host, int(port))) as connection, contextlib.suppress(ConnectionError):
        connection.sendall(f"GET /healthz HTTP/1.1\r\nHost: {host}\r\nX: ".encode())
        for _ in range(HEAD_BYTES // len(piece) + 1):
            connection.sendall(piece)
        answer = connection.recv(1_000)
    # What has been sent and not read yet may take the answer with it.
    assert answer == b"" or f"more than {HEAD_BYTES} bytes".encode() in answer
    assert server.http.get("/healthz", headers={"X": "a" * (HEAD_BYTES // 2)}).status_code == 200


CHUNKED = "POST /v1/models/m/learn HTTP/1.1\r\nHost: {}\r\nContent-Type: {}\r\nTransfer-Encoding: chunked\r\n\r\n"


def connected(server):
    host, port = server.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=60)


TRAILERS = b"1\r\n{\r\n0\r\n", b"a: b\r\n" * 1_000
JSON, NDJSON = "application/json", "application/x-ndjson"


@pytest.mark.parametrize(
    ("kind", "before", "piece"),
    [
        (JSON, *TRAILERS),
        pytest.param(NDJSON, *TRAILERS, marks=pytest.mark.long),  # the answer has begun
        pytest.param("text/plain", *TRAILERS, marks=pytest.mark.long),  # the answer has ended
        (JSON, b"1\r\n{\r\n0\r\nX: ", b"a" * 5_000),
        (JSON, b"1\r\n{\r\n5;", b"a" * 5_000),
    ],
    ids=["trailers", "trailers of lines", "trailers after a refusal", "one trailer", "extension of a chunk"],
)
def test_what_comes_without_a_body_and_has_no_end_is_given_up(server, kind, before, piece):
    with connected(server) as connection:
        connection.sendall(CHUNKED.format("localhost", kind).encode() + before)
        with pytest.raises(ConnectionError):
            connection.sendall(2_000 * piece)  # 10 MB
    assert server.get("/m").json()["position"] == 0


def test_trailers_are_no_headers_and_the_body_before_them_is_learned(server):
    body = json.dumps({**ONE, "id": "one"}).encode()
    request = CHUNKED.format("localhost", JSON).encode()
    request += b"%x\r\n%b\r\n0\r\nContent-Type: text/plain\r\nX: 1\r\n\r\n" % (len(body), body)
    with connected(server) as connection:
        for _ in range(2):
            connection.sendall(request)
            answer = b""
            while not answer.endswith(b"}"):
                answer += connection.recv(10_000)
            assert b"200 OK" in answer
            assert b'"position":1,"id":"one"' in answer


def test_a_body_that_is_larger_than_a_head_may_come_in_pieces(server):
    rows = [{"x": {"a": float(n)}, "y": "up", "id": f"{n}" * 20} for n in range(1_000)]
    body = json.dumps({"examples": rows}).encode()
    assert len(body) > HEAD_BYTES

    def pieces():
        for start in range(0, len(body), 7_000):
            yield body[start : start + 7_000]

    answer = server.http.post("/v1/models/m/learn", content=pieces(), headers={"Content-Type": JSON})
    assert answer.status_code == 200
    assert answer.json()["position"] == 1_000


def test_many_requests_may_come_at_once(server):
    one = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: %b\r\n\r\n" % (b"a" * 1_000)
    n = 2 * HEAD_BYTES // len(one)
    answers = b""
    with connected(server) as connection:
        connection.sendall(one * n + one[:-2])
        connection.sendall(one[-2:])
        while answers.count(b'{"status":"alive"}') <= n:
            assert b"400 Bad Request" not in answers
            answers += connection.recv(100_000)
