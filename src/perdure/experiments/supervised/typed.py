"""Parts of a run as they are typed: own code, files and names, made into objects and kept for `perdure resume`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from inspect import signature
from pathlib import Path
from typing import Any

from perdure import models, own
from perdure.core import Learner
from perdure.learners.catalog import CATALOG, learner_class, learner_name
from perdure.named import typed_option
from perdure.streams.benchmark import Benchmark
from perdure.streams.catalog import BENCHMARKS, OTHER_NAMES, BenchmarkRecipe, benchmark_names
from perdure.streams.datasets import DatasetRecipe, from_dataset, from_table
from perdure.streams.own import OwnRecipe
from perdure.streams.torch_file import DataFileRecipe

TABLES = (".csv", ".tsv", ".parquet", ".npz", ".ndjson", ".jsonl")
"""What the names of files end in that are read as a stream."""
_OF_FILE = ("label", "task", "features", "test")
_OPTIMIZERS = ("adam", "adamw", "rmsprop", "adagrad", "lion")


@dataclasses.dataclass(frozen=True)
class Typed:
    """What of a run was typed and is not in its configuration; None where nothing was."""

    learner: str | None = None
    """Own code, or the name of an installed package's."""
    benchmark: str | None = None
    """Own code, the name of an installed package's, or a file."""
    model: str | None = None
    hidden: tuple[int, ...] | None = None
    """Units of the perceptron's hidden layers."""
    optimizer: str | None = None
    label: str | None = None
    """Column of the file's labels."""
    task: str | None = None
    """Column of the file's tasks."""
    features: str | None = None
    """Column or array of the file's inputs."""
    test: str | None = None
    """File of the tests."""

    @property
    def of_file(self) -> dict[str, str]:
        """What was typed of a stream in a file: the names of its columns, and its file of tests."""
        parts = {name: getattr(self, name) for name in _OF_FILE}
        return {name: it for name, it in parts.items() if it is not None}

    def to_json(self) -> dict[str, Any]:
        """Return what was typed, with the whole paths of files."""
        given = {name: it for name, it in dataclasses.asdict(self).items() if it is not None}
        for name in given.keys() & {"learner", "benchmark", "model", "optimizer", "test"}:
            given[name] = str(Path(it).resolve()) if _is_file(it := given[name]) else own.absolute(it)
        return given

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Typed:
        """Return what `to_json` returned, read from a file."""
        known = {it.name for it in dataclasses.fields(cls)}
        given: dict[str, Any] = {name: it for name, it in content.items() if name in known}
        if "hidden" in given:
            given["hidden"] = tuple(given["hidden"])
        return cls(**given)


def own_learner(name: str) -> str | None:
    """Return the name of a learner if it is to be kept: of one that is not perdure's own."""
    return None if name in CATALOG else name


def name_typed(learner: str) -> str:
    """Return the name of a learner, given as it is typed: own code is named by its class."""
    return learner if learner in CATALOG else own_name(learner)


def own_name(learner: str) -> str:
    """Return the name under which records have an own learner."""
    from perdure.learners.catalog import name_of_learner

    return name_of_learner(learner_class(learner))


def benchmark_of(
    typed: str, options: Mapping[str, Any], data_dir: Path | None = None, table: Typed | None = None
) -> Benchmark | Callable[[int], Benchmark]:
    """Return the stream that a text names: of the catalogue, own code, of an installed package, or in a file.

    Args:
        typed: a name, `my_stream.py:make`, or a path.
        options: of the benchmark, those given.
        data_dir: where to look for raw files.
        table: with `label`, `task`, `features` and `test` of a file.

    Raises:
        ValueError: if there is no such benchmark, or it cannot have the options given.
        TypeError: if own code is no benchmark, nor a function that makes one.
        DataError: if a file cannot be read or holds something else.
    """
    table = table or Typed()
    if _is_file(typed):
        return data_file_of(Path(typed), options, table) if typed.endswith(".pt") else _of_table(typed, options, table)
    _refuse_columns(typed, table)
    if typed in BENCHMARKS or typed in OTHER_NAMES or not own.is_own(typed, own.BENCHMARKS):
        return BenchmarkRecipe(typed, options, data_dir)
    found: Any = own.load_own(typed, own.BENCHMARKS)
    if isinstance(found, Benchmark | DatasetRecipe | BenchmarkRecipe | DataFileRecipe):
        if options:
            raise ValueError(
                f"{typed} is a finished {type(found).__name__}, which has no option {', '.join(options)}; leave it "
                "out, or name a function of a seed that takes it"
            )
        return found
    if not callable(found):
        raise TypeError(
            f"{typed} is {own.kind_of(found)}, expected a function of a seed that returns a Benchmark, or a "
            "Benchmark; see docs/own-stream.md"
        )
    _check_takes(typed, found, 1, "a seed, and returns a Benchmark; see docs/own-stream.md")
    make: Any = found
    return OwnRecipe(make, own.short_name(typed), options)


def data_file_of(path: Path, options: Mapping[str, Any], table: Typed) -> DataFileRecipe:
    """Return the stream in a `.pt` file, which has no columns to name; see `benchmark_of`."""
    _refuse_columns(str(path), table)
    return DataFileRecipe(path, options)


