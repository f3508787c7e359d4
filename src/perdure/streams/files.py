"""Raw data files: where they are looked for, how they are downloaded, and that they are the right ones."""

from __future__ import annotations

import gzip
import hashlib
import math
import os
import struct
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import requests
from jaxtyping import UInt8
from platformdirs import user_cache_path
from pooch import HTTPDownloader
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TransferSpeedColumn


class DataError(RuntimeError):
    """A data file is missing, damaged or not the one it should be; the message says what to do."""


class RawFile(NamedTuple):
    """A raw file as it was published."""

    name: str
    """File name without `.gz`."""
    size: int
    """Bytes, uncompressed."""
    sha256: str
    """Digest of the uncompressed content, so that differently compressed copies are equal."""


class DataSet(NamedTuple):
    """A data set: its raw files and the places to download them from."""

    name: str
    files: tuple[RawFile, ...]
    mirrors: tuple[str, ...]
    """Folders on the web that hold NAME.gz, tried in turn."""


class FileStatus(NamedTuple):
    """What is known of one raw file."""

    file: str
    where: Path | None
    state: str
    """`"found"`, `"missing"` or `"built in"`; after verification `"verified"` or what is wrong."""


MNIST = DataSet(
    name="mnist",
    files=(
        RawFile(
            "train-images-idx3-ubyte",
            47040016,
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        ),
        RawFile(
            "train-labels-idx1-ubyte",
            60008,
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        ),
        RawFile(
            "t10k-images-idx3-ubyte",
            7840016,
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        ),
        RawFile(
            "t10k-labels-idx1-ubyte",
            10008,
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        ),
    ),
    mirrors=(
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
        "http://yann.lecun.com/exdb/mnist/",
    ),
)
DIGITS = DataSet(name="digits", files=(), mirrors=())
"""Comes with scikit-learn."""
DATA_SETS = {"mnist": MNIST, "digits": DIGITS}

GZIP_MAGIC = b"\x1f\x8b"
IDX_UINT8_MAGIC = b"\x00\x00\x08"
GET_ANOTHER = "get another copy (a file on disk that is deleted is downloaded anew)"
SILENCE_SECONDS = 30


def dataset_names() -> list[str]:
    """Return the names of all data sets, in alphabetical order."""
    return sorted(DATA_SETS)


def status(name: str, data_dir: Path | None = None) -> list[FileStatus]:
    """Say of each file of a data set where it is, without reading or downloading it.

    Raises:
        DataError: if there is no such data set.
    """
    rows = []
    for raw in _data_set(name).files:
        where = _locate(raw, data_dir)
        rows.append(FileStatus(raw.name, where, "found" if where else "missing"))
    return rows or [_built_in(name)]


def verify(name: str, data_dir: Path | None = None) -> list[FileStatus]:
    """Read each file of a data set and say whether its content is the published one; download nothing.

    Raises:
        DataError: if there is no such data set.
    """
    rows = [_verified_status(raw, _locate(raw, data_dir)) for raw in _data_set(name).files]
    return rows or [_built_in(name)]


def fetch(name: str, data_dir: Path | None = None) -> list[Path]:
    """Find each file of a data set, download the missing ones, and return where they are, all verified.

    Raises:
        DataError: if there is no such data set, a file cannot be had, or one that was found is wrong.
    """
    paths = []
    for raw in _data_set(name).files:
        path = find_file(raw.name, data_dir)
        _verified_content(path, raw)
        paths.append(path)
    return paths


def find_file(name: str, data_dir: Path | None = None) -> Path:
    """Return where a raw file is, after downloading it if it is nowhere.

    Searched in order: `data_dir`, the folder that the environment variable PERDURE_DATA names, the user's
    cache folder; in each, the folder itself and its sub-folder `mnist`; there, NAME.gz and NAME, also in
    the old spelling with a dot (`train-images.idx3-ubyte`). A download goes to the cache folder.

    Args:
        name: of the raw file, for example `"train-images-idx3-ubyte"`.
        data_dir: folder to search first.

    Raises:
        DataError: if no data set has such a file, or it is nowhere and no mirror serves it.
    """
    data_set, raw = _registered(name)
    return _locate(raw, data_dir) or _download(data_set, raw, data_dir)


