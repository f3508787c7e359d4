"""perdure serve: the models of a folder over HTTP, and the tokens that let callers in."""

from __future__ import annotations

import shlex
from dataclasses import fields
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import typer.core

from perdure.cli.commands import command, examples
from perdure.cli.console import say

if TYPE_CHECKING:
    from perdure.service.limits import Limits

_NEEDED = ("fastapi", "uvicorn", "httptools", "pydantic", "prometheus_client")
Folder = Annotated[Path, typer.Argument(help="Folder of the models; each folder in it is one.")]


def serve(
    folder: Folder,
    host: Annotated[
        str, typer.Option(help="Address to listen at. Another than this machine's own needs a token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Port; 0 for any that is free.")] = 8000,
    tls_cert: Annotated[Path | None, typer.Option(help="Certificate (PEM), for https.", show_default="http")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Its private key (PEM).", show_default="http")] = None,
    limit: Annotated[
        list[str] | None,
        typer.Option(help="A limit as name=value, such as rows=500; may be given several times. --limits lists them."),
    ] = None,
    limits: Annotated[bool, typer.Option("--limits", help="List the limits and their values, and end.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Write no log of the requests.")] = False,
) -> None:
    """Serve the models of a folder over HTTP until it is stopped.

    An example is acknowledged once it is on the disk: kill the server at any moment, and nothing that it has
    acknowledged is lost. Predictions never wait for learning. Models are made by POST /v1/models, or by
    `perdure model new FOLDER/NAME`; /openapi.json describes all requests.

    On this machine's own address anybody on it may do everything, as long as there is no token. To let other machines
    in, make a token first (`perdure serve token`), and give --host.

    SIGTERM (or Ctrl-C) ends it well: no more requests are taken, those under way are answered, each model makes a
    snapshot, and the exit status is 0.
    """
    check_installed()
    from perdure.service.server import Address, serve

    given = _limits(limit or [])
    if limits:
        for it in fields(given):
            say(f"{it.name}={getattr(given, it.name):g}")
        return
    serve(folder, Address(host, port, tls_cert, tls_key), given, say=_announce, log=not quiet)


def token(
    folder: Folder,
    name: Annotated[str | None, typer.Option(help="What to call the token; to be told from others.")] = None,
    role: Annotated[
        str, typer.Option(help="read (ask), learn (and teach and correct), or admin (and make and delete models).")
    ] = "read",
    revoke: Annotated[str | None, typer.Option(help="Take the token of this name away.")] = None,
) -> None:
    """Make a token that lets its bearer in, print it once, and keep its hash; or list those that there are."""
    check_installed()
    from perdure.service.tokens import make_token, read_tokens, revoke_token
    from perdure.storage.files import make_folder

    if revoke is not None:
        revoke_token(folder, revoke)
        say(f"revoked the token {revoke!r}")
    elif name is not None:
        make_folder(folder)
        say(make_token(folder, name, role))
    else:
        for it in read_tokens(folder):
            say(f"{it.name}: {it.role}, made {it.created}")
        if not read_tokens(folder):
            command = shlex.join(["perdure", "serve", "token", str(folder), "--role", "learn", "--name", "NAME"])
            say(f"{folder} has no tokens; make one: {command}")


def _announce(address: str) -> None:
    say(f"serving at {address}")


def check_installed() -> None:
    """Check that what the server needs is there.

    Raises:
        ModuleNotFoundError: naming the extra that brings it.
    """
    if missing := [it for it in _NEEDED if find_spec(it) is None]:
        raise ModuleNotFoundError(
            f"{', '.join(missing)} is not installed, which the server needs; install it: pip install 'perdure[service]'"
        )


def _limits(given: list[str]) -> Limits:
    """Return the limits, with those changed that were given as name=value.

    Raises:
        ValueError: if there is no such limit, or it is no number above 0.
    """
    from perdure.service.limits import Limits

    kinds = {it.name: type(it.default) for it in fields(Limits)}
    values: dict[str, Any] = {}
    for text in given:
        name, _, value = text.partition("=")
        name = name.replace("-", "_")
        if name not in kinds:
            raise ValueError(f"there is no limit {name!r}; there are: {', '.join(kinds)}")
        try:
            values[name] = kinds[name](value)
        except ValueError:
            raise ValueError(f"--limit {text} was given, expected {name}=NUMBER") from None
    return Limits(**values)


_serve = command(
    serve,
    name="serve",
    epilog=examples(
        "perdure serve models",
        "perdure serve models --port 9000 --limit rows=500",
        "perdure serve token models --role learn --name robot",
        "perdure serve models --host 0.0.0.0 --tls-cert server.pem --tls-key server.key",
    ),
)
_token = command(token, name="token", epilog=examples("perdure serve token models --role admin --name me"))


class _ServeOrToken(typer.core.TyperGroup):
    """`serve token …` is a command of its own; everything else is `serve`'s."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, args or ["--help"])

    def list_commands(self, ctx: Any) -> list[str]:
        return ["token"]

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args[0] == "token":
            return "token", _token, args[1:]
        return "", _serve, args


serve_command = _ServeOrToken(
    name="serve",
    add_help_option=False,
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
