from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import perdure
from perdure.core import Learner
from perdure.learners.catalog import CATALOG, learner_class, learner_name, make_learner
from perdure.learners.er import ER
from perdure.learners.hyperparameters import hyperparameters, required_and_known
from perdure.learners.mer import MER


def required_values(name):
    """Return a value for every hyper-parameter that must be given."""
    cls = learner_class(name)
    return {it.name: it.kind(1) for it in hyperparameters(cls) if it.name in required_and_known(cls)[0]}


@pytest.mark.parametrize("name", CATALOG)
def test_every_name_makes_its_learner(name):
    values = required_values(name)
    learner = make_learner(name, **values)
    assert isinstance(learner, learner_class(name))
    assert isinstance(learner, Learner)
    assert {it: getattr(learner, it) for it in values} == values


@pytest.mark.parametrize("name", CATALOG)
def test_a_learner_knows_its_name(name):
    assert learner_name(make_learner(name, **required_values(name))) == name


def test_the_names_lead_to_the_papers_algorithms():
    assert {name: learner_class(name).__name__ for name in CATALOG} == {
        "online": "Online",
        "independent": "Independent",
        "task-input": "TaskInput",
        "ewc": "EWC",
        "ewc-per-example": "EWCPerExample",
        "si": "SI",
        "lwf": "LwF",
        "gem": "GEM",
        "a-gem": "AGEM",
        "icarl": "ICaRL",
        "er": "ER",
        "er-algorithm-5": "ERAlgorithm5",
        "averaged-er": "AveragedER",
        "der": "DER",
        "der++": "DERPlusPlus",
        "er-ace": "ERACE",
        "er-ace-released": "ERACEReleased",
        "er-ace-released-task-free": "ERACEReleasedTaskFree",
        "cls-er": "CLSER",
        "mir": "MIR",
        "gss-greedy": "GSSGreedy",
        "gdumb": "GDumb",
        "mer": "MER",
        "mer-algorithm-6": "MERAlgorithm6",
        "mer-algorithm-7": "MERAlgorithm7",
        "multi-timescale-mer": "MultiTimescaleMER",
        "la-maml": "LaMAML",
        "sync": "Sync",
        "c-maml": "CMAML",
        "la-maml-task-incremental": "TaskIncrementalLaMAML",
        "sync-task-incremental": "TaskIncrementalSync",
        "c-maml-task-incremental": "TaskIncrementalCMAML",
        "nearest-mean": "NearestMean",
        "gaussian": "GaussianHead",
        "lda": "LDA",
        "slda": "SLDA",
        "ridge": "Ridge",
        "random-fourier-ridge": "RandomFourierRidge",
    }


def test_a_learner_of_ones_own_goes_by_its_class_name():
    class Mine(ER):
        pass

    assert learner_name(Mine(learning_rate=0.1, memory_size=2, replay_batch_size=1)) == "Mine"


def test_a_learner_of_ones_own_does_not_pass_for_the_catalogues():
    class MER(ER):
        pass

    assert learner_name(MER(learning_rate=0.1, memory_size=2, replay_batch_size=1)) == "MER"


@pytest.mark.parametrize("make", [learner_class, make_learner])
@pytest.mark.parametrize(
    ("name", "nearest"), [("mer-algorithm6", "mer-algorithm-6"), ("onlin", "online"), ("MER", None)]
)
def test_an_unknown_name_is_told_the_nearest(make, name, nearest):
    with pytest.raises(ValueError, match="unknown learner") as error:
        make(name)
    message = str(error.value)
    assert message.startswith(f"unknown learner {name!r}; ")
    assert message.endswith("Known: " + ", ".join(CATALOG))
    assert ("did you mean" in message) == (nearest is not None)
    if nearest:
        assert f"did you mean {nearest!r}? " in message


def test_a_missing_value_is_named():
    with pytest.raises(TypeError, match=r"^er needs replay_batch_size; give it a value$"):
        make_learner("er", learning_rate=0.1, memory_size=5)
    with pytest.raises(TypeError, match=r"^online needs learning_rate; give it a value$"):
        make_learner("online")
    with pytest.raises(TypeError, match=r"^er needs learning_rate, memory_size, replay_batch_size; give them a value$"):
        make_learner("er")


def test_an_unknown_value_is_named_with_those_there_are():
    message = (
        "^er has no hyper-parameter beta, gama; it has learning_rate, memory_size, replay_batch_size, memory_rule$"
    )
    with pytest.raises(TypeError, match=message):
        make_learner("er", learning_rate=0.1, memory_size=5, replay_batch_size=1, gama=1, beta=1)


def test_a_value_out_of_range_is_refused():
    with pytest.raises(ValueError, match=r"^memory_size = 0, expected a whole number ≥ 1$"):
        make_learner("er", learning_rate=0.1, memory_size=0, replay_batch_size=1)


def test_a_default_may_be_left_out():
    learner = make_learner("mer-algorithm-6", learning_rate=0.1, memory_size=5, replay_batch_size=1, gamma=1)
    assert learner.batches_per_example == 1  # pyright: ignore[reportAttributeAccessIssue]
    assert not isinstance(learner, MER)


def test_reading_the_names_does_not_import_jax():
    program = "import sys; from perdure.learners.catalog import CATALOG; print(len(CATALOG), 'jax' in sys.modules)"
    source = str(Path(perdure.__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": source}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(len(CATALOG)), "False"]
