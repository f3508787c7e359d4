"""Commands that have a command for each learner: perdure run mer, perdure tune mer."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer
import typer.core

from perdure.learners.catalog import CATALOG
from perdure.machine.signals import signals_later


class Learners(typer.core.TyperGroup):
    """A command for each learner, with an option for each of its hyper-parameters, made when it is asked for."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the learners in the catalogue's order."""
        return list(CATALOG)


def learner_command(learner_name: str, action: Callable[..., None], *, several: bool = False) -> Any:
    """Return the command that does `action` with one learner; each hyper-parameter may have several values or one."""
    with signals_later():
        from perdure.learners.catalog import learner_class

        made = learner_class(learner_name)
    return command_with_hyperparameters(learner_name, made, CATALOG[learner_name].summary, action, several=several)


def command_with_hyperparameters(
    name: str, record: type, summary: str, action: Callable[..., None], *, several: bool = False
) -> Any:
    """Return a command with an option for each hyper-parameter that a record, a learner's or an agent's, declares.

    Args:
        name: of the command.
        record: declares the hyper-parameters.
        summary: what the command's group says of it.
        action: is called with the name, the hyper-parameters given and whatever else it asks for.
        several: may a hyper-parameter have several values?
    """
    with signals_later():
        from perdure.learners.hyperparameters import hyperparameters

        known = hyperparameters(record)

    def command(**options: Any) -> None:
        given = {it.name: options.pop(it.name) for it in known}
        action(name, {name: value for name, value in given.items() if value is not None}, **options)

    chosen = [
        inspect.Parameter(
            it.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[(str if several else it.kind) | None, _hyperparameter_option(it.help, several)],
        )
        for it in known
    ]
    common = list(inspect.signature(action, eval_str=True).parameters.values())[2:]
    command.__signature__ = inspect.Signature([common[0], *chosen, *common[1:]])  # pyright: ignore[reportFunctionMemberAccess]
    command.__doc__ = inspect.getdoc(record)
    single = typer.Typer(add_completion=False, rich_markup_mode="rich", pretty_exceptions_enable=False)
    single.command(name, short_help=summary)(command)
    return typer.main.get_command(single)


def _hyperparameter_option(text: str, several: bool) -> Any:
    metavar = "VALUES" if several else None
    return typer.Option(help=text, metavar=metavar, show_default="of the preset", rich_help_panel="Hyper-parameters")
