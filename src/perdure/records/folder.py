"""The folder of a run, alike for every kind of run, and who owns it.

config.json        kind, version of the format, and all that decides the figures; written first
environment.json   versions, machine and checksums of the data
log.txt            what happened when
checkpoints/       where the run can resume from
summary.json       what came of it; written last, so a folder without it is an unfinished run

What else a kind of run writes is told by its module in `perdure.records`.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from perdure._version import __version__
from perdure.machine.cores import usable_cpus
from perdure.records.errors import REPAIR, ResultsError, damaged
from perdure.storage.checkpoints import checkpoint_files
from perdure.storage.files import append_line, make_folder, remove_partial_files, write_json
from perdure.storage.lock import FolderLock
from perdure.storage.reading import ContentError, checked, entry, read_json

FORMAT = 2
"""Version of the layout; a record of another format is refused, not guessed at."""
KINDS = (
    "learner",
    "tuning",
    "reproduction",
    "representation",
    "evaluation",
    "comparison",
    "agent",
    "stream",
    "embeddings",
    "methods",
)
"""Of `perdure run`, `tune`, `reproduce`, `features train`, `features evaluate`, `features learners`, `rl train`,
`stream`, `features compare` and `compare`."""
CONFIG = "config.json"
SUMMARY = "summary.json"
CHECKPOINTS = "checkpoints"

_ENVIRONMENT = "environment.json"
OLD_CONFIGS = ("agent.json", "training.json", "search.json", "evaluation.json", "learners.json")
"""What folders of perdure 0.1 hold in place of config.json."""
_LIBRARIES = ("jax", "jaxlib", "numpy", "equinox")


@dataclass(frozen=True)
class RunFolder:
    """A run's folder, owned by this process."""

    path: Path
    config: Mapping[str, Any]
    lock: FolderLock

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints."""
        return self.path / CHECKPOINTS

    @property
    def finished(self) -> bool:
        """Has the run written its summary?"""
        return (self.path / SUMMARY).exists()

    @property
    def has_checkpoint(self) -> bool:
        """Is there a checkpoint to resume from?"""
        return bool(checkpoint_files(self.checkpoints))

    def is_there(self) -> bool:
        """Tell whether the folder has not been deleted, moved or recreated meanwhile."""
        return self.lock.holds and (self.path / CONFIG).exists()

    def log(self, line: str) -> None:
        """Append one line to log.txt, after the time in UTC to the second.

        Raises:
            StorageError: if it cannot be written.
        """
        append_log(self.path, line)

    def begin(self, label: str, checksums: Mapping[str, str]) -> None:
        """Write environment.json and the log's first line, or check that the data are still those of the beginning.

        Args:
            label: the run in a few words.
            checksums: of each set of data, by name.

        Raises:
            ResultsError: if the run has begun on other data.
            StorageError: if something cannot be written.
        """
        path = self.path / _ENVIRONMENT
        if path.exists():
            _check_data(path, checksums)
            return
        write_json(path, _environment(checksums))
        self.log(f"started: {label}")


@contextmanager
def own_folder(path: Path, config: Mapping[str, Any]) -> Iterator[RunFolder]:
    """Make `path` the home of the run `config`, or check that it already is, and own it while a block runs.

    Nothing is written before it is known that the folder holds no other run. What killed processes have left
    half-written is removed.

    Raises:
        ResultsError: if the folder holds a run of another configuration; the message lists what differs.
        FolderInUseError: if another process owns it.
        StorageError: if the folder cannot be made or written.
    """
    config = json.loads(json.dumps(config, allow_nan=False))
    check_folder(path, config)
    make_folder(path)
    with FolderLock(path) as lock:
        remove_partial_files(path)
        has_begun = check_folder(path, config)
        make_folder(path / CHECKPOINTS)
        if not has_begun:
            write_json(path / CONFIG, config)
        yield RunFolder(path, config, lock)


def check_folder(path: Path, config: Mapping[str, Any]) -> bool:
    """Tell whether a folder holds the run `config`; False if it holds none.

    Raises:
        ResultsError: if it holds another run, or a damaged record.
    """
    if not has_config(path):
        if old := [name for name in OLD_CONFIGS if (path / name).exists()]:
            raise ResultsError(f"{path} holds {old[0]} of perdure 0.1; give this run another folder with --out")
        return False
    refuse_another(path, read_config(path), json.loads(json.dumps(config)))
    return True


def is_finished(path: Path, config: Mapping[str, Any]) -> bool:
    """Tell whether a folder holds the run `config`, finished.

    Raises:
        ResultsError: as `check_folder`.
    """
    return check_folder(path, config) and (path / SUMMARY).exists()


def has_config(path: Path) -> bool:
    """Tell whether a folder holds config.json, be it a link that leads nowhere: its run is damaged, not absent."""
    return os.path.lexists(path / CONFIG)


def refuse_another(path: Path, config_there: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    """Check that a folder's configuration is the one requested.

    Raises:
        ResultsError: if they differ; the message lists what.
    """
    there, wanted = flatten(config_there), flatten(config)
    keys = [key for key in there.keys() | wanted.keys() if (there.get(key) or wanted.get(key)) != {}]
    differing = sorted(key for key in keys if there.get(key) != wanted.get(key))
    if not differing:
        return
    lines = [f"  {key}: {there.get(key)} there, {wanted.get(key)} requested" for key in differing]
    if all(key.rpartition(".")[2] == "source" for key in differing):
        what = "the run there was made by other code of the same name: its source has changed since"
    else:
        what = "it holds a run of another configuration"
    raise ResultsError(
        f"{path} cannot be used, {what}:\n"
        + "\n".join(lines)
        + "\nGive this run another folder (--out), or delete that one"
    )


def read_config(path: Path) -> dict[str, Any]:
    """Return the configuration of the run in a folder.

    Raises:
        ResultsError: if the folder holds no run, or its config.json is damaged or of another format.
    """
    file = path / CONFIG
    if not has_config(path):
        why = f"holds no {CONFIG}, so no run" if path.exists() else "does not exist"
        raise ResultsError(f"{path} {why}; give the folder of a run")
    try:
        config = read_json(file)
        version = config.get("format")
        if version != FORMAT:
            raise ResultsError(
                f"{file} has format {version!r}, expected {FORMAT}; read it with the version of perdure that wrote it"
            )
        if entry(config, "kind", str, file) not in KINDS:
            raise ContentError(f"{file}, 'kind' is {config['kind']!r}, expected one of {', '.join(KINDS)}")
    except ContentError as cause:
        raise damaged(cause) from cause
    return config


def read_environment(path: Path) -> dict[str, Any] | None:
    """Return what environment.json of a folder tells, None if it is not there.

    Raises:
        ResultsError: if it is damaged.
    """
    file = path / _ENVIRONMENT
    if not file.exists():
        return None
    try:
        return read_json(file)
    except ContentError as cause:
        raise damaged(cause) from cause


def seeds_in(config: Mapping[str, Any], where: object) -> tuple[int, ...]:
    """Return the seeds of a configuration.

    Raises:
        ContentError: if they are not different whole numbers, at least one.
    """
    seeds = entry(config, "seeds", list, where)
    if not seeds:
        raise ContentError(f"{where}, 'seeds' is an empty list, expected at least one seed")
    known = set()
    for seed in seeds:
        if checked(seed, int, f"{where}, 'seeds'") in known:
            raise ContentError(f"{where}, 'seeds' has {seed} twice, expected different seeds")
        known.add(seed)
    return tuple(seeds)


def config_digest(config: Mapping[str, Any]) -> str:
    """Return 8 hexadecimal digits that name a configuration, whatever the order of its keys.

    They begin the SHA-256 of the canonical JSON (sorted keys, no spaces, ASCII).
    """
    canonical = json.dumps(config, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:8]


def append_log(path: Path, line: str) -> None:
    """Append one line to log.txt of a folder, after the time in UTC to the second.

    Raises:
        StorageError: if it cannot be written.
    """
    now = datetime.now(UTC).isoformat(timespec="seconds")
    append_line(path / "log.txt", f"{now} {line}")


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the leaves of nested mappings, empty ones among them, by dotted path."""
    leaves: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict) and value:
            leaves |= flatten(value, f"{prefix}{key}.")
        else:
            leaves[prefix + key] = value
    return leaves


def _environment(checksums: Mapping[str, str]) -> dict[str, Any]:
    """Return versions, platform, processor and device, and the checksums given."""
    import jax

    versions = {"python": platform.python_version(), "perdure": __version__}
    return {
        "versions": versions | {library: metadata.version(library) for library in _LIBRARIES},
        "platform": platform.platform(),
        "cpu_count": os.cpu_count(),
        "usable_cpus": usable_cpus(),
        "device": str(jax.devices()[0].device_kind),
        "data_checksums": dict(checksums),
    }


def _check_data(path: Path, checksums: Mapping[str, str]) -> None:
    try:
        began_with = entry(read_json(path), "data_checksums", dict, path)
    except ContentError as cause:
        raise damaged(cause) from cause
    if began_with != dict(checksums):
        raise ResultsError(
            f"{path.parent} was begun on other data: {began_with} there, {dict(checksums)} now; "
            f"resume with the data of its beginning, or give this run another folder. {REPAIR.capitalize()}"
        )
