"""What every request passes: identity, host, token, rate; and what every answer carries."""

from __future__ import annotations

import ipaddress
import itertools
import re
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from fastapi import Request, Response

from perdure.service.context import ENCODER, Context
from perdure.service.logs import log_line
from perdure.service.page import is_page
from perdure.service.problems import MEDIA_TYPE, ProblemError
from perdure.service.rates import Rates
from perdure.service.tokens import Token

Endpoint = Callable[[str, Request], Awaitable[Response]]
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
        b"font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (b"cache-control", b"no-store"),
]
_PUBLIC = ("/healthz",)
_ASKING = ("predict",)
_TEACHING = ("learn", "feedback", "undo", "forget", "relabel", "backtest")


def role_needed(method: str, path: str) -> str | None:
    """Return the role that a request needs, None if anybody may make it; "admin" for whatever is not known."""
    if path in _PUBLIC or is_page(method, path):
        return None
    if method in ("GET", "HEAD"):
        return "read"
    parts = path.split("/")  # "", "v1", "models", name, what, …
    what = parts[-1] if len(parts) > 4 else ""
    if method == "POST" and what in _ASKING:
        return "read"
    if path == "/v1/races" or path.startswith("/v1/races/"):
        return "learn"
    if (method == "POST" and what in _TEACHING) or (method == "DELETE" and parts[4:5] == ["backtest"]):
        return "learn"
    return "admin"


