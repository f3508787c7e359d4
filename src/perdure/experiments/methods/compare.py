"""Methods side by side on one benchmark: the same streams, one folder, runs spread over the cores."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property, partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from perdure.execution.pool import Engine, Failure
from perdure.execution.processes import Processes
from perdure.experiments.supervised.defaults import as_json
from perdure.experiments.supervised.many import by_folder, run_missing
from perdure.experiments.supervised.plan import Choice, MissingValuesError, choose_learner
from perdure.experiments.supervised.spec import RUNS, MakeModel, RunSpec, describe_benchmark, describe_learner, run_spec
from perdure.experiments.supervised.typed import Typed, benchmark_of, model_of, name_typed
from perdure.learners.catalog import learner_class, learner_name, make_learner
from perdure.learners.hyperparameters import hyperparameters
from perdure.machine.cores import usable_cpus
from perdure.presets.comparison import BASELINE
from perdure.presets.file import read_presets
from perdure.records.folder import FORMAT, config_digest, is_finished, own_folder
from perdure.records.methods import KIND, Method, MethodsRecord, MethodsRequest
from perdure.records.requested import DEFAULTS, note_request, write_finished
from perdure.streams.benchmark import Benchmark


class Compared(NamedTuple):
    """What came of a comparison."""

    record: MethodsRecord
    failures: list[Failure]
    """Runs that came to nothing."""


class Chosen(NamedTuple):
    """Methods with hyper-parameters, and what a careful colleague would say about them."""

    learners: list[Any]
    notes: list[str]
    names: list[str]
    """The learners as they were named."""
    defaults: list[dict[str, Any]]
    """Of each learner, the hyper-parameters that were not chosen for the benchmark, as records keep them."""


@dataclass(frozen=True)
class Comparison:
    """What is compared."""

    runs: Sequence[RunSpec]
    """One per method, on one benchmark, with the same seeds and evaluation."""
    baseline: str
    """Name of the learner that the others are held against."""

    @cached_property
    def config(self) -> dict[str, Any]:
        """The comparison's config.json: all that its runs share."""
        shared = self.runs[0].config
        parts = ("model", "seeds", "evaluation", "evaluate")
        own = {name: shared[name] for name in parts if name in shared}
        return {"format": FORMAT, "kind": KIND, "benchmark": describe_benchmark(self.runs[0].benchmark), **own}

    def default_folder(self, root: Path = RUNS) -> Path:
        """Return where the comparison goes unless told otherwise: one folder for each configuration."""
        return root / f"compare-{self.config['benchmark']['name']}-{config_digest(self.config)}"


