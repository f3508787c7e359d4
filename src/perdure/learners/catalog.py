"""The learners by name. Reading the names does not import JAX."""

from __future__ import annotations

import difflib
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from perdure.core import Learner


class Entry(NamedTuple):
    """Where a learner is and what it is."""

    module: str
    class_name: str
    summary: str


CATALOG = {
    "online": Entry("online", "Online", "SGD on each example as it comes"),
    "independent": Entry("independent", "Independent", "A small network of its own for each task"),
    "task-input": Entry("task_input", "TaskInput", "An input layer of its own for each task"),
    "ewc": Entry("ewc", "EWC", "Elastic weight consolidation"),
    "gem": Entry("gem", "GEM", "Gradient episodic memory"),
    "a-gem": Entry("gem", "AGEM", "Averaged gradient episodic memory"),
    "icarl": Entry("icarl", "ICaRL", "Exemplars, distillation and nearest mean"),
    "er": Entry("er", "ER", "Experience replay with a reservoir (Algorithm 4)"),
    "er-algorithm-5": Entry("er", "ERAlgorithm5", "Experience replay balanced over tasks (Algorithm 5)"),
    "mer": Entry("mer", "MER", "Meta-Experience Replay (Algorithm 1)"),
    "mer-algorithm-6": Entry("mer", "MERAlgorithm6", "MER with one level of Reptile steps (Algorithm 6)"),
    "mer-algorithm-7": Entry("mer", "MERAlgorithm7", "MER with a higher rate for the arriving example (Algorithm 7)"),
}


def learner_class(name: str) -> type[Learner]:
    """Return the class of the learner called `name`.

    Raises:
        ValueError: naming the nearest known names.
    """
    if name not in CATALOG:
        near = difflib.get_close_matches(name, CATALOG, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ValueError(f"unknown learner {name!r}; {hint}Known: {', '.join(CATALOG)}")
    entry = CATALOG[name]
    return getattr(import_module(f"perdure.learners.{entry.module}"), entry.class_name)


def learner_name(learner: Learner) -> str:
    """Return the catalogue's name of a learner, or its class name if it is not one of the catalogue's."""
    class_name = type(learner).__name__
    known = {
        entry.class_name: name for name, entry in CATALOG.items() if type(learner).__module__.startswith("perdure.")
    }
    return known.get(class_name, class_name)


def make_learner(name: str, **hyperparameters: Any) -> Learner:
    """Return the learner called `name` with the hyper-parameters given.

    Raises:
        ValueError: if there is no such learner, or a value is out of range.
        TypeError: naming hyper-parameters that are missing or that the learner does not have.
    """
    from perdure.learners.hyperparameters import required_and_known

    cls = learner_class(name)
    required, known = required_and_known(cls)
    if unknown := sorted(set(hyperparameters) - set(known)):
        raise TypeError(f"{name} has no hyper-parameter {', '.join(unknown)}; it has {', '.join(known)}")
    if missing := [it for it in required if it not in hyperparameters]:
        raise TypeError(f"{name} needs {', '.join(missing)}; give {'it' if len(missing) == 1 else 'them'} a value")
    return cls(**hyperparameters)
