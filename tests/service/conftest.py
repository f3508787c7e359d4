"""A server in this process, and real ones."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import time

import httpx
import pytest

from perdure.service.app import make_app
from perdure.service.limits import Limits
from tests.service.in_thread import InThread

PATIENT = Limits(answer_seconds=600.0, body_seconds=60.0)
SMALL = {"method": "nearest-mean"}


class Server:
    """An application, with what tests ask of it."""

    def __init__(self, running):
        self.http, self.url, self.call = running.http, running.url, running.call
        self.context = running.app.context

    def post(self, path, body=None, **options):
        return self.http.post(f"/v1/models{path}", json=body, **options)

    def get(self, path, **options):
        return self.http.get(f"/v1/models{path}", **options)

    def make(self, name="m", **settings):
        made = self.post("", {"name": name, **SMALL, **settings})
        assert made.status_code == 201, made.text
        return self.context.models.find(name)

    def learn(self, x, y, name="m", **options):
        found = self.post(f"/{name}/learn", {"x": x, "y": y, **options})
        assert found.status_code == 200, found.text
        return found.json()


@pytest.fixture
def serving(tmp_path):
    """A function from limits to a server of a folder."""

    @contextlib.contextmanager
    def make(folder=tmp_path / "models", limits=PATIENT, **options):
        with InThread(make_app(folder, limits, **options)) as running:
            yield Server(running)

    return make


@pytest.fixture
def server(serving):
    """A server with one small model, "m"."""
    with serving() as server:
        server.make()
        yield server


def assert_problem(answer, status, kind, *, detail="", field=None):
    """Check that an answer is a problem of a kind."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert (body["type"], body["status"]) == (f"urn:perdure:problem:{kind}", status)
    assert detail in body["detail"]
    assert body.get("field") == field
    assert body["request_id"] == answer.headers["x-request-id"]


@pytest.fixture
def problem():
    return assert_problem


class Process:
    """A real `perdure serve`."""

    def __init__(self, folder, *options):
        command = [sys.executable, "-m", "perdure", "serve", "--port", "0", "--quiet", *options, str(folder)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line.startswith("serving at "), self.process.stderr.read() if self.process.stderr else ""
        self.url = line.split()[-1]
        self.http = httpx.Client(base_url=self.url, timeout=600.0)

    def wait_until_ready(self):
        while self.http.get("/readyz").status_code == 503:
            time.sleep(0.05)
        return self

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self, number=signal.SIGTERM, seconds=600):
        self.process.send_signal(number)
        return self.process.wait(seconds)


@pytest.fixture
def processes():
    """A function that starts real servers, which are ended after the test."""
    started = []

    def start(folder, *options):
        started.append(Process(folder, *options))
        return started[-1].wait_until_ready()

    yield start
    for it in started:
        it.http.close()
        if it.process.poll() is None:
            it.kill()
        for pipe in (it.process.stdout, it.process.stderr):
            if pipe is not None:
                pipe.close()
