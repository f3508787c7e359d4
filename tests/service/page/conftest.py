"""A real browser on a real server; nothing may go wrong in its console."""

from __future__ import annotations

import json
import os
import urllib.request
from importlib.resources import files
from pathlib import Path
from typing import NoReturn

import pytest

from tests.service.page.site import Site, chromium

PATIENCE = 60_000
"""Milliseconds that anything on the page may take: a machine that is busy compiles for long."""


def cannot(why: str) -> NoReturn:
    """Skip; where the browser is required, as where it is decided whether a change lands, fail."""
    if os.environ.get("PERDURE_REQUIRE_BROWSER"):
        pytest.fail(why)
    pytest.skip(why)


@pytest.fixture(scope="module")
def browser():
    """Chromium, without a window; while Playwright is there, no other event loop can run, hence not for longer."""
    try:
        from playwright.sync_api import expect, sync_playwright
    except ImportError:
        cannot("no Playwright: install the extra dev")
    path = chromium()
    if path is None:
        cannot("no Chromium: install it (apt-get install chromium), or name it in PERDURE_BROWSER")
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"], timeout=PATIENCE)
        yield browser
        browser.close()


@pytest.fixture
def site(tmp_path):
    """A server of an empty folder."""
    site = Site(tmp_path / "models")
    yield site
    site.stop()


@pytest.fixture
def post(site):
    """Send something to the server, past the page."""

    def send(path: str, body: dict, token: str | None = None):
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
        request = urllib.request.Request(f"{site.address}{path}", json.dumps(body).encode(), headers)
        with urllib.request.urlopen(request, timeout=PATIENCE / 1000) as answer:
            return json.load(answer)

    return send


@pytest.fixture
def open_page(browser, site):
    """A function that opens a part of the page; what goes wrong in its console fails the test, but what it expects."""
    contexts, wrong = [], []
    expected: list[str] = []

    def note(message):
        if message.type in ("error", "warning"):
            wrong.append(message.text)

    def opened(part="", *, expect_errors=(), scripts=(), **options):
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 860}, **options})
        contexts.append(context)
        expected.extend(expect_errors)
        context.set_default_timeout(PATIENCE)
        for script in scripts:
            context.add_init_script(path=script)
        page = context.new_page()
        page.on("console", note)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda it: wrong.append(it.url) if not _own(it.url, site.address) else None)
        page.goto(f"{site.address}/{part}")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert [it for it in wrong if not any(known in it for known in expected)] == []


def _own(url: str, address: str) -> bool:
    return url.startswith((f"{address}/", "data:", "blob:"))


@pytest.fixture(scope="session")
def axe() -> Path:
    """axe-core, which finds what keeps people out."""
    return Path(str(files("axe_playwright_python").joinpath("axe.min.js")))
