"""Loggers that write files: CSV, JSON lines, and the event files of TensorBoard."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from perdure.execution.loggers.events import RunStart
from perdure.storage.files import write_atomically


class CSVLogger:
    """A row for each value: position, event, name, value.

    A resumed run drops the rows after the position from which it resumes.
    """

    name: ClassVar[str] = "csv"

    def __init__(self, path: Path | str | None = None):
        """Write to a file; None for log.csv in the run's folder."""
        self._path = path

    def start(self, run: RunStart) -> None:
        """Write the header, or keep what was logged up to here."""
        self._file = _path(self._path, run, "log.csv")
        rows = []
        if run.position and self._file.exists():
            with self._file.open(encoding="utf-8", newline="") as file:
                rows = [it for it in csv.reader(file) if len(it) == 4 and _is_before(it[0], run.position)]
        content = io.StringIO(newline="")
        csv.writer(content).writerows([["position", "event", "name", "value"], *rows])
        write_atomically(self._file, content.getvalue().encode())

    def progress(self, position: int, values: Mapping[str, float]) -> None:
        """Append a row for each value."""
        self._append("progress", position, values)

    def evaluation(self, position: int, values: Mapping[str, float]) -> None:
        """Append a row for each value."""
        self._append("evaluation", position, values)

    def _append(self, event: str, position: int, values: Mapping[str, float]) -> None:
        with self._file.open("a", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([position, event, name, repr(value)] for name, value in values.items())


class JSONLinesLogger:
    """A line of JSON for each event: event, position, values.

    A resumed run drops the lines after the position from which it resumes.
    """

    name: ClassVar[str] = "jsonl"

    def __init__(self, path: Path | str | None = None):
        """Write to a file; None for log.jsonl in the run's folder."""
        self._path = path

    def start(self, run: RunStart) -> None:
        """Begin the file, or keep what was logged up to here."""
        self._file, self._position = _path(self._path, run, "log.jsonl"), run.position
        kept = []
        if run.position and self._file.exists():
            lines = self._file.read_text(encoding="utf-8").splitlines()
            kept = [it for it in lines if _position_of(it) <= run.position]
        write_atomically(self._file, "".join(f"{it}\n" for it in kept).encode())
        self._append("start", run.position, label=run.label, unit=run.unit, length=run.length)

    def progress(self, position: int, values: Mapping[str, float]) -> None:
        """Append a line."""
        self._append("progress", position, values=dict(values))

    def evaluation(self, position: int, values: Mapping[str, float]) -> None:
        """Append a line."""
        self._append("evaluation", position, values=dict(values))

    def checkpoint(self, position: int, path: Path) -> None:
        """Append a line."""
        self._append("checkpoint", position, path=str(path))

    def end(self, status: str) -> None:
        """Append a line."""
        self._append("end", self._position, status=status)

    def _append(self, event: str, position: int, **more: Any) -> None:
        self._position = position
        with self._file.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"event": event, "position": position, **more}, ensure_ascii=False) + "\n")


class TensorBoardLogger:
    """Event files that TensorBoard reads; needs tensorboardX, the extra `tensorboard`.

    Values that were logged after the position from which a run resumes, or before one that begins anew, are dropped by
    TensorBoard.
    """

    name: ClassVar[str] = "tensorboard"

    def __init__(self, folder: Path | str | None = None):
        """Write into a folder; None for that of the run."""
        self._folder = folder

    def start(self, run: RunStart) -> None:
        """Open the event files."""
        from tensorboardX import SummaryWriter

        folder = _path(self._folder, run, "")
        self._writer = SummaryWriter(str(folder), purge_step=run.position + 1 if run.position else 0)

    def progress(self, position: int, values: Mapping[str, float]) -> None:
        """Write scalars."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, position)

    evaluation = progress

    def end(self, status: str) -> None:
        """Close the event files."""
        self._writer.close()


def _path(given: Path | str | None, run: RunStart, name: str) -> Path:
    if given is not None:
        return Path(given)
    assert run.folder is not None
    return run.folder / name


def _is_before(position: str, limit: int) -> bool:
    return position.isdecimal() and int(position) <= limit


def _position_of(line: str) -> float:
    try:
        return float(json.loads(line)["position"])
    except (ValueError, KeyError, TypeError):  # cut off when the process was killed
        return float("inf")
