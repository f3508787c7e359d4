"""Stream-Q(λ), an agent without a memory: each transition is learned from once, when it arrives, and forgotten.

Source: Elsayed, Vasan & Mahmood (2024), "Streaming Deep Reinforcement Learning Finally Works", arXiv:2410.14606.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, PyTree, Shaped

from perdure.core import AnyArray, Rate, as_features
from perdure.learners.hyperparameters import check_hyperparameters, integer, rate
from perdure.models import array_model, split_trainable
from perdure.rl.agent import Agent
from perdure.rl.exploration import epsilon_greedy, falling_epsilon
from perdure.rl.networks import HIDDEN, MakeNetwork
from perdure.rl.transition import Transition

SPARSITY = 0.9
"""Part of each unit's incoming weights that begin at zero."""
_EPSILON = 1e-8
"""Added to variances that are divided by."""
_LAYER_EPSILON = 1e-5


class Moments(NamedTuple):
    """Number, mean and sum of squared deviations of what has arrived so far (Welford 1962)."""

    n: Int[Array, ""]
    mean: Float[Array, ...]
    spread: Float[Array, ...]

    def after(self, x: Float[Array, ...]) -> Moments:
        """Return the moments once x has arrived too."""
        n = self.n + 1
        mean = self.mean + (x - self.mean) / n.astype(x.dtype)
        return Moments(n, mean, self.spread + (x - self.mean) * (x - mean))

    def standardized(self, x: Float[Array, ...]) -> Float[Array, ...]:
        """Return x less the mean, in standard deviations."""
        return (x - self.mean) / self.deviation()

    def deviation(self) -> Float[Array, ...]:
        """Return the standard deviation, 1 before the second arrival."""
        n_others = jnp.maximum(self.n - 1, 1).astype(self.spread.dtype)
        return jnp.sqrt(jnp.where(self.n > 1, self.spread / n_others, 1.0) + _EPSILON)


class StreamNetwork(eqx.Module):
    """A perceptron with layer normalisation before each leaky ReLU, and with sparse weights at the start.

    Nine tenths of the weights into each unit are zero, but at least one is not; the others are uniform in
    ±1 / sqrt(fan in), biases zero. Layer normalisation has no weights of its own.
    """

    layers: tuple[eqx.nn.Linear, ...]

    def __init__(self, sizes: tuple[int, ...], *, key: PRNGKeyArray):
        """Draw the weights of layers between these numbers of units, inputs first and outputs last."""
        keys = jax.random.split(key, len(sizes) - 1)
        self.layers = tuple(map(_sparse_linear, sizes[:-1], sizes[1:], keys))

    def __call__(self, x: Float[Array, ...]) -> Float[Array, " actions"]:
        """Return the values of all actions for one observation of any shape."""
        x = x.ravel()
        for layer in self.layers[:-1]:
            x = layer(x)
            x = (x - x.mean()) * jax.lax.rsqrt(x.var() + _LAYER_EPSILON)
            x = jax.nn.leaky_relu(x)
        return self.layers[-1](x)


class Standardized(eqx.Module):
    """A network for observations as they come: they are standardized first."""

    network: PyTree
    moments: Moments

    def __call__(self, x: Float[Array, ...]) -> Float[Array, " actions"]:
        """Return the values of all actions for one observation."""
        return self.network(self.moments.standardized(x))


class StreamQState(NamedTuple):
    """State of `StreamQ`."""

    model: PyTree
    trace: PyTree
    """Eligibility of each weight."""
    observations: Moments
    returns: Moments
    """Of the running discounted sum of rewards."""
    discounted_sum: Float[Array, ""]
    begins: Bool[Array, ""]
    """Is the next observation the first of its episode, so that it is not among the moments yet?"""


