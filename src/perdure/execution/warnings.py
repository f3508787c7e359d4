"""Warnings that point at the code of whoever uses perdure."""

from __future__ import annotations

import sys
import warnings

from perdure.core import PerdureWarning


def warn(message: str) -> None:
    """Warn, and point at the code outside of perdure that has called it."""
    frame, level, caller = sys._getframe(), 1, 1
    while frame is not None:
        if frame.f_globals.get("__name__", "").partition(".")[0] == "perdure":
            caller = level + 1
        frame, level = frame.f_back, level + 1
    warnings.warn(message, PerdureWarning, stacklevel=caller)
