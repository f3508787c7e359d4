"""A real server with the page, for tests and for the script that takes pictures of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

SECONDS = 300
"""Until a server must be there."""


class Site:
    """`perdure serve` in a process of its own; it can be killed, and started again at the same address."""

    def __init__(self, folder: Path):
        """Serve a folder."""
        self.folder, self.port, self.address = folder, 0, ""
        self.start()

    def start(self) -> None:
        """Start the server, at the same port as before."""
        command = [sys.executable, "-m", "perdure", "serve", str(self.folder), "--port", str(self.port), "--quiet"]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=dict(os.environ))
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line.startswith("serving at "), f"the server said {line!r}"
        self.address = line.split()[-1]
        self.port = int(self.address.rpartition(":")[2])
        until = time.monotonic() + SECONDS
        while time.monotonic() < until:
            try:
                urllib.request.urlopen(f"{self.address}/healthz", timeout=SECONDS).close()
                return
            except OSError:
                time.sleep(0.1)
        raise TimeoutError(f"no answer from {self.address} in {SECONDS} seconds")

    def kill(self) -> None:
        """Kill it with no time for anything."""
        self._process.kill()
        self._end()

    def stop(self) -> None:
        """Let it come to its end."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        self._end()

    def _end(self) -> None:
        self._process.wait(SECONDS)
        if self._process.stdout is not None:
            self._process.stdout.close()


def chromium() -> str | None:
    """Return where Chromium is; None if it is nowhere."""
    from shutil import which

    return os.environ.get("PERDURE_BROWSER") or which("chromium") or which("chromium-browser") or which("google-chrome")