class StreamQ(Agent):
    """Stream-Q(λ) (Elsayed, Vasan & Mahmood 2024, arXiv 2410.14606): Q-learning with eligibility traces, no memory.

    Each observation is standardized by the mean and variance of all observations so far, and each reward divided by
    the standard deviation of the running discounted sum of rewards, both as in the released code. The eligibility of a
    weight is multiplied by γλ in each frame and grows by the derivative of the value of the action taken; it is set to
    zero after an action that was not the best one, and at the end of an episode. The step along it is bounded (ObGD):
    with δ the temporal-difference error, weights move by ``α / max(1, κ α max(|δ|, 1) ‖z‖₁) · δ z``, z the
    eligibilities. There is neither a target network nor a batch. After a time limit the value of what would have
    followed still counts.
    """

    learning_rate: Rate = rate("largest step α")
    kappa: Rate = rate("how strongly steps are bounded (κ)")
    trace: Rate = rate("λ of eligibility traces", maximum=1.0)
    discount: Rate = rate("discount of a frame", maximum=1.0)
    exploration_end: Rate = rate("ε at the end of its schedule; it begins at 1", maximum=1.0)
    exploration_frames: int = integer("frames over which ε falls to its end")

    def __check_init__(self) -> None:
        check_hyperparameters(self)

    @property
    def n_environments(self) -> int:
        """One."""
        return 1

    @property
    def first_update(self) -> int:
        """The first frame is learned from."""
        return 1

    @property
    def default_network(self) -> MakeNetwork:
        """A sparse perceptron with layer normalisation."""
        return stream_network

    def make_networks(self, make: MakeNetwork, observation: AnyArray, n_actions: int, key: PRNGKeyArray) -> PyTree:
        """Return the network of the values of actions."""
        return array_model(make(observation, n_actions, key))

    def init(self, network: PyTree, transition: Transition, *, stacked: bool = False) -> StreamQState:
        """Return the state before the first frame."""
        seen = jnp.zeros_like(as_features(transition.observation))
        zero, none = jnp.zeros_like(jnp.asarray(transition.reward)), jnp.zeros((), jnp.int32)
        no_trace = jax.tree.map(jnp.zeros_like, split_trainable(network)[0])
        return StreamQState(
            network, no_trace, Moments(none, seen, seen), Moments(none, zero, zero), zero, jnp.ones((), bool)
        )

    def exploration(self, frame: Int[Array, ""]) -> Float[Array, ""]:
        """Return ε at a frame: it falls from 1 along a straight line and stays at its end."""
        return falling_epsilon(frame, self.exploration_end, self.exploration_frames)

    def act(self, state: StreamQState, observation: AnyArray, frame: Int[Array, ""], key: PRNGKeyArray) -> Array:
        """Return the action of the highest value, or with probability ε a random one."""
        x = as_features(observation)
        values = state.model(_moments_at(state, x).standardized(x))
        return epsilon_greedy(values, self.exploration(frame), key)

    def observe(
        self,
        state: StreamQState,
        transition: Transition,
        frame: Int[Array, ""],
        key: PRNGKeyArray,
        ended: Int[Array, ""] | int = 0,
    ) -> StreamQState:
        """Take one bounded step along the eligibilities; see `Agent.observe`."""
        over = jnp.asarray(ended) != 0
        x, then = as_features(transition.observation), as_features(transition.next_observation)
        before = _moments_at(state, x)
        after = before.after(then)
        discounted_sum = jnp.where(over, 0, self.discount * state.discounted_sum) + transition.reward
        returns = state.returns.after(discounted_sum)
        reward = transition.reward / returns.deviation()

        weights, rest = split_trainable(state.model)

        def value(weights: PyTree) -> tuple[Float[Array, ""], Float[Array, " actions"]]:
            values = eqx.combine(weights, rest)(before.standardized(x))
            return values[transition.action], values

        (chosen, values), grads = jax.value_and_grad(value, has_aux=True)(weights)
        best_then = jnp.max(state.model(after.standardized(then)))
        error = reward + self.discount * transition.discount * best_then - chosen
        trace = jax.tree.map(lambda z, by: self.discount * self.trace * z + by, state.trace, grads)
        step = bounded_step(trace, error, self.learning_rate, self.kappa)
        stepped = jax.tree.map(lambda weight, z: weight + step * error * z, weights, trace)
        forgotten = over | (transition.action != jnp.argmax(values).astype(jnp.int32))
        trace = jax.tree.map(lambda z: jnp.where(forgotten, 0, z), trace)
        return StreamQState(eqx.combine(stepped, rest), trace, after, returns, discounted_sum, over)

    def answering(self, state: StreamQState) -> Standardized:
        """Return the network with the standardization of observations."""
        return Standardized(state.model, state.observations)


def bounded_step(trace: PyTree, error: Float[Array, ""], learning_rate: Rate, kappa: Rate) -> Float[Array, ""]:
    """Return the step of ObGD, α / max(1, κ α max(|δ|, 1) ‖z‖₁).

    Args:
        trace: z, the eligibility of each weight.
        error: δ, the temporal-difference error.
        learning_rate: α.
        kappa: κ.
    """
    total: Any = jax.tree.reduce(jnp.add, jax.tree.map(lambda z: jnp.sum(jnp.abs(z)), trace))
    overshoot = kappa * learning_rate * jnp.maximum(jnp.abs(error), 1.0) * total
    return learning_rate / jnp.maximum(overshoot, 1.0)


def stream_network(observation: Shaped[AnyArray, ...], n_actions: int, key: PRNGKeyArray) -> StreamNetwork:
    """Return a sparse perceptron with two layers of 64 units.

    Args:
        observation: one, read for its shape and dtype only.
        n_actions: number of actions.
        key: random key for the weights.

    Raises:
        ValueError: if observations are pictures.
    """
    if observation.dtype == jnp.uint8:
        raise ValueError(
            f"observations are pictures of shape {observation.shape}, expected numbers: the network of Stream-Q is a "
            "perceptron; choose --observation state, or in Python give run_agent a network= for pictures"
        )
    return StreamNetwork((math.prod(observation.shape), *HIDDEN, n_actions), key=key)


def _moments_at(state: StreamQState, x: Float[Array, ...]) -> Moments:
    """Return the moments with the present observation among them."""
    return jax.tree.map(
        lambda new, old: jnp.where(state.begins, new, old), state.observations.after(x), state.observations
    )


def _sparse_linear(fan_in: int, fan_out: int, key: PRNGKeyArray) -> eqx.nn.Linear:
    weight_key, zero_key = jax.random.split(key)
    bound = fan_in**-0.5
    weight = jax.random.uniform(weight_key, (fan_out, fan_in), minval=-bound, maxval=bound)
    n_zeros = min(math.ceil(SPARSITY * fan_in), fan_in - 1)
    places = jax.random.permutation(zero_key, jnp.tile(jnp.arange(fan_in), (fan_out, 1)), axis=1, independent=True)
    layer = eqx.nn.Linear(fan_in, fan_out, key=key)
    weight = jnp.where(places < n_zeros, 0.0, weight)
    return eqx.tree_at(lambda it: (it.weight, it.bias), layer, (weight, jnp.zeros(fan_out)))
