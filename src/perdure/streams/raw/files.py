"""Raw data files: where they are looked for, how they are downloaded, and that they are the right ones."""

from __future__ import annotations

import gzip
import hashlib
import math
import os
import struct
import zlib
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
import requests
from jaxtyping import UInt8
from platformdirs import user_cache_path

from perdure.streams.raw.archives import pictures_sha256
from perdure.streams.raw.download import download
from perdure.streams.raw.reading import GET_ANOTHER, read_bytes
from perdure.streams.raw.registry import DATA_SETS, MAX_SIZE, DataError, DataSet, RawFile


class FileStatus(NamedTuple):
    """What is known of one raw file."""

    file: str
    where: Path | None
    state: str
    """`"found"`, `"missing"` or `"built in"`; after verification `"verified"` or what is wrong."""


GZIP_MAGIC = b"\x1f\x8b"
IDX_UINT8_MAGIC = b"\x00\x00\x08"


def dataset_names() -> list[str]:
    """Return the names of all data sets, in alphabetical order."""
    return sorted(DATA_SETS)


def status(name: str, data_dir: Path | None = None) -> list[FileStatus]:
    """Say of each file of a data set where it is, without reading or downloading it.

    Raises:
        DataError: if there is no such data set.
    """
    rows = []
    for raw in _wanted(_data_set(name), data_dir):
        where = _locate(raw, data_dir)
        rows.append(FileStatus(raw.name, where, "found" if where else "missing"))
    return rows or [_built_in(name)]


def verify(name: str, data_dir: Path | None = None) -> list[FileStatus]:
    """Read each file of a data set and say whether its content is the published one; download nothing.

    Raises:
        DataError: if there is no such data set.
    """
    rows = [_verified_status(raw, _locate(raw, data_dir)) for raw in _wanted(_data_set(name), data_dir)]
    return rows or [_built_in(name)]


def fetch(name: str, data_dir: Path | None = None) -> list[Path]:
    """Find each file of a data set, download the missing ones, and return where they are, all verified.

    Where one file suffices, it is the first that is found, or else the first of all.

    Raises:
        DataError: if there is no such data set, a file cannot be had, or one that was found is wrong.
    """
    paths = []
    for raw in _wanted(_data_set(name), data_dir):
        path = find_file(raw.name, data_dir)
        read_verified(path, raw)
        paths.append(path)
    return paths


