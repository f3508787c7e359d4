"""Learning from a stream that changes, one example at a time, without forgetting.

The names below load on first use, so that ``import perdure`` and the command line's ``--help`` do not wait
for JAX.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from perdure._version import __version__

if TYPE_CHECKING:
    from perdure.core import Example, Info, Learner
    from perdure.experiments.run import run
    from perdure.learners.catalog import make_learner
    from perdure.learners.er import ER, ERAlgorithm5
    from perdure.learners.mer import MER, MERAlgorithm6, MERAlgorithm7
    from perdure.learners.online import Online
    from perdure.models import MLP
    from perdure.streams.arrays import from_arrays
    from perdure.streams.benchmark import Benchmark
    from perdure.streams.catalog import BenchmarkRecipe, make_benchmark

_HOME = {
    "Example": "core",
    "Info": "core",
    "Learner": "core",
    "run": "experiments.run",
    "make_learner": "learners.catalog",
    "ER": "learners.er",
    "ERAlgorithm5": "learners.er",
    "MER": "learners.mer",
    "MERAlgorithm6": "learners.mer",
    "MERAlgorithm7": "learners.mer",
    "Online": "learners.online",
    "MLP": "models",
    "from_arrays": "streams.arrays",
    "Benchmark": "streams.benchmark",
    "BenchmarkRecipe": "streams.catalog",
    "make_benchmark": "streams.catalog",
}

__all__ = [
    "ER",
    "MER",
    "MLP",
    "Benchmark",
    "BenchmarkRecipe",
    "ERAlgorithm5",
    "Example",
    "Info",
    "Learner",
    "MERAlgorithm6",
    "MERAlgorithm7",
    "Online",
    "__version__",
    "from_arrays",
    "make_benchmark",
    "make_learner",
    "run",
]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'perdure' has no attribute {name!r}")
    return getattr(import_module(f"perdure.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
