"""The contract of agents, and deep Q-learning: a replay learner whose targets its own values supply.

An agent of deep Q-learning acts ε-greedily, remembers every frame, and hands the frame and what it remembers to a
replay learner of the supervised part, with temporal-difference targets in place of labels. DQN and DQN-MER differ by
that learner alone.

Source: Mnih et al. (2015), Algorithm 1; Riemer et al. (2019), section 5.
"""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, PyTree

from perdure.core import AnyArray, Rate, as_features
from perdure.learners.er import mean_gradient_step
from perdure.learners.hyperparameters import check_hyperparameters, choice, integer, rate
from perdure.learners.mer import MER
from perdure.learners.replay import HALVES, Batch, Replay, ReplayLearner, ReplayState, join_batches
from perdure.models import array_model
from perdure.rl.exploration import epsilon_greedy, falling_epsilon
from perdure.rl.frame_memory import buffer_of, init_memory, recall_transitions, store_transition
from perdure.rl.networks import MakeNetwork, default_network
from perdure.rl.transition import TD_LOSSES, TDBatch, Transition, td_targets
from perdure.updates.gradient import TrainState, init_train_state, or_sgd
from perdure.updates.weights import equal_weights

MEMORY_RULES = ("ring", "reservoir", HALVES)
"""How an agent's memory is filled: "ring" keeps the last transitions, "reservoir" a uniform sample of all, "halves" in
one half the last ones and in the other a uniform sample of all that came before these, and draws from both in turn."""


class AgentState(NamedTuple):
    """Networks and memory of an agent."""

    learning: ReplayState
    """Network, optimizer and memory."""
    target: PyTree
    """The network as it was some frames ago, from which the targets come."""


class Agent(eqx.Module):
    """A method that learns to act: a frozen record of hyper-parameters, and pure functions on its state.

    The frames of a run are numbered from 0 on. An agent with n environments plays frame t in the one of place t modulo
    n, each with an episode of its own: so a policy that changes after multiples of n frames only plays n environments
    side by side.
    """

    needs_stages: ClassVar[bool] = False
    """Is `end_stage(state, frame, key)`, which returns a state, called after the last frame of each stage?"""

    @property
    @abstractmethod
    def n_environments(self) -> int:
        """Number of environments that it plays."""

    @property
    @abstractmethod
    def first_update(self) -> int:
        """Frames that are played by the time of the first update."""

    @property
    @abstractmethod
    def default_network(self) -> MakeNetwork:
        """What makes its network, unless a run is given another function."""

    @abstractmethod
    def make_networks(self, make: MakeNetwork, observation: AnyArray, n_actions: int, key: PRNGKeyArray) -> PyTree:
        """Return all networks that `init` needs, as one: from an observation to a number for each action.

        Args:
            make: from an observation, a number of outputs and a key to a network.
            observation: one, read for its shape and dtype only.
            n_actions: number of actions.
            key: draws the weights.
        """

    @abstractmethod
    def init(self, network: PyTree, transition: Transition, *, stacked: bool = False) -> Any:
        """Return the state before the first frame, a tree of arrays.

        Args:
            network: as `make_networks` makes it; all leaves are arrays.
            transition: one, read for its shapes and dtypes only.
            stacked: are observations stacks of pictures, (stacked, height, width), of which each frame adds one to the
                last of the stack before?
        """

    @abstractmethod
    def exploration(self, frame: Int[Array, ""]) -> Float[Array, ""] | None:
        """Return the probability ε of a random action at a frame; None if it explores in another way."""

    @abstractmethod
    def act(self, state: Any, observation: AnyArray, frame: Int[Array, ""], key: PRNGKeyArray) -> Array:
        """Return the action of a frame, `key` draws it."""

    @abstractmethod
    def observe(
        self,
        state: Any,
        transition: Transition,
        frame: Int[Array, ""],
        key: PRNGKeyArray,
        ended: Int[Array, ""] | int = 0,
    ) -> Any:
        """Return the state after learning from a frame.

        Args:
            state: before the frame.
            transition: of the frame.
            frame: its number, from 0 on.
            key: draws all that is random.
            ended: how many episodes have ended by now, if one ends with this frame; -1 if one is broken off without an
                end; else 0.
        """

    @abstractmethod
    def answering(self, state: Any) -> PyTree:
        """Return the network whose largest output is the greedy action; evaluated, saved and shown at play."""


