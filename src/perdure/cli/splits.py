"""Options of commands whose benchmark may be classes of one data set, task after task."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from enum import StrEnum
from functools import wraps
from typing import Annotated, Any

import typer


class _Scenario(StrEnum):
    cls = "class"
    domain = "domain"
    task = "task"


class _Boundaries(StrEnum):
    sharp = "sharp"
    blurry = "blurry"
    gaussian = "gaussian"


class _Tests(StrEnum):
    task = "task"
    all = "all"
    none = "none"


def _option(text: str, default: str = "of the benchmark", **more: Any) -> Any:
    return typer.Option(help=text, show_default=default, rich_help_panel="Stream of classes", **more)


def _flag(name: str, text: str) -> Any:
    return typer.Option(name, help=text, rich_help_panel="Stream of classes")


SPLIT_OPTIONS: dict[str, Any] = {
    "scenario": Annotated[
        _Scenario | None,
        _option("class: one output for each class; domain: labels within the task; task: other tasks' outputs masked."),
    ],
    "classes_per_task": Annotated[int | None, _option("Classes of each task.", min=1)],
    "shuffle_classes": Annotated[bool, _flag("--shuffle-classes", "Show classes in an order that the seed draws.")],
    "boundaries": Annotated[
        _Boundaries | None,
        _option("sharp; blurry: some classes in several tasks; gaussian: each class comes and goes.", "sharp"),
    ],
    "disjoint_share": Annotated[float | None, _option("Of blurry boundaries: share of classes in one task.", "0.5")],
    "blur": Annotated[float | None, _option("Of blurry boundaries: share of examples dealt to all tasks.", "0.1")],
    "gaussian_width": Annotated[float | None, _option("Of Gaussian boundaries: deviation, in streams.", "0.05")],
    "imbalance": Annotated[float | None, _option("Examples of the commonest class for one of the rarest.", "1")],
    "rounds": Annotated[int | None, _option("How often all tasks come, with other examples each time.", "1", min=1)],
    "hides_tasks": Annotated[bool, _flag("--hide-tasks", "Hide task numbers, boundaries and lengths from learners.")],
    "tests": Annotated[_Tests | None, _option("Test sets: one for each task, one for all, or none.", "task")],
}
"""Fields of `perdure.streams.split.Split` by name, as options."""


def with_split_options(action: Callable[..., None]) -> Callable[..., None]:
    """Return a command's function that takes `SPLIT_OPTIONS` and hands on those given as one argument, `split`."""
    own = inspect.signature(action, eval_str=True)
    added = [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=False if annotation.__origin__ is bool else None,
            annotation=annotation,
        )
        for name, annotation in SPLIT_OPTIONS.items()
    ]

    @wraps(action)
    def act(*arguments: Any, **options: Any) -> None:
        given = {name: options.pop(name) for name in SPLIT_OPTIONS}
        split = {name: _plain(value) for name, value in given.items() if value is not None and value is not False}
        action(*arguments, split=split, **options)

    kept = [it for it in own.parameters.values() if it.name != "split"]
    act.__signature__ = inspect.Signature([*kept, *added])  # pyright: ignore[reportAttributeAccessIssue]
    return act


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, StrEnum) else value
