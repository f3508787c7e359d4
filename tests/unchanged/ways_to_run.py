"""Ways to run something small as a user would (learn, play, train, evaluate, search), and the networks for it."""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import safetensors.numpy
from digit_streams import digit_pictures

from perdure import (
    BenchmarkRecipe,
    evaluate_classes,
    evaluate_sines,
    make_benchmark,
    run,
    run_agent,
    train_representation,
    tune,
)

# What is not public, all of it. Where modules move, change the paths here, in small_runs.py and nowhere else.
from perdure.execution.processes import Processes
from perdure.experiments.representations.learners import class_tasks_benchmark, linear_head
from perdure.experiments.representations.plan import make_recipe
from perdure.experiments.reproduction.measure import measure
from perdure.learn import Learner
from perdure.memory.buffer import capacity
from perdure.models import MLP, ConvNet
from perdure.presets.learners import Preset
from perdure.presets.studies import Cell, Study
from perdure.representation import ClassEpisodes, ImageClasses, Pretraining, SineEpisodes, SinePool, load_representation
from perdure.representation.sine_protocol import SineTrajectory
from perdure.rl import make_game
from perdure.rl.frame_memory import buffer_of, recall_transitions
from perdure.streams.sine import draw_sines


class Outcome(NamedTuple):
    """What a run has come to, besides the files in its folder."""

    figures: Mapping[str, Any]
    """Numbers by name, few enough to be kept whole."""
    arrays: Sequence[Any] = ()
    """Weights, memories and the like in any order, of which a digest is kept."""


def data_dir() -> Path:
    """Return the folder of the real data."""
    return Path(os.environ["PERDURE_DATA"]).resolve()


# Networks


def small_mlp(example: Any, n_outputs: int, key: Any) -> MLP:
    return MLP(example.x.size, n_outputs, (16,), key=key)


def small_convnet(example: Any, n_outputs: int, key: Any) -> ConvNet:
    return ConvNet(example.x.shape, n_outputs, 4, key=key)


def small_network(observation: Any, n_actions: int, key: Any) -> MLP:
    return MLP(observation.size, n_actions, (16, 16), key=key)


class Linear:
    """A network that keeps its weights apart from it, as those of Flax and Haiku do."""

    def __init__(self, n_outputs: int):
        self.n_outputs = n_outputs

    def init(self, key: Any, x: Any, /) -> Any:
        return {"w": jax.random.normal(key, (self.n_outputs, x.size)) * 0.1, "b": jnp.zeros(self.n_outputs)}

    def apply(self, weights: Any, x: Any, /) -> Any:
        return weights["w"] @ x.ravel() + weights["b"]


# Ways to run


def learn(learner: Learner[Any], benchmark: Any, folder: Path, **options: Any) -> Outcome:
    """Let a learner learn with two seeds."""
    asked = {"seeds": 2, "model": small_mlp, "evaluation": "full", "folder": folder, "progress": False} | options
    result = run(learner, benchmark, **asked)
    figures = {name: it.per_seed for name, it in result.metrics.items()}
    return Outcome({"losses": result.losses, "accuracy": result.accuracy} | figures, jax.tree.leaves(result.states))


def play(agent: Any, game: str, folder: Path, *, observation: str = "state", **options: Any) -> Outcome:
    """Let an agent play two levels, the second after the first, with two seeds."""
    its_game: Any = make_game(game)
    difficulties = {"catcher": (0.0608, 0.2108), "flappy-bird": (100, 75)}[game]
    levels = [its_game.params(it, max_steps_in_episode=60) for it in difficulties]
    asked: dict[str, Any] = {
        "levels": levels,
        "stages": [(0, 150), (1, 150)],
        "seeds": 2,
        "evaluate_every": 60,
        "episodes": 2,
        "network": small_network,
    } | options
    result = run_agent(agent, make_game(game, observation), folder=folder, progress=False, **asked)
    figures = {name: it.per_seed for name, it in result.metrics.items()}
    agent_state = result.runners.agent
    memory = jax.vmap(transitions_in)(agent_state.learning.memory)
    whole = agent_state._replace(learning=agent_state.learning._replace(memory=memory))
    return Outcome({"frames": result.frames} | figures, jax.tree.leaves(whole))


def transitions_in(memory: Any) -> Any:
    """Return a full memory as one of whole transitions, however it holds their pictures."""
    buffer = buffer_of(memory)
    slots = jnp.arange(capacity(buffer), dtype=jnp.int32)
    transitions, _ = recall_transitions(memory, slots[None])
    return buffer._replace(examples=jax.tree.map(lambda leaf: leaf[0], transitions))


def train(domain: Callable[[], Any], method: Any, folder: Path, *, steps: int = 6) -> Outcome:
    """Train a representation."""
    return trained(domain(), method, folder, steps)


def trained(domain: Any, method: Any, folder: Path, steps: int) -> Outcome:
    """Train a representation; the folder has the one that validated best, which may be that before the first step."""
    train_representation(
        domain, method, steps=steps, folder=folder, validate_every=2, checkpoint_seconds=0.0, progress=False
    )
    last = max((folder / "checkpoints").glob("*.safetensors"))
    return Outcome({}, [*safetensors.numpy.load_file(last).values()])  # weights and optimizer after the last step


