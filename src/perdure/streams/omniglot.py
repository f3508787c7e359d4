"""Omniglot: 1,623 handwritten characters of 50 alphabets, each drawn by 20 people; and the benchmark made of it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Int, UInt8
from PIL import Image

from perdure.storage.files import whole_file
from perdure.streams.benchmark import Benchmark, LabelledSet
from perdure.streams.classes import ClassData, split_benchmark
from perdure.streams.raw.archives import MAX_PICTURES, zip_pictures
from perdure.streams.raw.files import cache_folder, find_file, raw_file, verified
from perdure.streams.raw.reading import read_bytes
from perdure.streams.raw.registry import DataError
from perdure.streams.split import split_of

Split = Literal["background", "evaluation"]

SPLITS: tuple[Split, ...] = ("background", "evaluation")
SIDE = 28
N_DRAWERS = 20
N_TRAIN = 18
"""Of the drawings of a character, the first 18 are for training, the others for testing."""

_NAMES_SIZE = 1 << 20
"""Bytes of what is cached besides the pixels, an upper bound."""
_MEMBER = re.compile(r"[^/]+/(?P<alphabet>[^/]+)/character\d\d/(?P<character>\d{4})_(?P<drawer>\d\d)\.png")


class Drawings(NamedTuple):
    """Drawings of characters."""

    images: UInt8[np.ndarray, "characters drawers side side"]
    """Read-only; ink is 255, paper 0."""
    alphabet: Int[np.ndarray, " characters"]
    """For each character the number of its alphabet."""
    alphabet_names: tuple[str, ...]
    """Names of the alphabets, by number."""


def omniglot(
    seed: int,
    *,
    tasks: int | None = None,
    examples_per_task: int | None = None,
    task_order: Sequence[int] | None = None,
    data_dir: Path | None = None,
    validation: bool = False,
    **split: Any,
) -> Benchmark:
    """Return Incremental Omniglot: one alphabet per task, one output for each character.

    The alphabets come in order of their names, the 30 background ones first, then the 20 evaluation ones; labels
    count the characters in this order. Drawings 1 to 18 of a character are for training, 19 and 20 for testing
    (our choice). x is uint8, (N, 28, 28), ink 255; there are as many outputs as characters in the first `tasks`
    alphabets, 1,623 in all.

    Source: Riemer et al. (2019), section 5; Lake et al. (2015).

    Args:
        seed: of the subsets, the order within a task and what `split` leaves to chance, ≥ 0.
        tasks: number of tasks, the first n, 1 to 50 alphabets; all if None.
        examples_per_task: largest number of training examples of each task; all that the alphabet has if None.
        task_order: at position i of the stream, which task to show there; in order if None.
        data_dir: folder to search first for the archives.
        validation: for choosing hyper-parameters: a quarter of each alphabet's training drawings are for testing and
            training is on the others, which reported streams show too.
        **split: fields of `perdure.streams.split.Split`: scenario, classes per task, boundaries and others.

    Raises:
        ValueError: if an argument is out of range.
        DataError: if the archives cannot be found or downloaded, or are not Omniglot's.
    """
    images, alphabet, _ = load_omniglot(data_dir=data_dir)
    train, test = (_labelled(part) for part in (images[:, :N_TRAIN], images[:, N_TRAIN:]))
    return split_benchmark(
        ClassData("omniglot", train, test, alphabet, takes_fewer=True),
        seed,
        split_of(split),
        tasks=tasks,
        examples_per_task=examples_per_task,
        task_order=task_order,
        validation=validation,
    )


def load_omniglot(side: int = SIDE, splits: Sequence[Split] = SPLITS, data_dir: Path | None = None) -> Drawings:
    """Return the drawings of the chosen splits, in order of alphabet, character and drawer.

    Drawings are resized from 105×105 by Pillow's bilinear filter, which averages over all the pixels that shrink to
    one. The result is kept in the user's cache folder, for decoding takes seconds.

    Args:
        side: pixels of height and width.
        splits: "background" (30 alphabets, 964 characters), "evaluation" (20, 659), or both.
        data_dir: folder to search first for the archives.

    Raises:
        DataError: if an archive cannot be found or downloaded, or is not Omniglot's.
    """
    parts = []
    for split in splits:
        path = find_file(f"images_{split}.zip", data_dir)
        stat = path.stat()
        parts.append(_load_split(path, side, stat.st_mtime_ns, stat.st_size))
    offsets = np.cumsum([0, *(len(part.alphabet_names) for part in parts)])
    images = parts[0].images if len(parts) == 1 else np.concatenate([part.images for part in parts])
    images.flags.writeable = False
    return Drawings(
        images,
        np.concatenate([part.alphabet + offset for part, offset in zip(parts, offsets[:-1], strict=True)]),
        tuple(name for part in parts for name in part.alphabet_names),
    )


@cache
def _load_split(path: Path, side: int, _mtime_ns: int, _size: int) -> Drawings:
    """Return the drawings of an archive, decoded if it has never been before."""
    raw = raw_file(path.name)
    content = read_bytes(path, raw.file_limit, f"the published {raw.name}")
    digest = hashlib.sha256(content)
    digest.update(f"{side} bilinear".encode())
    source = digest.digest()
    cached = cache_folder("omniglot") / f"{path.stem}-{side}.drawings"
    drawings = _read_cached(cached, source, side)
    if drawings is None:
        verified(content, raw, str(path))
        drawings = decode_drawings(content, side, str(path))
        with suppress(OSError):  # without a cache the next process decodes again
            _write_cached(cached, source, drawings)
    return drawings


def decode_drawings(content: bytes, side: int, where: str) -> Drawings:
    """Return the drawings in an archive of Omniglot, at another size.

    Args:
        content: all bytes of the zip archive, with members SPLIT/ALPHABET/characterNN/ID_DRAWER.png.
        side: pixels of height and width.
        where: what errors call the archive.

    Raises:
        DataError: if the archive is damaged or not laid out like this, or not all drawers drew all characters.
    """
    images, keys = [], []
    for name, picture in zip_pictures(content, where):
        member = _MEMBER.fullmatch(name)
        if member is None:
            raise DataError(
                f"{where} holds {name}, expected SPLIT/ALPHABET/characterNN/ID_DRAWER.png; get the original archive"
            )
        keys.append(member.groups())
        small = picture.convert("L").resize((side, side), Image.Resampling.BILINEAR)
        images.append(255 - np.asarray(small))
    characters = list(dict.fromkeys((alphabet, character) for alphabet, character, _ in keys))
    expected = [(*key, f"{drawer:02}") for key in characters for drawer in range(1, N_DRAWERS + 1)]
    if keys != expected or not keys:
        raise DataError(
            f"{where} holds {len(keys)} drawings of {len(characters)} characters, expected the drawings "
            f"01 to {N_DRAWERS} of each; get the original archive"
        )
    names = tuple(dict.fromkeys(alphabet for alphabet, _ in characters))
    return Drawings(
        np.stack(images).reshape(len(characters), N_DRAWERS, side, side),
        np.array([names.index(alphabet) for alphabet, _ in characters]),
        names,
    )


def _labelled(images: UInt8[np.ndarray, "characters drawers side side"]) -> LabelledSet:
    n_characters, n_drawers, *shape = images.shape
    return LabelledSet(images.reshape(-1, *shape), np.repeat(np.arange(n_characters, dtype=np.int32), n_drawers))


def _write_cached(path: Path, source: bytes, drawings: Drawings) -> None:
    """Write images, alphabets and names, and then a digest of them and of what they were made from."""
    content = BytesIO()
    for array in (drawings.images, drawings.alphabet, np.array(drawings.alphabet_names)):
        np.save(content, array, allow_pickle=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as file:
        file.write(content.getbuffer())
        file.write(_digest(source, content.getbuffer()))


def _read_cached(path: Path, source: bytes, side: int) -> Drawings | None:
    """Return what was written, or None unless it is whole and was made from the same source."""
    try:
        content = memoryview(read_bytes(path, MAX_PICTURES * side**2 + _NAMES_SIZE, "cached drawings"))
    except (OSError, DataError):
        return None
    body, digest = content[: -hashlib.sha256().digest_size], content[-hashlib.sha256().digest_size :]
    if _digest(source, body) != digest:
        return None
    file = BytesIO(body)
    images, alphabet, names = (np.load(file, allow_pickle=False) for _ in range(3))
    return Drawings(images, alphabet, tuple(names.tolist()))


def _digest(source: bytes, body: memoryview) -> bytes:
    digest = hashlib.sha256(source)
    digest.update(body)
    return digest.digest()
