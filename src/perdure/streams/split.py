"""How classes become a stream, as checked options: scenario, boundaries, imbalance, repetition and tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

import numpy as np
from jaxtyping import Int

Scenario = Literal["class", "domain", "task"]
Boundaries = Literal["sharp", "blurry", "gaussian"]
Tests = Literal["task", "all", "none"]


@dataclass(frozen=True, kw_only=True)
class Split:
    """Options of every benchmark whose tasks are classes of one data set; made by `split_of`, which checks each.

    Raises:
        ValueError: if two options contradict each other.
    """

    scenario: Scenario = "class"
    """"class": one output for each class, and the task must be guessed too. "domain": labels are positions within the
    task, so that all tasks share their outputs. "task": one output for each class, and those of other tasks are masked,
    in training and tests. Source: van de Ven & Tolias (2019), "Three scenarios for continual learning",
    arXiv:1904.07734, section 2."""
    classes_per_task: int | None = None
    """Classes of each task, ≥ 1; the last task has fewer if they do not divide. None for the data set's own tasks."""
    shuffle_classes: bool = False
    """Do classes come in an order that the seed draws? Labels are then numbered in that order."""
    boundaries: Boundaries = "sharp"
    """"sharp": one task after another. "blurry": as `perdure.streams.schedules.blurry_tasks`. "gaussian": each class
    comes and goes, as `perdure.streams.schedules.gaussian_order`. Tasks are hidden unless boundaries are sharp."""
    disjoint_share: float | int = 0.5
    """Of blurry boundaries: share of the classes that only their own task shows, 0..1 (N of i-Blurry-N-M)."""
    blur: float | int = 0.1
    """Of blurry boundaries: share of the other classes' examples that is dealt to all tasks, 0..1 (M of
    i-Blurry-N-M)."""
    gaussian_width: float | int = 0.05
    """Of Gaussian boundaries: standard deviation of the times of a class, in lengths of the stream, > 0."""
    imbalance: float | int = 1.0
    """Examples of the most frequent class for one of the rarest, ≥ 1: a long tail in between."""
    rounds: int = 1
    """How often all tasks are gone through, ≥ 1, with other examples each time: tasks that recur."""
    hides_tasks: bool = False
    """Are task numbers, boundaries and lengths hidden from learners?"""
    tests: Tests = "task"
    """Test sets: "task" has one for each task, "all" one with all classes, "none" has none: what is measured is how
    arriving examples are predicted before they are learned."""

    def __post_init__(self) -> None:
        if self.scenario == "task" and self.are_tasks_hidden:
            why = "hides_tasks=True" if self.hides_tasks else f"boundaries={self.boundaries!r}"
            raise ValueError(
                f"scenario is 'task', in which outputs of other tasks are masked, but {why} hides tasks, so that "
                f"nobody knows which; choose scenario='class', or leave out {why}"
            )
        if self.classes_per_task == 1 and self.scenario != "class":
            raise ValueError(
                f"classes_per_task is 1 and scenario is {self.scenario!r}, in which each task then has one answer, "
                "always right; choose classes_per_task=2 or more, or scenario='class'"
            )
        if self.scenario == "task" and self.rounds > 1:
            raise ValueError(
                f"scenario is 'task' and rounds is {self.rounds}, but a class whose outputs are masked elsewhere "
                "belongs to one task only; choose scenario='class' or scenario='domain', or leave out "
                f"rounds={self.rounds}"
            )
        if self.scenario == "task" and self.tests == "all":
            raise ValueError(
                "scenario is 'task' and tests is 'all', but outputs are masked by the task of a test; choose "
                "tests='task', or scenario='class'"
            )
        if self.boundaries != "sharp" and self.rounds > 1:
            raise ValueError(
                f"boundaries is {self.boundaries!r} and rounds is {self.rounds}, expected one of them only; leave one "
                "of them out"
            )

    @property
    def are_tasks_hidden(self) -> bool:
        """Are tasks hidden from learners, as requested or because they have no boundaries?"""
        return self.hides_tasks or self.boundaries != "sharp"


