"""How long commands take to start: wall-clock and CPU seconds, the best of several starts each.

    .venv/bin/python benchmarks/startup.py [--repeats 5] [--against OTHER_CHECKOUT]

Every command is started once before it is measured, so that compiled programs and bytecode are cached: what is measured
is a second start. With ``--against`` the two checkouts take turns, so that both see the same machine.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

SOURCE = Path(__file__).parents[1] / "src"
RUN = ["run", "online", "digits-rotations"]
SMALL = ["--tasks", "1", "--examples-per-task", "20"]

# Ends the process as soon as the first stretch of the stream, 20 examples, has been learned.
FIRST_EXAMPLE = """
import os, sys
from perdure.cli import main
sys.argv = ["perdure", *sys.argv[1:]]
class Stop:
    def find_spec(self, name, path=None, target=None):
        if name == "perdure.experiments.supervised.run" or name == "perdure.experiments.run":
            sys.meta_path.remove(self)
            from importlib import import_module
            module = import_module("perdure.execution.progress" if "supervised" in name else "perdure.experiments.progress")
            module.RunProgress.update = lambda *_: os._exit(0)
sys.meta_path.insert(0, Stop())
main()
"""


class Start(NamedTuple):
    """Something to start, and how."""

    name: str
    command: list[str]
    needs_folder: bool = False
    """Does it write a record, which must be a new one each time?"""


STARTS = (
    Start("python -c pass", ["-c", "pass"]),
    Start("import perdure", ["-c", "import perdure"]),
    Start("perdure --help", ["-m", "perdure", "--help"]),
    Start("perdure run --help", ["-m", "perdure", "run", "--help"]),
    Start("first example learned", ["-c", FIRST_EXAMPLE, *RUN, "--quiet"], needs_folder=True),
    Start("a whole small run", ["-m", "perdure", *RUN, *SMALL, "--quiet"], needs_folder=True),
)


class Seconds(NamedTuple):
    """What one start took."""

    wall: float
    cpu: float
    """Of all threads and child processes."""


def measure(start: Start, source: Path) -> Seconds:
    """Start a command once with the package in `source`."""
    environment = {**os.environ, "PYTHONPATH": str(source)}
    with tempfile.TemporaryDirectory() as folder:
        out = ["--out", str(Path(folder, "run"))] if start.needs_folder else []
        before, began = os.times(), time.perf_counter()
        subprocess.run(
            [sys.executable, *start.command, *out], check=True, env=environment, cwd=folder, stdout=subprocess.DEVNULL
        )
        wall, after = time.perf_counter() - began, os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return Seconds(wall, cpu)


def main() -> None:
    """Measure and print a table."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
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
        best = [Seconds(*(min(turn[place][part] for turn in taken) for part in (0, 1))) for place in range(len(sources))]
        print(f"{start.name:24}", *(f"{it.wall:12.2f}{it.cpu:12.2f}" for it in best), flush=True)


if __name__ == "__main__":
    main()
