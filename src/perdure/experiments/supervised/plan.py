"""From names and options to a learner: published values where no others are given."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from perdure import models
from perdure.core import Learner
from perdure.execution.drive import Driving
from perdure.execution.pool import Engine
from perdure.experiments.supervised.apart import run_somewhere
from perdure.experiments.supervised.defaults import note_of_defaults, stream_typed
from perdure.experiments.supervised.result import Result
from perdure.experiments.supervised.spec import RunSpec, run_spec
from perdure.experiments.supervised.typed import Typed, benchmark_of, model_of, name_typed, with_optimizer
from perdure.learners.catalog import CATALOG, learner_class, make_learner
from perdure.learners.defaults import Taken
from perdure.learners.hyperparameters import hyperparameters, required_and_known
from perdure.named import resume_command, typed_option
from perdure.presets.file import read_presets
from perdure.presets.learners import find_default, find_preset
from perdure.records.errors import REPAIR, ResultsError
from perdure.records.learner import RunRecord
from perdure.records.requested import DEFAULTS, REQUEST, read_request
from perdure.streams.catalog import BENCHMARKS, BenchmarkRecipe
from perdure.streams.raw.registry import DataError
from perdure.streams.torch_file import FILE_DIGEST, DataFileRecipe


class Choice(NamedTuple):
    """A learner with its hyper-parameters, and what a careful colleague would say about them."""

    learner: Learner[Any]
    notes: list[str]
    defaults: Taken | None = None
    """Hyper-parameters that were not chosen for the benchmark; None if there are none."""


class MissingValuesError(TypeError):
    """A learner lacks hyper-parameters, for which there is no preset."""

    def __init__(
        self,
        name: str,
        benchmark: str,
        missing: list[str],
        remedy: str | None = None,
        *,
        options: Mapping[str, Any] = MappingProxyType({}),
    ):
        """Say which, and how to have them.

        Args:
            name: name of the learner.
            benchmark: name of the benchmark.
            missing: names of the hyper-parameters.
            remedy: what to do; None for giving or choosing them.
            options: of the benchmark.
        """
        self.missing = missing
        searched = " ".join(f"{typed_option(it)} VALUES" for it in missing)
        super().__init__(
            f"there is no preset of {name} for {benchmark}, so it needs values of {', '.join(missing)}; "
            + (
                remedy
                or "give them, or choose them: "
                f"perdure tune {shlex.quote(name)} {stream_typed(benchmark, options)} {searched}"
            )
        )


def choose_learner(
    name: str,
    benchmark: str,
    given: Mapping[str, float | int],
    preset_file: Path | None = None,
    *,
    options: Mapping[str, Any] = MappingProxyType({}),
    typed: str = "",
) -> Choice:
    """Return a learner with the hyper-parameters given and, for the others, those of its preset.

    A learner without a preset for the benchmark has one that was chosen for another benchmark, with a note of it.

    Args:
        name: name of the learner.
        benchmark: name of the benchmark that it will learn.
        given: hyper-parameters that were given.
        preset_file: whose presets to use; None for perdure's own.
        options: of the benchmark; of one in a file, also what names its columns and its file of tests.
        typed: how the benchmark is typed, where that is not its name.

    Raises:
        ValueError: if there is no such learner, a value is out of range, or the preset file is not one or holds no
            preset of the learner for the benchmark.
        MissingValuesError: if a hyper-parameter is neither given nor in a preset, of another benchmark either.
    """
    known = [it.name for it in hyperparameters(learner_class(name))]
    memory_size = given.get("memory_size") if "memory_size" in known else None
    presets = None if preset_file is None else read_presets(preset_file)
    preset = find_preset(name_typed(name), benchmark, None if memory_size is None else int(memory_size), presets)
    if presets is not None and preset is None:
        there = ", ".join(f"{row.learner} for {row.benchmark}" for row in presets)
        raise ValueError(f"{preset_file} holds no preset of {name} for {benchmark}, expected one; it holds {there}")
    values = {**(preset.hyperparameters if preset else {}), **given}
    required, _ = required_and_known(learner_class(name))
    taken = None if preset is None or preset.tuned else preset
    if preset is None and any(it not in values for it in required):
        taken = find_default(name_typed(name), None if memory_size is None else int(memory_size))
        values = {**(taken.hyperparameters if taken else {}), **given}
    defaults, notes = None, []
    if taken is not None and (own := {it: value for it, value in taken.hyperparameters.items() if it not in given}):
        defaults = Taken(taken.benchmark if taken.tuned else None, own)
        notes.append(note_of_defaults(learner_class(name), name, stream_typed(typed or benchmark, options), defaults))
    if missing := [it for it in required if it not in values]:
        raise MissingValuesError(name, typed or benchmark, missing, options=options)
    if preset is not None and set(preset.hyperparameters) - set(given):
        if not preset.exact:
            notes.append(
                f"you gave memory size {memory_size}; the hyper-parameters not given are those for "
                f"{preset.memory_size} and may not suit it"
            )
        if any(options.get(option) != value for option, value in preset.options.items()):
            part = ", ".join(f"{option} = {value}" for option, value in preset.options.items())
            notes.append(
                f"the hyper-parameters not given were chosen for a part of {benchmark}, {part}, and may not suit the "
                "stream requested; choose others with perdure tune"
            )
    return Choice(make_learner(name, **values), notes, defaults)


def spec_of(record: RunRecord, data_dir: Path | None = None) -> RunSpec:
    """Return the specification of a recorded run, to resume it.

    Args:
        record: of the run.
        data_dir: folder of the raw files, or of the `.pt` file that the run learns from.

    Raises:
        DataError: if the run's `.pt` file is not there, or not the one it began with.
        ResultsError: if the run used a learner, benchmark or model that is not perdure's own, or a learner with other
            settings than hyper-parameters.
    """
    config = record.config
    if (record.folder / REQUEST).exists() and read_request(record.folder).keys() - {DEFAULTS}:
        return _spec_as_typed(record, data_dir)
    learner, benchmark, model = config["learner"], config["benchmark"], config["model"]
    own = [f"{part} {name}" for part, name in _own_parts(learner, benchmark, model)]
    if own:
        raise ResultsError(
            f"{record.folder} was begun from Python with its own {', '.join(own)}, which the command line cannot make; "
            "resume it from Python with the same call: perdure.run(…, folder=…)"
        )
    return _run_spec(
        record,
        make_learner(learner["name"], **learner["hyperparameters"]),
        _recipe(record, data_dir),
        getattr(models, model["name"]),
    )


def _spec_as_typed(record: RunRecord, data_dir: Path | None) -> RunSpec:
    """Return the specification of a run of own code or of a file, which are loaded again."""
    request = read_request(record.folder)
    try:
        typed = Typed.from_json(request)
    except TypeError as cause:
        raise ResultsError(f"{record.folder / REQUEST} is damaged: {cause}; {REPAIR}") from cause
    learner, benchmark = record.config["learner"], record.config["benchmark"]
    made = make_learner(typed.learner or learner["name"], **learner["hyperparameters"])
    options = {name: it for name, it in benchmark["options"].items() if name != "sha256"}
    if typed.benchmark is None:
        stream = _recipe(record, data_dir)
    else:
        stream = benchmark_of(typed.benchmark, options, data_dir, typed)
    model = model_of(typed) or getattr(models, record.config["model"]["name"])
    spec = _run_spec(record, with_optimizer(made, typed.optimizer), stream, model)
    kept = {name: request[name] for name in (DEFAULTS,) if name in request}
    return dataclasses.replace(spec, typed=typed.to_json() | kept)


def _run_spec(record: RunRecord, learner: Learner[Any], benchmark: Any, model: Any) -> RunSpec:
    config = record.config
    return run_spec(
        learner,
        benchmark,
        seeds=record.seeds,
        model=model,
        evaluation=config["evaluation"],
        alignment=config["alignment"],
        evaluate_every=config.get("evaluate", {}).get("every"),
        evaluate_on=config.get("evaluate", {}).get("test_examples"),
    )


def resume_run(folder: Path, data_dir: Path | None, how: Driving, engine: Engine | None = None) -> Result:
    """Resume the run in a folder that `perdure run` has begun; see `perdure.run`.

    Args:
        folder: of the run.
        data_dir: as `spec_of`.
        how: how to drive it.
        engine: where its seeds are learned apart; None for where they were begun.
    """
    return run_somewhere(spec_of(RunRecord.load(folder), data_dir), how, folder, engine)


def _own_parts(learner: Mapping[str, Any], benchmark: Mapping[str, Any], model: Mapping[str, Any]) -> list[Any]:
    """Return kind and name of what is not perdure's own."""
    parts: list[Any] = []
    if learner["name"] not in CATALOG or "source" in learner:
        parts.append(("learner", learner["name"]))
    parts += [(name, _short_name(value)) for name, value in learner.get("fields", {}).items()]
    known = benchmark["name"] in BENCHMARKS or FILE_DIGEST in benchmark["options"]
    if not known or "sha256" in benchmark["options"] or "code" in benchmark:
        parts.append(("benchmark", benchmark["name"]))
    if model["name"] not in models.__all__ or "code" in model:
        parts.append(("model", model["name"]))
    return parts


def _short_name(value: Any) -> str:
    return str(value.get("name", value)) if isinstance(value, dict) else str(value)


def _recipe(record: RunRecord, data_dir: Path | None) -> BenchmarkRecipe | DataFileRecipe:
    name, options = record.benchmark, record.config["benchmark"]["options"]
    if FILE_DIGEST not in options:
        return BenchmarkRecipe(name, options, data_dir)
    path = (data_dir or Path()) / f"{name}.pt"
    if not path.exists():
        raise DataError(
            f"{path} does not exist, expected the file that the run in {record.folder} learns from; give its folder: "
            f"{resume_command(record.folder, '--data-dir', 'FOLDER')}"
        )
    return DataFileRecipe(path, options)