_ONLY_WITH: Mapping[str, Boundaries] = {"disjoint_share": "blurry", "blur": "blurry", "gaussian_width": "gaussian"}
"""Options that have a meaning with some boundaries only."""
OPTIONS = tuple(it.name for it in fields(Split))
"""Names of the options."""


def split_of(options: Mapping[str, Any]) -> Split:
    """Return checked options.

    Args:
        options: fields of `Split` by name, those that are not left out.

    Raises:
        TypeError: if there is no such option, or one is of another kind.
        ValueError: if an option is out of range, has no effect beside the others, or two contradict each other.
    """
    if unknown := [name for name in options if name not in OPTIONS]:
        raise TypeError(
            f"a stream of classes has no option {', '.join(unknown)}, expected some of: {', '.join(OPTIONS)}; leave it "
            "out or correct its spelling"
        )
    for name, value in options.items():
        _CHECKS[name](name, value)
    split = Split(**options)
    for name, boundaries in _ONLY_WITH.items():
        if name in options and split.boundaries != boundaries:
            raise ValueError(
                f"{name}={options[name]} has no effect, for it is of boundaries={boundaries!r}, and boundaries is "
                f"{split.boundaries!r}; give boundaries={boundaries!r} too, or leave {name}={options[name]} out"
            )
    return split


def grouped_classes(
    task_of_class: Int[np.ndarray, " classes"], classes_per_task: int | None
) -> Int[np.ndarray, " classes"]:
    """Return the task of each class: the data set's own, or the one it has with `classes_per_task` in each.

    Raises:
        ValueError: if there are fewer classes than one task is to have.
    """
    if classes_per_task is None:
        return task_of_class
    n_classes = len(task_of_class)
    if classes_per_task > n_classes:
        raise ValueError(
            f"classes_per_task is {classes_per_task}, expected 1 to {n_classes}, the number of classes; choose a "
            "number in that range"
        )
    return np.arange(n_classes) // classes_per_task


def labels_in(scenario: Scenario, task_of_class: Int[np.ndarray, " classes"]) -> Int[np.ndarray, " classes"]:
    """Return the label of each class: its number, or for "domain" its position within its task.

    Args:
        scenario: of the stream.
        task_of_class: for each class its task, never less than the one before.
    """
    numbers = np.arange(len(task_of_class))
    if scenario != "domain":
        return numbers
    first_of_task = np.searchsorted(task_of_class, task_of_class, side="left")
    return numbers - first_of_task


def _choice(choices: Any) -> Callable[[str, Any], None]:
    def check(name: str, value: Any) -> None:
        if value not in get_args(choices):
            raise ValueError(f"{name} is {value!r}, expected one of {', '.join(map(repr, get_args(choices)))}")

    return check


def _flag(name: str, value: Any) -> None:
    if not isinstance(value, bool):
        raise TypeError(f"{name} is {value!r}, expected True or False")


def _whole(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"{name} is {value!r}, expected a whole number ≥ 1")
    if value < 1:
        raise ValueError(f"{name} is {value!r}, expected a whole number ≥ 1")


def _number(least: float, most: float, expected: str) -> Callable[[str, Any], None]:
    def check(name: str, value: Any) -> None:
        if isinstance(value, bool) or not isinstance(value, int | float | np.number):
            raise TypeError(f"{name} is {value!r}, expected {expected}")
        if not least <= value <= most:
            raise ValueError(f"{name} is {value!r}, expected {expected}")

    return check


_SHARE = _number(0.0, 1.0, "a number from 0 to 1")
_CHECKS: Mapping[str, Callable[[str, Any], None]] = {
    "scenario": _choice(Scenario),
    "classes_per_task": lambda name, value: None if value is None else _whole(name, value),
    "shuffle_classes": _flag,
    "boundaries": _choice(Boundaries),
    "disjoint_share": _SHARE,
    "blur": _SHARE,
    "gaussian_width": _number(1e-6, 10.0, "a number from 1e-06 to 10; leave out boundaries for sharp ones"),
    "imbalance": _number(1.0, 1e6, "a number from 1 to 1,000,000"),
    "rounds": _whole,
    "hides_tasks": _flag,
    "tests": _choice(Tests),
}
"""What checks each option, given its name and value."""
