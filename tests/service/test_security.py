"""Who may do what, from where, and what no answer and no log tells."""

import json
import os
import socket
import stat
import time
from pathlib import Path

import pytest

from perdure.service import tokens
from perdure.service.gate import role_needed
from perdure.service.limits import Limits
from perdure.service.server import Address, check_address
from perdure.service.tokens import Tokens, make_token, read_tokens, revoke_token
from perdure.storage.reading import ContentError

EVERYTHING = [
    ("GET", "/v1/models", None),
    ("POST", "/v1/models", {"name": "x", "method": "nearest-mean"}),
    ("GET", "/v1/models/m", None),
    ("DELETE", "/v1/models/m", None),
    ("POST", "/v1/models/m/learn", {"x": {"a": 1.0}, "y": "up"}),
    ("POST", "/v1/models/m/predict", {"x": {"a": 1.0}}),
    ("POST", "/v1/models/m/feedback", {"prediction_id": "p-1", "y": "up"}),
    ("POST", "/v1/models/m/undo", None),
    ("POST", "/v1/models/m/forget", {"ids": ["1"]}),
    ("POST", "/v1/models/m/relabel", {"id": "1", "y": "up"}),
    ("POST", "/v1/models/m/backtest", {"methods": ["gaussian"]}),
    ("GET", "/v1/models/m/backtest", None),
    ("DELETE", "/v1/models/m/backtest/b-1", None),
    ("GET", "/v1/models/m/examples", None),
    ("GET", "/v1/models/m/events", None),
    ("POST", "/v1/models/m/at/0/predict", {"x": {}}),
    ("GET", "/readyz", None),
    ("GET", "/metrics", None),
    ("GET", "/openapi.json", None),
    ("GET", "/nothing", None),
]


def bearer(secret):
    return {"Authorization": f"Bearer {secret}"}


@pytest.fixture
def guarded(serving, tmp_path):
    """A server with a token of each role."""
    folder = tmp_path / "models"
    folder.mkdir()
    secrets = {role: make_token(folder, f"the-{role}", role) for role in tokens.ROLES}
    with serving(folder, Limits(refusals_per_second=1e6, answer_seconds=600.0)) as server:
        server.context.models.create("m", {"method": "nearest-mean"})
        server.secrets = secrets
        yield server


@pytest.mark.parametrize(
    "headers", [{}, bearer("wrong"), {"Authorization": "Basic eDp5"}, {"Authorization": "Bearer"}, bearer("ä")]
)
def test_without_a_token_nothing_is_readable_but_healthz(guarded, problem, headers):
    assert guarded.http.get("/healthz").json() == {"status": "alive"}
    headers = {name: value.encode() for name, value in headers.items()}
    for method, path, body in EVERYTHING:
        answer = guarded.http.request(method, path, json=body, headers=headers)
        problem(answer, 401, "no-token", detail="expected the header Authorization: Bearer TOKEN")
        assert answer.headers["www-authenticate"] == "Bearer"
    assert guarded.context.models.find("m").now().position == 0


@pytest.mark.parametrize("role", tokens.ROLES)
def test_a_role_may_do_what_is_its_and_no_more(guarded, role):
    allowed = 0
    for method, path, body in EVERYTHING:
        if path.endswith("/events") or (method == "DELETE" and path == "/v1/models/m"):
            answer = None  # without end, or the end of the model
            needed = role_needed(method, path) or ""
            allowed += tokens.ROLES.index(role) >= tokens.ROLES.index(needed)
            continue
        answer = guarded.http.request(method, path, json=body, headers=bearer(guarded.secrets[role]))
        assert answer.status_code != 401
        needed = role_needed(method, path) or ""
        is_allowed = tokens.ROLES.index(role) >= tokens.ROLES.index(needed)
        assert (answer.status_code != 403) == is_allowed, (method, path)
        allowed += is_allowed
    assert allowed == sum(
        tokens.ROLES.index(role) >= tokens.ROLES.index(role_needed(method, path) or "")
        for method, path, _ in EVERYTHING
    )