def is_benchmark(typed: str) -> bool:
    """Tell whether a text names a benchmark, so that it is no learner.

    Raises:
        OwnCodeError: if own code cannot be imported.
    """
    if typed in BENCHMARKS or typed in OTHER_NAMES or _is_file(typed):
        return True
    if not own.is_reference(typed):
        return typed in own.offered(own.BENCHMARKS)
    found = own.load_own(typed, own.BENCHMARKS)
    return not (isinstance(found, type) and issubclass(found, Learner))


def model_of(typed: Typed) -> Any:
    """Return what makes the network, None for the benchmark's own.

    Raises:
        ValueError: if there is no such model, or both are given.
    """
    if typed.hidden is not None:
        if typed.model is not None:
            raise ValueError(f"give --model or --hidden, not both: {typed.model} has its own hidden layers")
        return partial(models.benchmark_mlp, hidden_sizes=typed.hidden)
    if typed.model is None:
        return None
    makers = ("benchmark_mlp", "omniglot_convnet", "reduced_resnet18")
    if typed.model in makers:
        return getattr(models, typed.model)
    if not own.is_own(typed.model, own.MODELS):
        known = ", ".join([*makers, *own.offered(own.MODELS)])
        raise ValueError(f"there is no model {typed.model!r}; give one of {known}, or your own as my_net.py:Net")
    found = own.load_own(typed.model, own.MODELS)
    if not callable(found):
        raise TypeError(
            f"{typed.model} is {own.kind_of(found)}, expected a function of one example, the number of outputs and "
            "a key, which returns the network; see docs/own-model.md"
        )
    expected = "one example, the number of outputs and a key, and returns the network; see docs/own-model.md"
    _check_takes(typed.model, found, 3, expected)
    return found


def with_optimizer(learner: Learner[Any], typed: str | None) -> Learner[Any]:
    """Return a learner with the optimizer that a text names; SGD, or None, is its own.

    Raises:
        ValueError: if there is no such optimizer, or the learner has none.
    """
    if typed is None or typed == "sgd":
        return learner
    if not hasattr(learner, "optimizer"):
        having = [name for name in CATALOG if hasattr(learner_class(name), "optimizer")]
        raise ValueError(f"{learner_name(learner)} has no --optimizer; {', '.join(having)} have")
    return dataclasses.replace(learner, optimizer=_optimizer(typed))


def _optimizer(typed: str) -> Any:
    import optax

    if typed in _OPTIMIZERS:
        return getattr(optax, typed)
    if typed == "momentum":
        return partial(optax.sgd, momentum=0.9)
    if not own.is_reference(typed):
        known = ", ".join(("sgd", "momentum", *_OPTIMIZERS))
        raise ValueError(f"there is no optimizer {typed!r}; give one of {known}, or a function as my_file.py:optimizer")
    found = own.load_own(typed, own.MODELS)
    expected = "a learning rate, and returns an optimizer of optax; see docs/own-model.md"
    _check_takes(typed, found, 1, expected)
    if not (hasattr(made := found(0.1), "init") and hasattr(made, "update")):
        raise TypeError(f"{typed} returns {own.kind_of(made)}, expected a function that takes {expected}")
    return found


def _check_takes(typed: str, found: Any, n: int, expected: str) -> None:
    """Check that own code can be called with some arguments.

    Raises:
        TypeError: telling what it takes, and what is expected.
    """
    if not callable(found):
        raise TypeError(f"{typed} is {own.kind_of(found)}, expected a function that takes {expected}")
    try:
        arguments = signature(found)
    except ValueError:  # of a built-in function, which does not tell
        return
    try:
        arguments.bind(*range(n))
    except TypeError as cause:
        raise TypeError(f"{typed} takes {arguments}, expected a function that takes {expected}") from cause


def benchmarks_in_words() -> list[str]:
    """Return what a benchmark may be, for help and messages."""
    offered = [it for it in own.offered(own.BENCHMARKS) if it not in BENCHMARKS]
    return [*benchmark_names(), *offered, "or your own: my_stream.py:make, data.csv, data.npz, data.pt"]


def _is_file(text: str) -> bool:
    return text.endswith((*TABLES, ".pt")) and ":" not in Path(text).name


def _refuse_columns(typed: str, table: Typed) -> None:
    """Refuse what names columns of a file, of a stream that has none."""
    if table.of_file:
        given = ", ".join(map(typed_option, table.of_file))
        raise ValueError(
            f"{given} is of a stream in a file with columns or arrays, and {typed} is none; leave it out, or give a "
            f"file in {', '.join(TABLES)}"
        )


def _of_table(path: str, options: Mapping[str, Any], table: Typed) -> Any:
    if table.task is None:
        return from_dataset(
            path, table.test, name=Path(path).stem, label=table.label, features=table.features, **options
        )
    if options:
        given = ", ".join(map(typed_option, options))
        raise ValueError(f"{given} is given with --task {table.task}, which tells the tasks; leave one of them out")
    return from_table(path, table.test, label=table.label, task=table.task, features=table.features)
