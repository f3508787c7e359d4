"""perdure compare: methods side by side on one benchmark."""

from __future__ import annotations

import math
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from perdure.cli.commands import command, examples
from perdure.cli.console import (
    DataDir,
    Degrees,
    EvaluateEvery,
    EvaluateOn,
    ExamplesPerTask,
    FileFeatures,
    FileLabel,
    FileTask,
    FileTest,
    Hidden,
    Model,
    Quiet,
    Ray,
    Tasks,
    Workers,
    complain,
    engine_of,
    note,
    print_table,
    say,
    sizes_given,
)
from perdure.cli.splits import with_split_options
from perdure.presets.comparison import METHODS
from perdure.streams.catalog import BenchmarkRecipe, benchmark_names

if TYPE_CHECKING:
    from perdure.experiments.methods.compare import Compared
    from perdure.learners.hyperparameters import Hyperparameter


@with_split_options
def compare(
    methods: Annotated[
        str | None,
        typer.Argument(
            help="Learners, separated by commas; own ones as my_method.py:MyLearner.", show_default=", ".join(METHODS)
        ),
    ] = None,
    benchmark: Annotated[
        str | None,
        typer.Argument(
            help=f"One of: {', '.join(benchmark_names())}; or your own: my_stream.py:make, data.csv, data.parquet, "
            "data.npz, data.pt.",
            show_default=False,
        ),
    ] = None,
    model: Model = None,
    hidden: Hidden = None,
    label: FileLabel = None,
    task: FileTask = None,
    features: FileFeatures = None,
    test: FileTest = None,
    *,
    split: dict[str, Any],
    seeds: Annotated[int, typer.Option(min=1, help="Number of seeds, the same streams for all methods.")] = 5,
    first_seed: Annotated[int, typer.Option(min=0, help="The first seed; the others follow it.")] = 0,
    memory_size: Annotated[
        int | None,
        typer.Option(min=1, help="Examples that each method may keep, if it keeps any.", show_default="of the preset"),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="METHOD.NAME=VALUE", help="A hyper-parameter of a method; may be repeated."),
    ] = None,
    preset: Annotated[
        Path | None,
        typer.Option(help="TOML file of presets, used before perdure's own.", show_default="those of perdure"),
    ] = None,
    baseline: Annotated[
        str | None, typer.Option(help="Method that the others are held against.", show_default="er, or the first")
    ] = None,
    tasks: Tasks = None,
    examples_per_task: ExamplesPerTask = None,
    degrees: Degrees = None,
    full_matrix: Annotated[bool, typer.Option("--full-matrix", help="Test all tasks after each one.")] = False,
    evaluate_every: EvaluateEvery = None,
    evaluate_on: EvaluateOn = None,
    workers: Workers = None,
    ray: Ray = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the record.", show_default="in runs/")] = None,
    page: Annotated[Path | None, typer.Option(help="Markdown page to write.", show_default="results.md in OUT")] = None,
    html: Annotated[Path | None, typer.Option(help="HTML page to write.", show_default="results.html in OUT")] = None,
    data_dir: DataDir = None,
    quiet: Quiet = False,
) -> None:
    """Compare methods on one benchmark: table, figures and a page of accuracy against cost.

    Each method has its preset for the memory requested, or the values given. What the folder already holds is not run
    again; after Ctrl-C the same command continues. If a run failed, the exit status is 1.
    """
    engine = engine_of(workers, ray)  # first: an address that does not answer is named at once
    from perdure.experiments.methods.compare import choose_methods, compare, comparison
    from perdure.experiments.supervised.typed import Typed, benchmark_of, model_of, name_typed, own_learner
    from perdure.report.comparison import save_pages

    names, where = _names(methods, benchmark)
    options = {"tasks": tasks, "examples_per_task": examples_per_task, "degrees": degrees, **split}
    table = Typed(label=label, task=task, features=features, test=test)
    recipe = benchmark_of(where, {option: it for option, it in options.items() if it is not None}, data_dir, table)
    chosen = choose_methods(
        names or METHODS,
        recipe,
        memory_size=memory_size,
        given=_values(set_ or []),
        preset_file=preset,
        lenient=names is None,
        typed=where,
        of_file=table.of_file,
    )
    for remark in chosen.notes:
        note(remark)
    shared = replace(
        table,
        benchmark=None if isinstance(recipe, BenchmarkRecipe) else where,
        model=model,
        hidden=sizes_given(hidden),
    )
    what = comparison(
        chosen.learners,
        recipe,
        model=model_of(shared),
        typed=[
            replace(shared, learner=own_learner(name)).to_json() | defaults
            for name, defaults in zip(chosen.names, chosen.defaults, strict=True)
        ],
        seeds=range(first_seed, first_seed + seeds),
        full_matrix=full_matrix,
        evaluate_every=evaluate_every,
        evaluate_on=evaluate_on,
        baseline=None if baseline is None else name_typed(baseline),
    )
    typed = shlex.join(["perdure", *sys.argv[1:]])
    folder = out or what.default_folder()
    pages = page or folder / "results.md", html or folder / "results.html"
    compared = compare(
        what,
        folder,
        command=typed,
        engine=engine,
        progress=not quiet,
        write_page=lambda record: save_pages(record, *pages),
    )
    report_comparison(compared, page, html)
    if compared.failures:
        raise typer.Exit(1)


