"""What is inside a model, and the model as a file: whoever looks keeps nobody from teaching."""

import threading

import perdure
from perdure.service.turns import CALLERS
from perdure.storage import arrays


def test_looking_waits_for_no_writer_and_keeps_none_waiting(serving, tmp_path):
    with serving() as server:
        served = server.make(method="er", memory_size=4)
        for n in range(6):
            server.learn({"a\0": float(n), "b": "text"}, "up" if n % 2 else "down\0")
        began, go = threading.Event(), threading.Event()
        held = server.call(served.change, lambda model: (began.set(), go.wait(600)))
        assert began.wait(60)
        inside, file = server.get("/m/inside"), server.get("/m/file")
        assert served.depth == 0
        go.set()
        held.result(600)
        assert inside.json()["memory"]["filled"] == 4
        (tmp_path / "m.safetensors").write_bytes(file.content)
        served._teacher._durable.save(tmp_path / "other.safetensors")
    assert file.content == (tmp_path / "other.safetensors").read_bytes()
    assert perdure.load(tmp_path / "m.safetensors").predict_one({"a\0": 1.0, "b": "text"}) in ("up", "down\0")


def test_few_may_look_at_a_time(server, problem):
    server.learn({"a": 1.0}, "up")
    turns = server.context.models.find("m").looks._callers
    for _ in range(CALLERS):
        assert turns.acquire(blocking=False)
    for path in ("inside", "file"):
        problem(server.get(f"/m/{path}"), 429, "too-many-requests", detail="4 others are looking inside")
    turns.release()
    for path in ("inside", "file"):
        assert server.get(f"/m/{path}").status_code == 200


def test_a_model_that_is_too_large_for_a_file_says_so(server, problem, monkeypatch, tmp_path):
    server.learn({"a": 1.0}, "up")
    monkeypatch.setattr(arrays, "MAX_BYTES", 100)
    answer = server.get("/m/file")
    problem(answer, 409, "no-file", detail="m.safetensors was not written, since it could not be read again: it has")
    assert "/m.safetensors" not in answer.text
