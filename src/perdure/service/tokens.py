"""Who may do what: bearer tokens, of which only hashes are kept."""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import os
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from perdure.storage.files import StorageError, write_json
from perdure.storage.reading import ContentError, entry, read_json

FILE = "tokens.json"
ROLES = ("read", "learn", "admin")
"""Each may do what those before it may."""
_FORMAT = 1
_LOOK_EVERY = 0.1
"""Seconds between two looks at the file."""
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


class Token(NamedTuple):
    """A token, without the token itself."""

    name: str
    role: str
    sha256: str
    created: str

    def allows(self, role: str) -> bool:
        """May its bearer do what needs this role?"""
        return ROLES.index(self.role) >= ROLES.index(role)


def read_tokens(folder: Path) -> list[Token]:
    """Return the tokens of a folder.

    Raises:
        ContentError: if the file cannot be read.
    """
    path = folder / FILE
    if not os.path.lexists(path):  # a link that leads nowhere is a file that cannot be read
        return []
    try:
        content = read_json(path)
    except ContentError as cause:
        raise ContentError(f"{cause}; make it readable, or remove it and make the tokens again") from cause
    if content.get("format") != _FORMAT:
        raise ContentError(f"{path} has format {content.get('format')!r}, expected {_FORMAT}; make the tokens again")
    return [_token(it, path) for it in entry(content, "tokens", list, path)]


def _token(described: Any, path: Path) -> Token:
    if not isinstance(described, dict):
        raise ContentError(f"{path}: a token is {described!r}, expected a table; make the tokens again")
    token = Token(*(entry(described, name, str, path) for name in Token._fields))
    if token.role not in ROLES:
        raise ContentError(f"{path}: a role is {token.role!r}, expected one of {', '.join(ROLES)}")
    return token


def make_token(folder: Path, name: str, role: str) -> str:
    """Add a token to a folder, and return it: it cannot be shown again.

    Raises:
        ValueError: if the name or the role is none, or the name is taken.
        StorageError: if it cannot be written.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"name is {name!r}, expected 1 to 64 of a-z, 0-9, '.', '_' and '-', such as 'page'")
    if role not in ROLES:
        raise ValueError(f"role is {role!r}, expected one of {', '.join(ROLES)}")
    secret = f"perdure_{secrets.token_urlsafe(32)}"
    with _changing(folder):
        tokens = read_tokens(folder)
        if any(it.name == name for it in tokens):
            raise ValueError(f"there is a token {name!r} already; give another name, or revoke it: --revoke {name}")
        _write(folder, [*tokens, Token(name, role, _hash(secret), f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}")])
    return secret


def revoke_token(folder: Path, name: str) -> None:
    """Take a token away; a server that runs refuses it from now on.

    Raises:
        ValueError: if there is none of this name.
    """
    with _changing(folder):
        tokens = read_tokens(folder)
        if all(it.name != name for it in tokens):
            known = ", ".join(it.name for it in tokens) or "none"
            raise ValueError(f"there is no token {name!r} in {folder}; there are: {known}")
        _write(folder, [it for it in tokens if it.name != name])


@contextmanager
def _changing(folder: Path) -> Iterator[None]:
    """Let one process at a time change the tokens."""
    try:
        descriptor = os.open(folder / ".tokens.lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as cause:
        raise StorageError(
            cause.errno, f"{folder} cannot be written: {cause.strerror}; give a folder that is there and writable"
        ) from cause
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _write(folder: Path, tokens: list[Token]) -> None:
    before = os.umask(0o077)
    try:
        write_json(folder / FILE, {"format": _FORMAT, "tokens": [it._asdict() for it in tokens]})
    finally:
        os.umask(before)


def _hash(secret: str) -> str:
    """Return the hash of a token: of 256 random bits, a plain one is enough."""
    return hashlib.sha256(secret.encode(errors="replace")).hexdigest()


class Tokens:
    """The tokens of a folder, as they are now."""

    def __init__(self, folder: Path):
        """Read them.

        Raises:
            ContentError: if the file cannot be read.
        """
        self._folder = folder
        self._seen = self._stamp()
        self._needed = self._seen is not None
        self._looked = time.monotonic()
        self._tokens = read_tokens(folder)

    @property
    def exist(self) -> bool:
        """Has there been any, or a file that should have some? A folder that has gone lets nobody in."""
        self._follow()
        return self._needed

    def find(self, secret: str) -> Token | None:
        """Return the token of a bearer; None if there is none. Takes as long for a near miss as for a far one."""
        self._follow()
        given, found = _hash(secret), None
        for token in self._tokens:
            if hmac.compare_digest(given, token.sha256):
                found = token
        return found

    def _stamp(self) -> tuple[int, int, int] | None:
        """Return what changes with the file; None if there is none."""
        path = self._folder / FILE
        try:
            stat = path.stat()
        except FileNotFoundError:
            return (0, 0, 0) if os.path.lexists(path) else None
        except OSError:
            return 0, 0, 0
        return stat.st_mtime_ns, stat.st_size, stat.st_ino

    def _follow(self) -> None:
        if time.monotonic() - self._looked < _LOOK_EVERY:
            return
        self._looked = time.monotonic()
        stamp = self._stamp()
        if stamp != self._seen:
            self._seen, self._needed = stamp, True
            try:
                self._tokens = read_tokens(self._folder)
            except ContentError:
                self._tokens = []  # nobody is let in
