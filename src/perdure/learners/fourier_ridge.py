"""Ridge regression on random Fourier features: a kernel machine that learns a stream exactly and stores no example."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float, Int, PRNGKeyArray, Shaped

from perdure.core import Rate, StreamInfo
from perdure.learners.head import Fitted, LinearHead
from perdure.learners.hyperparameters import check_hyperparameters, integer, rate, stream_info_field
from perdure.learners.ridge import Ridge, RidgeSums, targets_of
from perdure.updates.branches import where_needed

_BLOCK = 256
"""Examples that are turned into features, and added to the sums, together."""


class FourierState(NamedTuple):
    """State of `RandomFourierRidge`: the sums of `Ridge` over features, and the examples not yet in them."""

    frequencies: Float[Array, "d frequencies"]
    sums: RidgeSums
    """Of all examples but those that wait."""
    x: Float[Array, "block d"]
    """Inputs that wait; only the first `n_waiting` mean something."""
    y: Float[Array, "block outputs"]
    """Their targets."""
    n_waiting: Int[Array, ""]
    weight: Float[Array, ""]
    """Of all examples together, as that of `RidgeSums`."""
    targets: Float[Array, " outputs"]
    """Mean of all targets."""


class RandomFourierRidge(LinearHead[FourierState]):
    """Ridge regression on random Fourier features, whose answers are those of all examples so far at once.

    The features of an input are cosine and sine of products with random frequencies, so that the dot product of two
    inputs' features is about exp(−|x − x'|² / (2 d ℓ²)), the Gaussian kernel, d being the number of inputs. What is
    learned of them is what `Ridge` learns. It keeps m² sums, 4 bytes each, instead of examples. Examples wait in
    blocks, whose features and sums are products of matrices; the answers always take those that wait into account.

    Source: Rahimi & Recht (2007), "Random Features for Large-Scale Kernel Machines", NIPS, Algorithm 1.
    """

    classes_only: ClassVar[bool] = False
    vectorized: ClassVar[bool] = False

    frequencies: int = integer("random frequencies; each makes two features, a cosine and a sine", default=500)
    length_scale: Rate = rate(
        "length scale ℓ of the kernel, in square roots of the number of inputs", default=0.4, minimum=1e-6
    )
    penalty: Rate = rate("penalty λ of the weights, in mean variances of a feature", default=0.03)
    forgetting: Rate = rate("part of its weight that an example loses with each one after it", 0.0, maximum=0.5)
    stream_info: StreamInfo | None = stream_info_field()

    def __check_init__(self) -> None:
        check_hyperparameters(self)

    def ridge(self) -> Ridge:
        """Return what learns the features."""
        return Ridge(self.penalty, self.forgetting)

    def start(self, n_features: int, n_outputs: int, dtype: DTypeLike, key: PRNGKeyArray) -> FourierState:
        """Return the state before the first example."""
        sums = self.ridge().start(2 * self.frequencies, n_outputs, dtype, key)
        return FourierState(
            frequencies=jax.random.normal(key, (n_features, self.frequencies), dtype) / n_features**0.5,
            sums=sums,
            x=jnp.zeros((_BLOCK, n_features), dtype),
            y=jnp.zeros((_BLOCK, n_outputs), dtype),
            n_waiting=jnp.zeros((), jnp.int32),
            weight=sums.weight,
            targets=sums.targets,
        )

    def learn(self, state: FourierState, x: Float[Array, " d"], y: Shaped[Array, ...]) -> FourierState:
        """Have the example wait; with the one that completes a block, add all of it to the sums."""
        target = targets_of(y, len(state.targets), x.dtype)
        waiting_x, waiting_y = state.x.at[state.n_waiting].set(x), state.y.at[state.n_waiting].set(target)
        n = state.n_waiting + 1
        is_full = n == len(waiting_x)

        def with_block() -> RidgeSums:
            return self.ridge().learn_all(state.sums, self._features(state.frequencies, waiting_x), waiting_y)

        weight = (1 - self.forgetting) * state.weight + 1
        return FourierState(
            frequencies=state.frequencies,
            sums=where_needed(is_full, with_block, state.sums),
            x=waiting_x,
            y=waiting_y,
            n_waiting=jnp.where(is_full, 0, n),
            weight=weight,
            targets=state.targets + (target - state.targets) / weight,
        )

    def learn_all(self, state: FourierState, x: Float[Array, "n d"], y: Shaped[Array, "n ..."]) -> FourierState:
        """Add those that wait, and all of these, to the sums."""
        targets = targets_of(y, len(state.targets), x.dtype)
        sums = self.ridge().learn_all(self._all_sums(state), self._features(state.frequencies, x), targets)
        none = jnp.zeros_like(state.n_waiting)
        return state._replace(sums=sums, n_waiting=none, weight=sums.weight, targets=sums.targets)

    def loss_before(self, state: FourierState, x: Float[Array, " d"], y: Shaped[Array, ...]) -> Float[Array, ""]:
        """Return half the squared distance of the target from the mean target."""
        return jnp.sum((targets_of(y, len(state.targets), x.dtype) - state.targets) ** 2) / 2

    def fitted(self, state: FourierState) -> Fitted:
        """Return the weights of the features, and the constant."""
        return self.ridge().fitted(self._all_sums(state))._replace(random=state.frequencies)

    def features(self, fitted: Fitted, x: Float[Array, "batch d"]) -> Float[Array, "batch m"]:
        """Return the random features."""
        assert fitted.random is not None
        return self._features(fitted.random, x)

    def _features(
        self, frequencies: Float[Array, "d frequencies"], x: Float[Array, "batch d"]
    ) -> Float[Array, "batch m"]:
        angles = x @ frequencies / self.length_scale
        return jnp.concatenate([jnp.cos(angles), jnp.sin(angles)], axis=-1) / self.frequencies**0.5

    def _all_sums(self, state: FourierState) -> RidgeSums:
        """Return the sums of all examples, those that wait among them."""
        features, ridge = self._features(state.frequencies, state.x), self.ridge()

        def add(place: Int[Array, ""], sums: RidgeSums) -> RidgeSums:
            return ridge.learn(sums, features[place], state.y[place])

        return jax.lax.fori_loop(0, state.n_waiting, add, state.sums)
