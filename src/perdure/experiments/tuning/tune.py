"""Choosing hyper-parameters on streams that are not those reported."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from perdure import models
from perdure.core import Learner
from perdure.execution.apart import Part, do_apart, now_and_then, part_folder, remove_parts, when_free
from perdure.execution.job import DivergedError
from perdure.execution.parts import Finished, keeps, parts_progress
from perdure.execution.pool import Engine
from perdure.execution.progress import Watch, say
from perdure.experiments.supervised.spec import MakeModel, prepare
from perdure.experiments.supervised.streams import MakeBenchmark, SeedStreams
from perdure.experiments.supervised.typed import Typed, benchmark_of, model_of
from perdure.experiments.tuning.side_by_side import learners_that_fit, score_side_by_side
from perdure.experiments.tuning.spec import Candidate, TuningSpec, tuning_spec
from perdure.learners.catalog import CATALOG
from perdure.machine.signals import InterruptedRunError
from perdure.metrics.transfer import mean_and_interval
from perdure.records.errors import ResultsError
from perdure.records.folder import RunFolder, config_digest, is_finished, own_folder
from perdure.records.requested import note_request, read_request, write_finished
from perdure.records.tuning import (
    Key,
    Trial,
    TuningRecord,
    TuningResult,
    best_first,
    read_trials,
    searched,
    write_trials,
)
from perdure.streams.benchmark import Benchmark, input_range
from perdure.streams.catalog import BenchmarkRecipe


def tune(
    learner: str | type[Learner[Any]],
    benchmark: Benchmark | MakeBenchmark,
    grid: Mapping[str, Any],
    *,
    trials: int | None = None,
    seeds: int = 2,
    model: MakeModel | None = None,
    folder: Path | str | None = None,
    progress: bool | Watch = True,
) -> TuningResult:
    """Try combinations of hyper-parameters on validation streams, and find the one that retains most.

    Validation streams make other draws than those reported, and train and test on training examples only.
    Combinations that differ only in their rates learn side by side in one compiled program; one that diverges does not
    stop the others.

    Args:
        learner: name of a learner, or its class.
        benchmark: what to learn. One that makes validation streams makes them; of another one a quarter of each task's
            training examples is held out to be tested on, and its tests are not used.
        grid: for each hyper-parameter to search the values to try; for rates, in random search, also a `LogUniform`.
            The others come from the presets of perdure's own learners, or are the learner's defaults.
        trials: how many combinations to draw at random, ≥ 2; None tries them all.
        seeds: how many validation streams; their seeds are `FIRST_SEED` and those after it.
        model: makes the network from one example, the number of outputs and a key; None for the benchmark's default.
        folder: where the record goes; combinations that it has already are not tried again. None keeps nothing.
        progress: show a progress bar; or a function to which progress is reported.

    Raises:
        TypeError: if an argument is of the wrong kind, the learner has no such hyper-parameter or lacks one, the
            benchmark is none, or a part of learner or model cannot be described in the record.
        ValueError: if a value is out of range, or there are not two combinations to choose from.
        DivergedError: if all combinations diverged.
        InterruptedRunError: after Ctrl-C or SIGTERM; what was finished is in the folder.
        ResultsError: if the folder holds another run, or one of code that has changed.
        FolderInUseError: if another process owns the folder.
        StorageError: if the record cannot be written.
    """
    spec = tuning_spec(learner, benchmark, grid, trials=trials, seeds=seeds, model=model)
    return tune_of(spec, None if folder is None else Path(folder), progress=progress)


def tune_of(
    spec: TuningSpec,
    folder: Path | None,
    *,
    progress: bool | Watch = True,
    engine: Engine | None = None,
    write_page: Callable[[TuningRecord], object] = lambda record: None,
) -> TuningResult:
    """Do or resume a search, in a folder or in memory only; see `tune`.

    Args:
        spec: what to search.
        folder: of the record; None keeps nothing.
        progress: show a progress bar; or a function to which progress is reported.
        engine: where combinations are tried, each as a job; None tries them side by side in this process.
        write_page: shows what is finished so far, after finished combinations and when all is stopped.

    Raises:
        ValueError: if the validation streams have no test sets.
        PartsError: if a job of an engine fails.
    """
    config = {} if folder is None else spec.config  # before anything is computed, to refuse what it cannot hold
    streams = SeedStreams.of(spec.validation, spec.seeds)
    if not len(streams.first.test):
        raise ValueError(
            f"{streams.first.name} has no test sets, but hyper-parameters are chosen by retained accuracy on those of "
            "validation streams; give it a test set for each task, or one for all"
        )
    if folder is None:
        tried = _try_missing(spec, streams, {}, None, progress)
    else:
        with own_folder(folder, config) as home:
            home.begin(f"search: {streams.label(spec.learner)}", streams.checksums())
            note_request(home, spec.request.to_json() | ({"typed": dict(spec.typed)} if spec.typed else {}))
            was_finished = home.finished
            known = read_trials(folder, len(spec.seeds))
            try:
                if engine is None:
                    show = now_and_then(partial(_show, folder, write_page))
                    tried = _try_missing(spec, streams, known, home, progress, show)
                else:
                    tried = _try_apart(spec, known, home, engine, progress, write_page)
            except InterruptedRunError:
                _show(folder, write_page)
                raise
            if was_finished:
                say(f"these are the scores of the finished search in {folder}; delete it to run again", show=progress)
            elif home.is_there():
                _write_summary(home, spec, tried)
                _show(folder, write_page)
    trials = best_first([tried[candidate.key] for candidate in spec.candidates])
    if trials[0].diverged:
        raise DivergedError(f"all {len(trials)} combinations diverged; lower the rates; {input_range(streams.first)}")
    return TuningResult(
        learner=spec.learner,
        benchmark=spec.benchmark_config["name"],
        options={name: it for name, it in spec.benchmark_config["options"].items() if "sha256" not in name},
        seeds=spec.seeds,
        space=searched(spec.space),
        trials=trials,
    )


def resume_search(
    folder: Path,
    data_dir: Path | None = None,
    *,
    progress: bool | Watch = True,
    engine: Engine | None = None,
    write_page: Callable[[TuningRecord], object] = lambda record: None,
) -> TuningResult:
    """Resume the search in a folder that `perdure tune` has begun; see `tune`.

    Args:
        folder: of the search.
        data_dir: folder to search first for raw data files.
        progress: show a progress bar.
        engine: as in `tune_of`.
        write_page: as in `tune_of`.

    Raises:
        ResultsError: if the folder holds no search, or one of an own learner or model.
    """
    record = TuningRecord.load(folder)
    learner, benchmark, model = (record.config[part] for part in ("learner", "benchmark", "model"))
    if found := read_request(folder).get("typed"):
        return tune_of(
            _spec_as_typed(record, found, data_dir), folder, progress=progress, engine=engine, write_page=write_page
        )
    own = [it["name"] for it, known in ((learner, CATALOG), (model, models.__all__)) if it["name"] not in known]
    if own:
        raise ResultsError(
            f"{folder} was begun from Python with its own {', '.join(own)}, which the command line cannot make; "
            "resume it from Python with the same call: perdure.tune(…, folder=…)"
        )
    spec = tuning_spec(
        learner["name"],
        BenchmarkRecipe(benchmark["name"], benchmark["options"], data_dir),
        record.request.space,
        trials=record.request.n_trials,
        seeds=len(record.config["seeds"]),
        model=getattr(models, model["name"]),
    )
    return tune_of(spec, folder, progress=progress, engine=engine, write_page=write_page)


def _spec_as_typed(record: TuningRecord, found: Mapping[str, Any], data_dir: Path | None) -> TuningSpec:
    """Return the specification of a search with own code or a file, which are loaded again."""
    typed = Typed.from_json(found)
    learner, benchmark, model = (record.config[part] for part in ("learner", "benchmark", "model"))
    options = {name: it for name, it in benchmark["options"].items() if name != "sha256"}
    spec = tuning_spec(
        typed.learner or learner["name"],
        benchmark_of(typed.benchmark or benchmark["name"], options, data_dir, typed),
        record.request.space,
        trials=record.request.n_trials,
        seeds=len(record.config["seeds"]),
        model=model_of(typed) or getattr(models, model["name"]),
    )
    return replace(spec, typed=typed.to_json())


def _try_missing(
    spec: TuningSpec,
    streams: SeedStreams,
    tried: dict[Key, Trial],
    home: RunFolder | None,
    progress: bool | Watch,
    show: Callable[[], object] = lambda: None,
) -> dict[Key, Trial]:
    """Return the trials given and those of all other candidates, which are kept and shown as they are finished."""
    missing = [candidate for candidate in spec.candidates if candidate.key not in tried]
    if not missing:
        return tried
    tried = dict(tried)
    passes = list(_passes(spec, streams, missing))
    label = f"{streams.label(spec.learner)}; {len(missing)} combinations side by side"
    if len(passes) > 1:
        label += f", in {len(passes)} passes"

    def how_far() -> Finished:
        return Finished(sum(it.key in tried for it in spec.candidates), len(spec.candidates), "combinations")

    total = streams.length * len(missing)
    with parts_progress(label, total, "examples", how_far, folder=home, show=progress) as advanced:
        for together in passes:
            scores = score_side_by_side(streams, [it.learner for it in together], spec.model, advanced)
            for candidate, per_seed in zip(together, scores, strict=True):
                tried[candidate.key] = Trial(candidate.values, mean_and_interval(per_seed))
            if home is not None and keeps(home):
                write_trials(home.path, list(tried.values()))
                show()
    return tried


def _try_apart(
    spec: TuningSpec,
    known: dict[Key, Trial],
    home: RunFolder,
    engine: Engine,
    progress: bool | Watch,
    write_page: Callable[[TuningRecord], object],
) -> dict[Key, Trial]:
    """Return the trials known and those of all other candidates, each of which is tried as a job of an engine."""
    tried = dict(known)
    alone = {config_digest(it.values): replace(spec, candidates=[it]) for it in spec.candidates if it.key not in tried}
    show = now_and_then(partial(_show, home.path, write_page))

    def collect() -> None:
        found = {}
        for name in alone:
            if is_finished(part_folder(home, name), spec.config):
                found |= read_trials(part_folder(home, name), len(spec.seeds))
        if found.keys() - tried.keys():
            tried.update(found)
            if keeps(home):
                write_trials(home.path, list(tried.values()))
                show()

    parts = [Part(name, spec.config, 1.0, partial(_try_in_folder, it)) for name, it in alone.items()]
    try:
        do_apart(home, parts, engine, show=progress is True, after_each=collect)
    finally:
        collect()
    remove_parts(home)
    return tried


def _try_in_folder(spec: TuningSpec, folder: Path, watch: Watch) -> None:
    """Do or resume a search of which some or all combinations may diverge, in a worker."""

    def do() -> None:
        streams = SeedStreams.of(spec.validation, spec.seeds)
        with own_folder(folder, spec.config) as home:
            home.begin(f"search: {streams.label(spec.learner)}", streams.checksums())
            note_request(home, spec.request.to_json())
            tried = _try_missing(spec, streams, read_trials(folder, len(spec.seeds)), home, watch)
            _write_summary(home, spec, tried)

    when_free(do)


def _show(folder: Path, write_page: Callable[[TuningRecord], object]) -> None:
    """Show the combinations that are finished, if there are any."""
    record = TuningRecord.load(folder)
    if record.n_tried:
        write_page(record)


def _passes(spec: TuningSpec, streams: SeedStreams, candidates: Sequence[Candidate]) -> Iterator[list[Candidate]]:
    """Yield the candidates, prepared for the streams, in groups that learn together: alike, and not too many."""
    alike: dict[Key, list[Candidate]] = {}
    for it in candidates:
        alike.setdefault(it.structure, []).append(it._replace(learner=prepare(it.learner, *streams.benchmarks)))
    for group in alike.values():
        size = learners_that_fit(streams, group[0].learner, spec.model)
        yield from (group[first : first + size] for first in range(0, len(group), size))


def _write_summary(home: RunFolder, spec: TuningSpec, tried: Mapping[Key, Trial]) -> None:
    best = best_first([tried[candidate.key] for candidate in spec.candidates])[0]
    found = None if best.diverged else {"hyperparameters": dict(best.hyperparameters), "score": best.score.mean}
    home.log(f"finished: {len(spec.candidates)} combinations tried")
    write_finished(home, {"combinations": len(spec.candidates), "best": found})
