"""The record of a comparison of methods on one benchmark, laid out as `perdure.records.folder` tells.

request.json            the methods that were last requested, with hyper-parameters and folder of each run
results.md, .html       the page of the comparison
figures/                its figures
LEARNER-BENCHMARK-…/    the runs, each a folder like that of any run of a learner
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from perdure.records.errors import ResultsError, damaged
from perdure.records.folder import CONFIG, SUMMARY, seeds_in
from perdure.records.learner import RunRecord
from perdure.records.reproduction import folder_name
from perdure.records.requested import REQUEST, is_marked_finished, read_config_of, read_request
from perdure.storage.reading import ContentError, checked, entry

KIND = "methods"


class Method(NamedTuple):
    """A method that is compared."""

    learner: str
    hyperparameters: Mapping[str, Any]
    """All of them, by name."""
    run: str
    """Name of the run's folder."""
    typed: Mapping[str, Any] = MappingProxyType({})
    """Where own code and files of the run are."""


@dataclass(frozen=True)
class MethodsRequest:
    """What was last requested of a comparison."""

    methods: Sequence[Method]
    baseline: str
    """The learner that the others are held against."""
    command: str
    """What requested it."""

    def to_json(self) -> dict[str, Any]:
        """Return it as request.json has it."""
        methods = [
            {
                "learner": it.learner,
                "hyperparameters": dict(it.hyperparameters),
                "run": it.run,
                **({"typed": dict(it.typed)} if it.typed else {}),
            }
            for it in self.methods
        ]
        return {"methods": methods, "baseline": self.baseline, "command": self.command}

    @property
    def runs(self) -> list[str]:
        """Names of all runs' folders."""
        return [it.run for it in self.methods]


@dataclass(frozen=True)
class MethodsRecord:
    """A comparison as its folder tells it."""

    folder: Path
    config: Mapping[str, Any]
    request: MethodsRequest
    marked_finished: bool
    """Has it written its summary? A run may have been deleted since."""

    @classmethod
    def load(cls, folder: Path) -> MethodsRecord:
        """Read the record in `folder`; its runs are read on first use.

        Raises:
            ResultsError: if the folder holds no comparison, or a file of it is missing, damaged or of another format.
        """
        config, where = read_config_of(KIND, folder), folder / CONFIG
        try:
            benchmark = entry(config, "benchmark", dict, where)
            entry(benchmark, "name", str, f"{where}, 'benchmark'")
            entry(benchmark, "options", dict, f"{where}, 'benchmark'")
            seeds_in(config, where)
            request = _request(read_request(folder), folder / REQUEST)
        except ContentError as cause:
            raise damaged(cause) from cause
        return cls(folder, config, request, is_marked_finished(folder))

    def with_baseline(self, baseline: str | None) -> MethodsRecord:
        """Return the comparison with another method that the others are held against; None changes nothing.

        Raises:
            ResultsError: if there is no such method.
        """
        if baseline is None:
            return self
        names = [it.learner for it in self.request.methods]
        if baseline not in names:
            raise ResultsError(f"the baseline is {baseline}, expected one of the methods: {', '.join(names)}")
        return replace(self, request=replace(self.request, baseline=baseline))

    @property
    def finished(self) -> bool:
        """Is every run finished that was requested last?"""
        return self.marked_finished and self.n_finished == len(self.request.methods)

    @property
    def n_finished(self) -> int:
        """Runs that have written their summary."""
        return sum((self.folder / run / SUMMARY).exists() for run in self.request.runs)

    @property
    def benchmark(self) -> str:
        """Name of the benchmark."""
        return self.config["benchmark"]["name"]

    @property
    def title(self) -> str:
        """The comparison in a few words: "12 methods on mnist-rotations"."""
        n = len(self.request.methods)
        return f"{n} {'method' if n == 1 else 'methods'} on {self.benchmark}"

    @cached_property
    def runs(self) -> list[RunRecord]:
        """Finished runs, in the order of the request.

        Raises:
            ResultsError: if a run's record is damaged.
        """
        return [RunRecord.load(self.folder / it) for it in self.request.runs if (self.folder / it / SUMMARY).exists()]


def _request(content: Mapping[str, Any], where: Path) -> MethodsRequest:
    rows = entry(content, "methods", list, where)
    if not rows:
        raise ContentError(f"{where}, 'methods' is an empty list, expected at least one method")
    methods = [_method(row, f"{where}, 'methods'") for row in rows]
    return MethodsRequest(methods, entry(content, "baseline", str, where), entry(content, "command", str, where))


def _method(row: Any, where: str) -> Method:
    row = checked(row, dict, where)
    return Method(
        entry(row, "learner", str, where),
        entry(row, "hyperparameters", dict, where),
        folder_name(entry(row, "run", str, where), where),
        entry(row, "typed", dict, where) if "typed" in row else {},
    )
