"""The same methods on the same stream, in perdure and in plain PyTorch."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import eager
import jax
import jax.numpy as jnp
import numpy as np
import torch

from perdure.core import Example, Learner
from perdure.experiments.supervised.program import Advance, Log, Progress, named_keys
from perdure.experiments.supervised.spec import prepare
from perdure.learners.cls_er import CLSER
from perdure.learners.der import DERPlusPlus
from perdure.learners.er import ER
from perdure.learners.er_ace import ERACE
from perdure.learners.ewc import EWC
from perdure.learners.gem import AGEM, GEM
from perdure.learners.la_maml import LaMAML
from perdure.learners.mer import MER
from perdure.models import MLP
from perdure.streams.benchmark import Benchmark, LabelledSet

INPUTS, CLASSES = 784, 10


class Method(NamedTuple):
    """A method on both sides, and the stream to time it on."""

    name: str
    learner: Learner[Any]
    eager: Callable[..., object]
    """(network, stream, first=…): learns in place; examples before `first` are memories already."""
    task_sizes: tuple[int, ...]
    warm: int
    """Examples before the clock starts."""
    n_eager: int
    """Examples after that which PyTorch is timed on."""
    n_ours: int
    """Examples after that which perdure is timed on: more, as it takes less time for each."""
    steps: int = 1
    """SGD steps for an example."""


def mer(drawn: int, batches: int, memory_size: int = 500) -> Method:
    """Return MER, with `batches` batches of `drawn` memories an example."""
    values: dict[str, Any] = {"learning_rate": 0.03, "beta": 0.03, "gamma": 1.0, "memory_size": memory_size}
    values |= {"replay_batch_size": drawn, "batches_per_example": batches}
    steps = batches * (drawn + 1)
    n_eager, n_ours = 5000 // steps, 100_000 // steps
    name = f"MER, {drawn} memories drawn"
    return Method(name, MER(**values), partial(eager.mer, **values), (200 + n_ours,), 200, n_eager, n_ours, steps)


def er(drawn: int) -> Method:
    """Return ER, with `drawn` memories an example."""
    values: dict[str, Any] = {"learning_rate": 0.1, "memory_size": 500, "replay_batch_size": drawn}
    name = f"ER, {drawn} memories drawn"
    return Method(name, ER(**values), partial(eager.er, **values), (8200,), 200, 2000, 8000)


def der_plus_plus(drawn: int) -> Method:
    """Return DER++, with `drawn` memories for their outputs and as many for their labels."""
    values: dict[str, Any] = {"learning_rate": 0.03, "memory_size": 500, "replay_batch_size": drawn}
    values |= {"alpha": 0.3, "beta": 0.5}
    name = f"DER++, {drawn} memories drawn twice"
    return Method(name, DERPlusPlus(**values), partial(eager.der_plus_plus, **values), (4200,), 200, 1000, 4000)


def er_ace(drawn: int) -> Method:
    """Return ER-ACE, with `drawn` memories an example."""
    values: dict[str, Any] = {"learning_rate": 0.03, "memory_size": 500, "replay_batch_size": drawn}
    name = f"ER-ACE, {drawn} memories drawn"
    return Method(name, ERACE(**values), partial(eager.er_ace, **values), (4200,), 200, 1000, 4000)


def cls_er(drawn: int) -> Method:
    """Return CLS-ER, with `drawn` memories an example and averages that move as often as on MNIST in its code."""
    values: dict[str, Any] = {"learning_rate": 0.03, "memory_size": 500, "replay_batch_size": drawn}
    values |= {"consistency": 1.0, "plastic_probability": 1.0, "plastic_decay": 0.99}
    values |= {"stable_probability": 0.9, "stable_decay": 0.99}
    name = f"CLS-ER, {drawn} memories drawn"
    return Method(name, CLSER(**values), partial(eager.cls_er, **values), (4200,), 200, 1000, 4000)


def a_gem(drawn: int) -> Method:
    """Return A-GEM in its second task, with `drawn` memories an example: beside ER, what its constraint costs."""
    values: dict[str, Any] = {"learning_rate": 0.01, "replay_batch_size": drawn}
    plain = partial(eager.a_gem, memories_per_task=250, **values)
    return Method(
        f"A-GEM, {drawn} memories drawn", AGEM(memory_size=500, **values), plain, (250, 4050), 300, 1000, 4000
    )


def ewc(n_tasks: int) -> Method:
    """Return EWC, on `n_tasks` tasks."""
    values: dict[str, Any] = {"learning_rate": 0.003, "fisher_examples": 10, "strength": 10.0}
    n = 50 * n_tasks
    return Method(f"EWC, {n_tasks} tasks", EWC(**values), partial(eager.ewc, **values), (50,) * n_tasks, 0, n, n)


def gem(n_past: int, memories: int) -> Method:
    """Return GEM, with `memories` memories of each of `n_past` past tasks."""
    values: dict[str, Any] = {"learning_rate": 0.01, "margin": 0.5}
    learner = GEM(memory_size=memories * (n_past + 1), **values)
    plain = partial(eager.gem, memories_per_task=memories, **values)
    sizes = (memories,) * n_past + (100,)
    return Method(f"GEM, {n_past} past tasks of {memories}", learner, plain, sizes, memories * n_past, 50, 100)


def la_maml(glances: int = 5) -> Method:
    """Return La-MAML, with its published batches of 10 examples and 10 memories."""
    values: dict[str, Any] = {"initial_rate": 0.15, "rate_learning_rate": 0.3, "clip_norm": 2.0, "memory_size": 200}
    values |= {"replay_batch_size": 10, "batch_size": 10, "glances": glances}
    n_eager, n_ours = 100, 1000
    name = f"La-MAML, {glances} glances"
    return Method(name, LaMAML(**values), partial(eager.la_maml, **values), (200 + n_ours,), 200, n_eager, n_ours)


def made_up_stream(task_sizes: tuple[int, ...]) -> Example:
    """Return images of which a fifth of the pixels are inked, as MNIST's are."""
    rng = np.random.default_rng(0)
    n = sum(task_sizes)
    pixels = rng.integers(1, 256, (n, 28, 28)) * (rng.random((n, 28, 28)) < 0.2)
    tasks = np.repeat(np.arange(len(task_sizes)), task_sizes)
    return Example(pixels.astype(np.uint8), rng.integers(0, CLASSES, n).astype(np.int32), tasks.astype(np.int32))


