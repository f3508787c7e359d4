"""perdure teach: one command from nothing to a page on which drawings are taught."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import urllib.request

import pytest

from perdure.cli import teach
from perdure.online.durable import DurableModel


@pytest.fixture
def opened(monkeypatch):
    """Addresses that the browser was told to open."""
    found = []
    monkeypatch.setattr("webbrowser.open", found.append)
    return found


@pytest.fixture
def serve(monkeypatch):
    """What the server was started with; it says an address and ends."""
    started = []

    def serve(folder, address, limits, *, say, log):
        started.append((folder, address, log))
        say("http://127.0.0.1:1234")

    monkeypatch.setattr("perdure.service.server.serve", serve)
    return started


def test_a_model_for_drawings_is_made_once(tmp_path):
    for _ in range(2):
        teach.make_model(tmp_path / "taught")
    assert [it.name for it in (tmp_path / "taught").iterdir()] == [teach.MODEL]
    with DurableModel.open(tmp_path / "taught" / teach.MODEL, read_only=True) as model:
        assert (model.settings.features, model.settings.method) == (teach.FEATURES, teach.METHOD)


def test_a_folder_that_has_a_model_gets_no_other(tmp_path):
    DurableModel.open(tmp_path / "mail", method="nearest-mean").close()
    teach.make_model(tmp_path)
    assert [it.name for it in tmp_path.iterdir()] == ["mail"]


@pytest.mark.parametrize(
    ("platform", "environment", "expected"),
    [
        ("linux", {}, False),
        ("linux", {"DISPLAY": ":0"}, True),
        ("linux", {"WAYLAND_DISPLAY": "wayland-0"}, True),
        ("darwin", {}, True),
        ("win32", {}, True),
    ],
)
def test_where_there_is_a_display(monkeypatch, platform, environment, expected):
    monkeypatch.setattr("sys.platform", platform)
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert teach.has_display() == expected


@pytest.mark.parametrize(
    ("display", "no_browser", "expected"), [(True, False, 1), (True, True, 0), (False, False, 0), (False, True, 0)]
)
def test_the_browser_is_opened_if_it_would_be_seen_and_is_wanted(
    tmp_path, monkeypatch, capsys, opened, serve, display, no_browser, expected
):
    monkeypatch.setattr(teach, "has_display", lambda: display)
    teach.teach(tmp_path, port=1234, no_browser=no_browser)
    assert opened == ["http://127.0.0.1:1234/"] * expected
    assert "http://127.0.0.1:1234/" in capsys.readouterr().out
    ((folder, address, log),) = serve
    assert (folder, address.host, address.port, log) == (tmp_path, "127.0.0.1", 1234, False)


@pytest.mark.long
def test_the_command_serves_the_page_and_the_model_until_it_is_stopped(tmp_path):
    command = [sys.executable, "-m", "perdure", "teach", "--no-browser", "--port", "0", "--folder", str(tmp_path / "t")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        address = next(it for it in process.stdout.readline().split() if it.startswith("http"))
        with urllib.request.urlopen(address, timeout=300) as answer:
            assert b"<!doctype html>" in answer.read(100)
        with urllib.request.urlopen(f"{address}v1/models", timeout=300) as answer:
            assert [it["name"] for it in json.load(answer)["models"]] == [teach.MODEL]
        process.send_signal(signal.SIGTERM)
        assert process.wait(300) == 0
