"""How much memory and disk a served model takes, and how long a backup takes.

``python benchmarks/sizes.py`` teaches models of several methods, serves each alone, and writes what it has measured
into docs/run-it.md. ``--examples 2000`` is a short run.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import online_page
from marked_block import write_measured

from perdure import DurableModel, backup_model

PAGE = Path(__file__).parents[1] / "docs" / "run-it.md"
METHODS = ("nearest-mean", "lda", "er", "auto")
N_COLUMNS = 20


def teach(folder: Path, method: str, n: int) -> None:
    """Make a model of rows of 20 numbers in 10 classes, each with an id."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(10, N_COLUMNS))
    with DurableModel.open(folder, method=method) as model:
        for start in range(0, n, 1_000):
            y = rng.integers(0, 10, min(1_000, n - start))
            rows = np.round(centres[y] + rng.normal(size=(y.size, N_COLUMNS)), 4)
            names = [f"x{place}" for place in range(N_COLUMNS)]
            model.learn(
                [dict(zip(names, row, strict=True)) for row in rows.tolist()],
                [f"class {it}" for it in y],
                ids=[f"{start + place}" for place in range(y.size)],
            )


def size(folder: Path) -> int:
    """Return the bytes of the files in a folder."""
    return sum(it.stat().st_size for it in folder.rglob("*") if it.is_file())


def memory(folder: Path) -> float:
    """Serve a folder; return the MB that the server takes once it is ready and has read the journal through."""
    command = [sys.executable, "-m", "perdure", "serve", "--port", "0", "--quiet", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().split()[-1]
            while not _is_ready(url):
                time.sleep(0.02)
            time.sleep(3)  # the journal is read through meanwhile
            status = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8")
        finally:
            process.terminate()
    (kilobytes,) = re.findall(r"VmRSS:\s+(\d+) kB", status)
    return int(kilobytes) / 1e3


def _is_ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/readyz") as answer:
            return answer.status == 200
    except urllib.error.HTTPError:
        return False


def measured(n: int) -> str:
    """Return the table."""
    lines = [
        "| method | journal, bytes an example | snapshots, kB | memory of the server, MB | backup, s |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for method in METHODS:
        with tempfile.TemporaryDirectory() as scratch:
            models = Path(scratch) / "models"
            teach(models / "m", method, n)
            journal = sum(it.stat().st_size for it in (models / "m").glob("journal.sqlite*"))
            snapshots = size(models / "m" / "snapshots")
            began = time.perf_counter()
            backup_model(models / "m", Path(scratch) / "copy")
            backup = time.perf_counter() - began
            memory(models)  # compiles
            megabytes = memory(models)
        lines.append(f"| {method} | {journal / n:,.0f} | {snapshots / 1e3:,.0f} | {megabytes:.0f} | {backup:.1f} |")
    with tempfile.TemporaryDirectory() as scratch:
        megabytes = memory(Path(scratch))
    lines.append(f"| no model | | | {megabytes:.0f} | |")
    about = f"{n:,} examples of 20 numbers in 10 classes, each with an id. {online_page.machine()}."
    return "\n".join([*lines, "", about])


def main() -> None:
    """Measure, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=100_000)
    found = measured(parser.parse_args().examples)
    print(found)
    write_measured(PAGE, found)


if __name__ == "__main__":
    main()
