"""How long commands take to start: wall-clock and CPU seconds, the best of several starts each.

    .venv/bin/python benchmarks/startup.py [--repeats 5] [--against OTHER_CHECKOUT]

Every command is started once before it is measured, so that compiled programs and bytecode are cached: what is measured
is a second start. With ``--against`` the two checkouts take turns, so that both see the same machine.
"""

from __future__ import annotations

import argparse
import os
import pty
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

SOURCE = Path(__file__).parents[1] / "src"
RUN = ["run", "online", "digits-rotations"]
SMALL = ["--tasks", "1", "--examples-per-task", "20"]


class Start(NamedTuple):
    """Something to start, and how."""

    name: str
    command: list[str]
    needs_folder: bool = False
    """Does it write a record, which must be a new one each time?"""
    until: bytes | None = None
    """Run it in a terminal, until it shows this; None runs it to its end."""


STARTS = (
    Start("python -c pass", ["-c", "pass"]),
    Start("import perdure", ["-c", "import perdure"]),
    Start("perdure --help", ["-m", "perdure", "--help"]),
    Start("perdure run --help", ["-m", "perdure", "run", "--help"]),
    Start("something on the screen", ["-m", "perdure", *RUN], needs_folder=True, until=b""),
    Start("first example learned", ["-m", "perdure", *RUN], needs_folder=True, until=b" examples/s"),
    Start("a whole small run", ["-m", "perdure", *RUN, *SMALL, "--quiet"], needs_folder=True),
)


class Seconds(NamedTuple):
    """What one start took."""

    wall: float
    cpu: float
    """Of all threads and child processes."""


def measure(start: Start, source: Path) -> Seconds:
    """Start a command once with the package in `source`."""
    environment = {**os.environ, "PYTHONPATH": str(source), "COLUMNS": "120"}
    with tempfile.TemporaryDirectory() as folder:
        out = ["--out", str(Path(folder, "run"))] if start.needs_folder else []
        command = [sys.executable, *start.command, *out]
        before, began = os.times(), time.perf_counter()
        if start.until is None:
            subprocess.run(command, check=True, env=environment, cwd=folder, stdout=subprocess.DEVNULL)
        else:
            run_in_terminal(command, start.until, environment, folder)
        wall, after = time.perf_counter() - began, os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return Seconds(wall, cpu)


def run_in_terminal(command: list[str], until: bytes, environment: dict[str, str], folder: str) -> None:
    """Run a command in a terminal of its own until it has shown something, and kill it."""
    ours, its = pty.openpty()
    process = subprocess.Popen(command, stdin=its, stdout=its, stderr=its, env=environment, cwd=folder)
    os.close(its)
    shown = b""
    while not shown or until not in shown:
        shown += os.read(ours, 4096)
    process.kill()
    process.wait()
    os.close(ours)


def main() -> None:
    """Measure and print a table."""
    options = argparse.ArgumentParser(description="Measure how long commands take to start.")
    options.add_argument("--repeats", type=int, default=5, help="starts of each command that are measured")
    options.add_argument("--against", type=Path, help="another checkout, to be measured in turns")
    given = options.parse_args()
    sources = [SOURCE] if given.against is None else [SOURCE, given.against.resolve() / "src"]
    titles = ["here", "there"][: len(sources)]
    print(f"{'seconds':24}", *(f"{title + ' wall':>12}{title + ' CPU':>12}" for title in titles))
    for start in STARTS:
        for source in sources:
            measure(start, source)
        taken = [[measure(start, source) for source in sources] for _ in range(given.repeats)]
        best = [Seconds(*(min(parts) for parts in zip(*starts, strict=True))) for starts in zip(*taken, strict=True)]
        print(f"{start.name:24}", *(f"{it.wall:12.2f}{it.cpu:12.2f}" for it in best), flush=True)


if __name__ == "__main__":
    main()
