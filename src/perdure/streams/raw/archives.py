"""What is inside zip and tar archives, read in place: nothing is ever unpacked to disk."""

from __future__ import annotations

import gzip
import hashlib
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from functools import partial
from io import BytesIO, RawIOBase
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngImageFile

from perdure.streams.raw.reading import GET_ANOTHER
from perdure.streams.raw.registry import DataError
from perdure.streams.raw.zips import DAMAGE, count_entries

LARGEST_PICTURE = 1 << 16
"""Bytes of a compressed picture; more is no drawing."""
MAX_PIXELS = 1 << 16
"""Pixels of a picture; Omniglot's have 11,025."""
MAX_PICTURES = 1 << 15
"""Members of a zip archive of pictures; Omniglot's have about 20,000."""
MAX_PIXELS_OF_ALL = 1 << 28
"""Pixels of all pictures of an archive; Omniglot's have 213 millions."""
LARGEST_MEMBER = 160 << 20
"""Bytes of a member of a tar archive; CIFAR-100's largest has 155 millions."""
MAX_UNPACKED = 1 << 28
"""Bytes of everything that is in a tar archive; CIFAR-100's have 187 millions."""

# Pillow's for damage, by three names, after where it is.
_PICTURE_ERRORS = (OSError, SyntaxError, ValueError)
_PIECE = 1 << 20


def zip_pictures(content: bytes, where: str) -> Iterator[tuple[str, Image.Image]]:
    """Yield name and picture, black and white, of every PNG file in a zip archive, in alphabetical order.

    Args:
        content: all bytes of the archive.
        where: what errors call it.

    Raises:
        DataError: if the archive or a picture is damaged or too large, or there are too many pictures.
    """
    if (n_members := count_entries(BytesIO(content))) > MAX_PICTURES:
        raise DataError(f"{where} has {n_members:,} members, expected at most {MAX_PICTURES:,}; {GET_ANOTHER}")
    n_pixels = 0
    try:
        archive = zipfile.ZipFile(BytesIO(content))
        members = sorted((it for it in archive.infolist() if it.filename.endswith(".png")), key=lambda it: it.filename)
        for member in members:
            if member.file_size > LARGEST_PICTURE:
                raise DataError(
                    f"{member.filename} in {where} has {member.file_size} bytes, expected at most {LARGEST_PICTURE}; "
                    f"{GET_ANOTHER}"
                )
            picture = _black_and_white(archive.read(member), f"{member.filename} in {where}")
            n_pixels += picture.width * picture.height
            if n_pixels > MAX_PIXELS_OF_ALL:
                raise DataError(
                    f"the pictures in {where} have more than {MAX_PIXELS_OF_ALL:,} pixels in all, expected fewer; "
                    f"{GET_ANOTHER}"
                )
            yield member.filename, picture
    except DataError:
        raise
    except DAMAGE as error:
        raise DataError(f"{where} is a damaged zip archive ({error}), expected a whole one; {GET_ANOTHER}") from error


def pictures_sha256(content: bytes, where: str) -> str:
    """Return the SHA-256 of names, sizes and pixels of the PNG files in a zip archive, in hexadecimal.

    It depends neither on how the archive is packed nor on how the pictures are compressed.

    Raises:
        DataError: if the archive or a picture is damaged.
    """
    digest = hashlib.sha256()
    for name, picture in zip_pictures(content, where):
        digest.update(f"{name} {picture.width}x{picture.height}\n".encode())
        digest.update(picture.tobytes())
    return digest.hexdigest()


def tar_members(content: bytes, names: Sequence[str], where: str) -> list[bytes]:
    """Return the content of the files of exactly these names in a tar archive compressed with gzip.

    Args:
        content: all bytes of the archive.
        names: of the files wanted; others are passed over.
        where: what errors call the archive.

    Raises:
        DataError: if the archive is damaged or too large, or a file is not there or too large.
    """
    found: dict[str, bytes] = {}
    try:
        # As a stream: each byte is unpacked once, and counted.
        unpacked = _Counted(gzip.GzipFile(fileobj=BytesIO(content)), where)
        with tarfile.open(fileobj=unpacked, mode="r|") as archive:
            for member in archive:
                if member.name in names and member.isreg() and not member.issparse():
                    found[member.name] = _tar_member(archive, member, where)
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise DataError(
            f"{where} is a damaged tar.gz archive ({error}), expected a whole one; {GET_ANOTHER}"
        ) from error
    missing = [name for name in names if name not in found]
    if missing:
        raise DataError(
            f"{where} holds no file {', '.join(missing)}, expected all of {', '.join(names)}; {GET_ANOTHER}"
        )
    return [found[name] for name in names]


def _black_and_white(content: bytes, where: str) -> Image.Image:
    try:
        # Not by Image.open, which warns of large pictures; these are refused.
        with PngImageFile(BytesIO(content)) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                raise DataError(
                    f"{where} has {picture.width}×{picture.height} pixels, expected at most {MAX_PIXELS:,}; "
                    f"{GET_ANOTHER}"
                )
            return picture.convert("1", dither=Image.Dither.NONE)
    except _PICTURE_ERRORS as error:
        raise DataError(f"{where} is a damaged picture ({error}), expected a whole PNG file; {GET_ANOTHER}") from error


class _Counted(RawIOBase):
    """An unpacked file that is read in order and refuses to be longer than `MAX_UNPACKED`."""

    def __init__(self, file: gzip.GzipFile, where: str):
        super().__init__()
        self._file = file
        self._where = where
        self._n_read = 0

    def readinto(self, buffer: Any, /) -> int:
        """Fill the buffer with the next bytes, less of it at the end, and return how many there were."""
        n_read = self._file.readinto(buffer)
        self._n_read += n_read
        if self._n_read > MAX_UNPACKED:
            raise DataError(f"{self._where} unpacks to more than {MAX_UNPACKED:,} bytes, expected fewer; {GET_ANOTHER}")
        return n_read


def _tar_member(archive: tarfile.TarFile, member: tarfile.TarInfo, where: str) -> bytes:
    file = archive.extractfile(member)
    if file is None or member.size > LARGEST_MEMBER:
        raise DataError(
            f"{member.name} in {where} has {member.size} bytes, expected at most {LARGEST_MEMBER}; {GET_ANOTHER}"
        )
    return b"".join(iter(partial(file.read, _PIECE), b""))  # read at once it would be held three times
