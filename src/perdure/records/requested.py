"""Runs that are done part by part, and of which more may be requested later: request.json, and when they are finished.

What decides the figure of a part is in config.json; request.json tells which parts were requested last, and whatever
else resuming them takes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from perdure.records.errors import ResultsError, damaged
from perdure.records.folder import SUMMARY, RunFolder, read_config
from perdure.storage.files import write_json
from perdure.storage.reading import ContentError, entry, read_json

REQUEST = "request.json"
DEFAULTS = "defaults"
"""Key of the hyper-parameters that a run was not given, and that were not chosen for its stream."""


def note_request(folder: RunFolder, request: Mapping[str, Any]) -> None:
    """Write request.json; a finished run of which something else is requested is unfinished again.

    Raises:
        ResultsError: if the request that is there is damaged.
        StorageError: if it cannot be written.
    """
    request = json.loads(json.dumps(request, allow_nan=False))
    path = folder.path / REQUEST
    if path.exists() and read_request(folder.path) == request:
        return
    (folder.path / SUMMARY).unlink(missing_ok=True)
    write_json(path, request)


def read_request(folder: Path) -> dict[str, Any]:
    """Return what was requested last.

    Raises:
        ResultsError: if there is no request, or it is damaged.
    """
    try:
        return read_json(folder / REQUEST)
    except ContentError as cause:
        raise damaged(cause) from cause


def read_config_of(kind: str, folder: Path) -> dict[str, Any]:
    """Return the configuration of a run of a kind.

    Raises:
        ResultsError: if the folder holds none, or its config.json is damaged.
    """
    config = read_config(folder)
    if config["kind"] != kind:
        raise ResultsError(f"{folder} holds a run of the kind {config['kind']}, expected {kind}")
    return config


def write_finished(folder: RunFolder, content: Mapping[str, Any]) -> None:
    """Write summary.json, which marks the run as finished.

    Raises:
        StorageError: if it cannot be written.
    """
    write_json(folder.path / SUMMARY, {"status": "finished", **content})


def is_marked_finished(folder: Path) -> bool:
    """Tell whether summary.json is there.

    Raises:
        ResultsError: if it is damaged.
    """
    path = folder / SUMMARY
    if not path.exists():
        return False
    try:
        entry(read_json(path), "status", str, path)
    except ContentError as cause:
        raise damaged(cause) from cause
    return True
