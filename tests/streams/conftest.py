"""Small stand-ins for the data sets, and a server of files on this computer."""

from __future__ import annotations

import gzip
import hashlib
import io
import pickle
import struct
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from perdure.streams.raw import files
from perdure.streams.raw.archives import pictures_sha256
from perdure.streams.raw.registry import DATA_SETS, DataSet, RawFile

N_TRAIN, N_TEST = 40, 12
LABELS = "train-labels-idx1-ubyte"
ALPHABETS = {"background": {"Greek": [3, 1], "Braille": [2]}, "evaluation": {"Angelic": [6, 4, 5]}}
"""Small Omniglot: identifiers of the characters of each alphabet."""


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
        LABELS: np.arange(N_TRAIN, dtype=np.uint8) % 10,
        "t10k-images-idx3-ubyte": rng.integers(0, 256, (N_TEST, 28, 28), dtype=np.uint8),
        "t10k-labels-idx1-ubyte": np.arange(N_TEST, dtype=np.uint8) % 10,
    }
    return {name: _idx_bytes(array) for name, array in arrays.items()}


@pytest.fixture(scope="session")
def small_omniglot() -> dict[str, bytes]:
    """Content of two archives like Omniglot's, by name; the top left pixels of a drawing spell its id and drawer."""
    return {f"images_{split}.zip": _omniglot_zip(split) for split in ALPHABETS}


def _omniglot_zip(split: str) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for alphabet, characters in ALPHABETS[split].items():
            archive.writestr(f"images_{split}/{alphabet}/", b"")
            for number, character in enumerate(characters, 1):
                for drawer in range(20, 0, -1):
                    name = f"images_{split}/{alphabet}/character{number:02}/{character:04}_{drawer:02}.png"
                    archive.writestr(name, _drawing(character, drawer))
    return content.getvalue()


def _drawing(character: int, drawer: int) -> bytes:
    """Return a white picture with so many rows and columns of ink."""
    pixels = np.ones((105, 105), dtype=bool)
    pixels[: 15 * character, :drawer] = False
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()


@pytest.fixture(scope="session")
def cifar_arrays() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Pixels (n, 3072) and labels of a small CIFAR-100: 4 training and 2 test images a class, in random order."""
    rng = np.random.default_rng(1)
    parts = {}
    for part, each in (("train", 4), ("test", 2)):
        labels = rng.permutation(np.repeat(np.arange(100), each))
        parts[part] = rng.integers(0, 256, (len(labels), 3072), dtype=np.uint8), labels
    return parts


@pytest.fixture(scope="session")
def tar_bytes() -> Callable[[dict[str, bytes]], bytes]:
    """Return the function that packs files into a tar.gz archive."""
    return _tar_bytes


def _tar_bytes(files: dict[str, bytes]) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return content.getvalue()


@pytest.fixture(scope="session")
def small_cifar(cifar_arrays) -> dict[str, bytes]:
    """Content of two archives like CIFAR-100's, by name."""
    records, pickles = {}, {}
    for part, (pixels, labels) in cifar_arrays.items():
        columns = (labels[:, None] // 5, labels[:, None], pixels)
        records[f"cifar-100-binary/{part}.bin"] = np.concatenate(columns, axis=1).astype(np.uint8).tobytes()
        facts = {b"data": pixels, b"fine_labels": labels.tolist(), b"filenames": [b"a.png"]}
        pickles[f"cifar-100-python/{part}"] = pickle.dumps(facts, protocol=2)
    return {"cifar-100-binary.tar.gz": _tar_bytes(records), "cifar-100-python.tar.gz": _tar_bytes(pickles)}


@pytest.fixture
def registry(monkeypatch, tmp_path, small_mnist, small_omniglot, small_cifar) -> Path:
    """Register the small files as the data sets', without mirrors, and return the user's empty cache folder."""
    raw = {
        "mnist": [RawFile(name, hashlib.sha256(content).hexdigest()) for name, content in small_mnist.items()],
        "omniglot": [
            RawFile(name, pictures_sha256(content, name), "pictures") for name, content in small_omniglot.items()
        ],
        "cifar100": [
            RawFile(name, hashlib.sha256(content).hexdigest(), "archive") for name, content in small_cifar.items()
        ],
    }
    for name, its_files in raw.items():
        monkeypatch.setitem(DATA_SETS, name, DataSet(name, tuple(its_files), (), DATA_SETS[name].one_suffices))
    monkeypatch.delenv("PERDURE_DATA", raising=False)
    cache = tmp_path / "user-cache"
    monkeypatch.setattr(files, "user_cache_path", lambda name: cache / name)
    return cache / "perdure"


@pytest.fixture
def small_mnist_dir(registry, tmp_path, small_mnist) -> Path:
    """Return a folder that holds the registered small files, compressed."""
    folder = tmp_path / "data"
    folder.mkdir(exist_ok=True)
    for name, content in small_mnist.items():
        (folder / f"{name}.gz").write_bytes(gzip.compress(content, compresslevel=1))
    return folder


@pytest.fixture
def small_data_dir(small_mnist_dir, small_omniglot, small_cifar) -> Path:
    """Return a folder that holds the registered small files of all data sets."""
    for name, content in (small_omniglot | small_cifar).items():
        (small_mnist_dir / name).write_bytes(content)
    return small_mnist_dir


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