@pytest.mark.parametrize(
    ("method", "path", "role"),
    [
        ("GET", "/healthz", None),
        ("GET", "/v1/models/m", "read"),
        ("POST", "/v1/models/m/predict", "read"),
        ("POST", "/v1/models/m/at/3/predict", "read"),
        ("POST", "/v1/models/m/learn", "learn"),
        ("POST", "/v1/models/learn", "admin"),
        ("POST", "/v1/models/predict", "admin"),
        ("DELETE", "/v1/models/m/backtest/b-1", "learn"),
        ("DELETE", "/v1/models/backtest", "admin"),
        ("DELETE", "/v1/models/m", "admin"),
        ("POST", "/v1/models", "admin"),
        ("PUT", "/anything", "admin"),
        ("POST", "/healthz/", "admin"),
    ],
)
def test_what_is_not_known_needs_the_highest_role(method, path, role):
    assert role_needed(method, path) == role


def test_a_wrong_token_again_and_again(serving, tmp_path, problem):
    folder = tmp_path / "models"
    folder.mkdir()
    secret = make_token(folder, "me", "admin")
    with serving(folder, Limits(refusals_per_second=0.001)) as server:
        server.get("", headers=bearer("wrong"))
        answer = server.get("", headers=bearer("wrong"))
        problem(answer, 429, "too-many-requests", detail="without a valid token")
        assert int(answer.headers["retry-after"]) >= 1
        assert server.get("", headers=bearer(secret)).status_code == 200  # others are not kept out


def test_a_server_follows_the_tokens(server):
    folder = server.context.folder

    def status(headers):
        time.sleep(0.15)
        return server.get("", headers=headers).status_code

    assert status({}) == 200
    secret = make_token(folder, "me", "read")
    assert status({}) == 401
    assert status(bearer(secret)) == 200
    revoke_token(folder, "me")
    assert status(bearer(secret)) == 401
    (folder / tokens.FILE).write_text("damaged", encoding="utf-8")
    assert status(bearer(secret)) == 401
    secret = make_token_again(folder)
    assert status(bearer(secret)) == 200
    (folder / tokens.FILE).unlink()
    assert status({}) == status(bearer(secret)) == 401
    secret = make_token(folder, "me", "read")
    assert status(bearer(secret)) == 200
    gone = folder.rename(folder.parent / "gone")
    assert status({}) == 401
    gone.rename(folder)
    assert status(bearer(secret)) == 200


def make_token_again(folder):
    (folder / tokens.FILE).unlink()
    return make_token(folder, "me", "read")


@pytest.mark.parametrize("target", ["nothing", tokens.FILE])
def test_a_link_that_leads_nowhere_lets_nobody_in(serving, tmp_path, target):
    with serving() as server:
        (server.context.folder / tokens.FILE).symlink_to(target)
        time.sleep(0.15)
        assert server.get("").status_code == 401
    with pytest.raises(ContentError, match=r"tokens.json cannot be read: .*; make it readable, or remove it and make"):
        Tokens(tmp_path / "models")


def test_only_hashes_are_kept_for_the_owner_alone(tmp_path):
    secret = make_token(tmp_path, "me", "learn")
    path = tmp_path / tokens.FILE
    assert secret not in path.read_text(encoding="utf-8")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    (token,) = read_tokens(tmp_path)
    assert (token.name, token.role, token.allows("read"), token.allows("admin")) == ("me", "learn", True, False)
    found = Tokens(tmp_path).find(secret)
    assert found == token
    assert Tokens(tmp_path).find(secret[:-1]) is None
    with pytest.raises(ValueError, match="there is a token 'me' already"):
        make_token(tmp_path, "me", "read")
    with pytest.raises(ValueError, match=r"there is no token 'you' in .*; there are: me"):
        revoke_token(tmp_path, "you")


@pytest.mark.parametrize(("name", "role"), [("", "read"), ("a b", "read"), ("../x", "read"), ("me", "root")])
def test_tokens_that_cannot_be_made(tmp_path, name, role):
    with pytest.raises(ValueError, match=r"name is|role is"):
        make_token(tmp_path, name, role)
    assert read_tokens(tmp_path) == []


