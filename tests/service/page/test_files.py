"""The files of the page, and how they are served."""

from __future__ import annotations

import re

import pytest

from perdure.service.page import is_page, load_files
from perdure.service.tokens import make_token

FILES = load_files()
LARGEST = 300_000


def test_the_page_is_small():
    assert sum(len(it.content) for it in FILES.values()) < LARGEST
    assert {"index.html", "style.css", "main.js", "icon.svg"} <= FILES.keys()


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_file_needs_nothing_from_outside_and_no_leave_of_the_policy(name):
    text = FILES[name].content.decode()
    assert set(re.findall(r"(?:https?:)?//[\w.-]+\.\w+", text)) <= {"http://www.w3.org", "//www.w3.org"}
    assert not re.search(r"\bstyle=|<style|\son\w+=\"|javascript:", text)
    assert not re.search(r"<script(?![^>]*\bsrc=)", text)
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", text)


def test_whatever_a_file_names_is_there():
    for name, file in FILES.items():
        text = file.content.decode()
        named = set(re.findall(r'"/page/([\w.-]+)"', text)) | set(re.findall(r'from "\./([\w.-]+)"', text))
        assert named <= FILES.keys(), name


def test_each_id_that_a_script_asks_for_is_on_the_page_once():
    ids = re.findall(r'\bid="([\w-]+)"', FILES["index.html"].content.decode())
    assert len(ids) == len(set(ids))
    for name, file in FILES.items():
        if name.endswith(".js"):
            assert set(re.findall(r'\$\("([\w-]+)"\)', file.content.decode())) <= set(ids), name


def test_files_are_served_with_their_types_and_policy(server):
    for path, kind in (
        ("/", "text/html"),
        ("/page/main.js", "text/javascript"),
        ("/page/style.css", "text/css"),
        ("/page/icon.svg", "image/svg+xml"),
    ):
        answer = server.http.get(path)
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith(kind)
        assert answer.headers.get_list("cache-control") == ["no-cache"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        policy = answer.headers["content-security-policy"]
        assert "script-src 'self'" in policy
        assert "unsafe" not in policy


def test_a_file_that_the_browser_has_is_not_sent_again(server):
    first = server.http.get("/page/main.js")
    again = server.http.get("/page/main.js", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    other = server.http.get("/page/main.js", headers={"If-None-Match": '"another"'})
    assert (other.status_code, other.content) == (200, first.content)
    head = server.http.head("/page/main.js")
    assert (head.status_code, head.content, head.headers["etag"]) == (200, b"", first.headers["etag"])


@pytest.mark.parametrize("path", ["/page/none.js", "/page/", "/page/../app.py", "/page/%2e%2e%2fapp.py", "/page/a/b"])
def test_nothing_else_is_served(server, problem, path):
    problem(server.http.get(path), 404, "not-found")


def test_answers_of_the_api_are_still_not_kept(server):
    assert server.http.get("/v1/models").headers.get_list("cache-control") == ["no-store"]


def test_anybody_may_load_the_page_and_nothing_of_the_models(serving, tmp_path):
    (tmp_path / "guarded").mkdir()
    make_token(tmp_path / "guarded", "me", "admin")
    with serving(tmp_path / "guarded") as server:
        assert server.http.get("/").status_code == 200
        assert server.http.get("/page/main.js").status_code == 200
        for path in ("/v1/models", "/v1/races", "/page", "/pages", "/metrics"):
            assert server.http.get(path).status_code == 401


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/", True),
        ("HEAD", "/page/main.js", True),
        ("POST", "/page/main.js", False),
        ("GET", "/page", False),
        ("GET", "/v1/models", False),
        ("GET", "//page/main.js", False),
    ],
)
def test_only_reading_the_page_needs_no_token(method, path, expected):
    assert is_page(method, path) == expected
