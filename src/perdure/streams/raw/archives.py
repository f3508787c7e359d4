"""What is inside zip and tar archives, read in place: nothing is ever unpacked to disk."""

from __future__ import annotations

import hashlib
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from io import BytesIO

from PIL import Image, UnidentifiedImageError

from perdure.streams.raw.registry import DataError

LARGEST_PICTURE = 1 << 16
"""Bytes of a compressed picture; more is no drawing."""
LARGEST_MEMBER = 1 << 28
"""Bytes of a member of a tar archive; more is no file of a data set's."""
GET_ANOTHER = "get another copy (a file on disk that is deleted is downloaded anew)"

# zipfile raises RuntimeError for a password and, as NotImplementedError, for a compression that it does not know; the
# others for damage: in the directory, in a compressed member, at the end, and as a place that cannot be sought.
_ZIP_ERRORS = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, OSError)
# Pillow's: no picture at all, damage (by three names, after where it is), and far more pixels than bytes.
_PICTURE_ERRORS = (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError)


def zip_pictures(content: bytes, where: str) -> Iterator[tuple[str, Image.Image]]:
    """Yield name and picture, black and white, of every PNG file in a zip archive, in alphabetical order.

    Args:
        content: all bytes of the archive.
        where: what errors call it.

    Raises:
        DataError: if the archive or a picture is damaged.
    """
    try:
        archive = zipfile.ZipFile(BytesIO(content))
        members = sorted((it for it in archive.infolist() if it.filename.endswith(".png")), key=lambda it: it.filename)
        for member in members:
            if member.file_size > LARGEST_PICTURE:
                raise DataError(
                    f"{member.filename} in {where} has {member.file_size} bytes, expected at most {LARGEST_PICTURE}; "
                    f"{GET_ANOTHER}"
                )
            yield member.filename, _black_and_white(archive.read(member), f"{member.filename} in {where}")
    except DataError:
        raise
    except _ZIP_ERRORS as error:
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
        DataError: if the archive is damaged, or a file is not there or too large.
    """
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=BytesIO(content), mode="r:gz") as archive:
            for member in archive:
                if member.name in names and member.isreg():
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
        with Image.open(BytesIO(content), formats=["PNG"]) as picture:
            return picture.convert("1", dither=Image.Dither.NONE)
    except _PICTURE_ERRORS as error:
        raise DataError(f"{where} is a damaged picture ({error}), expected a whole PNG file; {GET_ANOTHER}") from error


def _tar_member(archive: tarfile.TarFile, member: tarfile.TarInfo, where: str) -> bytes:
    file = archive.extractfile(member)
    if file is None or member.size > LARGEST_MEMBER:
        raise DataError(
            f"{member.name} in {where} has {member.size} bytes, expected at most {LARGEST_MEMBER}; {GET_ANOTHER}"
        )
    return file.read()