@pytest.mark.parametrize(
    "content", ["", "[]", '{"format": 2}', '{"format": 1, "tokens": [3]}', '{"format": 1, "tokens": [{"name": "a"}]}']
)
def test_a_damaged_file_of_tokens_lets_nobody_in(tmp_path, content):
    (tmp_path / tokens.FILE).write_text(content, encoding="utf-8")
    with pytest.raises(ContentError):
        Tokens(tmp_path)


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "", "localhost.evil.example:80", "[::2]", "[", "a@localhost"]
)
def test_a_name_that_leads_here_is_not_this_host(server, problem, host):
    """As DNS rebinding has it: a page of another site gives its name this machine's address."""
    answer = server.get("", headers={"Host": host})
    problem(answer, 403, "wrong-host", detail="expected 127.0.0.1 or localhost")


def test_with_a_token_a_proxy_on_this_machine_passes_on_the_name_that_was_asked_for(serving, tmp_path, problem):
    """Whoever has none learns nothing; and a page of another site still makes no request."""
    folder = tmp_path / "models"
    folder.mkdir()
    secret = make_token(folder, "me", "admin")
    given = {"Host": "models.example.org", "Origin": "https://models.example.org"}
    with serving(folder) as server:
        assert server.post("", {"name": "m"}, headers=bearer(secret) | given).status_code == 201
        problem(server.get("", headers=given), 401, "no-token")
        other = given | {"Origin": "https://evil.example"}
        problem(server.get("", headers=bearer(secret) | other), 403, "wrong-host")


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:8000", "127.0.0.1:1", "127.0.0.2:8000", "[::1]:8000", "LOCALHOST"]
)
def test_this_host_has_several_names(server, host):
    assert server.get("", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:9000"},
        {"Origin": "http://[::1"},
        {"Origin": "//[zz]"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_a_page_of_another_site_teaches_nothing(server, problem, headers):
    answer = server.post("/m/learn", {"x": {"a": 1.0}, "y": "up"}, headers=headers)
    problem(answer, 403, "wrong-host", detail="made this request")
    problem(server.post("/m/undo", headers=headers), 403, "wrong-host")
    assert "access-control-allow-origin" not in answer.headers
    own = {"Origin": server.url, "Sec-Fetch-Site": "same-origin"}
    assert server.post("/m/learn", {"x": {"a": 1.0}, "y": "up"}, headers=own).json()["position"] == 1


def test_an_origin_that_is_none_is_another_one_also_without_a_host(serving, tmp_path, problem):
    folder = tmp_path / "models"
    folder.mkdir()
    secret = make_token(folder, "me", "admin")
    with serving(folder) as server:
        for origin in ("http://[::1", "null", "x"):
            given = bearer(secret) | {"Host": "", "Origin": origin}
            problem(server.get("", headers=given), 403, "wrong-host", detail=f"the page {origin!r} made")


@pytest.mark.parametrize("hosts", [("localhost", "evil.example"), ("evil.example", "localhost")])
def test_of_two_hosts_none_is_chosen(server, hosts):
    port = int(server.url.rpartition(":")[2])
    lines = ["GET /v1/models HTTP/1.0", *(f"Host: {it}" for it in hosts), "", ""]
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall("\r\n".join(lines).encode())
        answer = connection.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 400")
    assert b"several Host headers were given, expected one" in answer


LINK = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}


def test_a_link_on_another_site_opens_the_page(server):
    assert server.http.get("/", headers=LINK).status_code == 200
    assert server.http.get("/", headers={**LINK, "Sec-Fetch-Site": "same-site"}).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "others"),
    [
        ("GET", "/", {"Sec-Fetch-Mode": "no-cors"}),
        ("GET", "/", {"Sec-Fetch-Mode": "cors"}),
        ("GET", "/", {"Sec-Fetch-Dest": "iframe"}),
        ("GET", "/", {"Sec-Fetch-Dest": "embed"}),
        ("GET", "/", {"Origin": "http://evil.example"}),
        ("HEAD", "/", {}),
        ("POST", "/", {}),
        ("GET", "/page/main.js", {}),
        ("GET", "/v1/models", {}),
        ("GET", "/v1/models/m/file", {}),
        ("POST", "/v1/models/m/undo", {}),
    ],
)
def test_a_page_of_another_site_opens_nothing_else(server, method, path, others):
    answer = server.http.request(method, path, headers={**LINK, **others})
    assert answer.status_code == 403


def test_a_link_leads_to_the_page_under_its_own_name_alone(server):
    assert server.http.get("/", headers={**LINK, "Host": "evil.example"}).status_code == 403


