"""Requests to a server: sent again where that does no harm, and refusals as errors."""

from __future__ import annotations

import random
import time
from typing import Any

from perdure.online.encoding import to_json

_FIRST_WAIT = 0.1
_LONGEST_WAIT = 5.0
_NOT_TAKEN = (429, 503)
"""Statuses of requests of which the server has done nothing; 503 may also mean that there was no answer in time."""
_GATEWAY = (408, 502, 504)
"""Statuses that something between here and the server may have given."""


class ServiceError(RuntimeError):
    """The server refused a request, or could not be reached; the message is the server's own."""

    def __init__(
        self, message: str, *, status: int = 0, type: str = "", field: str | None = None, request_id: str | None = None
    ):
        """Say why.

        Args:
            message: what was given, what was expected and what to do.
            status: of HTTP; 0 if there was no answer.
            type: of the problem, such as "urn:perdure:problem:bad-row".
            field: place in the request, as a JSON pointer.
            request_id: under which the server's log has it.
        """
        super().__init__(message)
        self.status = status
        self.type = type
        self.field = field
        self.request_id = request_id


class Transport:
    """A connection to a server."""

    def __init__(self, url: str, token: str | None, *, timeout: float, retries: int):
        """Connect when there is something to send.

        Raises:
            ModuleNotFoundError: if httpx is not installed.
            ValueError: if the address is none.
        """
        try:
            import httpx
        except ImportError as cause:
            raise ModuleNotFoundError(
                "httpx is not installed, which perdure.Client needs; install it: pip install 'perdure[client]'"
            ) from cause
        if not url.startswith(("http://", "https://")):
            raise ValueError(f"url is {url!r}, expected an address such as http://127.0.0.1:8000")
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._failed = httpx.TransportError
        self._http = httpx.Client(base_url=url.rstrip("/"), headers=headers, timeout=timeout)
        self._retries = retries
        self._url = url

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def send(self, method: str, path: str, body: Any = None, *, query: Any = None, repeatable: bool = True) -> Any:
        """Send a request and return the answer's JSON.

        Args:
            method: of HTTP.
            path: on the server.
            body: sent as JSON; None for none.
            query: parameters by name; None is left out.
            repeatable: does sending it twice come to the same as once? If not, it is sent again only if the server has
                said that it has done nothing.

        Raises:
            ServiceError: if the server refuses it, or there is no answer after several tries.
        """
        content = None if body is None else to_json(body).encode()
        headers = {} if content is None else {"Content-Type": "application/json"}
        parameters = {name: value for name, value in (query or {}).items() if value is not None}
        for attempt in range(self._retries + 1):
            is_last = attempt == self._retries
            try:
                found = self._http.request(method, path, content=content, headers=headers, params=parameters)
            except self._failed as cause:
                if is_last or not repeatable:
                    raise ServiceError(
                        f"{self._url} gave no answer: {cause or type(cause).__name__}; is the server running there? "
                        f"Tried {attempt + 1} times"
                    ) from cause
                _wait(attempt, None)
                continue
            if found.is_success:
                return found.json()
            error = _error(found)
            if is_last or not self._may_repeat(error, repeatable=repeatable):
                raise error
            _wait(attempt, found.headers.get("Retry-After"))
        raise AssertionError  # the last attempt returns or raises

    def _may_repeat(self, error: ServiceError, *, repeatable: bool) -> bool:
        if error.status in _GATEWAY or error.type.endswith(":no-answer"):
            return repeatable
        return error.status in _NOT_TAKEN


def _error(found: Any) -> ServiceError:
    try:
        problem = found.json()
        return ServiceError(
            problem["detail"],
            status=found.status_code,
            type=problem["type"],
            field=problem.get("field"),
            request_id=problem.get("request_id"),
        )
    except (ValueError, TypeError, KeyError):  # not the server's own
        return ServiceError(f"the answer was {found.status_code} {found.reason_phrase}", status=found.status_code)


def _wait(attempt: int, told: str | None) -> None:
    """Wait before another try, longer each time, or as long as the server has said."""
    least = float(told) if told is not None and told.isdigit() else 0.0
    time.sleep(max(least, min(_LONGEST_WAIT, _FIRST_WAIT * 2**attempt)) * random.uniform(1.0, 1.25))
