"""perdure resume: a run of any kind that was stopped."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from perdure.cli.commands import command, examples
from perdure.cli.console import DataDir, Previous, Quiet, Ray, cluster_of, say
from perdure.cli.report import report_run

if TYPE_CHECKING:
    from perdure.execution.drive import Driving
    from perdure.execution.pool import Engine


class _How(NamedTuple):
    """What was given beside the folder."""

    data_dir: Path | None
    previous: bool
    progress: bool
    engine: Engine | None

    @property
    def driving(self) -> Driving:
        """How a job is driven."""
        from perdure.execution.drive import Driving

        return Driving(previous=self.previous, progress=self.progress)


def resume(
    folder: Annotated[Path, typer.Argument(help="Folder of a run that was stopped, of any kind.")],
    data_dir: DataDir = None,
    ray: Ray = None,
    previous: Previous = False,
    quiet: Quiet = False,
) -> None:
    """Continue a run that was stopped; it ends as if it had never been stopped."""
    from perdure.records.listing import load_record

    record = load_record(folder)
    if record.finished:
        say("finished before; there is nothing to resume")
    else:
        kind = record.config["kind"]
        if ray is not None and kind not in _OF_PARTS:
            raise ValueError(
                f"--ray is for runs of many parts: {', '.join(_OF_PARTS)}; {folder} holds a run of the kind {kind}, "
                "which is one part: leave it out"
            )
        _BY_KIND[kind](folder, _How(data_dir, previous, not quiet, cluster_of(ray)))
    report_run(folder)


def _learner(folder: Path, how: _How) -> None:
    from perdure.experiments.supervised.plan import resume_run

    resume_run(folder, how.data_dir, how.driving, how.engine)


def _search(folder: Path, how: _How) -> None:
    from perdure.cli.tune import write_pages
    from perdure.experiments.tuning.tune import resume_search
    from perdure.presets.file import add_preset

    options = {"progress": how.progress, "engine": how.engine, "write_page": write_pages}
    result = resume_search(folder, how.data_dir, **options)
    add_preset(folder / "preset.toml", result.preset)


def _study(folder: Path, how: _How) -> None:
    from perdure.cli.reproduce import write_pages
    from perdure.experiments.reproduction.measure import resume_study

    measured = resume_study(folder, how.data_dir, progress=how.progress, engine=how.engine)
    write_pages(measured, measured.record.command, folder / "results.md", folder / "results.html")


def _training(folder: Path, how: _How) -> None:
    from perdure.experiments.representations.train import resume_training

    resume_training(folder, how.data_dir, how.driving)


def _evaluation(folder: Path, how: _How) -> None:
    from perdure.experiments.representations.evaluation import resume_evaluation

    resume_evaluation(folder, how.data_dir, progress=how.progress, engine=how.engine)


def _comparison(folder: Path, how: _How) -> None:
    from perdure.experiments.representations.learners import resume_comparison

    resume_comparison(folder, how.data_dir, progress=how.progress)


def _agent(folder: Path, how: _How) -> None:
    from perdure.experiments.agents.plan import resume_agent

    resume_agent(folder, how.driving)


def _stream(folder: Path, how: _How) -> None:
    from perdure.online.stream import resume_stream

    resume_stream(folder, progress=how.progress)


def _embeddings(folder: Path, how: _How) -> None:
    from perdure.experiments.representations.embeddings import resume_embeddings

    resume_embeddings(folder, progress=how.progress)


def _methods(folder: Path, how: _How) -> None:
    from perdure.experiments.methods.compare import resume_methods
    from perdure.report.comparison import save_comparison

    compared = resume_methods(folder, how.data_dir, progress=how.progress, engine=how.engine)
    save_comparison(compared.record, folder / "results.md", folder / "results.html")


_BY_KIND: Mapping[str, Callable[[Path, _How], None]] = {
    "learner": _learner,
    "tuning": _search,
    "reproduction": _study,
    "representation": _training,
    "evaluation": _evaluation,
    "comparison": _comparison,
    "agent": _agent,
    "stream": _stream,
    "embeddings": _embeddings,
    "methods": _methods,
}

_OF_PARTS = ("learner", "tuning", "reproduction", "evaluation", "methods")
"""Kinds of runs whose parts may be done on a cluster."""

resume_command = command(
    resume, epilog=examples("perdure resume runs/mer", "perdure resume runs/reproduce-mer --ray 10.0.0.1:6379")
)
