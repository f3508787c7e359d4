"""Lines of the log."""

from __future__ import annotations

import json
import sys
import time
from typing import Any


def log_line(what: dict[str, Any], error: BaseException | None = None) -> str:
    """Return a line of the log: JSON, and nothing of what examples hold; of an error only where it was raised."""
    entry = {"time": f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime())}Z"} | what
    if error is not None:
        frames, trace = [], error.__traceback__
        while trace is not None:
            code = trace.tb_frame.f_code
            frames.append(f"{code.co_filename.rpartition('/')[2]}:{trace.tb_lineno} {code.co_name}")
            trace = trace.tb_next
        entry["trace"] = frames
    return json.dumps(entry)


def to_standard_error(line: str) -> None:
    """Write a line of the log."""
    sys.stderr.write(f"{line}\n")