class ReplayAgent(Agent):
    """An agent that learns the values of actions from a memory of transitions."""

    learning_rate: Rate = rate("learning rate α")
    memory_size: int = integer("transitions that the memory holds")
    replay_batch_size: int = integer("transitions drawn for each batch")
    discount: Rate = rate("discount of a frame", maximum=1.0)
    target_period: int = integer("frames, or episodes, between two copies to the target network")
    exploration_end: Rate = rate("ε at the end of its schedule; it begins at 1", maximum=1.0)
    exploration_frames: int = integer("frames over which ε falls to its end")
    warmup_frames: int = integer("frames before the first update")
    memory_rule: str = choice("what the memory keeps", MEMORY_RULES, "ring")
    target_unit: str = choice("what the target period counts", ("frames", "episodes"), "frames")
    loss: str = choice("loss of the temporal-difference error", tuple(TD_LOSSES), "huber")

    def __check_init__(self) -> None:
        check_hyperparameters(self)
        if self.memory_rule == HALVES and self.memory_size % 2:
            raise ValueError(
                f"memory_size = {self.memory_size}, expected an even number, of which each half of a memory with the "
                f"rule {HALVES!r} gets as many"
            )
        self.learner()

    @abstractmethod
    def learner(self) -> ReplayLearner:
        """Return the learner that updates the network from batches of transitions and their targets."""

    def replay(self) -> Replay:
        """Return the memory's rules."""
        return dataclasses.replace(self.learner().replay(), rule=self.memory_rule)

    @property
    def n_environments(self) -> int:
        """One."""
        return 1

    @property
    def first_update(self) -> int:
        """The first frame that is learned from is the one after the warm-up."""
        return self.warmup_frames + 1

    @property
    def default_network(self) -> MakeNetwork:
        """A perceptron for vectors of numbers, a convolutional network for frames."""
        return default_network

    def make_networks(self, make: MakeNetwork, observation: AnyArray, n_actions: int, key: PRNGKeyArray) -> PyTree:
        """Return the network of the values of actions."""
        return array_model(make(observation, n_actions, key))

    def init(self, network: PyTree, transition: Transition, *, stacked: bool = False) -> AgentState:
        """Return the state before the first frame; the memory holds each picture of stacked observations once."""
        learner = self.learner()
        start = init_train_state(network, or_sgd(learner.optimizer)(learner.learning_rate))
        memory = init_memory(self.replay(), transition, stacked=stacked)
        return AgentState(ReplayState(*start, memory), jax.tree.map(jnp.copy, network))

    def exploration(self, frame: Int[Array, ""]) -> Float[Array, ""]:
        """Return ε at a frame: it falls from 1 along a straight line and stays at its end."""
        return falling_epsilon(frame, self.exploration_end, self.exploration_frames)

    def act(self, state: AgentState, observation: AnyArray, frame: Int[Array, ""], key: PRNGKeyArray) -> Array:
        """Return the action of the highest value, or with probability ε a random one."""
        values = state.learning.model(as_features(observation))
        return epsilon_greedy(values, self.exploration(frame), key)

    def answering(self, state: AgentState) -> PyTree:
        """Return the network of the values of actions."""
        return state.learning.model

    def observe(
        self,
        state: AgentState,
        transition: Transition,
        frame: Int[Array, ""],
        key: PRNGKeyArray,
        ended: Int[Array, ""] | int = 0,
    ) -> AgentState:
        """Learn from a transition among remembered ones, then remember it; see `Agent.observe`."""
        learner, replay, memory = self.learner(), self.replay(), state.learning.memory
        now = TrainState(state.learning.model, state.learning.optimizer)
        draws = replay.draw(buffer_of(memory), key)

        def learn() -> TrainState:
            batches = join_batches(transition, *recall_transitions(memory, draws.slots))
            remembered = batches.examples
            targets = td_targets(state.target, remembered, self.discount)
            td_batch = TDBatch(remembered.observation, targets)
            return learner.update(now, batches._replace(examples=td_batch), draws.position)

        # All seeds are at the same frame, so that under vmap these stay branches.
        after: TrainState = jax.lax.cond(frame >= self.warmup_frames, learn, lambda: now)
        renewed = self._renews_target(frame, jnp.asarray(ended, jnp.int32))
        target = jax.tree.map(lambda new, old: jnp.where(renewed, new, old), after.model, state.target)
        memory = store_transition(replay, memory, transition, draws.stored_in)
        return AgentState(ReplayState(after.model, after.optimizer, memory), target)

    def _renews_target(self, frame: Int[Array, ""], ended: Int[Array, ""]) -> Bool[Array, ""]:
        if self.target_unit == "episodes":
            return (ended > 0) & (ended % self.target_period == 0)
        return (frame + 1) % self.target_period == 0


class DQN(ReplayAgent):
    """Deep Q-learning (Mnih et al. 2015): Adam on the mean loss over a batch of transitions drawn from the memory.

    Adam stands in place of RMSProp, as it does in most of today's implementations.
    """

    def learner(self) -> ReplayLearner:
        """Return a learner that takes one mean-gradient step on drawn transitions."""
        return DrawnReplay(
            learning_rate=self.learning_rate,
            memory_size=self.memory_size,
            replay_batch_size=self.replay_batch_size,
            loss=TD_LOSSES[self.loss],
            optimizer=optax.adam,
        )


class DQNMER(ReplayAgent):
    """DQN-MER (Riemer et al. 2019, section 5): the updates of MER on the loss of one transition after another.

    The newest transition is in every batch. Plain SGD has no state, so that the Reptile steps interpolate everything
    that the inner steps change.
    """

    beta: Rate = rate("within-batch meta-rate β, of the Reptile step after each batch")
    gamma: Rate = rate("across-batch meta-rate γ, of the Reptile step after all batches")
    batches_per_frame: int = integer("batches replayed with each transition (s)")

    def learner(self) -> ReplayLearner:
        """Return MER."""
        return MER(
            learning_rate=self.learning_rate,
            memory_size=self.memory_size,
            replay_batch_size=self.replay_batch_size,
            beta=self.beta,
            gamma=self.gamma,
            batches_per_example=self.batches_per_frame,
            loss=TD_LOSSES[self.loss],
        )


class DrawnReplay(ReplayLearner):
    """One step on the mean loss over drawn transitions; the arriving transition is only remembered."""

    def n_batches(self) -> int:
        """Return 1."""
        return 1

    def update(self, now: TrainState, batches: Batch, position: Int[Array, ""]) -> TrainState:
        """Take one step on the mean loss."""
        return mean_gradient_step(self, now, batches, lambda batch: equal_weights(_drawn(batch)))


def _drawn(batch: Batch) -> Bool[Array, " k"]:
    return batch.mask & ~batch.arriving
