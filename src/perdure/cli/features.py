"""perdure features: features made for learning on top of them, trained, tested and looked at."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from perdure.cli.commands import examples, group, listed, required
from perdure.cli.console import DataDir, Log, Previous, Quiet, Ray, cluster_of, print_table, say


def train(
    domain: Annotated[str | None, typer.Argument(help="omniglot or sine.", show_default=False)] = None,
    *,
    method: Annotated[
        str, typer.Option(help="oml, anml, prototypes, gemcl, pretraining, sr-nn or scratch (no training).")
    ] = "oml",
    size: Annotated[
        str | None,
        typer.Option(help="small, paper or paper-deep for omniglot, paper for sine.", show_default="small, or paper"),
    ] = None,
    steps: Annotated[int | None, typer.Option(min=0, help="Number of steps.", show_default="of the preset")] = None,
    inner_rate: Annotated[
        float | None, typer.Option(min=0, help="Learning rate of the inner loop.", show_default="of the preset")
    ] = None,
    meta_rate: Annotated[
        float | None,
        typer.Option(
            min=0, help="Learning rate of Adam for OML, ANML, prototypes and GeMCL.", show_default="of the preset"
        ),
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option(min=0, help="Learning rate of Adam for pretraining and SR-NN.", show_default="of the preset"),
    ] = None,
    first_order: Annotated[
        bool, typer.Option("--first-order", help="Treat the inner loop's gradients as constants.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Seed of everything random.")] = 0,
    validate_every: Annotated[
        int | None, typer.Option(min=1, help="Steps between two validations.", show_default="of the preset")
    ] = None,
    patience: Annotated[int, typer.Option(min=1, help="Stop after this many validations without a better score.")] = 20,
    out: Annotated[Path | None, typer.Option(help="Folder of the training.", show_default="in runs/")] = None,
    checkpoint_seconds: Annotated[float, typer.Option(min=0, help="Seconds between two checkpoints.")] = 60.0,
    data_dir: DataDir = None,
    log: Log = None,
    previous: Previous = False,
    quiet: Quiet = False,
) -> None:
    """Train a representation; the same command continues one that was stopped."""
    from perdure.cli.report import report_run
    from perdure.execution.drive import Driving
    from perdure.experiments.representations.plan import make_recipe
    from perdure.experiments.representations.train import train_recipe, training_loggers

    domain = required(domain, "domain", ["omniglot", "sine"])
    size = size or ("paper" if domain == "sine" else "small")
    given = {
        "steps": steps,
        "inner_rate": inner_rate,
        "meta_rate": meta_rate,
        "rate": rate,
        "validate_every": validate_every,
    }
    changes = {name: it for name, it in given.items() if it is not None} | (
        {"first_order": True} if first_order else {}
    )
    command = shlex.join(["perdure", *sys.argv[1:]])
    folder = out or Path("runs") / f"{domain}-{size}-{method}"
    train_recipe(
        make_recipe(domain, size, method, changes, data_dir, command),
        Driving(
            checkpoint_seconds=checkpoint_seconds,
            previous=previous,
            progress=not quiet,
            loggers=training_loggers(None if log is None else log.split(","), folder),
        ),
        folder,
        seed=seed,
        patience=patience,
    )
    report_run(folder)


EVALUATION_CLASSES = "10,50,75,100,150,200"
Names = Annotated[list[str], typer.Argument(help="Names of representations that come with perdure, files, or folders.")]
Out = Annotated[Path, typer.Option(help="Folder of the results.")]
RecordFolder = Annotated[Path | None, typer.Option("--out", help="Folder of the record.", show_default="in runs/")]


def evaluate(
    representations: Names,
    *,
    classes: Annotated[str, typer.Option(help="Numbers of classes, separated by commas.")] = EVALUATION_CLASSES,
    heads: Annotated[
        str | None,
        typer.Option(
            help="What learns on the features, separated by commas: sgd, nearest-mean, gaussian, gaussian-map, lda, "
            "slda, ridge.",
            show_default="sgd if the file holds a network for it (omniglot-small-anml, sine), "
            "gaussian, gaussian-map and lda for GeMCL, else nearest-mean and lda",
        ),
    ] = None,
    runs: Annotated[int, typer.Option(min=1, help="Runs with each number of classes.")] = 50,
    order: Annotated[
        str, typer.Option(help="Order of the classes: sorted, or random, for each run another one.")
    ] = "sorted",
    oracle: Annotated[
        int | None, typer.Option(min=1, help="Passes in random order instead of one in order.", show_default="none")
    ] = None,
    fresh_head: Annotated[
        bool, typer.Option("--fresh-head", help="For sine, draw a new head too; for classes that is always done.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the class sets, functions and heads.")] = 0,
    out: RecordFolder = None,
    data_dir: DataDir = None,
    ray: Ray = None,
    quiet: Quiet = False,
) -> None:
    """Test representations by the published protocol: a sweep of rates, then many runs, and what they retain."""
    cluster = cluster_of(ray)  # first: an address that does not answer is named at once
    from perdure.cli.report import report_run
    from perdure.experiments.representations.evaluation import evaluate_all
    from perdure.experiments.representations.evaluation_spec import evaluation_spec

    if not all(it.strip().isdecimal() for it in classes.split(",")):
        raise ValueError(f"--classes is {classes!r}, expected numbers separated by commas, as {EVALUATION_CLASSES}")
    counts = [int(it) for it in classes.split(",")]
    named = None if heads is None else [it.strip() for it in heads.split(",")]
    spec = evaluation_spec(
        representations, counts, heads=named, runs=runs, order=order, oracle=oracle, fresh_head=fresh_head, seed=seed
    )
    folder = out or spec.default_folder()
    evaluate_all(spec, folder, data_dir=data_dir, progress=not quiet, engine=cluster)
    report_run(folder)


def visualize(
    representations: Names,
    *,
    shown: Annotated[int, typer.Option(min=1, help="Single inputs to show.")] = 4,
    out: Out = Path("runs/representations"),
    data_dir: DataDir = None,
) -> None:
    """Show how sparse the features of representations are, and draw them as heat maps side by side."""
    from perdure.experiments.representations.evaluate import features_of
    from perdure.report.figures.representations import activation_maps
    from perdure.report.figures.saving import save_figure
    from perdure.report.representations import statistics_table
    from perdure.representation.file import representation_name
    from perdure.representation.statistics import representation_statistics

    features = {representation_name(name): features_of(name, data_dir) for name in representations}
    statistics = {name: representation_statistics(it) for name, it in features.items()}
    print_table(statistics_table(statistics))
    spread = {name: it[:: max(1, len(it) // shown)][:shown] for name, it in features.items()}
    for path in save_figure(activation_maps(statistics, spread), out / "features"):
        say(str(path))


def learners(
    representations: Names,
    *,
    raw: Annotated[
        bool, typer.Option("--raw", help="Also measure a network that learns from the images themselves.")
    ] = False,
    seeds: Annotated[int, typer.Option(min=2, help="Seeds of each figure.")] = 10,
    out: RecordFolder = None,
    data_dir: DataDir = None,
    quiet: Quiet = False,
) -> None:
    """Compare Online, EWC, ER, MER and heads in closed form on representations of Omniglot, beside published figures.

    The same command again continues after the last figure that was measured.
    """
    from perdure.cli.report import report_run
    from perdure.experiments.representations.learners import compare_learners, default_comparison_folder

    folder = out or default_comparison_folder(seeds)
    compare_learners(representations, raw=raw, seeds=seeds, folder=folder, data_dir=data_dir, progress=not quiet)
    report_run(folder)


def compare(
    file: Annotated[
        Path,
        typer.Argument(
            help="Features from any network: .npz with arrays, or a table (.parquet, .csv, .tsv, .ndjson, .jsonl)."
        ),
    ],
    *,
    label: Annotated[str, typer.Option(help="Array, or column, of the classes.")] = "y",
    features: Annotated[
        str | None,
        typer.Option(
            help="Array of the features, or column of lists.", show_default="x; of a table all columns but the label"
        ),
    ] = None,
    test: Annotated[
        Path | None,
        typer.Option(help="File of what to hold out.", show_default="test_x and test_y, or else a part of each class"),
    ] = None,
    methods: Annotated[
        str,
        typer.Option(
            help="Methods side by side: nearest-mean, gaussian, lda, slda, ridge, online, er, mer, averaged-er, "
            "multi-timescale-mer, auto."
        ),
    ] = "nearest-mean,lda,ridge,er,mer",
    order: Annotated[
        str, typer.Option(help="Of the examples: classes, one after another; shuffled; or file, as they are.")
    ] = "classes",
    test_share: Annotated[
        float, typer.Option(help="Part of each class that is held out if no test examples are given.")
    ] = 0.2,
    memory_size: Annotated[int, typer.Option(min=1, help="Examples that a method with a memory keeps.")] = 2_000,
    seeds: Annotated[int, typer.Option(min=1, help="Seeds of division, order and methods.")] = 3,
    out: RecordFolder = None,
    quiet: Quiet = False,
) -> None:
    """Compare what learns on features of your own, in one pass: heads in closed form, ER, MER and others.

    The same command again continues after the last method that was measured.
    """
    from perdure.streams.embeddings import check_division

    check_division(order, test_share)  # first: other modules take seconds to load
    from perdure.cli.report import report_run
    from perdure.experiments.representations.embeddings import run_embeddings
    from perdure.experiments.representations.embeddings_spec import EmbeddingsPlan, EmbeddingsSpec
    from perdure.online.methods import METHODS
    from perdure.online.stream import methods_given

    plan = EmbeddingsPlan(methods_given(methods, METHODS), order, test_share, seeds, memory_size)
    spec = EmbeddingsSpec(str(file), features, label, None if test is None else str(test), plan)
    folder = out or spec.default_folder()
    run_embeddings(spec, folder, progress=not quiet)
    report_run(folder)


features_app = group(
    "command",
    {
        "train": listed(
            "train",
            train,
            "perdure features train omniglot --size small",
            "perdure features train sine --method pretraining",
        ),
        "evaluate": listed(
            "evaluate", evaluate, "perdure features evaluate omniglot-small --runs 5", "perdure features evaluate sine"
        ),
        "visualize": listed("visualize", visualize, "perdure features visualize sine"),
        "compare": listed(
            "compare",
            compare,
            "perdure features compare embeddings.npz",
            "perdure features compare embeddings.parquet --label species --order shuffled",
        ),
        "learners": listed("learners", learners, "perdure features learners omniglot-small --seeds 3"),
    },
    help="Features made for learning on top of them: train, evaluate and visualize them.",
    epilog=examples("perdure features evaluate omniglot-small", "perdure features train --help"),
)
