"""How much the server takes of anything."""

from __future__ import annotations

from dataclasses import dataclass, fields

MAX_ROWS = 100_000
"""Rows of a request that may be allowed: a list is not read beyond."""


@dataclass(frozen=True)
class Limits:
    """What is refused beyond, with the status that says so.

    Raises:
        ValueError: naming the one that is not above 0, or above what it may be.
    """

    body_bytes: int = 8_000_000
    """Bytes of a request's body, but for NDJSON, which has no end (413)."""
    line_bytes: int = 1_000_000
    """Bytes of a line of NDJSON (413)."""
    rows: int = 10_000
    """Rows of a request, at most `MAX_ROWS` (413)."""
    columns: int = 1_000
    """Columns of a row (422)."""
    text: int = 10_000
    """Characters of a text in a row, and of a class (422)."""
    name: int = 200
    """Characters of a column's name, and of an id (422)."""
    inputs: int = 4_096
    """Inputs that a model may come to have: columns of numbers, flags for missing values, categories (422)."""
    classes: int = 1_000
    """Classes that a model may come to have (422)."""
    models: int = 100
    """Models of a folder (409)."""
    queue: int = 512
    """Requests that wait for a model's writer (429)."""
    queue_rows: int = 20_000
    """Rows of these requests (429)."""
    requests_per_second: float = 5_000.0
    """Requests a second of one token, or of one address where there are no tokens (429)."""
    refusals_per_second: float = 10.0
    """Requests a second of one address with a wrong token or none (429)."""
    connections: int = 512
    """Connections at a time (503)."""
    subscribers: int = 64
    """Listeners to the events of all models (429)."""
    jobs: int = 8
    """Backtests that wait or run, of all models (429)."""
    replayed: int = 50_000
    """Examples that are learned again to answer as the model did at a position (400)."""
    waiting_rows: int = 100_000
    """Predictions of a model that wait for a label; the oldest give way."""
    waiting_seconds: float = 7 * 86_400.0
    """How long a prediction waits for its label."""
    body_seconds: float = 30.0
    """Seconds between two pieces of a body (408)."""
    answer_seconds: float = 60.0
    """Seconds until a request is answered (503)."""
    stop_seconds: float = 20.0
    """Seconds that requests have to come to their end when the server is to stop."""

    def __post_init__(self):
        for it in fields(self):
            value = getattr(self, it.name)
            if not value > 0:
                raise ValueError(f"{it.name} is {value}, expected a number above 0")
        if self.rows > MAX_ROWS:
            raise ValueError(f"rows is {self.rows}, expected at most {MAX_ROWS}: send more as NDJSON, which has no end")


MAX_GROUP_ROWS = 1_024
"""Rows that a writer commits at once."""
STREAM_BATCH_ROWS = 256
"""Rows of NDJSON that are learned all or none."""