def load_idx(name: str, data_dir: Path | None = None) -> UInt8[np.ndarray, "*shape"]:
    """Return the content of a raw IDX file, verified, as a read-only array.

    A file is read once in a process, as long as it does not change.

    Raises:
        DataError: if the file cannot be found or downloaded, or is not the published one.
    """
    path = find_file(name, data_dir)
    facts = path.stat()
    return _load_idx(path, _registered(name)[1], facts.st_mtime_ns, facts.st_size)


@cache
def _load_idx(path: Path, raw: RawFile, _mtime_ns: int, _size: int) -> UInt8[np.ndarray, "*shape"]:
    return read_idx(_verified_content(path, raw), str(path))


def read_idx(content: bytes, where: str) -> UInt8[np.ndarray, "*shape"]:
    """Return the array in the content of an IDX file of unsigned bytes, read-only, of 1 to 3 dimensions.

    Args:
        content: all bytes of the file, uncompressed.
        where: what the error calls the file.

    Raises:
        DataError: if the content is damaged or is not an IDX file of unsigned bytes.
    """
    if content[:3] != IDX_UINT8_MAGIC or len(content) < 4:
        raise DataError(
            f"{where} begins with the bytes {content[:4].hex(' ') or '(none)'}, expected 00 00 08 and the "
            "number of dimensions (an IDX file of unsigned bytes); get the original file"
        )
    n_dimensions = content[3]
    header = 4 + 4 * n_dimensions
    if not 1 <= n_dimensions <= 3 or len(content) < header:
        raise DataError(
            f"{where} has {n_dimensions} dimensions and {len(content)} bytes, expected 1 to 3 dimensions and "
            f"at least {header} bytes of header; get the original file"
        )
    shape = struct.unpack(f">{n_dimensions}I", content[4:header])
    expected = math.prod(shape)
    if len(content) - header != expected or expected == 0:
        raise DataError(
            f"{where} has {len(content) - header} bytes of data, expected {expected} (at least 1) for the "
            f"shape {shape}; get the original file"
        )
    return np.frombuffer(content, dtype=np.uint8, offset=header).reshape(shape)


def _data_set(name: str) -> DataSet:
    if name not in DATA_SETS:
        raise DataError(f"there is no data set {name!r}; choose one of: {', '.join(dataset_names())}")
    return DATA_SETS[name]


def _registered(name: str) -> tuple[DataSet, RawFile]:
    known = {raw.name: (data_set, raw) for data_set in DATA_SETS.values() for raw in data_set.files}
    if name not in known:
        raise DataError(f"no data set has a file {name!r}; choose one of: {', '.join(known)}")
    return known[name]


def _built_in(name: str) -> FileStatus:
    return FileStatus(name, None, "built in")


def _cache_folder() -> Path:
    return user_cache_path("perdure") / MNIST.name


def _searched_folders(data_dir: Path | None) -> list[Path]:
    from_environment = os.environ.get("PERDURE_DATA")
    roots = [data_dir, Path(from_environment) if from_environment else None, user_cache_path("perdure")]
    return [folder for root in roots if root is not None for folder in (root, root / MNIST.name)]


def _accepted_names(raw: RawFile) -> list[str]:
    dotted = raw.name.replace("-idx", ".idx")
    return [f"{raw.name}.gz", raw.name, f"{dotted}.gz", dotted]


def _locate(raw: RawFile, data_dir: Path | None) -> Path | None:
    places = (folder / name for folder in _searched_folders(data_dir) for name in _accepted_names(raw))
    return next((place for place in places if place.is_file()), None)


