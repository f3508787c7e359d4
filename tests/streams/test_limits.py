"""Small hostile files: each reader refuses them by name, within 500 MB of memory and 10 seconds.

Each is read by a process of its own, whose memory and time are measured.
"""

from __future__ import annotations

import gzip
import json
import os
import struct
import subprocess
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import perdure
from perdure.streams.omniglot import _read_cached

LARGEST_MEMORY, LONGEST = 500e6, 10.0
HUGE = 5 * 10**9
ZEROS = gzip.compress(bytes(10**8))
READ = """
import importlib, json, sys, time, warnings
from pathlib import Path
from perdure.machine.process import peak_memory

def read_tar(path):
    return importlib.import_module("perdure.streams.cifar100").read_binary_archive(path.read_bytes(), str(path))

def read_zip(path):
    return importlib.import_module("perdure.streams.omniglot").decode_drawings(path.read_bytes(), 28, str(path))

def read_idx(path):
    return importlib.import_module("perdure.streams.raw.files").read_idx(path.read_bytes(), str(path))

def fill():
    return bytearray(b"x") * 600_000_000

warnings.simplefilter("error")
readings = []
for module, function, *arguments in json.load(sys.stdin):
    read = getattr(importlib.import_module(module), function)
    began = time.process_time()
    try:
        said = f"a {type(read(*(Path(it) if '/' in it else it for it in arguments))).__name__} was returned"
    except Exception as error:
        said = f"{type(error).__name__}: {error}"
    readings.append([said, peak_memory(), time.process_time() - began])
print(json.dumps(readings))
"""


class Reading(NamedTuple):
    """What became of reading a file."""

    said: str
    memory: int
    """Largest memory of the process so far."""
    seconds: float