class Gate:
    """Lets requests in to an application, and gives its answers what all of them have."""

    def __init__(
        self,
        app: Any,
        context: Context,
        log: Callable[[str], None] | None = None,
        frequent: Mapping[str, Endpoint] | None = None,
    ):
        """Guard an application.

        Args:
            app: of ASGI.
            context: tokens, limits and counters.
            log: called with a line of JSON for each request; None for no log.
            frequent: what answers `POST /v1/models/NAME/…`, by the last word: called without the application, which
                would take as long as the rest.
        """
        self._app, self.context, self._log, self._frequent = app, context, log, frequent or {}
        self._prefix, self._numbers = secrets.token_hex(4), itertools.count()
        self._rates = Rates(context.limits.requests_per_second)
        self._refusals = Rates(context.limits.refusals_per_second)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await self._answer(scope, receive, send)
        else:  # of another protocol: there is none here
            await receive()
            await send({"type": "websocket.close", "code": 1008})

    async def _answer(self, scope: Any, receive: Any, send: Any) -> None:
        began, status = time.perf_counter(), 0
        caller = f"address {_address_of(scope)}"
        headers = dict(scope["headers"])
        given = headers.get(b"x-request-id", b"").decode("latin-1")
        request_id = given if _REQUEST_ID.fullmatch(given) else f"{self._prefix}{next(self._numbers) % 2**32:08x}"
        scope["request_id"], scope["perdure"] = request_id, self.context
        own = [(b"x-request-id", request_id.encode()), *_HEADERS]

        async def send_with_headers(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                given = message.get("headers", [])
                names = {name for name, _ in given}  # the page says itself how long it may be kept
                message["headers"] = [*given, *(it for it in own if it[0] not in names)]
            await send(message)

        try:
            self._check_origin(scope, headers)
            caller = self._check_caller(scope, headers)
            if (found := self._frequent_endpoint(scope)) is None:
                await self._app(scope, receive, send_with_headers)
            else:
                response = await found(scope["path_params"]["name"], Request(scope, receive))
                await response(scope, receive, send_with_headers)
        except ProblemError as problem:
            await respond(problem, request_id, send_with_headers)
        except Exception as error:
            self._say({"event": "error", "request_id": request_id, "error": f"{type(error).__name__}"}, error)
            if not status:  # an answer that has begun is cut off
                await respond(failure(), request_id, send_with_headers)
        finally:
            self._note(scope, request_id, caller, status, time.perf_counter() - began)

    def _frequent_endpoint(self, scope: Any) -> Endpoint | None:
        parts = scope["path"].split("/")  # "", "v1", "models", name, what
        if scope["method"] != "POST" or len(parts) != 5 or parts[1:3] != ["v1", "models"] or not parts[3]:
            return None
        if (found := self._frequent.get(parts[4])) is not None:
            scope["path_params"], scope["frequent"] = {"name": parts[3]}, f"/v1/models/{{name}}/{parts[4]}"
        return found

    def _check_origin(self, scope: Any, headers: dict[bytes, bytes]) -> None:
        """Refuse what a page of another site has made the browser send, also under a name that leads here."""
        if sum(name == b"host" for name, _ in scope["headers"]) > 1:
            raise ProblemError("bad-request", "several Host headers were given, expected one")
        host = headers.get(b"host", b"").decode("latin-1")
        # With tokens, callers under another name need one too: a reverse proxy on this machine may pass names on.
        if self.context.loopback and not self.context.tokens.exist and not is_this_machine(_name_of(host)):
            raise ProblemError(
                "wrong-host",
                f"the host {host[:80]!r} was given, expected 127.0.0.1 or localhost; use the address that the server "
                "has printed",
            )
        if _follows_link(scope, headers):
            return
        origin = headers.get(b"origin", b"").decode("latin-1")
        if (origin and _netloc_of(origin) != host.lower()) or (
            headers.get(b"sec-fetch-site", b"none") not in (b"none", b"same-origin")
        ):
            page = f"the page {origin[:80]!r}" if origin else "a page of another site"
            raise ProblemError("wrong-host", f"{page} made this request, expected one of {host[:80]!r}; open that one")

    def _check_caller(self, scope: Any, headers: dict[bytes, bytes]) -> str:
        """Return who makes a request, once it is known that this caller may make it now."""
        address = _address_of(scope)
        role = role_needed(scope["method"], scope["path"])
        if role is None:
            return f"address {address}"
        token = self._token(headers, address)
        if token is not None and not token.allows(role):
            raise ProblemError(
                "forbidden",
                f"the token {token.name!r} has the role {token.role}, expected {role}; make another one: perdure serve "
                f"token FOLDER --role {role} --name NAME",
            )
        caller = f"token {token.name}" if token else f"address {address}"
        if (wait := self._rates.take(caller)) is not None:
            raise ProblemError(
                "too-many-requests",
                f"more than {self.context.limits.requests_per_second:g} requests a second came from {caller}; send "
                "fewer, or several rows in one",
                retry_after=wait,
            )
        return caller

    def _token(self, headers: dict[bytes, bytes], address: str) -> Token | None:
        """Return the token of a request; None if none is needed."""
        tokens = self.context.tokens
        if not tokens.exist and self.context.loopback:
            return None
        scheme, _, secret = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
        found = tokens.find(secret.strip()) if scheme.lower() == "bearer" else None
        if found is None:
            if (wait := self._refusals.take(address)) is not None:
                raise ProblemError(
                    "too-many-requests",
                    f"too many requests without a valid token came from {address}; wait",
                    retry_after=wait,
                )
            what = "no valid token was given" if secret else "no token was given"
            raise ProblemError("no-token", f"{what}, expected the header Authorization: Bearer TOKEN")
        return found

    def _note(self, scope: Any, request_id: str, caller: str, status: int, seconds: float) -> None:
        route = scope.get("frequent") or getattr(scope.get("route"), "path", "other")
        self.context.metrics.count(_known_method(scope["method"]), route, status, seconds)
        if self._log is not None:
            self._say(
                {
                    "event": "request",
                    "request_id": request_id,
                    "method": scope["method"],
                    "route": route,
                    "model": scope.get("path_params", {}).get("name"),
                    "status": status,
                    "ms": round(1e3 * seconds, 2),
                    "caller": caller,
                }
            )

    def _say(self, what: dict[str, Any], error: Exception | None = None) -> None:
        if self._log is not None:
            self._log(log_line(what, error))


async def respond(problem: ProblemError, request_id: str, send: Any) -> None:
    """Answer a request that is refused."""
    body = ENCODER.encode(problem.to_json(request_id)).encode()
    headers = [(b"content-type", MEDIA_TYPE.encode()), (b"content-length", f"{len(body)}".encode())]
    headers += [(name.lower().encode(), value.encode("latin-1")) for name, value in problem.headers.items()]
    await send({"type": "http.response.start", "status": problem.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def failure() -> ProblemError:
    """Return what is said of an error that nobody has foreseen: nothing of what it says itself."""
    return ProblemError("failed", "the server failed; its log says where, under the request's id")


def is_this_machine(host: str) -> bool:
    """Tell whether a host is reached from this machine only: "localhost", or an address such as 127.0.0.1 or ::1."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _follows_link(scope: Any, headers: dict[bytes, bytes]) -> bool:
    """Tell whether a person opens the page by a link on another one; that page learns nothing of what is answered."""
    mode, destination = headers.get(b"sec-fetch-mode"), headers.get(b"sec-fetch-dest")
    wants_page = scope["method"] == "GET" and scope["path"] == "/" and b"origin" not in headers
    return wants_page and (mode, destination) == (b"navigate", b"document")


def _address_of(scope: Any) -> str:
    client = scope.get("client")
    return client[0] if client else "?"


def _name_of(host: str) -> str:
    """Return a host without its port; nothing if it is no host."""
    try:
        return "" if "@" in host else urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _netloc_of(origin: str) -> str | None:
    """Return the host of an origin, and its port; None if it has none."""
    try:
        return urlsplit(origin).netloc.lower() or None
    except ValueError:
        return None


def _known_method(method: str) -> str:
    return method if method in ("GET", "HEAD", "POST", "DELETE", "PUT", "PATCH", "OPTIONS") else "other"