class Ours:
    """perdure, before the first example that is timed."""

    def __init__(self, learner: Learner[Any], stream: Example, warm: int, n_seeds: int, hidden: int = 100):
        """Compile for `n_seeds` seeds, which all learn from the stream, and learn from its first `warm` examples."""
        x, y, task = map(np.asarray, stream)
        tests = [LabelledSet(x[task == number], y[task == number]) for number in range(task[-1] + 1)]
        learner = jax.tree.map(jnp.asarray, prepare(learner, Benchmark("made up", stream, tests, CLASSES)))
        stream = jax.tree.map(jnp.asarray, stream)
        keys = jax.vmap(named_keys)(jnp.arange(n_seeds))

        def start(keys: Any) -> Progress:
            model = MLP(INPUTS, CLASSES, (hidden, hidden), key=keys.model)
            state = learner.init(model, jax.tree.map(lambda leaf: leaf[0], stream), keys.start)
            return Progress(state, Log(jnp.full(len(stream.y), jnp.nan)))

        progress = jax.jit(jax.vmap(start))(keys)
        began = time.perf_counter()
        self._advance = Advance(learner, progress, stream, keys, shared_stream=True)
        self.compile_seconds = time.perf_counter() - began
        self._warm = warm
        self._n_seeds = n_seeds
        self._advance(0, warm)
        self._progress = jax.tree.map(jnp.copy, self._advance.progress)

    def seconds(self, n: int) -> float:
        """Return how long the next n examples take, a seed."""
        self._advance.begin(jax.tree.map(jnp.copy, self._progress))
        began = time.perf_counter()
        self._advance(self._warm, self._warm + n)
        return (time.perf_counter() - began) / self._n_seeds


def eager_seconds(method: Method, stream: Example) -> float:
    """Return how long PyTorch takes for the examples that it is timed on."""
    n = method.warm + method.n_eager
    rows = torch.tensor(stream.x[:n].reshape(n, -1) / np.float32(255))
    given = eager.Stream(rows, torch.tensor(stream.y[:n]).long(), stream.task[:n].tolist())
    layers = MLP(INPUTS, CLASSES, key=jax.random.key(0)).layers
    weights = [tuple(torch.tensor(np.asarray(leaf)) for leaf in (it.weight, it.bias)) for it in layers]
    network = eager.perceptron(weights)
    memories = {"first": method.warm} if method.warm else {}
    began = time.perf_counter()
    method.eager(network, given, **memories)
    return time.perf_counter() - began


class Compared(NamedTuple):
    """Medians of the time of an example, in microseconds, a seed."""

    method: Method
    eager: float
    one_seed: float
    several_seeds: float
    compile_seconds: float


def compare(method: Method, n_seeds: int, rounds: int) -> Compared:
    """Return what both sides take, in turn, `rounds` times each."""
    stream = made_up_stream(method.task_sizes)
    one, several = (Ours(method.learner, stream, method.warm, n) for n in (1, n_seeds))
    times = [
        (
            eager_seconds(method, stream) / method.n_eager,
            one.seconds(method.n_ours) / method.n_ours,
            several.seconds(method.n_ours) / method.n_ours,
        )
        for _ in range(rounds)
    ]
    medians = [1e6 * statistics.median(side) for side in zip(*times, strict=True)]
    return Compared(method, *medians, compile_seconds=one.compile_seconds)
