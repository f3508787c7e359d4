"""Small runs with fixed seeds: every learner, agent and way to train a representation, as a user would call them.

What they come to is recorded by `record.py`, and compared by `test_unchanged.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import optax
from digit_streams import ROTATIONS, digits_as_numbers, digits_classes, digits_permutations
from ways_to_run import (
    Linear,
    Outcome,
    evaluated_classes,
    evaluated_sines,
    learn,
    on_features,
    pictures,
    play,
    reproduced,
    searched,
    shipped,
    sines,
    small_convnet,
    streams,
    train,
    train_preset,
)

from perdure import (
    AGEM,
    ER,
    EWC,
    GEM,
    MER,
    ERAlgorithm5,
    ICaRL,
    Independent,
    LogUniform,
    MERAlgorithm6,
    MERAlgorithm7,
    Online,
    TaskInput,
)

# What is not public.
from perdure.learn import Learner
from perdure.models import from_init_apply
from perdure.representation import OML, Pretraining
from perdure.rl import DQN, DQNMER


class Case(NamedTuple):
    """A run of the catalogue."""

    run: Callable[[Path], Outcome]
    """Runs, with a folder to write into."""
    optimized: bool = False
    """Are its programs compiled well, as users have them? Others are compiled fast: most of the time goes there."""
    data: str | None = None
    """Fixture of the real data that it needs."""


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
        "catcher-dqn-reservoir": Case(partial(play, DQN(**COMMON, memory_rule="reservoir"), "catcher")),
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
