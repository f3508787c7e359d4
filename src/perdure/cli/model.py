"""perdure model: a model in a folder that is taught, asked and corrected, and loses no example."""

from __future__ import annotations

import codecs
import csv
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from perdure.cli.commands import examples, group, listed
from perdure.cli.console import Quiet, print_table, say
from perdure.cli.report import report_run
from perdure.storage.files import whole_file

if TYPE_CHECKING:
    from perdure.online.durable import DurableModel

Folder = Annotated[Path, typer.Argument(help="Folder of the model.")]
File = Annotated[
    str, typer.Argument(help="CSV (.csv, .tsv), Parquet or NDJSON (.ndjson, .jsonl) file; - for standard input.")
]


def new(
    folder: Folder,
    method: Annotated[
        str,
        typer.Option(
            help="auto, online, er, mer, averaged-er, multi-timescale-mer, nearest-mean, gaussian, lda, slda or ridge."
        ),
    ] = "auto",
    regression: Annotated[bool, typer.Option("--regression", help="Learn numbers, not classes.")] = False,
    memory_size: Annotated[int, typer.Option(min=1, help="Rows that a method with a memory keeps.")] = 2_000,
    memory_rule: Annotated[
        str, typer.Option(help="What a memory keeps: reservoir, ring, recent or balanced.")
    ] = "reservoir",
    features: Annotated[
        str | None,
        typer.Option(help="Learn drawings by these features, such as omniglot-small.", show_default="rows of a table"),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of all chance.")] = 0,
) -> None:
    """Make a model."""
    from perdure.online.durable import DurableModel
    from perdure.online.folder import JOURNAL

    if (folder / JOURNAL).exists():
        raise ValueError(f"{folder} holds a model already; teach it with perdure model learn, or choose another folder")
    with DurableModel.open(
        folder,
        method=method,
        regression=regression,
        memory_size=memory_size,
        memory_rule=memory_rule,
        features=features,
        seed=seed,
    ):
        say(f"a model in {folder}; teach it: perdure model learn {shlex.quote(str(folder))} FILE --label COLUMN")


def learn(
    folder: Folder,
    file: File,
    label: Annotated[str, typer.Option(help="Column of the classes, or of the numbers to learn.")],
    id: Annotated[
        str | None,
        typer.Option(help="Column of a name for each row; a row is learned once.", show_default="rows have no names"),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Teach the model the rows of a file, in their order."""
    from perdure.online.teaching import learn_file

    with _opened(folder) as model:
        before = model.n_examples
        n_rows = learn_file(model, file, label, id, progress=not quiet)
        learned = model.n_examples - before
        known = f", {n_rows - learned:,} were known" if n_rows > learned else ""
        say(f"learned {learned:,} rows{known}; the model knows {model.n_examples:,}")


def predict(
    folder: Folder,
    file: File,
    probabilities: Annotated[
        bool, typer.Option("--probabilities", help="A column for the probability of each class.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="CSV file to write.", show_default="standard output")] = None,
) -> None:
    """Write the model's answers to the rows of a file, as CSV with a line for each."""
    from perdure.online.durable import DurableModel
    from perdure.online.teaching import answers_to_file

    with DurableModel.open(folder, read_only=True) as model:
        lines = answers_to_file(model, file, probabilities=probabilities)
        if out is None:
            csv.writer(sys.stdout, lineterminator="\n").writerows(lines)
        else:
            with whole_file(out) as target:
                csv.writer(codecs.getwriter("utf-8")(target), lineterminator="\n").writerows(lines)


def status(folder: Folder) -> None:
    """Show what the model is and knows."""
    from perdure.online.durable import DurableModel
    from perdure.online.status import status_of
    from perdure.report.online import status_table

    with DurableModel.open(folder, read_only=True) as model:
        print_table(status_table(status_of(model)))


def undo(folder: Folder) -> None:
    """Forget the last example that was learned."""
    with _opened(folder) as model:
        last = model.undo()
        if last is None:
            raise ValueError(f"{folder} has learned nothing, so there is nothing to undo")
        named = f", {last.id!r}" if last.id else ""
        say(f"forgot example {last.position:,}{named}, taught as {last.y!r}; the model knows {model.n_examples:,}")


def forget(
    folder: Folder, ids: Annotated[list[str], typer.Argument(help="Names of the examples, as taught with --id.")]
) -> None:
    """Remove examples for good: the model becomes the one that never saw them."""
    with _opened(folder) as model:
        n = model.forget(ids)
        say(f"forgot {n:,}; the model knows {model.n_examples:,}")


def relabel(
    folder: Folder,
    id: Annotated[str, typer.Argument(help="Name of the example, as taught with --id.")],
    label: Annotated[str, typer.Argument(help="Its class, or number, from now on.")],
) -> None:
    """Correct the class of an example: the model becomes the one that learned it so."""
    from perdure.online.teaching import target_of

    with _opened(folder) as model:
        model.relabel(id, target_of(model, label))
        say(f"{id!r} is {label!r} now")


def backtest(
    folder: Folder,
    methods: Annotated[str, typer.Option(help="Methods side by side, of those that `perdure model new --help` names.")],
    delay: Annotated[int, typer.Option(min=0, help="Rows that come before a row's target is known.")] = 0,
    window: Annotated[int, typer.Option(min=1, help="Rows of the windowed curve.")] = 500,
    out: Annotated[Path | None, typer.Option(help="Folder of the record.", show_default="in runs/")] = None,
    quiet: Quiet = False,
) -> None:
    """Show what other methods would have been worth on the model's own history."""
    from perdure.online.durable import DurableModel
    from perdure.online.methods import METHODS
    from perdure.online.stream import StreamSpec, methods_given, run_stream

    with DurableModel.open(folder, read_only=True) as model:
        settings = model.settings
        spec = StreamSpec(
            source=str(folder),
            label="",
            methods=methods_given(methods, METHODS),
            regression=settings.regression,
            memory_size=settings.memory_size,
            memory_rule=settings.memory_rule,
            hidden_sizes=settings.hidden_sizes,
            delay=delay,
            window=window,
            seed=settings.seed,
        )
    target = out or spec.default_folder()
    run_stream(spec, target, progress=not quiet)
    report_run(target)


def adopt(folder: Folder, method: Annotated[str, typer.Argument(help="auto, online, er, mer, …")]) -> None:
    """Learn the whole history again with another method, and go on with it."""
    with _opened(folder) as model:
        model.adopt(method)
        say(f"the model learns with {method} now; it knows {model.n_examples:,} examples")


def export(
    folder: Folder, file: Annotated[Path, typer.Argument(help="File to write, such as model.safetensors.")]
) -> None:
    """Write the model to one file, which perdure.load reads."""
    from perdure.online.durable import DurableModel

    with DurableModel.open(folder, read_only=True) as model:
        model.save(file)
        say(f"wrote {file}; read it in Python: perdure.load({str(file)!r})")


def backup(
    folder: Annotated[Path, typer.Argument(help="Folder of the model, or of models; it may be served meanwhile.")],
    destination: Annotated[Path, typer.Argument(help="New folder for the copy; nothing may be there.")],
) -> None:
    """Copy a model, or a folder of models, to a new folder, also while it is learning."""
    from perdure.online.backup import backup_model
    from perdure.online.backups import backup_models
    from perdure.online.folder import JOURNAL

    if (folder / JOURNAL).exists():
        found = {str(folder): backup_model(folder, destination)}
    else:
        found = backup_models(folder, destination)
    for name, position in found.items():
        say(f"backed up {name} as it was after example {position:,}")


def restore(
    backup: Annotated[Path, typer.Argument(help="Folder that perdure model backup has made.")],
    folder: Annotated[Path, typer.Argument(help="Folder of the model, or of models.")],
    set_aside: Annotated[
        Path | None,
        typer.Option(
            help="Where a model goes that is in that place, on the same disk.", show_default="none is replaced"
        ),
    ] = None,
) -> None:
    """Put a copy of a backup in a model's place, once it is known to be sound."""
    from perdure.online.backup import restore_model
    from perdure.online.backups import models_in, restore_models

    if models_in(backup):
        found = restore_models(backup, folder, set_aside=set_aside)
    else:
        found = {str(folder): restore_model(backup, folder, set_aside=set_aside)}
    for name, position in found.items():
        say(f"restored {name} as it was after example {position:,}")


def migrate(
    folder: Annotated[Path, typer.Argument(help="Folder of the model, or of models.")],
) -> None:
    """Bring what an older version has written to this version's form, as opening to write does too."""
    from perdure.online.backups import models_in
    from perdure.online.folder import JOURNAL

    models = [] if (folder / JOURNAL).exists() else models_in(folder)
    for it in models or [folder]:
        with _opened(it) as model:
            say(f"{it} is of this version's form; the model knows {model.n_examples:,} examples")


def _opened(folder: Path) -> DurableModel:
    """Return the model in a folder, to be taught."""
    from perdure.online.durable import DurableModel

    return DurableModel.open(folder, create=False)


model_app = group(
    "command",
    {
        "new": listed("new", new, "perdure model new models/mail", "perdure model new models/price --regression"),
        "learn": listed("learn", learn, "perdure model learn models/mail mails.csv --label folder --id message"),
        "predict": listed("predict", predict, "perdure model predict models/mail today.csv --probabilities"),
        "status": listed("status", status, "perdure model status models/mail"),
        "undo": listed("undo", undo, "perdure model undo models/mail"),
        "forget": listed("forget", forget, "perdure model forget models/mail 1f3a 77b2"),
        "relabel": listed("relabel", relabel, "perdure model relabel models/mail 1f3a spam"),
        "backtest": listed("backtest", backtest, "perdure model backtest models/mail --methods auto,er,mer"),
        "adopt": listed("adopt", adopt, "perdure model adopt models/mail mer"),
        "export": listed("export", export, "perdure model export models/mail mail.safetensors"),
        "backup": listed(
            "backup",
            backup,
            "perdure model backup models/mail /backups/mail-monday",
            "perdure model backup models /backups/monday",
        ),
        "migrate": listed("migrate", migrate, "perdure model migrate models/mail", "perdure model migrate models"),
        "restore": listed(
            "restore",
            restore,
            "perdure model restore /backups/mail-monday models/mail",
            "perdure model restore /backups/mail-monday models/mail --set-aside models/.mail-replaced",
        ),
    },
    help="Keep a model in a folder, and teach it for ever: no example that it has learned is lost.",
    epilog=examples(
        "perdure model new models/mail",
        "perdure model learn models/mail mails.csv --label folder --id message",
        "perdure model predict models/mail today.csv",
    ),
)
