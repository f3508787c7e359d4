"""perdure oml: representations that are made for learning online, trained, tested and looked at."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from perdure.cli.console import OUTPUT, DataDir, Previous, Quiet
from perdure.experiments.interrupt import signals_later

oml_app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Representations made for learning online: train, evaluate and look at them.",
)


@oml_app.command()
def train(
    domain: Annotated[str, typer.Argument(help="omniglot or sine.")],
    *,
    method: Annotated[str, typer.Option(help="oml, pretraining, sr-nn or scratch (no training).")] = "oml",
    size: Annotated[
        str | None,
        typer.Option(help="small, paper or paper-deep for omniglot, paper for sine.", show_default="small, or paper"),
    ] = None,
    steps: Annotated[int | None, typer.Option(min=0, help="Number of steps.", show_default="of the preset")] = None,
    inner_rate: Annotated[
        float | None, typer.Option(min=0, help="Learning rate of the inner loop.", show_default="of the preset")
    ] = None,
    meta_rate: Annotated[
        float | None, typer.Option(min=0, help="Learning rate of Adam for OML.", show_default="of the preset")
    ] = None,
    rate: Annotated[
        float | None, typer.Option(min=0, help="Learning rate of Adam for the others.", show_default="of the preset")
    ] = None,
    first_order: Annotated[
        bool, typer.Option("--first-order", help="Take the inner loop's gradients as constants.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Seed of all that is drawn.")] = 0,
    validate_every: Annotated[int, typer.Option(min=1, help="Steps between two validations.")] = 2000,
    patience: Annotated[int, typer.Option(min=1, help="Validations without a better score before it ends.")] = 20,
    out: Annotated[Path | None, typer.Option(help="Folder of the training.", show_default="in runs/")] = None,
    checkpoint_seconds: Annotated[float, typer.Option(min=0, help="Time between checkpoints.")] = 60.0,
    data_dir: DataDir = None,
    previous: Previous = False,
    quiet: Quiet = False,
) -> None:
    """Train a representation; the same command goes on with one that was stopped."""
    with signals_later():
        from perdure.experiments.meta_training import train_representation
        from perdure.experiments.representation_presets import make_recipe

    size = size or ("paper" if domain == "sine" else "small")
    given = {"steps": steps, "inner_rate": inner_rate, "meta_rate": meta_rate, "rate": rate}
    changes = {name: it for name, it in given.items() if it is not None} | (
        {"first_order": True} if first_order else {}
    )
    recipe = make_recipe(domain, size, method, changes, data_dir)
    folder = out or Path("runs") / f"{domain}-{size}-{method}"
    train_representation(
        recipe.domain,
        recipe.method,
        steps=recipe.steps,
        folder=folder,
        seed=seed,
        validate_every=validate_every,
        patience=patience,
        checkpoint_seconds=checkpoint_seconds,
        previous=previous,
        progress=not quiet,
        command=shlex.join(["perdure", *sys.argv[1:]]),
    )
    OUTPUT.print(f"representation: {folder / 'representation.safetensors'}", highlight=False, soft_wrap=True)
