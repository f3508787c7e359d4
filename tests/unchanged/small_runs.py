"""Small runs with fixed seeds: every learner, agent and way to train a representation, as a user would call them.

What they come to is recorded by `record.py`, and compared by `test_unchanged.py`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import safetensors.numpy

from perdure import (
    AGEM,
    ER,
    EWC,
    GEM,
    MER,
    Benchmark,
    BenchmarkRecipe,
    ERAlgorithm5,
    ICaRL,
    Independent,
    LogUniform,
    MERAlgorithm6,
    MERAlgorithm7,
    Online,
    TaskInput,
    evaluate_classes,
    evaluate_sines,
    from_arrays,
    make_benchmark,
    run,
    run_agent,
    train_representation,
    tune,
)

# What is not public, all of it. Where modules move, change the paths here and nothing else.
from perdure.experiments.representations.learners import class_tasks_benchmark, linear_head
from perdure.experiments.representations.plan import make_recipe
from perdure.experiments.reproduction.measure import measure
from perdure.learn import Learner
from perdure.models import MLP, ConvNet, from_init_apply
from perdure.presets.learners import Preset
from perdure.presets.studies import Cell, Study
from perdure.representation import (
    OML,
    ClassEpisodes,
    ImageClasses,
    Pretraining,
    SineEpisodes,
    SinePool,
    load_representation,
)
from perdure.representation.sine_protocol import SineTrajectory
from perdure.rl import DQN, DQNMER, make_game
from perdure.streams.sine import draw_sines


class Outcome(NamedTuple):
    """What a run has come to, besides the files in its folder."""

    figures: Mapping[str, Any]
    """Numbers by name, few enough to be kept whole."""
    arrays: Sequence[Any] = ()
    """Weights, memories and the like in any order, of which a digest is kept."""


class Case(NamedTuple):
    """A run of the catalogue."""

    run: Callable[[Path], Outcome]
    """Runs, with a folder to write into."""
    optimized: bool = False
    """Are its programs compiled well, as users have them? Others are compiled fast: most of the time goes there."""
    data: str | None = None
    """Fixture of the real data that it needs."""


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


# Streams of scikit-learn's digits

ROTATIONS = BenchmarkRecipe("digits-rotations", {"tasks": 3, "examples_per_task": 30})


@cache
def digits() -> tuple[Any, Any]:
    """Return x and y of all training digits and of all test digits, upright or nearly so."""
    shown = make_benchmark("digits-rotations", 0, tasks=1, examples_per_task=1442)
    return (np.asarray(shown.train.x), np.asarray(shown.train.y)), (shown.test[0].x, shown.test[0].y)


def digits_permutations(seed: int) -> Benchmark:
    """Return three tasks of 30 digits, each through a permutation of the pixels."""
    (x, y), (test_x, test_y) = digits()
    rng = np.random.default_rng(seed)
    train, test = [], []
    for _ in range(3):
        places, shown = rng.permutation(64), rng.permutation(len(y))[:30]
        train.append((x[shown].reshape(30, 64)[:, places].reshape(30, 8, 8), y[shown]))
        test.append((test_x.reshape(-1, 64)[:, places].reshape(-1, 8, 8), test_y))
    return from_arrays(train, test, name="digits-permutations", n_outputs=10)


def digits_classes(seed: int, *, per_task: int = 30, enlarged: int = 1, masked: bool = False) -> Benchmark:
    """Return three tasks of two digits each.

    Args:
        seed: of the digits shown and their order.
        per_task: digits of each task.
        enlarged: height and width are so many times as large; if not once, pictures have an axis of channels.
        masked: is the task told, and are outputs of other tasks out of the question?
    """
    rng = np.random.default_rng(seed)

    def part(examples: tuple[np.ndarray, np.ndarray], most: int) -> list[tuple[np.ndarray, np.ndarray]]:
        x, y = examples
        parts = []
        for task in range(3):
            own = rng.permutation(np.flatnonzero(y // 2 == task))[:most]
            large = x[own].repeat(enlarged, axis=1).repeat(enlarged, axis=2)
            parts.append((x[own] if enlarged == 1 else large[:, None], y[own]))
        return parts

    shown, tested = digits()
    made = from_arrays(part(shown, per_task), part(tested, 60), name="digits-classes", n_outputs=6)
    return dataclasses.replace(made, class_tasks=(0, 0, 1, 1, 2, 2)) if masked else made


def digits_as_numbers(seed: int) -> Benchmark:
    """Return two tasks of regression: the brightness of a digit's rows, and of its columns."""
    (x, _), (test_x, _) = digits()
    shown = np.random.default_rng(seed).permutation(len(x))

    def pairs(pictures: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        return [(pictures, (pictures.mean(axis=axis) / 255).astype(np.float32)) for axis in (2, 1)]

    return from_arrays([(x[shown[:30]], pairs(x[shown[:30]])[0][1]), pairs(x[shown[30:60]])[1]], pairs(test_x[:100]))


@cache
def digit_pictures() -> np.ndarray:
    """Return 20 pictures of each digit."""
    (x, y), _ = digits()
    return np.stack([x[y == label][:20] for label in range(10)])


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
    return Outcome({"frames": result.frames} | figures, jax.tree.leaves(result.runners.agent))


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
        measured = measure(study, ["table"], folder / "runs", workers=1, progress=False)
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


# The catalogue

RATE = 0.1
REPLAY: dict[str, Any] = {"learning_rate": RATE, "memory_size": 40, "replay_batch_size": 5}
SLOW_REPLAY: dict[str, Any] = {**REPLAY, "learning_rate": 0.01}
MERS: dict[str, Any] = {**REPLAY, "beta": 0.3, "gamma": 0.5}
COMMON: dict[str, Any] = {
    "learning_rate": 0.01,
    "memory_size": 60,
    "replay_batch_size": 4,
    "discount": 0.9,
    "target_period": 20,
    "exploration_end": 0.1,
    "exploration_frames": 100,
    "warmup_frames": 10,
}
DQN_MER: dict[str, Any] = {**COMMON, "beta": 0.5, "gamma": 0.3}

LEARNERS: dict[str, Learner[Any]] = {
    "online": Online(RATE),
    "independent": Independent(RATE),
    "task-input": TaskInput(RATE),
    "ewc": EWC(RATE, fisher_examples=10, strength=10.0),
    "gem": GEM(RATE, memory_size=40, margin=0.5),
    "a-gem": AGEM(RATE, memory_size=40, replay_batch_size=10),
    "er": ER(**REPLAY),
    "er-algorithm-5": ERAlgorithm5(**REPLAY),
    "mer": MER(**MERS, batches_per_example=2),
    "mer-algorithm-6": MERAlgorithm6(**REPLAY, gamma=0.5, batches_per_example=2),
    "mer-algorithm-7": MERAlgorithm7(**REPLAY, gamma=0.5, current_example_weight=2.0),
}
ICARL = ICaRL(RATE, memory_size=40, strength=1.0, batch_size=5)
METHODS: dict[str, Any] = {
    "oml": OML(0.05, 0.01),
    "pretraining": Pretraining(0.01, batch_size=16),
    "sr-nn": Pretraining(0.01, sparsity=0.1, batch_size=16),
}
DOMAINS: dict[str, Callable[[], Any]] = {"sine": sines, "digits": pictures}
AGENTS = {"dqn": DQN(**COMMON), "dqn-mer": DQNMER(**DQN_MER, batches_per_frame=2)}


def _learning() -> dict[str, Case]:
    aligned = {"er", "mer"}
    cases = {
        f"rotations-{name}": Case(partial(learn, it, ROTATIONS, alignment=name in aligned))
        for name, it in LEARNERS.items()
    }
    er, large = LEARNERS["er"], partial(digits_classes, per_task=10, enlarged=4)
    return cases | {
        "needed-er": Case(partial(learn, er, ROTATIONS, evaluation="needed", seeds=[3, 1])),
        "permutations-gem": Case(partial(learn, LEARNERS["gem"], digits_permutations)),
        "classes-icarl": Case(partial(learn, ICARL, digits_classes)),
        "masked-er": Case(partial(learn, er, partial(digits_classes, masked=True))),
        "numbers-er": Case(partial(learn, er, digits_as_numbers)),
        "adam-er": Case(partial(learn, ER(**SLOW_REPLAY, optimizer=optax.adam), ROTATIONS)),
        "momentum-mer": Case(partial(learn, MER(**MERS, batches_per_example=1, optimizer=heavy_ball), ROTATIONS)),
        "own-network-online": Case(partial(learn, Online(RATE), ROTATIONS, model=from_init_apply(Linear))),
        "convnet-online": Case(partial(learn, Online(RATE), large, model=small_convnet)),
        "features-mer": Case(partial(on_features, mer_on_features)),
    }


def heavy_ball(learning_rate: Any) -> optax.GradientTransformation:
    return optax.sgd(learning_rate, momentum=0.5)


def mer_on_features(rate: float) -> MER:
    return MER(rate, 40, 5, beta=0.1, gamma=1.0, batches_per_example=2)


def _playing() -> dict[str, Case]:
    cases = {
        f"{game}-{name}": Case(partial(play, agent, game))
        for game in ("catcher", "flappy-bird")
        for name, agent in AGENTS.items()
    }
    frames: dict[str, Any] = {"observation": "frames", "network": frames_network, "episodes": 1}
    return cases | {
        "catcher-dqn-reservoir": Case(partial(play, DQN(**COMMON, reservoir=True), "catcher")),
        "catcher-dqn-frames": Case(partial(play, DQN(**COMMON), "catcher", **frames)),
    }


def frames_network(observation: Any, n_actions: int, key: Any) -> Any:
    return eqx.nn.Sequential([eqx.nn.Lambda(jnp.ravel), eqx.nn.Linear(observation.size, n_actions, key=key)])


def _representing() -> dict[str, Case]:
    cases = {
        f"{domain}-{name}": Case(partial(train, make, method))
        for domain, make in DOMAINS.items()
        for name, method in METHODS.items()
        if (domain, name) != ("digits", "sr-nn")
    }
    clipped = OML(0.05, 0.01, first_order=True, clip=1.0, decay_steps=6)
    cases |= {
        "sine-oml-first-order": Case(partial(train, sines, clipped)),
        "evaluated-classes": Case(evaluated_classes),
        "evaluated-sines": Case(evaluated_sines),
        "shipped": Case(shipped),
    }
    for method in ("oml", "pretraining", "sr-nn"):
        its_run = partial(train_preset, "omniglot", "small", method)
        cases[f"omniglot-small-{method}"] = Case(its_run, data="real_omniglot_dir")
    return cases


def _others() -> dict[str, Case]:
    mnist = ("mnist-rotations", "mnist-permutations", "mnist-many-permutations", "mnist-split")
    rates = {"learning_rate": [0.1, 0.01, 0.001], "replay_batch_size": 5, "memory_size": 40}
    drawn = {"learning_rate": LogUniform(0.001, 0.3), "replay_batch_size": 5, "memory_size": 40}
    short = {"tasks": 2, "examples_per_task": 40}
    return {
        "tuned-grid": Case(partial(searched, rates)),
        "tuned-random": Case(partial(searched, drawn, trials=3)),
        "reproduced": Case(reproduced, optimized=True),
        "streams-mnist": Case(partial(streams, mnist, **short), data="mnist_dir"),
        "streams-omniglot": Case(partial(streams, ["omniglot"], **short), data="real_omniglot_dir"),
    }


CASES: dict[str, Case] = _learning() | _playing() | _representing() | _others()
SHORT = ("rotations-online", "shipped")
"""Cases that are always tested; the others are long tests."""
for name in ("rotations-online", "rotations-mer", "flappy-bird-dqn", "sine-sr-nn"):
    CASES[name] = CASES[name]._replace(optimized=True)


def digest_of(leaf: Any) -> dict[str, Any]:
    """Return an array's shape, dtype, checksum of its bytes and first values."""
    values = np.ascontiguousarray(np.asarray(leaf))
    return {
        "shape": list(values.shape),
        "dtype": str(values.dtype),
        "sha256": hashlib.sha256(values.tobytes()).hexdigest(),
        "first": values.ravel()[:8].tolist(),
    }
