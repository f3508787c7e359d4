"""Methods side by side on one reading of a stream of rows: each row is answered, then learned."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np

from perdure.execution.progress import ProgressUpdate, Watch, job_progress
from perdure.machine.signals import InterruptedRunError, StopRequests
from perdure.online.columns import Table
from perdure.online.drift import load_detector
from perdure.online.folder import JOURNAL
from perdure.online.history import pieces
from perdure.online.journal import Journal
from perdure.online.labels import LabelColumn
from perdure.online.prequential import Meter
from perdure.online.rows import Rows
from perdure.online.settings import ModelSettings
from perdure.records.folder import FORMAT, SUMMARY, RunFolder, config_digest, own_folder
from perdure.records.stream import KIND, MethodResult, StreamRecord, write_results
from perdure.storage.reading import ContentError, open_file, shortened
from perdure.streams.raw.tables import STANDARD_INPUT, read_pieces, without

_HASHED = 1 << 20
"""Bytes read at a time."""
_PARTS = 1_000
"""Steps of the progress bar."""
Piece = tuple[Rows, Any, float | None]
"""Inputs, targets, and the part of the stream that has been read with them; None if it is not known."""


@dataclass(frozen=True)
class StreamSpec:
    """Methods, and what they are to learn."""

    source: str
    """A file, "-" for standard input, or the folder of a model, whose history is learned again."""
    label: str
    """Column of the classes, or of the numbers to learn; of no matter for a model."""
    methods: tuple[str, ...]
    """Names that `perdure.online.methods` knows."""
    regression: bool = False
    memory_size: int = 2_000
    memory_rule: str = "reservoir"
    hidden_sizes: tuple[int, ...] = (64, 64)
    delay: int = 0
    """Rows answered between a row's answer and its target."""
    window: int = 500
    """Rows of the windowed curve."""
    seed: int = 0

    @property
    def name(self) -> str:
        """Name of the file."""
        return "standard input" if self.source == STANDARD_INPUT else Path(self.source).name

    @property
    def config(self) -> dict[str, Any]:
        """All that decides the figures, as config.json holds it."""
        settings = {name: value for name, value in asdict(self).items() if name != "methods"}
        settings["hidden_sizes"] = list(self.hidden_sizes)
        methods = {method: {"name": method} for method in self.methods}
        return {"format": FORMAT, "kind": KIND, "name": self.name, **settings, "methods": methods}

    @classmethod
    def of_config(cls, config: Mapping[str, Any]) -> StreamSpec:
        """Return what `config` described."""
        settings: dict[str, Any] = {name: config[name] for name in cls.__dataclass_fields__}
        settings["methods"] = tuple(config["methods"])
        settings["hidden_sizes"] = tuple(config["hidden_sizes"])
        return cls(**settings)

    def default_folder(self, root: Path = Path("runs")) -> Path:
        """Return where the run goes unless told otherwise."""
        if self.source == STANDARD_INPUT:  # never twice the same
            return root / f"stream-{datetime.now(UTC):%Y%m%d-%H%M%S}"
        digest = config_digest({**self.config, "data": _checksums(self)})  # other rows are another run
        return root / f"stream-{Path(self.name).stem.replace(' ', '-')}-{digest}"


class _Entry:
    """A method at work."""

    def __init__(self, method: str, spec: StreamSpec):
        settings = ModelSettings(
            method, spec.regression, spec.memory_size, spec.memory_rule, spec.hidden_sizes, seed=spec.seed
        )
        self.method = method
        self.seconds = 0.0
        self.meter = Meter(settings.new_model(), window=spec.window, delay=spec.delay)

    def learn(self, rows: Rows, labels: Any) -> None:
        began = time.perf_counter()
        self.meter.learn(rows, labels)
        self.seconds += time.perf_counter() - began

    def result(self) -> MethodResult:
        began = time.perf_counter()
        self.meter.finish()  # waits for the rows that are still being learned
        self.seconds += time.perf_counter() - began
        found = self.meter.result()
        return MethodResult(
            self.method,
            found.metrics,
            {str(label): value for label, value in found.recall.items()},
            found.drifts,
            self.seconds,
            np.asarray(found.curve.rows, np.int64),
            np.asarray(found.curve.values, np.float64),
        )

    def words(self) -> str:
        scores = self.meter.scores
        metric, value = next(iter(scores.metrics.items()))
        if math.isnan(value):
            return ""
        return f"{self.method} {100 * value:.1f} %" if metric == "accuracy" else f"{self.method} {metric} {value:.4g}"


