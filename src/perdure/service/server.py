"""The process that serves: where it listens, how it stops."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import uvicorn

from perdure.service.app import make_app
from perdure.service.gate import is_this_machine
from perdure.service.http import BoundedHttp
from perdure.service.limits import Limits
from perdure.service.logs import log_line, to_standard_error
from perdure.service.tokens import Tokens
from perdure.storage.files import make_folder
from perdure.storage.lock import FolderLock

_BACKLOG = 2_048
_SWITCH_SECONDS = 0.0005
"""How long a thread may keep the others waiting: a prediction must not wait for the writer's Python."""


@dataclass(frozen=True)
class Address:
    """Where to listen."""

    host: str = "127.0.0.1"
    port: int = 8000
    tls_cert: Path | None = None
    tls_key: Path | None = None

    @property
    def loopback(self) -> bool:
        """Is it reached from this machine only?"""
        return is_this_machine(self.host)


def serve(
    folder: Path,
    address: Address,
    limits: Limits,
    *,
    say: Callable[[str], None],
    log: bool = True,
) -> None:
    """Serve the models of a folder until SIGTERM, SIGINT or SIGHUP; then do what waits, and make snapshots.

    Args:
        folder: made if it does not exist.
        address: where to listen.
        limits: what is refused beyond.
        say: called with the address, once there is one.
        log: write a line of JSON for each request to standard error?

    Raises:
        ValueError: if it is to listen beyond this machine and there is no token, or only one TLS file is given.
        FolderInUseError: if another server serves the folder.
        OSError: if it cannot listen there.
    """
    check_address(folder, address)
    make_folder(folder)
    with FolderLock(folder):
        app = make_app(folder, limits, loopback=address.loopback, log=to_standard_error if log else None)
        config = uvicorn.Config(
            app,
            http=BoundedHttp,
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            ws="none",
            timeout_keep_alive=30,
            timeout_graceful_shutdown=int(max(limits.stop_seconds, 1)),
            limit_concurrency=limits.connections,
            ssl_certfile=address.tls_cert,
            ssl_keyfile=address.tls_key,
        )
        server = uvicorn.Server(config)
        app.context.stop_requested = lambda: server.should_exit
        listening = _listen(address)
        scheme = "https" if address.tls_cert else "http"
        host, port = listening.getsockname()[:2]
        say(f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}")
        sys.setswitchinterval(_SWITCH_SECONDS)

        def stop(number: int, frame: FrameType | None) -> None:
            server.should_exit = True
            if log:
                to_standard_error(log_line({"event": "stopping", "signal": signal.Signals(number).name}))

        # uvicorn puts its own handlers in place while it serves, and hands what it has caught to those before.
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, stop)
        server.run(sockets=[listening])


def check_address(folder: Path, address: Address) -> None:
    """Check that a server may listen there.

    Raises:
        ValueError: if it may not.
    """
    if (address.tls_cert is None) != (address.tls_key is None):
        raise ValueError("one of --tls-cert and --tls-key was given, expected both")
    for path in (address.tls_cert, address.tls_key):
        if path is not None and not os.access(path, os.R_OK):
            raise ValueError(f"{path} cannot be read, expected a PEM file")
    if not address.loopback and not Tokens(folder).exist:
        raise ValueError(
            f"--host {address.host} lets other machines in, and there is no token; make one first: perdure serve token "
            f"{folder} --role admin --name admin"
        )


def _listen(address: Address) -> socket.socket:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((address.host, address.port))
    except OSError as cause:
        listening.close()
        raise OSError(
            cause.errno,
            f"{address.host}:{address.port} cannot be listened at: {cause.strerror}; choose another --port, 0 for any",
        ) from cause
    listening.listen(_BACKLOG)  # whoever reads the address may call at once
    return listening
