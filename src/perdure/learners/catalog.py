"""The learners by name. Reading the names does not import JAX."""

from __future__ import annotations

from inspect import signature
from typing import TYPE_CHECKING, Any

from perdure import own
from perdure.named import Entry, name_of_class, named_class

if TYPE_CHECKING:
    from perdure.core import Learner


CATALOG = {
    "online": Entry("perdure.learners.online", "Online", "SGD on each example as it comes"),
    "independent": Entry("perdure.learners.independent", "Independent", "A small network of its own for each task"),
    "task-input": Entry("perdure.learners.task_input", "TaskInput", "An input layer of its own for each task"),
    "ewc": Entry("perdure.learners.ewc", "EWC", "Elastic weight consolidation"),
    "ewc-per-example": Entry(
        "perdure.learners.ewc", "EWCPerExample", "Elastic weight consolidation with the empirical Fisher information"
    ),
    "si": Entry("perdure.learners.si", "SI", "Synaptic intelligence"),
    "lwf": Entry("perdure.learners.lwf", "LwF", "Learning without forgetting"),
    "gem": Entry("perdure.learners.gem", "GEM", "Gradient episodic memory"),
    "a-gem": Entry("perdure.learners.gem", "AGEM", "Averaged gradient episodic memory"),
    "icarl": Entry("perdure.learners.icarl", "ICaRL", "Exemplars, distillation and nearest mean"),
    "er": Entry("perdure.learners.er", "ER", "Experience replay with a reservoir (Algorithm 4)"),
    "er-algorithm-5": Entry(
        "perdure.learners.er", "ERAlgorithm5", "Experience replay balanced over tasks (Algorithm 5)"
    ),
    "averaged-er": Entry(
        "perdure.learners.averaged", "AveragedER", "Experience replay that answers with the average of its weights"
    ),
    "der": Entry("perdure.learners.der", "DER", "Dark experience replay"),
    "der++": Entry("perdure.learners.der", "DERPlusPlus", "Dark experience replay with labels"),
    "er-ace": Entry("perdure.learners.er_ace", "ERACE", "Asymmetric cross entropy, as in the paper"),
    "er-ace-released": Entry("perdure.learners.er_ace", "ERACEReleased", "Asymmetric cross entropy, as in its code"),
    "er-ace-released-task-free": Entry(
        "perdure.learners.er_ace", "ERACEReleasedTaskFree", "Asymmetric cross entropy, as in its code without tasks"
    ),
    "cls-er": Entry("perdure.learners.cls_er", "CLSER", "Replay beside a quick and a slow average of its weights"),
    "mir": Entry("perdure.learners.mir", "MIR", "Replay of the memories that the next step would harm most"),
    "gss-greedy": Entry("perdure.learners.gss", "GSSGreedy", "A memory of examples with different gradients"),
    "gdumb": Entry("perdure.learners.gdumb", "GDumb", "A network trained on a balanced memory alone: a control"),
    "mer": Entry("perdure.learners.mer", "MER", "Meta-Experience Replay (Algorithm 1)"),
    "mer-algorithm-6": Entry(
        "perdure.learners.mer", "MERAlgorithm6", "MER with one level of Reptile steps (Algorithm 6)"
    ),
    "mer-algorithm-7": Entry(
        "perdure.learners.mer", "MERAlgorithm7", "MER with a higher rate for the arriving example (Algorithm 7)"
    ),
    "multi-timescale-mer": Entry(
        "perdure.learners.multi_timescale", "MultiTimescaleMER", "MER that answers over time scales and keeps answers"
    ),
    "la-maml": Entry("perdure.learners.la_maml", "LaMAML", "Look-ahead steps on batches and memories, learned rates"),
    "sync": Entry("perdure.learners.la_maml", "Sync", "La-MAML whose weights step with a fixed rate"),
    "c-maml": Entry("perdure.learners.la_maml", "CMAML", "Look-ahead steps on batches and memories, fixed rates"),
    "la-maml-task-incremental": Entry(
        "perdure.learners.la_maml_task_incremental", "TaskIncrementalLaMAML", "La-MAML on chunks of a task's batches"
    ),
    "sync-task-incremental": Entry(
        "perdure.learners.la_maml_task_incremental", "TaskIncrementalSync", "Sync on chunks of a task's batches"
    ),
    "c-maml-task-incremental": Entry(
        "perdure.learners.la_maml_task_incremental", "TaskIncrementalCMAML", "C-MAML on chunks of a task's batches"
    ),
    "nearest-mean": Entry("perdure.learners.nearest_mean", "NearestMean", "Nearest class mean; no network"),
    "gaussian": Entry("perdure.learners.gaussian", "GaussianHead", "Normal features with a prior; no network"),
    "lda": Entry("perdure.learners.lda", "LDA", "Linear discriminant analysis, exact; no network"),
    "slda": Entry("perdure.learners.slda", "SLDA", "Streaming linear discriminant analysis; no network"),
    "ridge": Entry("perdure.learners.ridge", "Ridge", "Ridge regression on all examples so far; no network"),
    "random-fourier-ridge": Entry(
        "perdure.learners.fourier_ridge",
        "RandomFourierRidge",
        "Ridge regression on random Fourier features; no network",
    ),
}