def _uncompressed(content: bytes, where: str) -> bytes:
    if not content.startswith(GZIP_MAGIC):  # the name does not tell: browsers unpack and keep the `.gz`
        return content
    try:
        return gzip.decompress(content)
    except (EOFError, OSError, zlib.error) as error:
        raise DataError(f"{where} is a damaged gzip file ({error}), expected a whole one; {GET_ANOTHER}") from error


def _verified(content: bytes, raw: RawFile, where: str) -> bytes:
    content = _uncompressed(content, where)
    found = hashlib.sha256(content).hexdigest()
    if found != raw.sha256:
        raise DataError(
            f"{where} is not the published {raw.name}: its uncompressed content has {len(content)} bytes and "
            f"sha256 {found}, expected {raw.size} bytes and sha256 {raw.sha256}; {GET_ANOTHER}"
        )
    return content


def _verified_content(path: Path, raw: RawFile) -> bytes:
    return _verified(path.read_bytes(), raw, str(path))


def _verified_status(raw: RawFile, where: Path | None) -> FileStatus:
    if where is None:
        return FileStatus(raw.name, None, "missing")
    try:
        _verified_content(where, raw)
    except DataError as error:
        return FileStatus(raw.name, where, str(error))
    return FileStatus(raw.name, where, "verified")


def _download(data_set: DataSet, raw: RawFile, data_dir: Path | None) -> Path:
    target = _cache_folder() / f"{raw.name}.gz"
    reasons = []
    for mirror in data_set.mirrors:
        try:
            _download_from(mirror + target.name, target, raw)
        except (OSError, DataError) as error:  # network errors are OSErrors; the next mirror may do better
            reasons.append(f"{mirror}{target.name}: {_reason(error)}")
        else:
            return target
    raise DataError(_cannot_be_had(data_set, raw, data_dir, reasons))


def _download_from(url: str, target: Path, raw: RawFile) -> None:
    """Put the file at `url` in place, whole and verified, or leave `target` as it was."""
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    partial = Path(name)
    try:
        with os.fdopen(handle, "wb") as file, _progress(target.name) as bar:
            _downloader(bar)(url, file, None)
            file.flush()
            os.fsync(file.fileno())
        _verified(partial.read_bytes(), raw, url)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def _reason(error: Exception) -> str:
    """Return why a download failed, in a line: network errors carry a whole chain of causes."""
    return "no connection" if isinstance(error, requests.ConnectionError) else str(error)


def _cannot_be_had(data_set: DataSet, raw: RawFile, data_dir: Path | None, reasons: list[str]) -> str:
    folders = "\n".join(f"  {folder}" for folder in _searched_folders(data_dir))
    names = "\n".join(f"  {file.name}.gz (or {file.name})" for file in data_set.files)
    return (
        f"{raw.name} of {data_set.name} was not found and could not be downloaded.\n"
        f"Folders searched:\n{folders}\n"
        "Downloads tried:\n" + "\n".join(f"  {reason}" for reason in reasons) + "\n"
        f"Go online, or put these files into one of the folders:\n{names}"
    )


class _PoochBar:
    """What pooch expects of a progress bar, drawn by Rich."""

    def __init__(self, progress: Progress, task: TaskID):
        self._progress = progress
        self._task = task

    @property
    def total(self) -> float | None:
        return self._progress.tasks[self._task].total

    @total.setter
    def total(self, n_bytes: int) -> None:
        self._progress.update(self._task, total=n_bytes)

    def update(self, n_bytes: int) -> None:
        self._progress.advance(self._task, n_bytes)

    def reset(self) -> None:
        self._progress.reset(self._task)

    def close(self) -> None:
        self._progress.stop_task(self._task)


def _downloader(bar: _PoochBar) -> HTTPDownloader:
    # pooch takes any object with total, update, reset and close, though it declares a bool
    return HTTPDownloader(
        progressbar=bar,  # pyright: ignore[reportArgumentType]
        chunk_size=1 << 16,
        timeout=SILENCE_SECONDS,
    )


@contextmanager
def _progress(name: str) -> Iterator[_PoochBar]:
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        yield _PoochBar(progress, progress.add_task(name, total=None))
