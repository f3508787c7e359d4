"""Where the errors of a model change, as River's ADWIN finds it."""

from __future__ import annotations

from typing import Any


class DriftMarker:
    """Looks at one error after another; without the extra `river`, it finds nothing.

    Source: Bifet & Gavaldà (2007), "Learning from time-changing data with adaptive windowing".
    """

    def __init__(self) -> None:
        """Begin before the first error."""
        self.rows: list[int] = []
        """Numbers of rows, from 1, after which the errors had changed."""
        self._detector = _new_detector()
        self._n = 0

    def add(self, error: float) -> None:
        """Take up the error at one more row."""
        self._n += 1
        if self._detector is not None:
            self._detector.update(error)
            if self._detector.drift_detected:
                self.rows.append(self._n)


def _new_detector() -> Any:
    try:
        from river.drift import ADWIN  # pyright: ignore[reportMissingImports]
    except ImportError:
        return None
    return ADWIN()
