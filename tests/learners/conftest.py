"""Recorded runs of the released code, for tests that replay them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from perdure.core import Example, Learner, StreamInfo
from perdure.models import MLP

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


def _weights(network: MLP) -> list[Any]:
    return [getattr(layer, kind) for layer in network.layers for kind in KINDS]