def find_file(name: str, data_dir: Path | None = None) -> Path:
    """Return where a raw file is, after downloading it if it is nowhere.

    Searched in order: `data_dir`, the folder that the environment variable PERDURE_DATA names, the user's
    cache folder; in each, the folder itself and its sub-folder of the data set's name (`mnist`); there,
    NAME.gz and NAME, also in the old spelling with a dot (`train-images.idx3-ubyte`); archives only as NAME.
    A download goes to the cache folder.

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
    stat = path.stat()
    return _load_idx(path, raw_file(name), stat.st_mtime_ns, stat.st_size)


@cache
def _load_idx(path: Path, raw: RawFile, _mtime_ns: int, _size: int) -> UInt8[np.ndarray, "*shape"]:
    return read_idx(read_verified(path, raw), str(path))


def find_one(data_set: str, data_dir: Path | None = None) -> tuple[Path, RawFile]:
    """Return where a data set is of which one file suffices, after downloading it if none is found, and which it is.

    Raises:
        DataError: as `find_file`.
    """
    (raw,) = _wanted(_data_set(data_set), data_dir)
    return find_file(raw.name, data_dir), raw


def raw_file(name: str) -> RawFile:
    """Return what is known of the raw file of that name.

    Raises:
        DataError: if no data set has such a file.
    """
    return _registered(name)[1]


def read_verified(path: Path, raw: RawFile) -> bytes:
    """Return the content of a file as `verified`, without reading more than the published one can have.

    Raises:
        DataError: if the file is too large, damaged or another.
    """
    return verified(read_bytes(path, raw.file_limit, f"the published {raw.name}"), raw, str(path))


def verified(content: bytes, raw: RawFile, where: str) -> bytes:
    """Return the content of a file, uncompressed if its form is `"gzip"`, once it is known to be the published one.

    Args:
        content: all bytes of the file.
        raw: what it should be.
        where: what the error calls the file.

    Raises:
        DataError: if it is damaged or another.
    """
    if raw.form == "gzip":
        content = _uncompressed(content, where, raw.size)
    found = pictures_sha256(content, where) if raw.form == "pictures" else hashlib.sha256(content).hexdigest()
    if found != raw.sha256:
        what = {"gzip": "uncompressed content has", "archive": "content has", "pictures": "pictures have"}[raw.form]
        raise DataError(
            f"{where} is not the published {raw.name}: its {what} sha256 {found}, expected {raw.sha256} "
            f"({len(content)} bytes were read); {GET_ANOTHER}"
        )
    return content


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


def cache_folder(data_set: str) -> Path:
    """Return the folder for what is downloaded, or made, of a data set."""
    return user_cache_path("perdure") / data_set


def _wanted(data_set: DataSet, data_dir: Path | None) -> tuple[RawFile, ...]:
    if not data_set.one_suffices:
        return data_set.files
    return (next((raw for raw in data_set.files if _locate(raw, data_dir)), data_set.files[0]),)


def _searched_folders(data_set: DataSet, data_dir: Path | None) -> list[Path]:
    from_environment = os.environ.get("PERDURE_DATA")
    roots = [data_dir, Path(from_environment) if from_environment else None, user_cache_path("perdure")]
    return [folder for root in roots if root is not None for folder in (root, root / data_set.name)]


def _accepted_names(raw: RawFile) -> list[str]:
    if raw.form != "gzip":
        return [raw.name]
    dotted = raw.name.replace("-idx", ".idx")
    return [f"{raw.name}.gz", raw.name, f"{dotted}.gz", dotted]


def _locate(raw: RawFile, data_dir: Path | None) -> Path | None:
    folders = _searched_folders(_registered(raw.name)[0], data_dir)
    places = (folder / name for folder in folders for name in _accepted_names(raw))
    return next((place for place in places if place.is_file()), None)


def _uncompressed(content: bytes, where: str, limit: int = MAX_SIZE) -> bytes:
    if not content.startswith(GZIP_MAGIC):  # the name does not tell: browsers unpack and keep the `.gz`
        return content
    try:
        with gzip.GzipFile(fileobj=BytesIO(content)) as file:
            uncompressed = file.read(limit + 1)
    except (EOFError, OSError, zlib.error) as error:
        raise DataError(f"{where} is a damaged gzip file ({error}), expected a whole one; {GET_ANOTHER}") from error
    if len(uncompressed) > limit:
        raise DataError(
            f"{where} unpacks to more than {limit:,} bytes, the size of the published content; nothing more was read, "
            f"{GET_ANOTHER}"
        )
    return uncompressed


def _verified_status(raw: RawFile, where: Path | None) -> FileStatus:
    if where is None:
        return FileStatus(raw.name, None, "missing")
    try:
        read_verified(where, raw)
    except DataError as error:
        return FileStatus(raw.name, where, str(error))
    return FileStatus(raw.name, where, "verified")


def _download(data_set: DataSet, raw: RawFile, data_dir: Path | None) -> Path:
    target = cache_folder(data_set.name) / raw.published_name
    reasons = []
    for mirror in data_set.mirrors:
        url = mirror + target.name
        try:
            download(url, target, lambda content, where: verified(content, raw, where), raw.download_limit)
        except (OSError, DataError) as error:  # network errors are OSErrors; the next mirror may do better
            reasons.append(f"{url}: {_reason(error)}")
        else:
            return target
    raise DataError(_cannot_be_had(data_set, raw, data_dir, reasons))


def _reason(error: Exception) -> str:
    """Return why a download failed, in a line: network errors carry a whole chain of causes."""
    return "no connection" if isinstance(error, requests.ConnectionError) else str(error)


def _cannot_be_had(data_set: DataSet, raw: RawFile, data_dir: Path | None, reasons: list[str]) -> str:
    folders = "\n".join(f"  {folder}" for folder in _searched_folders(data_set, data_dir))
    names = "\n".join(
        f"  {' (or '.join(_accepted_names(file)[:2])}" + ")" * (file.form == "gzip") for file in data_set.files
    )
    which = "one of these files" if data_set.one_suffices else "these files"
    return (
        f"{raw.name} of {data_set.name} was not found and could not be downloaded.\n"
        f"Folders searched:\n{folders}\n"
        "Downloads tried:\n" + "\n".join(f"  {reason}" for reason in reasons) + "\n"
        f"Go online, or put {which} into one of the folders:\n{names}"
    )