def choose_methods(
    names: Sequence[str],
    benchmark: Any,
    *,
    memory_size: int | None = None,
    given: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
    preset_file: Path | None = None,
    lenient: bool = False,
    typed: str | None = None,
    of_file: Mapping[str, str] = MappingProxyType({}),
) -> Chosen:
    """Return the methods with the hyper-parameters given and, for the others, those of their presets.

    Args:
        names: names of learners; own ones as `my_method.py:MyLearner`.
        benchmark: what they will learn, anything with a name.
        memory_size: examples that each may keep, if it keeps examples; None for what its preset has.
        given: hyper-parameters by learner.
        preset_file: whose presets to use where it has one, before perdure's own; None for perdure's own.
        lenient: leave out learners without a preset, and those that need task numbers which the stream hides, and tell
            so in a note.
        typed: how the benchmark is typed, where that is not its name.
        of_file: of a benchmark in a file, what names its columns and its file of tests.

    Raises:
        ValueError: if a learner is named twice or there is none of a name, a value is out of range, learners lack
            hyper-parameters, or need task numbers that the stream hides.
    """
    if len(set(names)) < len(names):
        twice = next(name for name in names if list(names).count(name) > 1)
        raise ValueError(f"{twice} is named twice, expected different methods; compare two settings with perdure run")
    if unused := sorted(set(given) - set(names)):
        raise ValueError(f"values are given for {', '.join(unused)}, not among the methods: {', '.join(names)}")
    own = {} if preset_file is None else {(it.learner, it.benchmark) for it in read_presets(preset_file)}
    chosen = Chosen([], [], [], [])
    hides_tasks = cache(partial(_hides_tasks, benchmark))
    needing: list[str] = []
    missing: dict[str, list[str]] = {}
    where = typed or benchmark.name
    for name in names:
        values = dict(given.get(name, {}))
        if memory_size is not None and any(it.name == "memory_size" for it in hyperparameters(learner_class(name))):
            values.setdefault("memory_size", memory_size)
        file = preset_file if (name_typed(name), benchmark.name) in own else None
        options = {**getattr(benchmark, "options", {}), **of_file}
        try:
            choice: Choice = choose_learner(name, benchmark.name, values, file, options=options, typed=where)
        except MissingValuesError as error:
            missing[name] = error.missing
            continue
        if choice.learner.needs_task and hides_tasks():
            needing.append(name)
            continue
        chosen.learners.append(choice.learner)
        chosen.names.append(name)
        chosen.defaults.append({} if choice.defaults is None else {DEFAULTS: as_json(choice.defaults)})
        chosen.notes.extend(f"{name}: {it}" for it in choice.notes)
    if missing and not (lenient and chosen.learners):
        raise ValueError(_without_values(missing, where))
    if needing and not (lenient and chosen.learners):
        raise ValueError(
            f"{', '.join(needing)} need{'s' * (len(needing) == 1)} task numbers, which {where} hides; leave "
            f"{'it' if len(needing) == 1 else 'them'} out, or choose a stream with sharp boundaries that shows them "
            "(no hides_tasks=True)"
        )
    if missing:
        chosen.notes.append(f"left out, since there is no preset for {where}: {', '.join(missing)}")
    if needing:
        chosen.notes.append(f"left out, since {where} hides the task numbers that they need: {', '.join(needing)}")
    return chosen


def _hides_tasks(benchmark: Any) -> bool:
    return (benchmark if isinstance(benchmark, Benchmark) else benchmark(0)).hides_tasks


def _without_values(missing: Mapping[str, Sequence[str]], benchmark: str) -> str:
    name, values = next(iter(missing.items()))
    search = shlex.join(["perdure", "tune", name, benchmark])
    listed = "; ".join(f"{it} (needs {', '.join(values)})" for it, values in missing.items())
    return (
        f"there is no preset for {benchmark} of {listed}. Leave them out; give values, as --set {name}.{values[0]}=…; "
        f"or choose them with {search} … --preset FILE, and give --preset FILE here"
    )


def comparison(
    learners: Iterable[Any],
    benchmark: Any,
    *,
    model: MakeModel | None = None,
    typed: Sequence[Mapping[str, Any]] | None = None,
    seeds: Any = 5,
    full_matrix: bool = False,
    evaluate_every: int | None = None,
    evaluate_on: int | None = None,
    baseline: str | None = None,
) -> Comparison:
    """Return what is compared.

    Args:
        learners: with hyper-parameters; different ones.
        benchmark: what they learn, a benchmark or what makes that of a seed.
        model: makes their network; None for the benchmark's.
        typed: what the record of each run tells of it besides: where own code and files are, to resume it by, and
            hyper-parameters that were not chosen for the benchmark; None if there is nothing.
        seeds: how many (0, 1, …), or which ones; the same streams for all learners.
        full_matrix: test all tasks after each one.
        evaluate_every: as in `perdure.run`.
        evaluate_on: as in `perdure.run`.
        baseline: name of the learner that the others are held against; None for ER, or the first if ER is not there.

    Raises:
        ValueError: if there are no learners, the baseline is none of them, or another argument is out of range.
    """
    made = list(learners)
    runs = [
        run_spec(
            it,
            benchmark,
            model=model,
            seeds=seeds,
            evaluation="full" if full_matrix else "needed",
            evaluate_every=evaluate_every,
            evaluate_on=evaluate_on,
        )
        for it in made
    ]
    if typed is not None:
        runs = [replace(run, typed=dict(it)) for run, it in zip(runs, typed, strict=True)]
    names = [learner_name(it.learner) for it in runs]
    if not names:
        raise ValueError("there are no methods to compare; give at least one")
    chosen = baseline or (BASELINE if BASELINE in names else names[0])
    if chosen not in names:
        raise ValueError(f"the baseline is {chosen}, expected one of the methods: {', '.join(names)}")
    return Comparison(runs, chosen)


