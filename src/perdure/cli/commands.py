"""Groups whose commands load when they are called for, and commands that explain a wrong option."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from inspect import getdoc
from typing import Any, NamedTuple

import typer
import typer.core

from perdure.cli.spelling import speak_of

_HELP = {"help_option_names": ["-h", "--help"]}


class LazyCommand(NamedTuple):
    """A command of a group, loaded when it is called."""

    summary: str
    load: Callable[[], Any]
    """Return the command."""


def examples(*lines: str) -> str:
    """Return the end of a command's help: commands that can be typed as they stand."""
    return "\n\n".join(["Examples:", *(f"  {line}" for line in lines)])


def group(
    kind: str,
    commands: Mapping[str, LazyCommand],
    *,
    help: str,
    epilog: str,
    former_names: Mapping[str, str] | None = None,
    callback: Callable[..., None] | None = None,
    other: Callable[[str], LazyCommand | None] | None = None,
) -> typer.Typer:
    """Return a group of commands that are loaded when they are called; its help loads none of them.

    Args:
        kind: what the commands' names are, for the message about an unknown one: "learner", say.
        commands: by name, in the order in which help lists them.
        help: what the group is for.
        epilog: end of its help.
        former_names: other names of commands, which work and are not listed.
        callback: takes the options that come before the command, None if there are none.
        other: returns a command that is not listed, such as one for own code, None if there is none of the name.
    """

    class LazyGroup(typer.core.TyperGroup):
        def list_commands(self, ctx: Any) -> list[str]:
            return list(commands)

        def get_command(self, ctx: Any, cmd_name: str) -> Any:
            """Return something to list: the name and what it does."""
            return typer.core.TyperCommand(cmd_name, short_help=commands[cmd_name].summary)

        def resolve_command(self, ctx: Any, args: list[str]) -> Any:
            name, *rest = args
            name = (former_names or {}).get(name, name)
            found = commands.get(name) or (other and other(name))
            if not found:
                raise ValueError(_unknown(kind, name, commands))
            command = found.load()
            command.name = name
            return name, command, rest

    return typer.Typer(
        cls=LazyGroup,
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode="rich",
        pretty_exceptions_enable=False,
        context_settings=_HELP,
        callback=callback or _nothing,
        help=help,
        epilog=epilog,
    )


def command(function: Callable[..., Any], *, name: str | None = None, **options: Any) -> Any:
    """Return a function as a command that explains wrong options; `options` are those of `typer.Typer.command`."""
    single = typer.Typer(add_completion=False, rich_markup_mode="rich", pretty_exceptions_enable=False)
    help = unwrapped(getdoc(function) or "")
    single.command(name, cls=ExplainingCommand, context_settings=_HELP, help=help, **options)(function)
    return typer.main.get_command(single)


def unwrapped(text: str) -> str:
    """Return a docstring with each paragraph in one line, which a terminal breaks where it ends."""
    return "\n\n".join(" ".join(it.split()) for it in text.split("\n\n"))


def listed(name: str, function: Callable[..., Any], *example_lines: str) -> LazyCommand:
    """Return a function as a command of a group; what its docstring says first is what the group says of it."""
    summary = (function.__doc__ or "").partition("\n")[0]
    return LazyCommand(summary, lambda: command(function, name=name, epilog=examples(*example_lines)))


class ExplainingCommand(typer.core.TyperCommand):
    """A command that says what is near an option that it does not have, or who has it."""

    elsewhere: Callable[[str], Sequence[str]] | None = None
    """Which others of its kind have an option, by name; None if there are none."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse, once every option is known."""
        known = {name: it for it in self.params for name in (*it.opts, *it.secondary_opts) if name.startswith("-")}
        known |= dict.fromkeys(ctx.help_option_names)
        for option in _options_in(args, known):
            if option not in known:
                raise ValueError(self._unknown_option(option, known))
        speak_of({it.name: it.opts[0] for it in self.params if it.name and it.opts[0].startswith("--")})
        return super().parse_args(ctx, args)

    def _unknown_option(self, option: str, known: Iterable[str]) -> str:
        if (spelled := option.replace("_", "-")) in known:
            return f"there is no option {option}; did you mean {spelled}?"
        if self.elsewhere is not None and (others := self.elsewhere(option)):
            return f"{self.name} has no {option}; {', '.join(others)} {'has' if len(others) == 1 else 'have'}"
        near = [it for it in known if option.removeprefix("--") in it][:2] or get_close_matches(option, known, n=2)
        hint = f"did you mean {' or '.join(near)}?" if near else "--help lists the options that there are"
        return f"there is no option {option}; {hint}"


def required(value: str | None, what: str, choices: Iterable[str]) -> str:
    """Return an argument that must be given.

    Raises:
        ValueError: naming the choices, if it was not.
    """
    if value is None:
        raise ValueError(f"give a {what}: {', '.join(choices)}")
    return value


def _options_in(args: Sequence[str], known: Mapping[str, Any]) -> Iterable[str]:
    """Yield the names of the options among arguments, values left out."""
    rest = iter(args)
    for argument in rest:
        if argument == "--":
            return
        name, given, _ = argument.partition("=")
        if not name.startswith("-") or name[1:2].isdigit() or name in ("-", "-."):
            continue
        yield name
        option = known.get(name)
        if not given and option is not None and not option.is_flag:
            next(rest, None)


def _unknown(kind: str, name: str, known: Iterable[str]) -> str:
    near = get_close_matches(name, known, n=1, cutoff=0.4)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"unknown {kind} {name!r}; {hint}Known: {', '.join(known)}"


def _nothing() -> None:
    """Do nothing before a command."""
