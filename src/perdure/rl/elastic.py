"""Deep Q-learning with elastic weight consolidation: weights that mattered to past stages are held by a penalty."""

from __future__ import annotations

from functools import partial
from typing import ClassVar, NamedTuple

import jax
import optax
from jaxtyping import Array, Int, PRNGKeyArray, PyTree

from perdure.core import Rate
from perdure.learners.hyperparameters import integer, rate
from perdure.learners.replay import ReplayLearner
from perdure.memory.buffer import draw_slots
from perdure.models import split_trainable
from perdure.rl.agent import AgentState, DrawnReplay, ReplayAgent
from perdure.rl.frame_memory import buffer_of, recall_transitions
from perdure.rl.transition import TD_LOSSES, td_targets
from perdure.updates.consolidation import (
    Consolidation,
    consolidated,
    mean_squared_gradients,
    no_consolidation,
    penalty_gradient,
)


class ElasticState(NamedTuple):
    """State of the optimizer of `DQNEWC`."""

    consolidation: Consolidation
    adam: PyTree


class DQNEWC(ReplayAgent):
    """DQN with elastic weight consolidation (Kirkpatrick et al. 2017, arXiv 1612.00796, sections 2 and 4.2).

    After the last frame of each stage, of which the agent is told, the Fisher information F of each weight of the
    Q-network is estimated: as the mean, over transitions, of the square of the derivative of the loss of one
    transition's temporal-difference error. The target comes from the target network as it then is, and is held fixed;
    the loss is that which the agent learns with. The transitions, `fisher_transitions` of them, are drawn uniformly
    with replacement from the memory; while it holds fewer, as many count. With a ring that is shorter than a stage all
    are of that stage.

    From then on the loss has the penalty ``strength · Σ F · (θ − θ*)²``, summed over weights and past stages, with θ*
    the weights at a stage's end; `strength` is λ/2 of the paper. A level that is played again adds a penalty again. The
    gradient of loss and penalty together goes through Adam. The paper's agent also infers which game it plays, and has
    some weights of its own for each; this one does not.
    """

    needs_stages: ClassVar[bool] = True

    strength: Rate = rate("strength of the penalty")
    fisher_transitions: int = integer("transitions on which the Fisher information of a stage is estimated")

    def learner(self) -> ReplayLearner:
        """Return the learner of DQN, with the penalty in its optimizer."""
        return DrawnReplay(
            learning_rate=self.learning_rate,
            memory_size=self.memory_size,
            replay_batch_size=self.replay_batch_size,
            loss=TD_LOSSES[self.loss],
            optimizer=partial(elastic_adam, strength=self.strength),
        )

    def end_stage(self, state: AgentState, frame: Int[Array, ""], key: PRNGKeyArray) -> AgentState:
        """Return the state after a stage has ended: weights are held by what the stage has taught.

        Args:
            state: after the stage's last frame.
            frame: number of the next frame.
            key: draws the transitions.
        """
        learning = state.learning
        slots = draw_slots(buffer_of(learning.memory), (1, self.fisher_transitions), key)
        transitions, counts = jax.tree.map(lambda leaf: leaf[0], recall_transitions(learning.memory, slots))
        targets = td_targets(state.target, transitions, self.discount)
        loss = TD_LOSSES[self.loss]
        information = mean_squared_gradients(learning.model, transitions.observation, targets, counts, loss)
        weights, _ = split_trainable(learning.model)
        consolidation, adam = learning.optimizer
        optimizer = ElasticState(consolidated(consolidation, information, weights), adam)
        return state._replace(learning=learning._replace(optimizer=optimizer))


def elastic_adam(learning_rate: Rate, *, strength: Rate) -> optax.GradientTransformation:
    """Return Adam on the gradient of a loss and of the penalty ``strength · Σ F · (θ − θ*)²`` in its state."""
    adam = optax.adam(learning_rate)

    def init(weights: PyTree) -> ElasticState:
        return ElasticState(no_consolidation(weights), adam.init(weights))

    def update(grads: PyTree, state: ElasticState, weights: PyTree) -> tuple[PyTree, ElasticState]:
        penalised = penalty_gradient(grads, weights, state.consolidation, strength)
        updates, after = adam.update(penalised, state.adam, weights)
        return updates, ElasticState(state.consolidation, after)

    return optax.GradientTransformation(init, update)  # pyright: ignore[reportArgumentType]
