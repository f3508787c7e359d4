"""The service under load, beside the same API written over River in the obvious way.

``python benchmarks/service.py`` starts servers and load on this machine and writes what it has measured into
docs/service.md. ``--seconds 2`` is a short run.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import page
from marked_block import write_measured
from pydantic import BaseModel

DOCS = Path(__file__).parents[1] / "docs"
N_COLUMNS, N_CONNECTIONS, NDJSON_ROWS = 20, 16, 20_000


class Load(NamedTuple):
    """What a side stood."""

    per_second: float
    p50: float
    """Milliseconds."""
    p99: float


def bodies(n: int, *, seed: int = 0) -> list[bytes]:
    """Return examples of 20 numbers as JSON."""
    x = np.random.default_rng(seed).normal(size=(n, N_COLUMNS))
    rows = [{f"x{place}": round(value, 4) for place, value in enumerate(row)} for row in x.tolist()]
    return [json.dumps({"x": row, "y": "up" if row["x0"] > row["x1"] else "down"}).encode() for row in rows]


class Example(BaseModel):
    """A row and its class, as the side of River takes them."""

    x: dict[str, float]
    y: str | None = None


class Connection:
    """One connection, with as little of HTTP as a load needs: a client library would take more than the server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter):
        self._reader, self._writer = reader, writer

    @classmethod
    async def open(cls, port: int) -> Connection:
        """Connect."""
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def post(self, path: str, body: bytes, kind: str = "application/json") -> bytes:
        """Send a request and return the answer's body."""
        head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
        self._writer.write(head.encode() + body)
        answer = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        assert answer.startswith((b"http/1.1 200", b"http/1.1 201")), answer
        if b"transfer-encoding: chunked" in answer:
            return await self._chunks()
        (length,) = re.findall(rb"content-length: (\d+)", answer)
        return await self._reader.readexactly(int(length))

    async def _chunks(self) -> bytes:
        parts = []
        while size := int((await self._reader.readline()).strip(), 16):
            parts.append(await self._reader.readexactly(size))
            await self._reader.readline()
        await self._reader.readline()
        return b"".join(parts)

    def close(self) -> None:
        """Close it."""
        self._writer.close()


async def repeated(port: int, path: str, contents: list[bytes], seconds: float, n: int, pause: float = 0.0) -> Load:
    """Send requests over n connections, each the next when the last is answered; return how many a second, how fast."""
    times: list[float] = []
    end = time.perf_counter() + seconds

    async def caller(place: int) -> None:
        connection = await Connection.open(port)
        number = place
        while (began := time.perf_counter()) < end:
            await connection.post(path, contents[number % len(contents)])
            times.append(time.perf_counter() - began)
            number += n
            if pause:
                await asyncio.sleep(pause)
        connection.close()

    await asyncio.gather(*(caller(place) for place in range(n)))
    ordered = sorted(1e3 * it for it in times)
    return Load(len(times) / seconds, statistics.median(ordered), ordered[int(0.99 * (len(ordered) - 1))])


async def streamed(port: int, path: str, contents: list[bytes]) -> float:
    """Send examples as NDJSON in one request; return how many a second were learned."""
    connection = await Connection.open(port)
    began = time.perf_counter()
    answer = await connection.post(path, b"\n".join(contents), "application/x-ndjson")
    assert sum(json.loads(line)["learned"] for line in answer.splitlines()) == len(contents)
    connection.close()
    return len(contents) / (time.perf_counter() - began)


