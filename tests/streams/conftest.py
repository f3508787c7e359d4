"""A small stand-in for MNIST, and a server of files on this computer."""

from __future__ import annotations

import gzip
import hashlib
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from perdure.streams import files

N_TRAIN, N_TEST = 40, 12


@pytest.fixture(scope="session")
def idx_bytes() -> Callable[[np.ndarray], bytes]:
    """Return the function that writes an array as IDX."""
    return _idx_bytes


def _idx_bytes(array: np.ndarray) -> bytes:
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    return header + array.tobytes()


@pytest.fixture(scope="session")
def small_mnist() -> dict[str, bytes]:
    """Uncompressed content of four files like MNIST's, by name."""
    rng = np.random.default_rng(0)
    arrays = {
        "train-images-idx3-ubyte": rng.integers(0, 256, (N_TRAIN, 28, 28), dtype=np.uint8),
        "train-labels-idx1-ubyte": np.arange(N_TRAIN, dtype=np.uint8) % 10,
        "t10k-images-idx3-ubyte": rng.integers(0, 256, (N_TEST, 28, 28), dtype=np.uint8),
        "t10k-labels-idx1-ubyte": np.arange(N_TEST, dtype=np.uint8) % 10,
    }
    return {name: _idx_bytes(array) for name, array in arrays.items()}


@pytest.fixture
def registry(monkeypatch, tmp_path, small_mnist) -> Path:
    """Register the small files as MNIST, without mirrors, and return the user's empty cache folder."""
    raw = tuple(
        files.RawFile(name, len(content), hashlib.sha256(content).hexdigest()) for name, content in small_mnist.items()
    )
    monkeypatch.setitem(files.DATA_SETS, "mnist", files.DataSet("mnist", raw, ()))
    monkeypatch.delenv("PERDURE_DATA", raising=False)
    cache = tmp_path / "user-cache"
    monkeypatch.setattr(files, "user_cache_path", lambda name: cache / name)
    return cache / "perdure"


@pytest.fixture
def small_mnist_dir(registry, tmp_path, small_mnist) -> Path:
    """Return a folder that holds the registered small files, compressed."""
    folder = tmp_path / "data"
    folder.mkdir()
    for name, content in small_mnist.items():
        (folder / f"{name}.gz").write_bytes(gzip.compress(content, compresslevel=1))
    return folder


@dataclass
class FileServer:
    """Serves `answers[path]`; a missing path is a 404, a `cut` path breaks off half-way."""

    url: str = ""
    answers: dict[str, bytes] = field(default_factory=dict)
    cut: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)


@pytest.fixture
def file_server(monkeypatch) -> Iterator[FileServer]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    served = FileServer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            served.asked.append(self.path)
            body = served.answers.get(self.path)
            if body is None:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: len(body) // 2] if self.path in served.cut else body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield served
    server.shutdown()
    server.server_close()
    thread.join()
