"""One file from the web, whole and checked, with a progress bar."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from pooch import HTTPDownloader
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TransferSpeedColumn

from perdure.storage.files import whole_file
from perdure.streams.raw.registry import DataError

SILENCE_SECONDS = 30


def download(url: str, target: Path, check: Callable[[bytes, str], object], limit: int) -> None:
    """Put the file at `url` in place, whole and checked, or leave `target` as it was.

    Args:
        url: of the file.
        target: where to put it; the folder is made if need be.
        check: given the content and the URL, raises if it is not the file wanted.
        limit: bytes that the file may have.

    Raises:
        DataError: if the server sends more bytes than that; the rest is not downloaded.
        OSError: if the network or the operating system refuses.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(target) as file:
        with _progress(target.name) as bar:
            _downloader(bar)(url, _Limited(file, limit, url), None)
        file.seek(0)
        check(file.read(), url)


class _Limited:
    """A file to write, of no more than a given number of bytes."""

    def __init__(self, file: BinaryIO, limit: int, url: str):
        self._file = file
        self._limit = limit
        self._url = url

    def write(self, content: bytes) -> None:
        """Write the next bytes, unless they are too many.

        Raises:
            DataError: if they are.
        """
        if self._file.tell() + len(content) > self._limit:
            raise DataError(f"sends more than {self._limit:,} bytes, the size of the published file")
        self._file.write(content)

    def flush(self) -> None:
        """Give what was written to the operating system."""
        self._file.flush()


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
