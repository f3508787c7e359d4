"""Learning from a stream that changes, one example at a time, without forgetting.

The names below load on first use, so that ``import perdure`` and the command line's ``--help`` do not wait
for JAX.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from perdure._version import __version__

if TYPE_CHECKING:
    from perdure.core import Example, Info, Learner, PerdureWarning, StreamInfo
    from perdure.experiments.agents.run import run_agent
    from perdure.experiments.representations.evaluate import evaluate_classes, evaluate_sines
    from perdure.experiments.representations.train import train_representation
    from perdure.experiments.supervised.run import run
    from perdure.experiments.tuning.tune import tune
    from perdure.learners.catalog import make_learner
    from perdure.learners.er import ER, ERAlgorithm5
    from perdure.learners.ewc import EWC
    from perdure.learners.gem import AGEM, GEM
    from perdure.learners.icarl import ICaRL
    from perdure.learners.independent import Independent
    from perdure.learners.mer import MER, MERAlgorithm6, MERAlgorithm7
    from perdure.learners.online import Online
    from perdure.learners.task_input import TaskInput
    from perdure.models import MLP, ConvNet, ResNet18, from_init_apply
    from perdure.records.tuning import LogUniform
    from perdure.representation.domains import ImageClasses, SinePool
    from perdure.representation.episodes import ClassEpisodes, SineEpisodes
    from perdure.representation.file import load_representation
    from perdure.representation.oml import OML
    from perdure.representation.pretraining import Pretraining
    from perdure.rl.agent import DQN, DQNMER
    from perdure.rl.catalog import make_game
    from perdure.streams.arrays import from_arrays
    from perdure.streams.benchmark import Benchmark
    from perdure.streams.catalog import BenchmarkRecipe, make_benchmark
    from perdure.streams.torch_file import DataFileRecipe
    from perdure.updates.losses import cross_entropy, mean_squared_error

_HOME = {
    "Example": "core",
    "Info": "core",
    "Learner": "core",
    "PerdureWarning": "core",
    "StreamInfo": "core",
    "run_agent": "experiments.agents.run",
    "DQN": "rl.agent",
    "DQNMER": "rl.agent",
    "make_game": "rl.catalog",
    "train_representation": "experiments.representations.train",
    "evaluate_classes": "experiments.representations.evaluate",
    "evaluate_sines": "experiments.representations.evaluate",
    "load_representation": "representation.file",
    "ImageClasses": "representation.domains",
    "SinePool": "representation.domains",
    "ClassEpisodes": "representation.episodes",
    "SineEpisodes": "representation.episodes",
    "OML": "representation.oml",
    "Pretraining": "representation.pretraining",
    "run": "experiments.supervised.run",
    "LogUniform": "records.tuning",
    "tune": "experiments.tuning.tune",
    "make_learner": "learners.catalog",
    "ER": "learners.er",
    "ERAlgorithm5": "learners.er",
    "EWC": "learners.ewc",
    "AGEM": "learners.gem",
    "GEM": "learners.gem",
    "ICaRL": "learners.icarl",
    "Independent": "learners.independent",
    "MER": "learners.mer",
    "MERAlgorithm6": "learners.mer",
    "MERAlgorithm7": "learners.mer",
    "Online": "learners.online",
    "TaskInput": "learners.task_input",
    "ConvNet": "models",
    "MLP": "models",
    "ResNet18": "models",
    "from_init_apply": "models",
    "from_arrays": "streams.arrays",
    "Benchmark": "streams.benchmark",
    "BenchmarkRecipe": "streams.catalog",
    "make_benchmark": "streams.catalog",
    "DataFileRecipe": "streams.torch_file",
    "cross_entropy": "updates.losses",
    "mean_squared_error": "updates.losses",
}

__all__ = [
    "AGEM",
    "DQN",
    "DQNMER",
    "ER",
    "EWC",
    "GEM",
    "MER",
    "MLP",
    "OML",
    "Benchmark",
    "BenchmarkRecipe",
    "ClassEpisodes",
    "ConvNet",
    "DataFileRecipe",
    "ERAlgorithm5",
    "Example",
    "ICaRL",
    "ImageClasses",
    "Independent",
    "Info",
    "Learner",
    "LogUniform",
    "MERAlgorithm6",
    "MERAlgorithm7",
    "Online",
    "PerdureWarning",
    "Pretraining",
    "ResNet18",
    "SineEpisodes",
    "SinePool",
    "StreamInfo",
    "TaskInput",
    "__version__",
    "cross_entropy",
    "evaluate_classes",
    "evaluate_sines",
    "from_arrays",
    "from_init_apply",
    "load_representation",
    "make_benchmark",
    "make_game",
    "make_learner",
    "mean_squared_error",
    "run",
    "run_agent",
    "train_representation",
    "tune",
]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'perdure' has no attribute {name!r}")
    return getattr(import_module(f"perdure.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
