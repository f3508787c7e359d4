"""Proximal policy optimisation, an agent without a memory of the past: it learns from what it has just played.

Source: Schulman et al. (2017), "Proximal Policy Optimization Algorithms", arXiv:1707.06347, Algorithm 1.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, PyTree, Shaped

from perdure.core import AnyArray, Rate, as_features
from perdure.learners.hyperparameters import check_hyperparameters, integer, rate
from perdure.models import array_model
from perdure.rl.agent import Agent
from perdure.rl.networks import MakeNetwork, default_network
from perdure.rl.policy_gradient import clipped_loss, entropy, generalised_advantages, log_probability
from perdure.rl.transition import Transition
from perdure.updates.gradient import TrainState, differentiate, init_train_state, optimizer_step, predict_batch

_VALUE_WEIGHT = 0.5
_LARGEST_GRADIENT = 0.5
"""Norm to which the gradient of actor and critic together is clipped."""
_ADAM_EPSILON = 1e-5


class ActorCritic(eqx.Module):
    """The two networks; as one network it gives the actor's outputs."""

    actor: PyTree
    """From an observation to the logits of all actions."""
    critic: PyTree
    """From an observation to its value."""

    def __call__(self, x: Float[Array, ...]) -> Float[Array, " actions"]:
        """Return the logits of all actions for one observation."""
        return self.actor(x)


class Rollout(NamedTuple):
    """Frames played since the last update, leaves (frames · environments, ...), the environments in turn."""

    transitions: Transition
    ended: Bool[Array, " n"]
    """Did an episode end with the frame?"""


class PPOState(NamedTuple):
    """State of `PPO`."""

    model: ActorCritic
    optimizer: PyTree
    rollout: Rollout


class _Sample(NamedTuple):
    """What a frame of a rollout, or each of several, teaches."""

    observation: Shaped[Array, ...]
    action: Int[Array, ...]
    log_probability: Float[Array, ...]
    """Of the action, before the update."""
    advantage: Float[Array, ...]
    value: Float[Array, ...]
    """That the critic should give."""