def report_comparison(compared: Compared, page: Path | None = None, html: Path | None = None) -> None:
    """Show the table of a comparison, write its pages and figures, and say what failed.

    Args:
        compared: what came of it.
        page: of Markdown; None for results.md in its folder.
        html: the same as HTML; None for results.html in its folder.
    """
    from perdure.report.comparison import best_first, comparison_table, save_comparison
    from perdure.report.notes import comparison_notes
    from perdure.report.terminal_page import terminal_page

    record = compared.record
    if record.runs:
        print_table(terminal_page([comparison_table(best_first(record.runs), record.request.baseline)]))
    for remark in comparison_notes(record.runs):
        note(remark)
    for path in save_comparison(record, page or record.folder / "results.md", html or record.folder / "results.html"):
        say(str(path))
    for failure in compared.failures:
        complain(f"{failure.name}: {failure.reason}", "failed:")


def _names(methods: str | None, benchmark: str | None) -> tuple[list[str] | None, str]:
    """Return the methods, None for those compared unless told otherwise, and the benchmark."""
    from perdure.experiments.supervised.typed import benchmarks_in_words, is_benchmark
    from perdure.learners.catalog import CATALOG

    if methods is not None and "," not in methods and is_benchmark(methods):
        if benchmark is None:
            return None, methods
        if all(it.strip() in CATALOG for it in benchmark.split(",")):
            raise ValueError(
                f"{methods} is a benchmark and stands where the methods belong; give the methods first: "
                f"{shlex.join(['perdure', 'compare', benchmark, methods])}"
            )
    if benchmark is None:
        given = "" if methods is None else f" after {methods}"
        raise ValueError(f"give a benchmark{given}: {', '.join(benchmarks_in_words())}")
    return None if methods is None else [it.strip() for it in methods.split(",") if it.strip()], benchmark


def _values(texts: list[str]) -> dict[str, dict[str, Any]]:
    """Return hyper-parameters by learner, given texts like "er.learning_rate=0.1"."""
    from perdure import own
    from perdure.learners.catalog import CATALOG, learner_class
    from perdure.learners.hyperparameters import hyperparameters

    values: dict[str, dict[str, Any]] = {}
    for text in texts:
        where, is_given, value = text.partition("=")
        name, dot, field = where.rpartition(".")
        if not (is_given and dot and (name in CATALOG or own.is_own(name, own.LEARNERS))):
            raise ValueError(f"--set is {text!r}, expected METHOD.NAME=VALUE, as er.learning_rate=0.1")
        known = {it.name: it for it in hyperparameters(learner_class(name))}
        wanted = known.get(field.replace("-", "_"))
        if wanted is None:
            raise ValueError(f"--set is {text!r}, but {name} has no {field}; it has {', '.join(known)}")
        values.setdefault(name, {})[wanted.name] = _parsed(wanted, value, text)
    return values


def _parsed(wanted: Hyperparameter, value: str, text: str) -> Any:
    from perdure.learners.hyperparameters import range_in_words

    kind, words = wanted.kind, {"true": True, "false": False}
    try:
        parsed = words[value.lower()] if kind is bool else kind(value)
    except (ValueError, KeyError):
        expected = {float: "a number", int: "a whole number", bool: "true or false"}.get(kind, "a word")
        raise ValueError(f"--set is {text!r}, expected {expected} after the equals sign") from None
    if wanted.options and parsed not in wanted.options:
        raise ValueError(f"--set is {text!r}, expected one of {', '.join(wanted.options)} after the equals sign")
    if kind in (int, float) and not (wanted.minimum <= parsed <= wanted.maximum and parsed < math.inf):
        expected = range_in_words(kind, wanted.minimum, wanted.maximum)
        raise ValueError(f"--set is {text!r}, expected {expected} after the equals sign")
    return parsed


compare_command = command(
    compare,
    epilog=examples(
        "perdure compare digits-rotations --seeds 3",
        "perdure compare er,er-ace,der++ digits-split --scenario class --shuffle-classes",
        "perdure compare er,mer,der++ mnist-rotations --memory-size 200 --out compare/rotations",
        "perdure compare my_method.py:MyLearner,mer my_stream.py:make --seeds 3",
        "perdure compare er,mer data.csv --label y --task part --test test.csv",
        "perdure compare er,mer mnist-rotations --set er.learning_rate=0.05 --evaluate-every 500 --evaluate-on 500",
    ),
)