def test_every_answer_carries_its_headers(server):
    for answer in (
        server.get(""),
        server.http.get("/nothing"),
        server.post("/m/learn", {}),
        server.http.get("/metrics"),
    ):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["content-security-policy"].startswith("default-src 'none'; script-src 'self';")
        assert answer.headers["x-frame-options"] == "DENY"
        assert "access-control-allow-origin" not in answer.headers
        assert len(answer.headers["x-request-id"]) == 16
        assert "server" not in answer.headers
    assert server.get("", headers={"X-Request-Id": "mine-1"}).headers["x-request-id"] == "mine-1"
    assert server.get("", headers={"X-Request-Id": "a b"}).headers["x-request-id"] != "a b"
    assert server.http.options("/v1/models", headers={"Access-Control-Request-Method": "POST"}).status_code == 405


def test_the_log_tells_nothing_of_examples(serving):
    lines = []
    with serving(log=lines.append) as server:
        server.make()
        server.learn({"a secret column": "a secret text"}, "a secret class", id="a secret id")
        server.post("/m/learn", {"x": {"a secret column": ["a secret text"]}, "y": "a secret class"})
        server.get("/m/examples", params={"text": "a secret text"})
        served = server.context.models.find("m")

        def fail():
            raise RuntimeError("a secret text")

        served.described = fail
        answer = server.get("/m")
        assert answer.status_code == 500
        assert "secret" not in answer.text
    entries = [json.loads(it) for it in lines]
    assert "secret" not in "".join(lines)
    assert [it["status"] for it in entries if it.get("route", "").endswith("/learn")] == [200, 422]
    (failed,) = [it for it in entries if it["event"] == "error"]
    assert failed["error"] == "RuntimeError"
    assert failed["request_id"] == answer.json()["request_id"]
    assert any("fail" in it for it in failed["trace"])


def test_the_log_tells_where_refused_requests_came_from(serving):
    lines = []
    with serving(log=lines.append, loopback=False) as server:
        assert server.get("").status_code == 401
        assert server.get("", headers={"Origin": "http://evil.example"}).status_code == 403
    callers = {it["status"]: it["caller"] for it in map(json.loads, lines)}
    assert callers[401] == callers[403] == "address 127.0.0.1"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.com"])
def test_other_machines_are_let_in_with_a_token_only(tmp_path, host):
    with pytest.raises(ValueError, match=r"there is no token; make one first: perdure serve token"):
        check_address(tmp_path, Address(host))
    make_token(tmp_path, "me", "read")
    check_address(tmp_path, Address(host))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.8.8.8"])
def test_this_machine_needs_none(tmp_path, host):
    check_address(tmp_path, Address(host))


def test_beyond_this_machine_a_token_is_needed_whatever_becomes_of_the_file(serving, tmp_path):
    folder = tmp_path / "models"
    folder.mkdir()
    secret = make_token(folder, "me", "admin")
    with serving(folder, Limits(refusals_per_second=1e6), loopback=False) as server:
        assert server.get("", headers=bearer(secret) | {"Host": "models.example"}).status_code == 200
        (folder / tokens.FILE).unlink()
        time.sleep(0.15)
        assert server.get("", headers=bearer(secret)).status_code == 401


def test_tls_files_come_in_pairs_and_can_be_read(tmp_path):
    with pytest.raises(ValueError, match="one of --tls-cert and --tls-key was given"):
        check_address(tmp_path, Address(tls_cert=Path("cert.pem")))
    with pytest.raises(ValueError, match=r"none\.pem cannot be read, expected a PEM file"):
        check_address(tmp_path, Address(tls_cert=tmp_path / "none.pem", tls_key=tmp_path / "none.pem"))


def test_folders_outside_are_no_models(serving, tmp_path):
    from perdure import DurableModel

    with DurableModel.open(tmp_path / "secret", method="nearest-mean"):
        pass
    with serving() as server:
        for name in ("..%2Fsecret", "%2e%2e/secret", "..", "%2e%2e%2fsecret", os.fspath(tmp_path / "secret")):
            answer = server.http.get(f"/v1/models/{name}")
            assert answer.status_code == 404, name
            assert "examples" not in answer.json()