def learner_names() -> list[str]:
    """Return the names of all learners: the catalogue's, and those that installed packages offer."""
    return list(dict.fromkeys([*CATALOG, *own.offered(own.LEARNERS)]))


def learner_class(name: str) -> type[Learner]:
    """Return the class of a learner.

    Args:
        name: one of `learner_names()`, or an own class as `my_method.py:MyLearner`.

    Raises:
        ValueError: naming the nearest known names, or what is wrong with an own class (`OwnCodeError`).
    """
    if name in CATALOG or not own.is_own(name, own.LEARNERS):
        return named_class(CATALOG, "learner", name)
    found = own.load_own(name, own.LEARNERS)
    _check_is_learner(name, found)
    return found


def learner_name(learner: Learner) -> str:
    """Return the name of a learner of the catalogue or of an installed package; of another one its class name."""
    return name_of_learner(type(learner))


def name_of_learner(cls: type[Learner]) -> str:
    """Return the name of a learner's class, as `learner_name`."""
    where = f"{cls.__module__}:{cls.__qualname__}"
    packaged = (name for name, it in own.offered(own.LEARNERS).items() if it.value == where)
    return name_of_class(CATALOG, cls) or next(packaged, cls.__name__)


_METHODS = ("init", "observe", "answering", "predict")


def _check_is_learner(name: str, found: Any) -> None:
    from perdure.core import Learner

    if isinstance(found, type) and issubclass(found, Learner):
        if missing := sorted(getattr(found, "__abstractmethods__", ())):
            raise own.OwnCodeError(
                f"{name} is no learner yet: it lacks {', '.join(missing)}; see docs/own-learner.md, or begin with "
                "perdure new learner NAME"
            )
        _check_is_made_of_its_fields(name, found)
        return
    what = own.kind_of(found)
    if isinstance(found, type):
        lacking = [it for it in _METHODS if not callable(getattr(found, it, None))]
        what = "a class that does not derive from perdure.Learner"
        what += f" and lacks {', '.join(lacking)}" if lacking else ""
    elif isinstance(found, Learner):
        what = f"a {type(found).__name__} with hyper-parameters"
    raise own.OwnCodeError(
        f"{name} is {what}, expected the class of a learner; derive it from perdure.learn.NetworkLearner, or begin "
        "with perdure new learner NAME"
    )


def _check_is_made_of_its_fields(name: str, cls: type[Learner]) -> None:
    from perdure.learners.hyperparameters import required_and_known

    fields = required_and_known(cls)[1]
    arguments = signature(cls)
    try:
        arguments.bind(**dict.fromkeys(fields))
    except TypeError as cause:
        raise own.OwnCodeError(
            f"{name} takes {arguments}, expected its hyper-parameters by name ({', '.join(fields) or 'none'}) and no "
            "more; leave out its __init__, and declare what it takes as fields, such as size: int = 3"
        ) from cause


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
