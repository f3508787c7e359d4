"""A folder answers only for what made it: every field of every object, and the source of own code."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from perdure.core import Learner
from perdure.experiments.supervised.spec import run_spec
from perdure.learners.online import Online, OnlineState
from perdure.records.errors import ResultsError
from perdure.records.folder import own_folder

SOURCE = Path(__file__).parents[3] / "src"


class Extras(eqx.Module):
    clip: float = 1.0
    names: tuple[str, ...] = eqx.field(static=True, default=())


class Decayed(Learner[OnlineState]):
    """`Online`, whose weights shrink, with fields of all kinds that are not declared as hyper-parameters."""

    needs_task: ClassVar[bool] = False

    online: Online
    weight_decay: float = 0.0
    mask: Any = None
    extras: Extras = Extras()
    scale: Any = eqx.field(static=True, default=abs)

    def init(self, model, example, key):
        return self.online.init(model, example, key)

    def observe(self, state, example, key):
        state, info = self.online.observe(state, example, key)
        return jax.tree.map(lambda leaf: leaf * (1 - self.weight_decay), state), info

    def answering(self, state):
        return self.online.answering(state)

    def predict(self, state, x, task):
        return self.online.predict(state, x, task)


def other(outputs, y):
    return outputs[0]


CHANGES = [
    ({"weight_decay": 0.1}, r"learner\.hyperparameters\.weight_decay: 0\.0 there, 0\.1 requested"),
    ({"mask": np.ones(3)}, r"learner\.fields\.mask\.array: None there, float64\[3\] requested"),
    ({"mask": (1, 2)}, r"learner\.fields\.mask: None there, \[1, 2\] requested"),
    ({"extras": Extras(clip=2.0)}, r"learner\.fields\.extras\.clip: 1\.0 there, 2\.0 requested"),
    ({"extras": Extras(names=("a",))}, r"learner\.fields\.extras\.names: \[\] there, \['a'\] requested"),
    ({"scale": np.tanh}, r"learner\.fields\.scale\.name: builtins\.abs there, numpy\.tanh requested"),
    ({"scale": other}, r"learner\.fields\.scale\.name: builtins\.abs there, other requested"),
    ({"online": Online(0.2)}, r"learner\.fields\.online\.learning_rate: 0\.1 there, 0\.2 requested"),
    ({"online": Online(0.1, loss=other)}, r"learner\.fields\.online\.loss\.name: None there, other requested"),
    (
        {"online": Online(0.1, optimizer=optax.adam)},
        r"learner\.fields\.online\.optimizer\.name: None there, optax\S*adam requested",
    ),
]


@pytest.mark.parametrize(
    ("change", "difference"), CHANGES, ids=lambda it: next(iter(it)) if isinstance(it, dict) else ""
)
def test_another_value_of_any_field_is_refused_by_its_name(
    tmp_path, quick_run, benchmark, small_mlp, change, difference
):
    fields: dict[str, Any] = {"online": Online(0.1)}
    with own_folder(tmp_path, run_spec(Decayed(**fields), benchmark, model=small_mlp).config):
        pass
    with pytest.raises(ResultsError, match=rf"it holds a run of another configuration:\n(  .*\n)*  {difference}\n"):
        quick_run(Decayed(**(fields | change)), benchmark, folder=tmp_path)


def test_a_field_decides_the_figures_of_a_finished_run(tmp_path, quick_run, benchmark):
    first = quick_run(Decayed(Online(0.1)), benchmark, folder=tmp_path)
    assert quick_run(Decayed(Online(0.1)), benchmark, folder=tmp_path).from_record
    with pytest.raises(ResultsError, match=r"learner\.hyperparameters\.weight_decay: 0\.0 there, 0\.01 requested"):
        quick_run(Decayed(Online(0.1), 0.01), benchmark, folder=tmp_path)
    decayed = quick_run(Decayed(Online(0.1), 0.01), benchmark)
    assert (decayed.losses != first.losses).any()


@pytest.mark.parametrize(
    ("learner", "part"),
    [
        (Decayed(Online(0.1), mask=np.random.default_rng(0)), r"Decayed\.mask"),
        (Decayed(Online(0.1), scale=np.random.default_rng(0).normal), r"Decayed\.scale"),
    ],
)
def test_what_cannot_be_described_is_refused_with_a_folder_and_taken_without(
    tmp_path, quick_run, benchmark, learner, part
):
    message = rf"{part} is Generator.*, which a record cannot describe; .*, or run without a folder"
    with pytest.raises(TypeError, match=message):
        quick_run(learner, benchmark, folder=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    if "scale" in part:  # which does not go into the compiled program
        assert np.isfinite(quick_run(learner, benchmark).losses).all()


def test_lambdas_and_closures_are_taken_and_told_apart(tmp_path, quick_run, online, benchmark, small_mlp):
    def scaled(factor):
        return lambda outputs, y: factor * jnp.sum(outputs**2)

    def learn(factor):
        return quick_run(Online(0.1, loss=scaled(factor)), benchmark, folder=tmp_path)

    assert not learn(0.5).from_record
    assert learn(0.5).from_record
    with pytest.raises(ResultsError, match=r"learner\.fields\.loss\.closure\.factor: 0\.5 there, 0\.6 requested"):
        learn(0.6)


# --- edited between two processes

MINE = """
    from typing import ClassVar

    import jax
    import numpy as np
    import optax

    import perdure

    class Mine(perdure.Learner):
        needs_task: ClassVar[bool] = False

        online: perdure.Online

        def init(self, model, example, key):
            return self.online.init(model, example, key)

        def observe(self, state, example, key):
            state, info = self.online.observe(state, example, key)
            return jax.tree.map(lambda leaf: 0.99 * leaf, state), info

        def answering(self, state):
            return self.online.answering(state)

        def predict(self, state, x, task):
            return self.online.predict(state, x, task)

    def loss(outputs, y):
        return perdure.learn.cross_entropy(outputs, y) * 1.5

    def momentum(learning_rate):
        return optax.sgd(learning_rate, momentum=0.5)

    def model(example, n_outputs, key):
        return perdure.models.MLP(example.x.size, n_outputs, (4,), key=key)

    def numbers(seed):
        rng = np.random.default_rng(seed)
        tasks = [(rng.normal(size=(5, 3)).astype(np.float32), np.asarray([0, 1, 0, 1, 1])) for _ in range(2)]
        return perdure.from_arrays(tasks, tasks)
