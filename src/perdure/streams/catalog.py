"""Every benchmark by name; the names and summaries load without JAX."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from importlib import import_module
from inspect import Parameter, signature
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from perdure.streams.benchmark import Benchmark


class Entry(NamedTuple):
    """One benchmark of the catalogue."""

    maker: str
    """Where its maker is, `module:function`; imported when called for."""
    summary: str
    """One line on what it is."""
    network: str = "benchmark_mlp"
    """The network that it is learned with by default, a function of `perdure.models`."""


BENCHMARKS = {
    "digits-rotations": Entry(
        "perdure.streams.digits:digits_rotations",
        "handwritten digits of 8×8 pixels at one angle per task; 10 tasks × 500 examples, no download",
    ),
    "digits-split": Entry(
        "perdure.streams.digits:digits_split",
        "handwritten digits of 8×8 pixels, two digits per task; 5 tasks × 284 to 291 examples, no download",
    ),
    "digits-turning": Entry(
        "perdure.streams.digits:digits_turning",
        "handwritten digits of 8×8 pixels that turn continuously, no boundaries; 5,000 examples, no download",
    ),
    "mnist-rotations": Entry(
        "perdure.streams.mnist:mnist_rotations",
        "MNIST at one angle per task; 20 tasks × 1,000 examples",
    ),
    "mnist-permutations": Entry(
        "perdure.streams.mnist:mnist_permutations",
        "MNIST through one permutation of the pixels per task; 20 tasks × 1,000 examples",
    ),
    "mnist-many-permutations": Entry(
        "perdure.streams.mnist:mnist_many_permutations",
        "MNIST through one permutation of the pixels per task; 100 tasks × 200 examples",
    ),
    "mnist-split": Entry(
        "perdure.streams.mnist:mnist_split",
        "MNIST, two digits per task; 5 tasks × 1,000 examples",
    ),
    "mnist-turning": Entry(
        "perdure.streams.mnist:mnist_turning",
        "MNIST that turns continuously, no boundaries; 20,000 examples",
    ),
    "omniglot": Entry(
        "perdure.streams.omniglot:omniglot",
        "handwritten characters, one alphabet per task; 50 tasks × 252 to 990 examples, 1,623 outputs",
        network="omniglot_convnet",
    ),
    "cifar100": Entry(
        "perdure.streams.cifar100:cifar100",
        "CIFAR-100, five classes per task, outputs of other tasks masked; 20 tasks × 2,500 examples",
        network="reduced_resnet18",
    ),
}
OTHER_NAMES = {
    "split-digits": "digits-split",
    "split-mnist": "mnist-split",
    "split-omniglot": "omniglot",
    "split-cifar100": "cifar100",
}
"""Names by which benchmarks are known too."""


@dataclass(frozen=True)
class BenchmarkRecipe:
    """A benchmark of the catalogue before its seed is known: call it with a seed."""

    name: str
    """One of `benchmark_names()`, or one of `OTHER_NAMES`, which is then replaced."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Options of its maker: `tasks`, `examples_per_task`, `task_order`, `validation`; where tasks are classes, also
    those of `perdure.streams.split.Split`: `scenario`, `classes_per_task` and others."""
    data_dir: Path | None = None
    """Where to look for raw files first; it decides nothing else."""

    def __post_init__(self) -> None:
        """Raise what `make_benchmark` would raise for the name and the options, of which `data_dir` is none here."""
        object.__setattr__(self, "name", OTHER_NAMES.get(self.name, self.name))
        _check_options(self.name, _maker(_entry(self.name).maker), self.options)
        if "data_dir" in self.options:
            raise TypeError(
                f"data_dir is given as an option of {self.name}, expected beside the options, which decide figures; "
                f"write BenchmarkRecipe({self.name!r}, …, data_dir=…)"
            )

    @property
    def network(self) -> str:
        """Name of the network that it is learned with by default, a function of `perdure.models`."""
        return _entry(self.name).network

    def __call__(self, seed: int) -> Benchmark:
        """Return the benchmark of a seed, as `make_benchmark`."""
        return make_benchmark(self.name, seed, **self.options, data_dir=self.data_dir)


def benchmark_names() -> list[str]:
    """Return the names of all benchmarks, in the catalogue's order."""
    return list(BENCHMARKS)


def summary(name: str) -> str:
    """Return one line on what the benchmark is.

    Raises:
        ValueError: if there is no such benchmark.
    """
    return _entry(name).summary


def make_benchmark(name: str, seed: int, **options: Any) -> Benchmark:
    """Return a benchmark by name.

    Args:
        name: one of `benchmark_names()`.
        seed: of everything random in the benchmark, ≥ 0.
        **options: of its maker, as those of `BenchmarkRecipe`, and `data_dir`.

    Raises:
        ValueError: if there is no such benchmark, or an option's value is out of range.
        TypeError: if the maker has no such option.
        DataError: if data files cannot be found or downloaded, or are wrong.
    """
    make = _maker(_entry(name).maker)
    _check_options(name, make, options)
    return make(seed, **options)


def _entry(name: str) -> Entry:
    name = OTHER_NAMES.get(name, name)
    if name not in BENCHMARKS:
        near = get_close_matches(name, BENCHMARKS, n=1)
        guess = f"did you mean {near[0]!r}? otherwise " if near else ""
        raise ValueError(f"there is no benchmark {name!r}; {guess}choose one of: {', '.join(BENCHMARKS)}")
    return BENCHMARKS[name]


def _maker(path: str) -> Callable[..., Benchmark]:
    module, function = path.split(":")
    return getattr(import_module(module), function)


def _check_options(name: str, make: Callable[..., Benchmark], options: Mapping[str, Any]) -> None:
    from perdure.streams.split import OPTIONS, split_of

    parameters = signature(make).parameters.values()
    taken = [parameter.name for parameter in parameters if parameter.kind is Parameter.KEYWORD_ONLY]
    splits = any(parameter.kind is Parameter.VAR_KEYWORD for parameter in parameters)
    known = [*taken, *(it for it in OPTIONS if splits and it not in taken)]
    unknown = [option for option in options if option not in known]
    if unknown:
        about_split = f"; {_WITH_SPLIT} take these" if set(unknown) <= set(OPTIONS) else ""
        raise TypeError(
            f"{name} has no option {', '.join(unknown)}, expected some of: {', '.join(known)}{about_split}; "
            "leave it out or correct its spelling"
        )
    if splits:
        defaults = {it.name: it.default for it in parameters if it.name in OPTIONS}
        split_of({**defaults, **{option: it for option, it in options.items() if option in OPTIONS}})


_WITH_SPLIT = "digits-split, mnist-split, omniglot and cifar100"
