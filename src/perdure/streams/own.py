"""A stream of one's own as a recipe, and validation streams for those that make none themselves."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from inspect import Parameter, signature
from typing import Any

import numpy as np

from perdure.core import Example
from perdure.streams.benchmark import Benchmark, LabelledSet
from perdure.streams.validation import held_out_parts


@dataclass(frozen=True)
class OwnRecipe:
    """An own function that makes the benchmark of a seed, with options that it takes by name.

    Raises:
        TypeError: if the function has no such option.
    """

    make: Callable[..., Benchmark]
    name: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        taken = options_of(self.make)
        if unknown := [it for it in self.options if it not in taken]:
            known = f"its options are {', '.join(taken)}" if taken else "it has none"
            raise TypeError(
                f"{self.name} has no option {', '.join(unknown)}, {known}; leave it out, or add it to the function: "
                f"def {getattr(self.make, '__name__', 'make')}(seed, *, {unknown[0]}=None)"
            )

    def __call__(self, seed: int) -> Benchmark:
        """Return the benchmark of a seed."""
        return self.make(seed, **self.options)


def options_of(make: Callable[..., Any]) -> list[str]:
    """Return the options of a benchmark's function: what it takes besides the seed."""
    parameters = list(signature(make).parameters.values())[1:]
    return [it.name for it in parameters if it.kind in (Parameter.KEYWORD_ONLY, Parameter.POSITIONAL_OR_KEYWORD)]


@dataclass(frozen=True)
class HeldOut:
    """The training stream of a benchmark without a quarter of each task, which is its test: a validation stream.

    Nothing of the benchmark's own tests is used.
    """

    benchmark: Benchmark | Callable[[int], Benchmark]

    @property
    def name(self) -> str:
        """Name of the benchmark."""
        return getattr(self.benchmark, "name", type(self.benchmark).__name__)

    def __call__(self, seed: int) -> Benchmark:
        """Return the validation stream of a seed.

        Raises:
            ValueError: if a task has a single example, which leaves none to test on.
        """
        whole = self.benchmark if isinstance(self.benchmark, Benchmark) else self.benchmark(seed)
        parts = held_out_parts(whole.task_ends, seed)
        if short := [task for task, (_, tested) in enumerate(parts) if not len(tested)]:
            raise ValueError(
                f"task {short[0]} of {whole.name} has one example, expected two or more: a quarter of them is held out "
                "to choose hyper-parameters on; give it more, or join tasks"
            )
        x, y, task = map(np.asarray, whole.train)
        trained = np.concatenate([it for it, _ in parts])
        tests = [LabelledSet(x[tested], y[tested]) for _, tested in parts]
        return dataclasses.replace(whole, train=Example(x[trained], y[trained], task[trained]), test=tests)
