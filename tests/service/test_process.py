"""Real servers: killed, stopped, begun again."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import httpx
import numpy as np
import pytest

from perdure.online.durable import DurableModel
from perdure.online.folder import SNAPSHOTS
from perdure.online.history import replay

N_CALLERS = 4


class Load:
    """Callers that teach one example after another until the server is gone, each sent again until acknowledged."""

    def __init__(self, seed):
        self.acknowledged = {}
        self.sent = set()
        self.random = np.random.default_rng(seed)
        self._number = 0
        self._lock = threading.Lock()

    def example(self):
        with self._lock:
            n, self._number = self._number, self._number + 1
        a, b = np.random.default_rng(n).normal(size=2).tolist()
        return {"x": {"a": a, "b": b, "c": "xy"[n % 2]}, "y": "up" if a > b else "down", "id": f"{n}"}

    def run(self, url, stop):
        def call():
            with httpx.Client(base_url=url, timeout=600.0) as http:
                while not stop.is_set():
                    examples = [self.example() for _ in range(3)]
                    self.sent |= {it["id"] for it in examples}
                    try:
                        answer = http.post("/v1/models/m/learn", json=examples[0])
                        if answer.status_code == 200:
                            self.acknowledged[answer.json()["id"]] = answer.json()["position"]
                        answer = http.post("/v1/models/m/learn", json={"examples": examples[1:]})
                        if answer.status_code == 200:
                            self.acknowledged |= {it["id"]: it["position"] for it in answer.json()["examples"]}
                        http.post("/v1/models/m/predict", json={"x": examples[0]["x"]})
                    except httpx.TransportError:
                        return

        threads = [threading.Thread(target=call) for _ in range(N_CALLERS)]
        for thread in threads:
            thread.start()
        return threads


@pytest.mark.parametrize("kills", [2, pytest.param(100, marks=pytest.mark.endurance)])
def test_a_killed_server_loses_no_acknowledged_example(tmp_path, processes, kills):
    load = Load(kills)
    for number in range(kills):
        server = processes(tmp_path)
        if not number:
            made = server.http.post("/v1/models", json={"name": "m", "method": "nearest-mean"})
            assert made.status_code == 201
        stop, n_before = threading.Event(), len(load.acknowledged)
        threads = load.run(server.url, stop)
        while len(load.acknowledged) < n_before + 20:  # it has begun to learn
            time.sleep(0.01)
        time.sleep(load.random.uniform(0, 0.3))
        server.kill()
        stop.set()
        for thread in threads:
            thread.join()
    with DurableModel.open(tmp_path / "m") as model:
        entries = list(model._journal.entries())
        positions = {it.id: it.position for it in entries}
        assert len(positions) == len(entries) == model.n_examples  # none twice
        assert set(positions) <= load.sent
        assert {id: positions.get(id) for id in load.acknowledged} == load.acknowledged
        relearned = model.settings.new_model()
        replay(model._journal, relearned, 0, model.position)
        assert relearned.state is not None
        for name in relearned.to_arrays()[0]:
            np.testing.assert_array_equal(relearned.to_arrays()[0][name], model.model.to_arrays()[0][name])


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.long)])
def test_a_stopped_server_answers_what_it_has_taken_and_makes_a_snapshot(tmp_path, processes, number):
    server = processes(tmp_path)
    server.http.post("/v1/models", json={"name": "m", "method": "nearest-mean"})
    server.http.post("/v1/models/m/learn", json={"x": {"a": 1.0}, "y": "up"})
    events = []

    def listen():
        with httpx.stream("GET", f"{server.url}/v1/models/m/events", timeout=600.0) as answer:
            events.extend(answer.iter_lines())

    listener = threading.Thread(target=listen)
    listener.start()
    while not events:
        time.sleep(0.01)
    began = time.monotonic()
    assert server.stop(number) == 0
    listener.join()
    assert time.monotonic() - began < 60
    assert "event: gone" in events
    (snapshot,) = (tmp_path / "m" / SNAPSHOTS).iterdir()
    assert int(snapshot.stem) == 1
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{server.url}/healthz")


@pytest.mark.long
def test_a_second_server_of_the_same_folder_is_refused(tmp_path, processes):
    server = processes(tmp_path)
    command = [sys.executable, "-m", "perdure", "serve", "--port", "0", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert f"is in use by process {server.process.pid}" in done.stderr.replace("\n", " ")


@pytest.mark.long
def test_a_server_is_ready_soon_with_many_examples(tmp_path, processes):
    rng = np.random.default_rng(0)
    with DurableModel.open(tmp_path / "m", method="nearest-mean") as model:
        for start in range(0, 100_000, 5_000):
            values = rng.normal(size=(5_000, 20))
            model.learn(values, ["up" if it > 0 else "down" for it in values[:, 0]])
            assert model.position == start + 5_000
    processes(tmp_path).kill()
    began = time.monotonic()
    processes(tmp_path)
    assert time.monotonic() - began < 30  # on a busy machine; docs/service.md has the figure of a quiet one


@pytest.mark.long
def test_a_body_that_comes_slowly_is_given_up(tmp_path, processes):
    server = processes(tmp_path, "--limit", "body-seconds=1")
    server.http.post("/v1/models", json={"name": "m", "method": "nearest-mean"})
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        head = f"POST /v1/models/m/learn HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
        connection.sendall(f"{head}Content-Length: 100\r\n\r\n{{".encode())
        assert b"408" in connection.recv(1_000)


COMMANDS = [
    (["--host", "0.0.0.0"], "there is no token; make one first: perdure serve token"),
    (["--limit", "rows=0"], "rows is 0, expected a number above 0"),
    (["--limit", "row=5"], "there is no limit 'row'; there are:"),
    (["--limit", "rows=many"], "--limit rows=many was given, expected rows=NUMBER"),
    (["--prot", "1"], "there is no option --prot; did you mean --port"),
    (["--tls-cert", "x.pem"], "one of --tls-cert and --tls-key was given, expected both"),
]


@pytest.mark.parametrize(
    ("options", "message"), [COMMANDS[0], *(pytest.param(*it, marks=pytest.mark.long) for it in COMMANDS[1:])]
)
def test_what_cannot_be_served_is_told(tmp_path, options, message):
    command = [sys.executable, "-m", "perdure", "serve", *options, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "COLUMNS": "200"})
    assert done.returncode == 2
    assert message in done.stderr


@pytest.mark.long
def test_tokens_are_made_and_revoked_on_the_command_line(tmp_path, processes):
    def run(*options):
        command = [sys.executable, "-m", "perdure", "serve", "token", str(tmp_path), *options]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    secret = run("--role", "learn", "--name", "robot").stdout.strip()
    assert "robot: learn, made" in run().stdout
    server = processes(tmp_path)
    assert httpx.get(f"{server.url}/v1/models").status_code == 401
    headers = {"Authorization": f"Bearer {secret}"}
    assert httpx.get(f"{server.url}/v1/models", headers=headers).json() == {"models": []}
    assert run("--revoke", "robot").returncode == 0
    assert httpx.get(f"{server.url}/v1/models", headers=headers).status_code == 401


@pytest.mark.long
def test_the_log_is_json(tmp_path):
    command = [sys.executable, "-m", "perdure", "serve", "--port", "0", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().split()[-1]
        httpx.get(f"{url}/healthz")
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate()
    assert process.returncode == 0
    lines = [json.loads(it) for it in errors.splitlines()]
    assert [it["route"] for it in lines if it["event"] == "request"] == ["/healthz"]
