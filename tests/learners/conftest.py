"""Recorded runs of the released code, for tests that replay them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

from perdure.core import Example, Learner, StreamInfo
from perdure.learners.batch_replay import BatchReplayLearner
from perdure.models import MLP
from perdure.updates.gradient import predict_batch

KINDS = ("weight", "bias")


class Recording(NamedTuple):
    """One recorded run: numbers under the names of tests/reference.

    A layer's weights are found by a moment and the layer's name, such as ``init`` and ``{}0`` for ``init_weight0``
    and ``init_bias0``. All sizes and hyper-parameters are those of the file.
    """

    numbers: dict[str, np.ndarray]

    @classmethod
    def read(cls, file: Path) -> Recording:
        """Read a recorded run."""
        with np.load(file) as numbers:
            return cls(dict(numbers))

    def hp(self, name: str) -> Any:
        """Return a hyper-parameter by the name of the released program's option."""
        return self.numbers[f"hp_{name}"].item()

    @property
    def n_tasks(self) -> int:
        """Number of tasks."""
        return int(self.numbers["n_tasks"])

    def layers(self, prefix: str = "") -> list[str]:
        """Return the names of a perceptron's layers, such as ``{}0``, next to the input first."""
        names = (f"{prefix}{{}}{n}" for n in itertools.count())
        return list(itertools.takewhile(lambda name: f"init_{name.format('weight')}" in self.numbers, names))

    def stream(self, dtype: type) -> Example:
        """Return what was learned from."""
        y, task = (jnp.asarray(self.numbers[name], jnp.int32) for name in ("stream_y", "stream_task"))
        return Example(jnp.asarray(self.numbers["stream_x"], dtype), y, task)

    def batches(self, dtype: type) -> Iterator[tuple[Example, jax.Array, jax.Array]]:
        """Yield each batch, the memory slots drawn for it, (batches, draws), and the slots that its examples go to."""
        stream, numbers = self.stream(dtype), self.numbers
        n_slots = int(numbers["hp_buffer_size"])
        stored_in = jnp.asarray(np.where(numbers["reservoir_slot"] < 0, n_slots, numbers["reservoir_slot"]), jnp.int32)
        drawn = jnp.asarray(np.maximum(numbers["replay_draws"], 0), jnp.int32)
        for n, (start, stop) in enumerate(zip(numbers["batch_start"], numbers["batch_end"], strict=True)):
            batch = jax.tree.map(lambda leaf, start=start, stop=stop: leaf[start:stop], stream)
            yield batch, drawn[n], stored_in[start:stop]

    def assert_remembered(self, memories: Any) -> None:
        """Assert that memories, leaves (batches, slots, ...), hold after each batch what the recorded one held."""
        for n, indices in enumerate(self.numbers["memory_stream_index"]):
            held = indices[indices >= 0]
            np.testing.assert_array_equal(memories.x[n, : len(held)], self.numbers["stream_x"][held])
            np.testing.assert_array_equal(memories.y[n, : len(held)], self.numbers["stream_y"][held])

    def sgd(self, rate: Any) -> optax.GradientTransformation:
        """Return the recorded optimizer: SGD with momentum and weight decay."""
        decay = optax.add_decayed_weights(float(self.numbers["hp_optim_wd"]))
        return optax.chain(decay, optax.sgd(rate, momentum=float(self.numbers["hp_optim_mom"])))

    def start(self, learner: Learner, model: Any, dtype: type) -> Any:
        """Return the learner's state before the first example."""
        return learner.init(model, jax.tree.map(lambda leaf: leaf[0], self.stream(dtype)), jax.random.key(0))

    def stream_info(self) -> StreamInfo:
        """Return what a run would tell the learner of the stream."""
        sizes = np.bincount(self.numbers["stream_task"], minlength=self.n_tasks)
        return StreamInfo(int(self.numbers["n_outputs"]), len(sizes), tuple(map(int, sizes)))

    def mlp(self, moment: str, layers: Sequence[str], dtype: type) -> MLP:
        """Return the recorded network."""
        leaves = [jnp.asarray(leaf, dtype) for leaf in self._leaves(moment, layers)]
        hidden = [len(bias) for bias in leaves[1:-1:2]]
        network = MLP(leaves[0].shape[1], len(leaves[-1]), hidden, key=jax.random.key(0))
        return eqx.tree_at(_weights, network, leaves)

    def learn(self, learner: Learner, state: Any, dtype: type) -> Any:
        """Return the states after each recorded example, leaves (N, ...)."""

        def observe(state: Any, example: Example) -> tuple[Any, Any]:
            state, _ = learner.observe(state, example, jax.random.key(0))
            return state, state

        return jax.tree.map(np.asarray, jax.lax.scan(observe, state, self.stream(dtype))[1])

    def assert_recorded(self, moment: str, layers: Sequence[str], network: MLP, atol: float) -> None:
        """Assert that the network's weights, or their trajectories, are those recorded."""
        for mine, recorded in zip(_weights(network), self._leaves(moment, layers), strict=True):
            np.testing.assert_allclose(mine, recorded, rtol=0, atol=atol)

    def _leaves(self, moment: str, layers: Sequence[str]) -> list[np.ndarray]:
        return [self.numbers[f"{moment}_{layer.format(kind)}"] for layer in layers for kind in KINDS]


@jax.jit
def learn_batch(learner: BatchReplayLearner, state: Any, batch: Example, drawn: jax.Array, stored_in: jax.Array) -> Any:
    """Return the state after a batch of which all examples are offered to the memory, its outputs, and the loss."""
    outputs = predict_batch(state.model, batch.x)
    after, total = learner.update(state, batch, drawn)

    def offer(memory: Any, numbered: Any) -> tuple[Any, None]:
        example, outputs, slot = numbered
        return learner.replay().store(memory, learner.remembered(example, outputs), slot), None

    memory, _ = jax.lax.scan(offer, state.memory, (batch, outputs, stored_in))
    return after._replace(memory=memory), outputs, total


def replay(learn: Callable[..., Any], learner: Learner, state: Any, batches: Iterable[tuple]) -> tuple[Any, Any, Any]:
    """Return the states after each batch, leaves (batches, ...), and the outputs and losses that `learn` returns."""
    steps = []
    for batch in batches:
        state, outputs, total = learn(learner, state, *batch)
        steps.append((state, outputs, total))
    states, outputs, totals = zip(*steps, strict=True)
    return jax.tree.map(lambda *leaves: np.stack(leaves), *states), outputs, np.stack(totals)


def _weights(network: MLP) -> list[Any]:
    return [getattr(layer, kind) for layer in network.layers for kind in KINDS]
