"""The record of a study that is measured, laid out as `perdure.records.folder` tells.

request.json            the tables that were last requested, with the folder of each of their runs
results.md, .html       the page of the tables
LEARNER-BENCHMARK-…/    the runs, each a folder like that of any run of a learner
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from perdure.records.errors import damaged
from perdure.records.folder import CONFIG, SUMMARY
from perdure.records.learner import RunRecord
from perdure.records.requested import REQUEST, is_marked_finished, read_config_of, read_request
from perdure.storage.reading import ContentError, checked, entry, shortened

KIND = "reproduction"
_MAX_NAME_BYTES = 255
"""Longest name of a file that file systems take."""


@dataclass(frozen=True)
class ReproductionRequest:
    """What was last requested of a study."""

    tables: Mapping[str, Sequence[str]]
    """Names of the runs' folders of each table, in the order of its cells."""
    timing: Sequence[str]
    """The same of the runs of one seed alone."""

    def to_json(self) -> dict[str, Any]:
        """Return it as request.json has it."""
        return {"tables": {name: list(runs) for name, runs in self.tables.items()}, "timing": list(self.timing)}

    @property
    def runs(self) -> list[str]:
        """Names of all runs' folders, each once."""
        return list(dict.fromkeys([*(run for runs in self.tables.values() for run in runs), *self.timing]))


@dataclass(frozen=True)
class ReproductionRecord:
    """A study as its folder tells it."""

    folder: Path
    config: Mapping[str, Any]
    request: ReproductionRequest
    marked_finished: bool
    """Has it written its summary? A run may have been deleted since."""

    @classmethod
    def load(cls, folder: Path) -> ReproductionRecord:
        """Read the record in `folder`; its runs are read on first use.

        Raises:
            ResultsError: if the folder holds no study, or a file of it is missing, damaged or of another format.
        """
        config, where = read_config_of(KIND, folder), folder / CONFIG
        try:
            entry(config, "study", str, where)
            entry(config, "quick", bool, where)
            if "seeds" not in config or config["seeds"] is not None:
                entry(config, "seeds", int, where)
            request = _request(read_request(folder), folder / REQUEST)
        except ContentError as cause:
            raise damaged(cause) from cause
        return cls(folder, config, request, is_marked_finished(folder))

    @property
    def finished(self) -> bool:
        """Is every run finished that was requested last?"""
        return self.marked_finished and self.n_finished == len(self.request.runs)

    @property
    def n_finished(self) -> int:
        """Runs that have written their summary."""
        return sum((self.folder / run / SUMMARY).exists() for run in self.request.runs)

    @property
    def title(self) -> str:
        """The study in a few words: "mer, quick pass"."""
        return f"{self.config['study']}, quick pass" if self.config["quick"] else self.config["study"]

    @property
    def command(self) -> str:
        """What measures it again from the command line."""
        options = ["--table", ",".join(self.request.tables), "--out", str(self.folder)]
        if self.config["seeds"] is not None:
            options += ["--seeds", str(self.config["seeds"])]
        quick = ["--quick"] if self.config["quick"] else []
        return shlex.join(["perdure", "reproduce", self.config["study"], *options, *quick])

    @cached_property
    def tables(self) -> dict[str, list[RunRecord]]:
        """Finished runs of each table, in the order of its cells.

        Raises:
            ResultsError: if a run's record is damaged.
        """
        return {name: self._finished(runs) for name, runs in self.request.tables.items()}

    @cached_property
    def timing(self) -> list[RunRecord]:
        """Finished runs of one seed alone.

        Raises:
            ResultsError: if a run's record is damaged.
        """
        return self._finished(self.request.timing)

    def _finished(self, runs: Sequence[str]) -> list[RunRecord]:
        return [RunRecord.load(self.folder / run) for run in runs if (self.folder / run / SUMMARY).exists()]


def _request(content: Mapping[str, Any], where: Path) -> ReproductionRequest:
    tables = entry(content, "tables", dict, where)
    return ReproductionRequest(
        {name: _runs(runs, f"{where}, 'tables', {name!r}") for name, runs in tables.items()},
        _runs(entry(content, "timing", list, where), f"{where}, 'timing'"),
    )


def _runs(names: Any, where: str) -> list[str]:
    """Return names of folders, which lie in the study's own."""
    return [folder_name(checked(name, str, where), where) for name in checked(names, list, where)]


def folder_name(name: str, where: object) -> str:
    """Return a name of a folder that lies in a study's own.

    Raises:
        ContentError: if it is none, or leads elsewhere.
    """
    if name in ("", ".", "..") or Path(name).name != name or len(name.encode()) > _MAX_NAME_BYTES:
        raise ContentError(f"{where} has {shortened(repr(name))}, expected names of folders in the study's own")
    return name
