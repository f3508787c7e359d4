"""Where the errors of a model change, as River's ADWIN finds it."""

from __future__ import annotations

import threading
from typing import Any

_HELD = 10_000
"""Errors that wait before the detector looks at them, so that it can be loaded while the first ones are made."""


class DriftMarker:
    """Looks at one error after another; without the extra `river`, it finds nothing.

    Source: Bifet & Gavaldà (2007), "Learning from time-changing data with adaptive windowing".
    """

    def __init__(self) -> None:
        """Begin before the first error."""
        self._rows: list[int] = []
        self._held: list[float] = []
        self._detector: Any = None
        self._n = 0

    def add(self, error: float) -> None:
        """Take up the error at one more row."""
        self._held.append(error)
        if len(self._held) == _HELD:
            self._look()

    @property
    def rows(self) -> tuple[int, ...]:
        """Numbers of rows, from 1, after which the errors had changed."""
        self._look()
        return tuple(self._rows)

    def _look(self) -> None:
        if self._detector is None:
            self._detector = _new_detector()
        for error in self._held:
            self._n += 1
            if self._detector is not None:
                self._detector.update(error)
                if self._detector.drift_detected:
                    self._rows.append(self._n)
        self._held.clear()


_LOADED = threading.Event()
_LOADING = threading.Lock()


def load_detector() -> None:
    """Begin to load River, which takes a second or two, in a thread of its own; later calls do nothing."""
    if _LOADING.acquire(blocking=False):  # never given up again
        threading.Thread(target=_load, daemon=True).start()


def is_loaded() -> bool:
    """Would a new marker find the detector loaded, so that nobody waits for it?"""
    return _LOADED.is_set()


def _load() -> None:
    _new_detector()
    _LOADED.set()


def _new_detector() -> Any:
    try:
        from river.drift import ADWIN  # pyright: ignore[reportMissingImports]
    except ImportError:
        return None
    return ADWIN()
