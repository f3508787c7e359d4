"""perdure new: files to begin own code with."""

from __future__ import annotations

import keyword
import re
import shlex
from importlib import resources
from pathlib import Path
from typing import Annotated

import typer

from perdure.cli.commands import examples, group, listed
from perdure.cli.console import say


def new_learner(
    name: Annotated[str, typer.Argument(help="Name of the class, as MyLearner.")],
    file: Annotated[
        Path | None, typer.Option(help="File to write.", show_default="the name in small letters, as my_learner.py")
    ] = None,
) -> None:
    """Write a file with a learner that runs and passes perdure check: SGD, to be changed.

    A file that exists is not written over.
    """
    if not name.isidentifier() or keyword.iskeyword(name) or not name.isascii():
        raise ValueError(
            f"{name!r} is no name of a class; give letters, digits and underscores that begin with a letter, as "
            f"{_suggestion(name)}"
        )
    path = file or Path(f"{_snake(name)}.py")
    if path.suffix != ".py":
        raise ValueError(f"--file is {path}, expected a name that ends in .py")
    typed = shlex.quote(f"{path}:{name}")
    template = resources.files("perdure.cli").joinpath("learner_template.txt").read_text(encoding="utf-8")
    try:
        with path.open("x", encoding="utf-8") as opened:
            opened.write(re.sub("FILE:NAME|NAME", lambda found: {"NAME": name, "FILE:NAME": typed}[found[0]], template))
    except FileExistsError:
        raise ValueError(f"{path} exists and is not written over; give another --file, or delete it") from None
    except OSError as cause:
        raise ValueError(f"{path} cannot be written: {cause.strerror}; give another --file") from cause
    say(f"{path}\ncheck it: perdure check {typed}\nrun it: perdure run {typed} digits-rotations --seeds 3")


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def _suggestion(name: str) -> str:
    words = re.findall(r"[A-Za-z0-9]+", name.lstrip("0123456789"))
    joined = "".join(it[:1].upper() + it[1:] for it in words)
    return joined if joined.isidentifier() and not keyword.iskeyword(joined) else "MyLearner"


new_app = group(
    "command",
    {"learner": listed("learner", new_learner, "perdure new learner MyLearner")},
    help="Begin own code: write a file that runs, to be changed.",
    epilog=examples("perdure new learner MyLearner"),
)
