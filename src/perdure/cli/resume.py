"""perdure resume: a run of any kind that was stopped."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated

import typer

from perdure.cli.commands import command, examples
from perdure.cli.console import DataDir, Previous, Quiet, say
from perdure.cli.report import report_run


def resume(
    folder: Annotated[Path, typer.Argument(help="Folder of a run that was stopped, of any kind.")],
    data_dir: DataDir = None,
    previous: Previous = False,
    quiet: Quiet = False,
) -> None:
    """Continue a run that was stopped; it ends as if it had never been stopped."""
    from perdure.records.listing import load_record

    record = load_record(folder)
    if record.finished:
        say("finished before; there is nothing to resume")
    else:
        _BY_KIND[record.config["kind"]](folder, data_dir, previous, not quiet)
    report_run(folder)


def _learner(folder: Path, data_dir: Path | None, previous: bool, progress: bool) -> None:
    from perdure.execution.drive import Driving
    from perdure.experiments.supervised.plan import resume_run

    resume_run(folder, data_dir, Driving(previous=previous, progress=progress))


def _search(folder: Path, data_dir: Path | None, previous: bool, progress: bool) -> None:
    from perdure.experiments.tuning.tune import resume_search
    from perdure.presets.file import add_preset

    result = resume_search(folder, data_dir, progress=progress)
    add_preset(folder / "preset.toml", result.preset)


def _study(folder: Path, data_dir: Path | None, previous: bool, progress: bool) -> None:
    from perdure.cli.reproduce import write_pages
    from perdure.experiments.reproduction.measure import resume_study

    measured = resume_study(folder, data_dir, progress=progress)
    write_pages(measured, measured.record.command, folder / "results.md", folder / "results.html")


def _training(folder: Path, data_dir: Path | None, previous: bool, progress: bool) -> None:
    from perdure.execution.drive import Driving
    from perdure.experiments.representations.train import resume_training

    resume_training(folder, data_dir, Driving(previous=previous, progress=progress))


def _evaluation(folder: Path, data_dir: Path | None, previous: bool, progress: bool) -> None:
    from perdure.experiments.representations.evaluation import resume_evaluation

    resume_evaluation(folder, data_dir, progress=progress)


def _comparison(folder: Path, data_dir: Path | None, previous: bool, progress: bool) -> None:
    from perdure.experiments.representations.learners import resume_comparison

    resume_comparison(folder, data_dir, progress=progress)


def _agent(folder: Path, data_dir: Path | None, previous: bool, progress: bool) -> None:
    from perdure.execution.drive import Driving
    from perdure.experiments.agents.plan import resume_agent

    resume_agent(folder, Driving(previous=previous, progress=progress))


def _stream(folder: Path, data_dir: Path | None, previous: bool, progress: bool) -> None:
    from perdure.online.stream import resume_stream

    resume_stream(folder, progress=progress)


def _embeddings(folder: Path, data_dir: Path | None, previous: bool, progress: bool) -> None:
    from perdure.experiments.representations.embeddings import resume_embeddings

    resume_embeddings(folder, progress=progress)


def _methods(folder: Path, data_dir: Path | None, previous: bool, progress: bool) -> None:
    from perdure.experiments.methods.compare import resume_methods
    from perdure.report.comparison import save_comparison

    compared = resume_methods(folder, data_dir, progress=progress)
    save_comparison(compared.record, folder / "results.md", folder / "results.html")


_BY_KIND: Mapping[str, Callable[[Path, Path | None, bool, bool], None]] = {
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

resume_command = command(resume, epilog=examples("perdure resume runs/mer"))