def read(folder: Path, *calls: tuple) -> list[Reading]:
    """Call functions (module, name, arguments) one after another in one process."""
    environment = {**os.environ, "PYTHONPATH": str(Path(perdure.__file__).parents[1]), "XDG_CACHE_HOME": str(folder)}
    environment.pop("PERDURE_DATA", None)
    done = subprocess.run(
        [sys.executable, "-c", READ],
        input=json.dumps([list(map(str, call)) for call in calls]),
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return [Reading(*it) for it in json.loads(done.stdout)]


def check(found: Reading, *expected: str) -> None:
    assert found.said.startswith("DataError: ")
    for text in expected:
        assert text in found.said
    assert found.memory < LARGEST_MEMORY
    assert found.seconds < LONGEST


FILES, CIFAR = "perdure.streams.raw.files", "perdure.streams.cifar100"


def test_the_measure_sees_memory_and_what_is_returned(tmp_path):
    before, after = read(tmp_path, ("builtins", "str"), ("__main__", "fill"))
    assert before.memory < LARGEST_MEMORY < after.memory
    assert before.said == "a str was returned"


IMAGES = "train-images-idx3-ubyte"


def bomb(path: Path) -> None:
    path.write_bytes(ZEROS * (HUGE // 10**8))


def sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(HUGE)


def huge_header(path: Path) -> None:
    path.write_bytes(bytes([0, 0, 8, 3]) + b"\xff" * 12 + bytes(100))


MNIST_FILES = {
    "gz that unpacks": (f"{IMAGES}.gz", bomb, "unpacks to more than 47,040,016 bytes, the size of the published"),
    "large gz": (f"{IMAGES}.gz", sparse, f"has {HUGE:,} bytes, expected at most 47,088,080 for the published {IMAGES}"),
    "large": (IMAGES, sparse, f"has {HUGE:,} bytes, expected at most"),
    "header": (IMAGES, huge_header, f"is not the published {IMAGES}"),
}


def test_in_the_place_of_mnist(tmp_path):
    calls = []
    for case, (name, write, _) in MNIST_FILES.items():
        (tmp_path / case).mkdir()
        write(tmp_path / case / name)
        calls += [(FILES, "load_idx", IMAGES, tmp_path / case), (FILES, "fetch", "mnist", tmp_path / case)]
    found = read(tmp_path, *calls, ("__main__", "read_idx", tmp_path / "header" / IMAGES))
    for place, (case, (name, _, expected)) in enumerate(MNIST_FILES.items()):
        for reading in found[2 * place : 2 * place + 2]:
            check(reading, str(tmp_path / case / name), expected)
    check(found[-1], "has 100 bytes of data, expected 79228162458924105385300197375")


def tar_header(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    member = tarfile.TarInfo(name)
    member.size, member.type = size, kind
    return gzip.compress(member.tobuf(tarfile.GNU_FORMAT))


TRAIN = "cifar-100-binary/train.bin"
TARS = [
    (TRAIN, HUGE, tarfile.REGTYPE, "train.bin in {} has 5000000000 bytes, expected at most"),
    (TRAIN, 2 * 10**8, tarfile.REGTYPE, "train.bin in {} has 200000000 bytes, expected at most"),
    ("another", HUGE, tarfile.REGTYPE, "{} unpacks to more than 268,435,456 bytes"),
    ("header", HUGE, tarfile.XHDTYPE, "{} unpacks to more than 268,435,456 bytes"),
    ("name", HUGE, tarfile.GNUTYPE_LONGNAME, "{} unpacks to more than 268,435,456 bytes"),
]


@pytest.mark.long
def test_in_the_place_of_cifar(tmp_path):
    paths = [tmp_path / f"{number}.tar.gz" for number in range(len(TARS))]
    for path, (name, size, kind, _) in zip(paths, TARS, strict=True):
        path.write_bytes(tar_header(name, size, kind) + ZEROS * (size // 10**8))
    names = ["cifar-100-binary.tar.gz", "cifar-100-python.tar.gz"]
    for name in names:
        (tmp_path / name).mkdir()
        sparse(tmp_path / name / name)
    calls = [("__main__", "read_tar", path) for path in paths] + [
        (CIFAR, "load_cifar100", tmp_path / it) for it in names
    ]
    found = read(tmp_path, *calls)
    for reading, path, (*_, expected) in zip(found, paths, TARS, strict=False):
        check(reading, expected.format(path))
    for reading, name in zip(found[len(TARS) :], names, strict=True):
        check(reading, str(tmp_path / name / name), f"has {HUGE:,} bytes, expected at most 16", f"the published {name}")


def png(side: int, bits: int = 1) -> bytes:
    """Return a picture of zeros."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = bytes((1 + (side * bits + 7) // 8) * side)
    header = struct.pack(">IIBBBBB", side, side, bits, 0, 0, 0, 0)
    packed = zlib.compress(rows, 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def zip_of(pictures: list[bytes]) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        with zipfile.ZipFile(path, "w") as archive:
            for number, picture in enumerate(pictures):
                archive.writestr(f"images_background/A/character01/{number:04}_01.png", picture)

    return write


ARCHIVES = {
    "169 million pixels": (
        zip_of([png(13_000)] * 3),
        "0000_01.png in {} has 13000×13000 pixels, expected at most 65,536",
    ),
    "a little too large": (zip_of([png(257)]), "0000_01.png in {} has 257×257 pixels, expected at most 65,536"),
    "many large ones": (zip_of([png(256)] * 4100), "the pictures in {} have more than 268,435,456 pixels in all"),
    "too many": (zip_of([b""] * 33_000), "{} has 33,000 members, expected at most 32,768"),
    "large": (sparse, "{} has 5,000,000,000 bytes, expected at most 67,108,864 for the published"),
}


@pytest.mark.long
def test_in_the_place_of_omniglot(tmp_path):
    paths = [tmp_path / case / "images_background.zip" for case in ARCHIVES]
    for path, (write, _) in zip(paths, ARCHIVES.values(), strict=True):
        path.parent.mkdir()
        write(path)
    calls = [("__main__", "read_zip", path) for path in paths[:2]]
    found = read(tmp_path, *((FILES, "fetch", "omniglot", path.parent) for path in paths), *calls)
    for reading, path, (_, expected) in zip(found, paths + paths[:2], [*ARCHIVES.values()] * 2, strict=False):
        check(reading, expected.format(path))


def torch_file(path: Path, x: Any, n_tasks: int = 1) -> None:
    torch = pytest.importorskip("torch")
    y = torch.zeros(1, dtype=torch.int64).expand(len(x))
    torch.save([[[None, x, y]] * n_tasks] * 2, path)


def expanded(path: Path) -> None:
    torch = pytest.importorskip("torch")
    torch_file(path, torch.zeros(1, 1).expand(2_000_000, 784))


def repeated(path: Path) -> None:
    """One tensor, stored once, of very many tasks."""
    torch = pytest.importorskip("torch")
    torch_file(path, torch.zeros(20_000, 200), 999)


def deflated(path: Path) -> None:
    torch = pytest.importorskip("torch")
    torch_file(path, torch.zeros(8, 4))
    old = zipfile.ZipFile(path)
    members = {it.filename: old.read(it) for it in old.infolist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as new:
        for name, data in members.items():
            new.writestr(name, data)
        new.writestr("archive/data/9", bytes(6 * 10**8))


TORCH_FILES = [
    (expanded, "but its tensors would take 12,576,000,000, expected at most"),
    (repeated, "but its tensors would take 32,287,680,000, expected at most"),
    (deflated, "bytes and unpacks to 600,00"),
]


@pytest.mark.long
def test_tensors_are_read_up_to_the_size_of_their_file(tmp_path):
    paths = [tmp_path / f"{number}.pt" for number in range(len(TORCH_FILES))]
    for path, (write, _) in zip(paths, TORCH_FILES, strict=True):
        write(path)
    found = read(tmp_path, *(("perdure.streams.torch_file", "read_torch_file", path) for path in paths))
    for reading, path, (_, expected) in zip(found, paths, TORCH_FILES, strict=True):
        check(reading, str(path), expected)


def test_cached_drawings_are_read_up_to_their_size(tmp_path):
    sparse(tmp_path / "it.drawings")
    assert _read_cached(tmp_path / "it.drawings", b"", 28) is None