"""
EDITS = {
    "learner.source": ("0.99 * leaf", "0.98 * leaf"),
    "learner.fields.online.loss.source": ("* 1.5", "* 2.5"),
    "learner.fields.online.optimizer.source": ("momentum=0.5", "momentum=0.6"),
    "model.code.source": ("(4,)", "(5,)"),
    "benchmark.code.source": ("rng.normal", "1 + rng.normal"),
}
PROGRAM = """
import importlib, sys
import perdure

for place, folder in enumerate(sys.argv[2:]):
    sys.path.insert(0, folder)
    sys.modules.pop("mine", None)
    importlib.invalidate_caches()
    import mine
    learner = mine.Mine(perdure.Online(0.1, loss=mine.loss, optimizer=mine.momentum))
    try:
        result = perdure.run(learner, mine.numbers, model=mine.model, folder=sys.argv[1])
        print("from record" if result.from_record else "learned", "|")
    except Exception as error:
        print(type(error).__name__, error, "|")
"""


@pytest.mark.long
def test_code_that_was_edited_between_two_processes_is_refused_by_the_part(tmp_path):
    text = textwrap.dedent(MINE)
    versions = {"same": text, "commented": "# Edited.\n" + text.replace("  return", "  # Why.\n        return", 1)}
    for part, (old, new) in EDITS.items():
        assert text.count(old) == 1
        versions[part] = text.replace(old, new)
    folders = []
    for name, version in versions.items():
        folders.append(tmp_path / name)
        folders[-1].mkdir()
        (folders[-1] / "mine.py").write_text(version)

    def process(*folders):
        environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
        command = [sys.executable, "-c", PROGRAM, tmp_path / "run", *folders]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done

    first = process(folders[0])
    assert first.stdout == "learned |\n"
    assert "finished run" not in first.stderr
    second = process(*folders)
    assert f"these figures are those of the finished run in {tmp_path / 'run'}; delete it to run again" in second.stderr
    said = [it.strip() for it in second.stdout.split("|")]
    assert said[:2] == ["from record", "from record"]
    for part, words in zip(EDITS, said[2:], strict=False):
        assert words.startswith(
            f"ResultsError {tmp_path / 'run'} cannot be used, the run there was made by other code of"
        )
        assert "its source has changed since:" in words
        (line,) = [it for it in words.splitlines() if " there, " in it]
        assert line.strip().startswith(f"{part}: "), words
        assert words.endswith("Give this run another folder (--out), or delete that one")