def sines() -> SinePool:
    """Return a small pool of sine waves."""
    episodes = SineEpisodes(functions=3, steps_each=4, batch_size=4, numbers=3)
    return SinePool(draw_sines(20, jax.random.key(0)), episodes, widths=(16, 16), validation_runs=1)


def pictures() -> ImageClasses:
    """Return a domain of digits: seven to learn from, three to validate on."""
    episodes = ClassEpisodes(classes=2, images_each=3, query_each=3, random_images=5)
    images = digit_pictures()
    return ImageClasses(
        images[:7], images[7:], episodes, width=8, strides=(1, 2), n_outputs=10, validation_rates=(0.01,)
    )


def train_preset(domain: str, size: str, method: str, folder: Path) -> Outcome:
    """Take the first steps of a training with perdure's own presets, on small batches and validated quickly."""
    recipe = make_recipe(domain, size, method, {"steps": 2}, data_dir())
    its_domain: Any = recipe.domain
    quick = dataclasses.replace(
        its_domain, held_out=its_domain.held_out[:3], validation_rates=(0.001,), validation_runs=1
    )
    its_method = recipe.method
    if isinstance(its_method, Pretraining):
        its_method = dataclasses.replace(its_method, batch_size=16)
    return trained(quick, its_method, folder, recipe.steps)


def evaluated_classes(folder: Path) -> Outcome:
    """Evaluate an untrained representation of digits on four of them."""
    model = pictures().new_model(jax.random.key(0))
    figures = {}
    for name, passes in {"in order": None, "oracle": 2}.items():
        (it,) = evaluate_classes(model, digit_pictures(), [4], runs=10, rates=(0.01, 0.001), iid_passes=passes)
        figures |= {f"{name}: rate": it.rate, f"{name}: learned": it.trajectory, f"{name}: held out": it.held_out}
    return Outcome(figures)


def evaluated_sines(folder: Path) -> Outcome:
    """Evaluate an untrained representation of sine waves, in order and shuffled."""
    model = sines().new_model(jax.random.key(0))
    trajectory = SineTrajectory(functions=3, steps_each=5, batch_size=4, test_examples=20)
    plain = evaluate_sines(model, runs=10, rates=(0.03, 0.003), trajectory=trajectory)
    fresh = evaluate_sines(model, runs=5, rates=(0.01,), trajectory=trajectory, fresh=True, oracle=True, seed=1)
    return Outcome(
        {
            "rates": [plain.rate, fresh.rate],
            "errors": plain.errors,
            "errors so far": plain.so_far,
            "errors, fresh and shuffled": fresh.errors,
        }
    )


def shipped(folder: Path) -> Outcome:
    """Load every representation that comes with perdure."""
    names = [f"{domain}{method}" for domain in ("omniglot-small", "sine") for method in ("", "-pretraining", "-sr-nn")]
    return Outcome({}, [leaf for name in names for leaf in jax.tree.leaves(load_representation(name).model)])


def on_features(make: Callable[[float], Learner[Any]], folder: Path) -> Outcome:
    """Learn classes on fixed random features of digits, as learners are compared on representations."""
    flat = digit_pictures().reshape(10, 20, 64).astype(np.float32) / 255
    features = np.maximum(flat @ np.random.default_rng(0).normal(size=(64, 32)).astype(np.float32), 0)
    benchmark = partial(class_tasks_benchmark, features, 2, 4)
    return learn(make(0.03), benchmark, folder, model=linear_head)


def searched(grid: Mapping[str, Any], folder: Path, **options: Any) -> Outcome:
    """Search hyper-parameters of ER."""
    recipe = BenchmarkRecipe("digits-rotations", {"tasks": 2, "examples_per_task": 30})
    result = tune("er", recipe, grid, seeds=2, model=small_mlp, folder=folder, progress=False, **options)
    names = sorted(result.best.hyperparameters)
    return Outcome(
        {
            "combinations": [[float(it.hyperparameters[name]) for name in names] for it in result.trials],
            "scores": [it.score.per_seed for it in result.trials],
        }
    )


def reproduced(folder: Path) -> Outcome:
    """Measure a study of one cell, in a process of its own."""
    values = {"learning_rate": 0.1, "memory_size": 20, "replay_batch_size": 5}
    options = {"tasks": 2, "examples_per_task": 20}
    preset = Preset("er", "digits-rotations", 20, values, "tests", None, options=options)
    study = Study({"table": [Cell(preset, 2, "needed", True)]}, [], "tests")
    with mock.patch.dict(os.environ, JAX_NUM_CPU_DEVICES="1"):  # seeds are not divided, however many cores there are
        measured = measure(study, ["table"], folder / "runs", engine=Processes(1), progress=False)
    assert measured.failures == []
    (record,) = measured.record.tables["table"]
    assert record.summary is not None
    for name in ("accuracy.parquet", "alignment.parquet"):
        shutil.copy(record.folder / name, folder / name)
    return Outcome({name: it.per_seed for name, it in record.summary.metrics.items()})


def streams(names: Sequence[str], folder: Path, **options: Any) -> Outcome:
    """Make benchmarks, reported and for validation."""
    arrays = []
    for name in names:
        for seed in range(2):
            for validation in (False, True):
                made = make_benchmark(name, seed, validation=validation, data_dir=data_dir(), **options)
                arrays += [*made.train, *(leaf for test in made.test for leaf in test)]
    return Outcome({}, arrays)
