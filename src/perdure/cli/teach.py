"""perdure teach: a classifier of drawings in the browser, in one command."""

from __future__ import annotations

import os
import sys
import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from perdure.cli.commands import command, examples
from perdure.cli.console import say
from perdure.cli.serve import check_installed

MODEL = "drawings"
"""The model that is made if the folder has none."""
FEATURES = "omniglot-small-prototypes"
METHOD = "nearest-mean"


def teach(
    folder: Annotated[
        Path, typer.Option(help="Folder of the models; whatever is taught stays there, and is there again next time.")
    ] = Path("taught"),
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Port; 0 for any that is free.")] = 8000,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Print the address, and open nothing.")] = False,
) -> None:
    """Teach a classifier in the browser: draw a symbol, give it a name, and it is known.

    Makes a model for drawings in the folder if there is none, serves it on this machine's own address until it is
    stopped with Ctrl-C, and opens the browser if there is a display. Nothing leaves this machine.
    """
    check_installed()
    from perdure.service.limits import Limits
    from perdure.service.server import Address, serve

    make_model(folder)

    def announce(address: str) -> None:
        say(f"teach at {address}/ (Ctrl-C ends it; what was taught stays in {folder})")
        if not no_browser and has_display():
            webbrowser.open(f"{address}/")

    serve(folder, Address(port=port), Limits(), say=announce, log=False)


def make_model(folder: Path) -> None:
    """Make a model for drawings in a folder that has none."""
    from perdure.online.durable import DurableModel
    from perdure.online.folder import JOURNAL

    if not any(folder.glob(f"*/{JOURNAL}")):
        DurableModel.open(folder / MODEL, method=METHOD, features=FEATURES, standardize=False).close()


def has_display() -> bool:
    """Tell whether a browser would be seen."""
    if sys.platform.startswith(("win", "darwin")):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


teach_command = command(
    teach,
    name="teach",
    epilog=examples("perdure teach", "perdure teach --folder models --port 9000", "perdure teach --no-browser"),
)