@contextmanager
def started(command: list[str]) -> Iterator[int]:
    """Start a server that prints its address, and yield its port."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline().strip().rpartition(":")[2])
        finally:
            process.terminate()


async def perdure_figures(seconds: float) -> dict[str, Any]:
    """Return the figures of `perdure serve` with ER."""
    contents = bodies(4_000)
    asked = [json.dumps({"x": json.loads(it)["x"]}).encode() for it in contents]
    quiet = [json.dumps({"x": json.loads(it)["x"], "feedback": False}).encode() for it in contents]
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "perdure", "serve", folder, "--port", "0", "--quiet"]
        with started([*command, "--limit", "requests-per-second=1e9"]) as port:
            connection = await Connection.open(port)
            await connection.post("/v1/models", json.dumps({"name": "m", "method": "er"}).encode())
            path = "/v1/models/m"
            for body in contents[:50]:
                await connection.post(f"{path}/learn", body)
            await connection.post(f"{path}/predict", asked[0])
            found["learn"] = await repeated(port, f"{path}/learn", contents, seconds, N_CONNECTIONS)
            found["predict"] = await repeated(port, f"{path}/predict", asked, seconds, 4)
            for name, rows in (("predict while learning", asked), ("predict while learning, no feedback", quiet)):
                found[name], found[f"learn beside: {name}"] = await asyncio.gather(
                    repeated(port, f"{path}/predict", rows, seconds, 2, 0.01),
                    repeated(port, f"{path}/learn", contents, seconds, N_CONNECTIONS),
                )
            found["ndjson"] = await streamed(port, f"{path}/learn", bodies(NDJSON_ROWS, seed=1))
    return found


async def river_figures(seconds: float, *, kept: bool) -> dict[str, Any]:
    """Return the figures of River behind FastAPI, with SQLite or without."""
    contents = bodies(4_000)
    command = [sys.executable, __file__, "--river", "kept" if kept else "lost"]
    with started(command) as port:
        found: dict[str, Any] = {"learn": await repeated(port, "/learn", contents, seconds, N_CONNECTIONS)}
        found["predict while learning"], _ = await asyncio.gather(
            repeated(port, "/predict", contents, seconds, 2, 0.01),
            repeated(port, "/learn", contents, seconds, N_CONNECTIONS),
        )
    return found


def river_app(kept: bool) -> Any:
    """Return an API over River, as one writes it in an afternoon."""
    import sqlite3
    from threading import Lock

    from fastapi import FastAPI
    from river import linear_model, preprocessing

    app, lock = FastAPI(), Lock()
    model = preprocessing.StandardScaler() | linear_model.SoftmaxRegression()
    database = sqlite3.connect(Path(tempfile.mkdtemp()) / "examples.sqlite", check_same_thread=False)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA synchronous=FULL")
    database.execute("CREATE TABLE examples (id INTEGER PRIMARY KEY, x TEXT, y TEXT)")

    @app.post("/learn")
    def learn(example: Example) -> dict[str, Any]:
        with lock:
            before = model.predict_one(example.x)
            if kept:
                database.execute("INSERT INTO examples (x, y) VALUES (?, ?)", (json.dumps(example.x), example.y))
                database.commit()
            model.learn_one(example.x, example.y)
        return {"prediction": before}

    @app.post("/predict")
    def predict(example: Example) -> dict[str, Any]:
        with lock:
            return {"prediction": model.predict_one(example.x)}

    return app


def serve_river(kept: bool) -> None:
    """Serve River until told to end."""
    import socket

    import uvicorn

    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen(128)
    print(f"http://127.0.0.1:{listening.getsockname()[1]}", flush=True)
    uvicorn.Server(uvicorn.Config(river_app(kept), log_level="error", access_log=False)).run(sockets=[listening])


def table(found: dict[str, dict[str, Any]]) -> str:
    """Return what was measured as Markdown."""
    sides = list(found)

    def line(name: str, show: Callable[[dict[str, Any]], str], target: str) -> str:
        return f"| {name} | {' | '.join(show(found[side]) for side in sides)} | {target} |"

    def latency(key: str) -> Callable[[dict[str, Any]], str]:
        return lambda it: f"{it[key].p50:.1f} / {it[key].p99:.1f}" if key in it else "–"

    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("jax", "river", "uvicorn", "fastapi"))
    quiet = "predict while learning, no feedback"
    return "\n".join(
        [
            f"| | {' | '.join(sides)} | Target |",
            f"| --- |{' ---: |' * (len(sides) + 1)}",
            line(
                f"Single `/learn` a second, {N_CONNECTIONS} connections",
                lambda it: f"{it['learn'].per_second:,.0f}",
                "600",
            ),
            line("its milliseconds, median / 99 %", latency("learn"), ""),
            line("Examples a second as NDJSON", lambda it: f"{it['ndjson']:,.0f}" if "ndjson" in it else "–", "10,000"),
            line("`/predict` while learning, median / 99 %", latency("predict while learning"), "– / 20"),
            line("the same with `feedback: false`", latency(quiet), ""),
            line("`/predict` alone, median / 99 %", latency("predict"), ""),
            "",
            f"Measured on {page.machine_text()}; {versions}. Server and load share the cores.",
        ]
    )


def main() -> None:
    """Measure, and write it down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each measurement")
    parser.add_argument("--river", choices=["kept", "lost"], help=argparse.SUPPRESS)
    parser.add_argument("--dry", action="store_true", help="print, and write nothing")
    given = parser.parse_args()
    if given.river:
        serve_river(given.river == "kept")
        return
    found = {
        "perdure, ER": asyncio.run(perdure_figures(given.seconds)),
        "River, SQLite": asyncio.run(river_figures(given.seconds, kept=True)),
        "River, nothing kept": asyncio.run(river_figures(given.seconds, kept=False)),
    }
    text = table(found)
    print(text)
    if not given.dry:
        write_measured(DOCS / "service.md", text)


if __name__ == "__main__":
    main()