def run_stream(spec: StreamSpec, folder: Path, *, progress: bool | Watch = True) -> StreamRecord:
    """Let methods answer and learn a stream, and write the record; one that is finished there is read.

    Args:
        spec: methods and stream.
        folder: of the record.
        progress: show a progress bar; or a function to which progress is reported.

    Raises:
        ContentError: if the file cannot be read, or has no such column.
        RowError: naming the row that cannot be learned.
        ValueError: if a method cannot learn that; nothing has been written.
        ResultsError: if the folder holds another run.
        InterruptedRunError: after a request to stop; nothing is kept then.
    """
    entries = [_Entry(method, spec) for method in spec.methods]  # raises before there is a record of what cannot run
    with own_folder(folder, spec.config) as home:
        home.begin(f"{', '.join(spec.methods)} on {spec.name}", _checksums(spec))
        if not (folder / SUMMARY).exists():
            results, n_rows = _measure(spec, entries, home, progress)
            write_results(folder, results, n_rows)
            home.log(f"finished: {n_rows:,} rows")
    return StreamRecord.load(folder)


def resume_stream(folder: Path, *, progress: bool | Watch = True) -> StreamRecord:
    """Do the run of an unfinished record again, from its first row.

    Raises:
        ContentError: if it was read from standard input, which cannot be read again.
    """
    spec = StreamSpec.of_config(StreamRecord.load(folder).config)
    if spec.source == STANDARD_INPUT:
        raise ContentError(f"{folder} was read from standard input; run perdure stream again with the same input")
    return run_stream(spec, folder, progress=progress)


def _measure(
    spec: StreamSpec, entries: list[_Entry], home: RunFolder, progress: bool | Watch
) -> tuple[list[MethodResult], int]:
    label = f"{', '.join(spec.methods)} on {spec.name}, before each row is learned"
    total = None if spec.source == STANDARD_INPUT else _PARTS
    began, n_rows = time.perf_counter(), 0
    with (
        StopRequests() as stop,
        ThreadPoolExecutor(len(entries)) as pool,
        job_progress(label, 0, total, "rows", show=progress) as report,
    ):
        for rows, labels, share in _read_ahead(_stream_of(spec)):
            list(pool.map(lambda entry, rows=rows, labels=labels: entry.learn(rows, labels), entries))
            if not n_rows:
                load_detector()
            n_rows += rows.n
            speed = n_rows / (time.perf_counter() - began)
            done = int(_PARTS * (share or 0))
            report(ProgressUpdate(done, _PARTS, speed, ", ".join(filter(None, (it.words() for it in entries)))))
            if stop.received is not None:
                home.log(f"stopped after {n_rows:,} rows")
                raise InterruptedRunError(
                    f"stopped after {n_rows:,} rows; nothing is kept of them: give the same command again to start "
                    "from the first row",
                    stop.received,
                )
    if not n_rows:
        raise ContentError(f"{spec.name} has no rows, expected at least one")
    return [it.result() for it in entries], n_rows


def _read_ahead(pieces: Iterator[Piece]) -> Iterator[Piece]:
    """Yield pieces, and read the next one meanwhile."""
    with ThreadPoolExecutor(1) as reader:
        coming = reader.submit(next, pieces, None)
        while (piece := coming.result()) is not None:
            coming = reader.submit(next, pieces, None)
            yield piece


def _stream_of(spec: StreamSpec) -> Iterator[Piece]:
    """Yield the stream piece by piece."""
    if Path(spec.source).is_dir():
        with closing(Journal(Path(spec.source) / JOURNAL, writable=False)) as journal:
            end = journal.last_position
            n_rows = 0
            for rows, targets in pieces(journal, 0, end):
                n_rows += rows.n
                yield rows, targets, n_rows / end
        return
    found = LabelColumn(spec.label, "add --regression")
    for piece in read_pieces(spec.source, classes=None if spec.regression else spec.label):
        columns, (labels,) = without(piece, [spec.label], spec.name)
        if not spec.regression:
            found.check(labels)
        yield Rows(Table(columns, piece.n_rows, piece.first_row)), labels, piece.share
    found.warn()


def _checksums(spec: StreamSpec) -> dict[str, str]:
    """Return what tells the stream from others: the SHA-256 of the file, or what a journal holds."""
    if spec.source == STANDARD_INPUT:
        return {}
    if Path(spec.source).is_dir():
        with closing(Journal(Path(spec.source) / JOURNAL, writable=False)) as journal:
            return {"journal": f"{journal.n_examples} examples up to {journal.last_position}"}
    digest = hashlib.sha256()
    try:
        with open_file(Path(spec.source)) as file:
            while content := file.read(_HASHED):
                digest.update(content)
    except OSError as cause:
        raise ContentError(f"{spec.source} cannot be read: {cause.strerror or cause}") from cause
    return {spec.name: digest.hexdigest()}


def methods_given(text: str, known: Sequence[str]) -> tuple[str, ...]:
    """Return the methods in "auto,er".

    Raises:
        ValueError: naming one that is unknown or there twice.
    """
    methods = tuple(it.strip() for it in text.split(",") if it.strip())
    expected = f"expected different ones of {', '.join(known)}, separated by commas"
    for name in methods:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise ValueError(f"methods has {shortened(repr(name))}, {expected}{hint}")
    if not methods or len(set(methods)) < len(methods):
        raise ValueError(f"methods are {text!r}, {expected}")
    return methods
