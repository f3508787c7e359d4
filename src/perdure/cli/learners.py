"""Commands that have a command for each learner: perdure run mer, perdure tune mer."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from perdure import own
from perdure.cli.commands import ExplainingCommand, LazyCommand, command, examples
from perdure.learners.catalog import CATALOG, learner_class
from perdure.named import Entry, named_class


def learner_commands(
    action: Callable[..., None], example_lines: Mapping[str, Sequence[str]], *, several: bool = False
) -> dict[str, LazyCommand]:
    """Return a command for each learner, in the catalogue's order; see `commands_of`."""
    return commands_of(CATALOG, "learner", action, example_lines, several=several)


def own_learner_command(
    action: Callable[..., None], example_lines: Sequence[str], *, several: bool = False
) -> Callable[[str], LazyCommand | None]:
    """Return what makes the command of an own learner, `my_method.py:MyLearner`, or of an installed package's.

    Args:
        action: as in `commands_of`.
        example_lines: what can be typed, with NAME for the name.
        several: may a hyper-parameter have several values?
    """

    def command_of(name: str) -> LazyCommand | None:
        place = name.rpartition(":")[0]
        if "," in name and not ("," in place and Path(place).exists()):
            raise ValueError(
                f"{name} is several learners, expected one; put them side by side with perdure compare {name} BENCHMARK"
            )
        if not own.is_own(name, own.LEARNERS):
            return None
        lines = [line.replace("NAME", name) for line in example_lines]
        return LazyCommand(
            "Your own learner",
            lambda: _with_hyperparameters(name, learner_class(name), action, lines, several=several),
        )

    return command_of


def commands_of(
    entries: Mapping[str, Entry],
    kind: str,
    action: Callable[..., None],
    example_lines: Mapping[str, Sequence[str]],
    *,
    several: bool = False,
) -> dict[str, LazyCommand]:
    """Return a command for each class of a catalogue, with an option for each of its hyper-parameters.

    Args:
        entries: the catalogue: of learners, or of agents.
        kind: what its entries are, for messages.
        action: is called with the name, the hyper-parameters given and whatever else it asks for.
        example_lines: what can be typed, by name; "" for all names that have none of their own, with NAME for the name.
        several: may a hyper-parameter have several values?
    """

    def load(name: str) -> Any:
        record = named_class(entries, kind, name)
        lines = example_lines.get(name) or [line.replace("NAME", name) for line in example_lines[""]]
        made = _with_hyperparameters(name, record, action, lines, several=several)
        made.elsewhere = lambda option: _who_has(entries, kind, option, several=several)
        return made

    return {name: LazyCommand(entry.summary, lambda name=name: load(name)) for name, entry in entries.items()}


def _with_hyperparameters(
    name: str, record: type, action: Callable[..., None], example_lines: Iterable[str], *, several: bool
) -> ExplainingCommand:
    """Return a command with an option for each hyper-parameter that a class declares."""
    from perdure.learners.hyperparameters import hyperparameters, numeric_hyperparameters

    known = numeric_hyperparameters(record) if several else hyperparameters(record)

    def act(**options: Any) -> None:
        given = {it.name: options.pop(it.name) for it in known}
        action(name, {name: value for name, value in given.items() if value is not None}, **options)

    chosen = [
        inspect.Parameter(
            it.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[(str if several else it.kind) | None, _option(it.help, several)],
        )
        for it in known
    ]
    common = list(inspect.signature(action, eval_str=True).parameters.values())[2:]
    act.__signature__ = inspect.Signature([*common[:1], *chosen, *common[1:]])  # pyright: ignore[reportFunctionMemberAccess]
    act.__doc__ = escape(inspect.getdoc(record) or "")
    return command(act, name=name, epilog=examples(*example_lines))


def _option(text: str, several: bool) -> Any:
    metavar = "VALUES" if several else None
    return typer.Option(
        help=escape(text), metavar=metavar, show_default="of the preset", rich_help_panel="Hyper-parameters"
    )


def _who_has(entries: Mapping[str, Entry], kind: str, option: str, *, several: bool) -> list[str]:
    """Return the names in a catalogue whose commands have the option of a hyper-parameter."""
    from perdure.learners.hyperparameters import hyperparameters, numeric_hyperparameters

    known = numeric_hyperparameters if several else hyperparameters
    wanted = option.removeprefix("--").replace("-", "_")
    return [name for name in entries if any(it.name == wanted for it in known(named_class(entries, kind, name)))]