class PPO(Agent):
    """Proximal policy optimisation (Schulman et al. 2017, arXiv 1707.06347): the on-policy baseline.

    It plays `environments` environments in turn, one frame each, and acts by drawing from its policy. After
    `rollout_frames` frames of each it learns for `epochs` epochs, in `minibatches` random parts each: one step of Adam
    on the clipped objective, half the squared error of the critic times 0.5, and minus `entropy_bonus` times the
    entropy of the policy. Advantages are generalised ones, standardized in each part; the gradient is clipped to a norm
    of 0.5. Rewards are taken as they are. Actor and critic are two networks. Frames of all environments count.
    """

    learning_rate: Rate = rate("learning rate of Adam")
    environments: int = integer("environments played in turn")
    rollout_frames: int = integer("frames of each environment between two updates")
    epochs: int = integer("passes over the frames of an update")
    minibatches: int = integer("parts of a pass, a step each")
    discount: Rate = rate("discount of a frame", maximum=1.0)
    trace: Rate = rate("λ of generalised advantages", maximum=1.0)
    clip: Rate = rate("how far the ratio of probabilities may leave 1", maximum=1.0)
    entropy_bonus: Rate = rate("weight of the policy's entropy")

    def __check_init__(self) -> None:
        check_hyperparameters(self)
        n = self.first_update
        if n % self.minibatches or n < 2 * self.minibatches:
            raise ValueError(
                f"minibatches = {self.minibatches}, expected a number that divides the {n} frames of an update "
                f"({self.environments} environments × {self.rollout_frames} frames) into equal parts of two or more"
            )

    @property
    def n_environments(self) -> int:
        """Environments played in turn."""
        return self.environments

    @property
    def first_update(self) -> int:
        """Frames of an update, those of all environments."""
        return self.environments * self.rollout_frames

    @property
    def default_network(self) -> MakeNetwork:
        """A perceptron for vectors of numbers, a convolutional network for frames."""
        return default_network

    def make_networks(self, make: MakeNetwork, observation: AnyArray, n_actions: int, key: PRNGKeyArray) -> PyTree:
        """Return actor and critic, two networks that `make` makes."""
        actor_key, critic_key = jax.random.split(key)
        return ActorCritic(
            array_model(make(observation, n_actions, actor_key)), array_model(make(observation, 1, critic_key))
        )

    def init(self, network: PyTree, transition: Transition, *, stacked: bool = False) -> PPOState:
        """Return the state before the first frame."""
        n = self.first_update
        empty = jax.tree.map(lambda leaf: jnp.zeros((n, *jnp.shape(leaf)), jnp.asarray(leaf).dtype), transition)
        start = init_train_state(network, self._optimizer())
        return PPOState(*start, Rollout(empty, jnp.zeros(n, bool)))

    def exploration(self, frame: Int[Array, ""]) -> None:
        """Return None: the policy itself is random."""

    def act(self, state: PPOState, observation: AnyArray, frame: Int[Array, ""], key: PRNGKeyArray) -> Array:
        """Return an action drawn from the policy."""
        return jax.random.categorical(key, state.model(as_features(observation))).astype(jnp.int32)

    def observe(
        self,
        state: PPOState,
        transition: Transition,
        frame: Int[Array, ""],
        key: PRNGKeyArray,
        ended: Int[Array, ""] | int = 0,
    ) -> PPOState:
        """Keep the frame; when it is the last of a rollout, learn from all of them."""
        n = len(state.rollout.ended)
        frames = Rollout(transition, jnp.asarray(ended) != 0)
        rollout: Any = jax.tree.map(lambda leaf, new: leaf.at[frame % n].set(new), state.rollout, frames)
        now = TrainState(state.model, state.optimizer)
        # All seeds are at the same frame, so that under vmap this stays a branch.
        after: TrainState = jax.lax.cond(frame % n == n - 1, lambda: self._learned(now, rollout, key), lambda: now)
        return PPOState(after.model, after.optimizer, rollout)

    def answering(self, state: PPOState) -> PyTree:
        """Return the actor."""
        return state.model.actor

    def _learned(self, now: TrainState, rollout: Rollout, key: PRNGKeyArray) -> TrainState:
        """Return networks and optimizer after all epochs on a rollout."""
        samples = self._samples(now.model, rollout)
        n, optimizer = len(rollout.ended), self._optimizer()

        def step(now: TrainState, places: Int[Array, " part"]) -> tuple[TrainState, None]:
            part = jax.tree.map(lambda leaf: leaf[places], samples)
            gradient, _ = differentiate(lambda model: (self._loss(model, part), (model, None)), now.model)
            return optimizer_step(gradient, now.optimizer, optimizer), None

        def epoch(now: TrainState, key: PRNGKeyArray) -> tuple[TrainState, None]:
            places = jax.random.permutation(key, n).astype(jnp.int32)
            return jax.lax.scan(step, now, places.reshape(self.minibatches, -1))

        return jax.lax.scan(epoch, now, jax.random.split(key, self.epochs))[0]

    def _samples(self, model: ActorCritic, rollout: Rollout) -> _Sample:
        seen, action, reward, discount, then = rollout.transitions
        values, next_values = (predict_batch(model.critic, it)[:, 0] for it in (seen, then))

        def by_frame(leaf: Array) -> Array:
            return leaf.reshape(self.rollout_frames, self.environments)

        advantages = generalised_advantages(
            by_frame(reward),
            by_frame(self.discount * discount),
            by_frame(rollout.ended),
            by_frame(values),
            by_frame(next_values),
            self.trace,
        ).ravel()
        chosen = log_probability(predict_batch(model.actor, seen), action)
        return _Sample(seen, action, chosen, advantages, advantages + values)

    def _loss(self, model: ActorCritic, part: _Sample) -> Float[Array, ""]:
        x = as_features(part.observation)
        logits, values = jax.vmap(model.actor)(x), jax.vmap(model.critic)(x)[:, 0]
        advantages = (part.advantage - part.advantage.mean()) / (part.advantage.std() + 1e-8)
        policy = clipped_loss(log_probability(logits, part.action) - part.log_probability, advantages, self.clip)
        error = 0.5 * jnp.mean((values - part.value) ** 2)
        return policy + _VALUE_WEIGHT * error - self.entropy_bonus * entropy(logits)

    def _optimizer(self) -> optax.GradientTransformation:
        adam: Any = optax.adam(self.learning_rate, eps=_ADAM_EPSILON)
        return optax.chain(optax.clip_by_global_norm(_LARGEST_GRADIENT), adam)
