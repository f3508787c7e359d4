"""Seeds divided among devices: the CPU's cores, as far as JAX shows them as devices, or accelerators."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, PyTree

from perdure.core import AnyArray, Learner
from perdure.machine.cores import usable_cpus

Axes = tuple[Any, ...]
"""For each argument 0 or a tree of 0 and None: where there are leaves (seeds, ...), and where leaves for all seeds."""


def seed_devices(n_seeds: int) -> Sequence[Any]:
    """Return the devices for `n_seeds` seeds: no more than there are seeds, or cores that this process may use."""
    devices = jax.local_devices()
    if devices[0].platform == "cpu":
        devices = devices[: usable_cpus()]
    return devices[:n_seeds]


def faster_side_by_side(networks: PyTree) -> bool:
    """Tell whether a device computes the networks of several seeds faster side by side than one after another.

    It does but for networks of convolutions on a CPU, at least where agents play frame by frame: four seeds of DQN-MER
    play 528 small frames a second on two cores one after another, 349 side by side.

    Args:
        networks: what answers, leaves (seeds, ...); arrays of four axes for each seed are taken for filters.
    """
    return jax.default_backend() != "cpu" or not any(leaf.ndim > 4 for leaf in jax.tree.leaves(networks))


def learns_faster_side_by_side(learner: Learner[Any], state: PyTree) -> bool:
    """Tell whether a device learns several seeds from examples faster side by side than one after another.

    On several cores the rows of a network of convolutions are divided among them, and more rows are divided better. On
    one core ER on Omniglot takes 20 ms an example and seed with five seeds side by side, 12 ms one after another.

    Args:
        learner: shared by the seeds.
        state: of the learner, leaves (seeds, ...).
    """
    return learner.vectorized and (usable_cpus() > 1 or faster_side_by_side(learner.answering(state)))


def by_axis(change: Callable[[Any], Any], axes: Any, arguments: Any) -> Any:
    """Return arguments with `change` made to what has a leading axis of seeds."""

    def changed(axis: int | None, argument: Any) -> Any:
        return argument if axis is None else change(argument)

    return jax.tree.map(changed, axes, arguments, is_leaf=lambda axis: axis is None)


class Division:
    """Seeds in equal shares; where they do not divide, the last seed is there more than once."""

    def __init__(self, devices: Sequence[Any], n_seeds: int):
        """Divide `n_seeds` seeds among the devices."""
        self._devices = devices
        self.n_seeds = n_seeds
        self.n_seeds_each = -(-n_seeds // len(devices))
        """Seeds of each device."""
        self._mesh = Mesh(np.asarray(devices), ("seeds",))

    def spread(self, axes: Axes, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return arguments with each seed's part on its device, and what is for all seeds on every one."""
        if len(self._devices) == 1:
            return arguments
        n_more = self.n_seeds_each * len(self._devices) - self.n_seeds

        def filled(leaf: AnyArray) -> Array:
            return jnp.concatenate([leaf, *[leaf[-1:]] * n_more])

        def put(axis: int | None, argument: Any) -> Any:
            return jax.device_put(argument, NamedSharding(self._mesh, _specification(axis)))

        complete = by_axis(lambda argument: jax.tree.map(filled, argument), axes, arguments)
        return jax.tree.map(put, axes, complete, is_leaf=lambda axis: axis is None)

    def gathered(self, spread: Any) -> Any:
        """Return what has been spread, leaves (seeds, ...), on one device again."""
        if len(self._devices) == 1:
            return spread
        return jax.tree.map(lambda leaf: jax.device_put(leaf[: self.n_seeds], self._devices[0]), spread)

    def on_each(self, function: Callable[..., Any], axes: Axes) -> Callable[..., Any]:
        """Return a function of what has been spread, each device of which returns leaves (seeds, ...) of its share."""
        if len(self._devices) == 1:
            return function
        specifications = jax.tree.map(_specification, axes, is_leaf=lambda axis: axis is None)
        # No device needs anything of another, and there is nothing to check.
        return jax.shard_map(
            function, mesh=self._mesh, in_specs=specifications, out_specs=_specification(0), check_vma=False
        )


def _specification(axis: int | None) -> PartitionSpec:
    return PartitionSpec() if axis is None else PartitionSpec("seeds")