def compare(
    what: Comparison,
    folder: Path,
    *,
    command: str,
    engine: Engine | None = None,
    progress: bool = True,
    write_page: Callable[[MethodsRecord], object] | None = None,
) -> Compared:
    """Run each method with all seeds, and return the records.

    What `folder` already holds is not run again, and what was interrupted is resumed; methods may be added later.

    Args:
        what: to compare.
        folder: of the comparison; each run has a folder in it.
        command: what requests it, for its page.
        engine: where the runs run; None for processes of this machine, one each core.
        progress: show how far the runs are.
        write_page: shows what is finished so far, after finished runs and when all is stopped.

    Raises:
        ValueError: if the benchmark cannot make its stream.
        DataError: if a benchmark's raw files cannot be had.
        InterruptedRunError: after Ctrl-C or SIGTERM; comparing the same again resumes.
        ResultsError: if the folder holds another run, or a comparison on other streams.
        FolderInUseError: if another process owns the folder.
    """
    runs = by_folder(what.runs)
    _check_stream(spec for name, spec in runs.items() if not is_finished(folder / name, spec.config))
    methods = [_method(name, spec) for name, spec in runs.items()]
    with own_folder(folder, what.config) as home:
        home.begin(f"comparison: {', '.join(it.learner for it in methods)}", {})
        note_request(home, MethodsRequest(methods, what.baseline, command).to_json())
        stages = [(runs, engine or Processes(usable_cpus()))]
        write = partial(_write_page, folder, write_page)
        failures = run_missing(home, stages, show=progress, write_page=write)
        if not failures and home.is_there() and not home.finished:
            home.log(f"finished: {len(methods)} methods")
            write_finished(home, {"methods": len(methods)})
    return Compared(MethodsRecord.load(folder), failures)


def resume_methods(
    folder: Path, data_dir: Path | None = None, *, progress: bool = True, engine: Engine | None = None
) -> Compared:
    """Resume the comparison in a folder that `perdure compare` has begun; see `compare`.

    Raises:
        ResultsError: if the folder holds no comparison.
    """
    record = MethodsRecord.load(folder)
    config, evaluate = record.config, record.config.get("evaluate", {})
    methods = record.request.methods
    typed = [Typed.from_json(it.typed) for it in methods]
    options = {name: it for name, it in config["benchmark"]["options"].items() if name != "sha256"}
    what = comparison(
        [make_learner(its.learner or it.learner, **it.hyperparameters) for it, its in zip(methods, typed, strict=True)],
        benchmark_of(typed[0].benchmark or record.benchmark, options, data_dir, typed[0]),
        model=model_of(typed[0]),
        typed=[it.typed for it in methods],
        seeds=config["seeds"],
        full_matrix=config["evaluation"] == "full",
        evaluate_every=evaluate.get("every"),
        evaluate_on=evaluate.get("test_examples"),
        baseline=record.request.baseline,
    )
    return compare(what, folder, command=record.request.command, progress=progress, engine=engine)


def _check_stream(missing: Iterable[RunSpec]) -> None:
    """Make a stream of the missing runs, so that one that cannot be made is told once, before anything runs."""
    spec = next(iter(missing), None)
    if spec is not None and not isinstance(spec.benchmark, Benchmark):
        spec.benchmark(spec.seeds[0])


def _write_page(folder: Path, write_page: Callable[[MethodsRecord], object] | None) -> None:
    if write_page is not None:
        write_page(MethodsRecord.load(folder))


def _method(folder: str, spec: RunSpec) -> Method:
    described = describe_learner(spec.learner)
    return Method(described["name"], described["hyperparameters"], folder, spec.typed)
