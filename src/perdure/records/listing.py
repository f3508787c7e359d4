"""Every kind of run, by its folder: loaded, and listed beside others."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from perdure.metrics.transfer import Statistic, mean_and_interval
from perdure.records.agent import AgentRecord
from perdure.records.comparison import ComparisonRecord
from perdure.records.embeddings import EmbeddingsRecord
from perdure.records.errors import REPAIR, ResultsError
from perdure.records.evaluation import EvaluationRecord
from perdure.records.folder import CHECKPOINTS, OLD_CONFIGS, has_config, read_config
from perdure.records.learner import RunRecord
from perdure.records.methods import MethodsRecord
from perdure.records.representation import TrainingRecord
from perdure.records.reproduction import ReproductionRecord
from perdure.records.stream import StreamRecord
from perdure.records.summary import PREQUENTIAL
from perdure.records.tuning import TuningRecord
from perdure.storage.checkpoints import checkpoint_files, position_of
from perdure.storage.reading import shortened

Record = (
    RunRecord
    | TuningRecord
    | ReproductionRecord
    | TrainingRecord
    | EvaluationRecord
    | ComparisonRecord
    | AgentRecord
    | StreamRecord
    | EmbeddingsRecord
    | MethodsRecord
)

_LOADERS: Mapping[str, Callable[[Path], Record]] = {
    "learner": RunRecord.load,
    "tuning": TuningRecord.load,
    "reproduction": ReproductionRecord.load,
    "representation": TrainingRecord.load,
    "evaluation": EvaluationRecord.load,
    "comparison": ComparisonRecord.load,
    "agent": AgentRecord.load,
    "stream": StreamRecord.load,
    "embeddings": EmbeddingsRecord.load,
    "methods": MethodsRecord.load,
}

_MAX_CAUSE = 200  # characters


class ListedRun(NamedTuple):
    """A run of any kind, in a few words."""

    folder: Path
    kind: str
    what: str
    """Learner and benchmark, agent and game, representations, …"""
    n_seeds: int | None
    """None if the kind has no seeds, or one only."""
    finished: bool
    progress: str
    """How far an unfinished run is; empty if that is not known."""
    figure: str
    """Its main figure; empty if there is none yet."""


class DamagedRecord(NamedTuple):
    """A folder whose record cannot be read."""

    folder: Path
    reason: str


def load_record(folder: Path) -> Record:
    """Return the record of a run of any kind.

    Raises:
        ResultsError: if the folder holds no run, or its record is damaged or of another format.
    """
    return _LOADERS[read_config(folder)["kind"]](folder)


def list_records(root: Path) -> list[ListedRun | DamagedRecord]:
    """Return every run in `root` and its direct subfolders, by name; the runs of a study are listed in its own folder.

    Raises:
        ResultsError: if `root` is no folder or cannot be read.
    """
    if not root.is_dir():
        raise ResultsError(f"{root} is not a folder; give one that holds the folders of runs")
    try:
        folders = [root, *sorted(path for path in root.iterdir() if path.is_dir())]
    except OSError as cause:
        raise ResultsError(f"{root} cannot be read: {cause.strerror}; check its permissions") from cause
    return [listed for folder in folders if (listed := _listed(folder)) is not None]


def _listed(folder: Path) -> ListedRun | DamagedRecord | None:
    """Return a folder's run; None if it has none."""
    try:
        if has_config(folder):
            return _row(load_record(folder))
        old = [name for name in OLD_CONFIGS if (folder / name).exists()]
    except ResultsError as error:
        return DamagedRecord(folder, str(error))
    except OSError as error:
        return DamagedRecord(folder, f"{folder}: {error.strerror}; check its permissions")
    except Exception as error:  # Whatever one record holds must not hide the others, least of all if it is hostile.
        cause = shortened(f"{type(error).__name__}: {error}", _MAX_CAUSE)
        return DamagedRecord(folder, f"{folder} holds a record that cannot be loaded ({cause}); {REPAIR}")
    if old:
        return DamagedRecord(folder, f"{folder} holds {old[0]} of perdure 0.1; read it with that version")
    return None


def _row(record: Record) -> ListedRun:
    kind = record.config["kind"]
    n_seeds = len(record.config["seeds"]) if isinstance(record.config.get("seeds"), list) else None
    progress = "" if record.finished else _progress(record)
    return ListedRun(record.folder, kind, record.title, n_seeds, record.finished, progress, _figure(record))


def _progress(record: Record) -> str:
    if isinstance(record, TuningRecord):
        return f"{record.n_tried} of {len(record.request.combinations)} combinations"
    if isinstance(record, ReproductionRecord | MethodsRecord):
        return f"{record.n_finished} of {len(record.request.runs)} runs"
    if isinstance(record, EvaluationRecord):
        return f"{record.n_done} of {record.n_parts} parts"
    if isinstance(record, ComparisonRecord):
        return f"{len(record.figures)} of {record.n_figures} figures"
    if isinstance(record, EmbeddingsRecord):
        return f"{len(record.results)} of {record.n_parts} methods and seeds"
    if isinstance(record, StreamRecord):
        return ""  # it begins again from its first row
    checkpoints = checkpoint_files(record.folder / CHECKPOINTS)
    position = position_of(checkpoints[0]) if checkpoints else 0
    if isinstance(record, AgentRecord):
        return f"{position:,} of {sum(frames for _, frames in record.stages):,} frames"
    if isinstance(record, TrainingRecord):
        return f"{position:,} of {record.config['steps']:,} steps"
    return f"{position:,} examples"


def _figure(record: Record) -> str:
    if isinstance(record, AgentRecord):
        return "" if record.scores is None else _score(mean_and_interval(record.scores[:, -1].mean(axis=1)))
    if isinstance(record, RunRecord):
        if record.summary is None:
            return ""
        retained = record.summary.metrics["retained_accuracy"]
        if math.isnan(retained.mean) and PREQUENTIAL in record.summary.metrics:
            alone = record.summary.metrics[PREQUENTIAL]
            return _with_interval("PA", 100 * alone.mean, 100 * alone.ci95, 2)
        return _percent(retained)
    if isinstance(record, TuningRecord):
        return _percent(record.result.best.score) if record.trials and record.n_tried else ""
    if isinstance(record, StreamRecord) and record.results:
        best = record.best
        metric, value = next(iter(best.metrics.items()))
        return f"{best.method} {100 * value:.1f} %" if metric == "accuracy" else f"{best.method} {metric} {value:.3g}"
    if isinstance(record, EmbeddingsRecord) and record.results:
        method, own = next(iter(record.methods.items()))
        return f"{method} {100 * sum(it.held_out for it in own) / len(own):.1f} %"
    if isinstance(record, TrainingRecord):
        return "" if record.best_validation is None else f"validation {record.best_validation}"
    return ""


def _percent(retained: Statistic) -> str:
    return _with_interval("RA", 100 * retained.mean, 100 * retained.ci95, 2)


def _score(retained: Statistic) -> str:
    return _with_interval("score", retained.mean, retained.ci95, 1)


def _with_interval(name: str, mean: float, half: float, decimals: int) -> str:
    if math.isnan(mean):  # not evaluated, or diverged
        return ""
    return f"{name} {mean:.{decimals}f}" + ("" if math.isnan(half) else f"\n± {half:.{decimals}f}")
