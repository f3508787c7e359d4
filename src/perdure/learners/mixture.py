"""Several learners side by side, weighted by how well each has predicted lately."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from perdure.core import Example, Info, Learner, Rate
from perdure.learners.hyperparameters import check_hyperparameters, flag, rate
from perdure.models import MLP
from perdure.updates.gradient import predict_one
from perdure.updates.losses import cross_entropy, huber_loss


class Expert(NamedTuple):
    """A learner and the perceptron that it learns."""

    learner: Learner[Any]
    hidden_sizes: tuple[int, ...]
    """Units of each hidden layer; none for a linear model."""


class MixtureState(NamedTuple):
    """State of `Mixture`."""

    experts: tuple[Any, ...]
    """State of each group of experts, leaves (experts of the group, ...)."""
    losses: Float[Array, " experts"]
    """Discounted sum of each expert's losses on the examples so far, each taken before it was learned."""


class Mixture(Learner[MixtureState]):
    """Experts that learn side by side and answer together, each weighted by its recent loss.

    Expert i has the weight wᵢ ∝ exp(−η Lᵢ), where Lᵢ ← λ Lᵢ + its loss on the arriving example; a share of all weight
    is spread evenly, so that an expert which had become useless can return. For classes the mixture answers with the
    logarithm of Σ wᵢ · (probabilities of expert i), for numbers with Σ wᵢ · (outputs of expert i).

    The model given tells only the number of outputs; each expert has its own.

    Source: Herbster & Warmuth (1998), "Tracking the Best Expert", Machine Learning 32 (fixed share); the discount is
    that of Cesa-Bianchi & Lugosi (2006), "Prediction, Learning, and Games", section 2.11.
    """

    needs_task: ClassVar[bool] = False

    groups: tuple[Learner[Any], ...]
    """Experts that differ in their rates only, as one learner whose rates are arrays (experts of the group,)."""
    hidden_sizes: tuple[tuple[int, ...], ...] = eqx.field(static=True)
    """Of the perceptrons of each group."""
    names: tuple[str, ...] = eqx.field(static=True)
    """Of all experts, in the order of the weights."""
    eta: Rate = rate("how strongly a lower loss raises an expert's weight (η)", default=0.3)
    discount: Rate = rate("weight of a loss one example later (λ)", default=0.99, maximum=1.0)
    share: Rate = rate("part of all weight that is spread evenly over the experts", default=0.002, maximum=1.0)

    regression: bool = flag("learn numbers, not classes", False)

    def __check_init__(self) -> None:
        check_hyperparameters(self)

    def init(self, model: PyTree, example: Example, key: PRNGKeyArray) -> MixtureState:
        """Return the state before the first example, in which all experts weigh the same.

        Raises:
            ValueError: if an expert needs task numbers.
        """
        n_outputs = len(jax.eval_shape(predict_one, model, example.x))

        def start(place: int, learner: Learner[Any], key: PRNGKeyArray) -> Any:
            network_key, learner_key = jax.random.split(key)
            network = MLP(example.x.size, n_outputs, self.hidden_sizes[place], key=network_key)
            return learner.init(network, example, learner_key)

        states = []
        for place, (group, n) in enumerate(zip(self.groups, self.sizes, strict=True)):
            if group.needs_task:
                raise ValueError(
                    f"{type(group).__name__} needs task numbers, which a mixture does not have; leave it out"
                )
            keys = jax.random.split(jax.random.fold_in(key, place), n)
            states.append(jax.vmap(lambda one, key, place=place: start(place, one, key))(group, keys))
        return MixtureState(tuple(states), jnp.zeros(sum(self.sizes)))

    def observe(self, state: MixtureState, example: Example, key: PRNGKeyArray) -> tuple[MixtureState, Info]:
        """Let each expert learn from the example, and weigh them by their losses on it."""
        states, outputs = [], []
        for place, (group, before) in enumerate(zip(self.groups, state.experts, strict=True)):
            own_key = expert_key(key, place)
            observe = jax.vmap(lambda one, state, key=own_key: one.observe(state, example, key))
            after, info = observe(group, before)
            states.append(after)
            outputs.append(info.outputs)
        answers = jnp.concatenate(outputs)
        loss = huber_loss if self.regression else cross_entropy
        losses = jax.vmap(lambda one: loss(one, example.y))(answers)
        # An expert that has diverged has the weight 0 from now on, and harms no other.
        losses = jnp.where(jnp.isfinite(losses), losses, jnp.inf)
        combined = self._combined(state.losses, answers[:, None])[0]
        info = Info(loss(combined, example.y), combined)
        return MixtureState(tuple(states), self.discount * state.losses + losses), info

    def answering(self, state: MixtureState) -> tuple[Any, ...]:
        """Return the experts' networks and their losses, which decide the weights."""
        networks = [group.answering(own) for group, own in zip(self.groups, state.experts, strict=True)]
        return (*networks, state.losses)

    def predict(self, state: MixtureState, x: Any, task: Any) -> Float[Array, "batch outputs"]:
        """Return the logarithm of the mixture's probabilities, or its numbers, for x: (batch, ...)."""
        answers = [
            jax.vmap(lambda one, state: one.predict(state, x, task))(group, own)
            for group, own in zip(self.groups, state.experts, strict=True)
        ]
        return self._combined(state.losses, jnp.concatenate(answers))

    @property
    def sizes(self) -> tuple[int, ...]:
        """Experts of each group."""
        return tuple(len(jax.tree.leaves(group)[0]) for group in self.groups)

    def weights(self, losses: Float[Array, " experts"]) -> Float[Array, " experts"]:
        """Return the experts' weights, which sum to 1."""
        sound = jnp.isfinite(losses).astype(losses.dtype)
        shared = self.share * sound / jnp.maximum(jnp.sum(sound), 1.0)
        return (1 - self.share) * jax.nn.softmax(-self.eta * losses) + shared

    def _combined(
        self, losses: Float[Array, " experts"], answers: Float[Array, "experts batch outputs"]
    ) -> Float[Array, "batch outputs"]:
        weights = self.weights(losses)
        answers = jnp.where(weights[:, None, None] > 0, answers, 0.0)  # those of experts that have diverged may be NaN
        if self.regression:
            return jnp.tensordot(weights, answers, axes=1)
        parts = jax.nn.log_softmax(answers) + jnp.log(weights)[:, None, None]
        return jax.nn.logsumexp(parts, axis=0)


def expert_key(key: PRNGKeyArray, group: int) -> PRNGKeyArray:
    """Return the key with which the experts of a group learn an example."""
    return jax.random.fold_in(key, group)


def mixture(experts: Sequence[tuple[str, Expert]], *, regression: bool = False, **rates: float) -> Mixture:
    """Return a mixture of named experts; those that differ in rates only learn in one vectorised program.

    Args:
        experts: names and experts.
        regression: learn numbers, not classes.
        rates: `eta`, `discount` and `share`, if others than the defaults.
    """
    groups: dict[Any, list[tuple[str, Expert]]] = {}
    for name, expert in experts:
        groups.setdefault((jax.tree.structure(expert.learner), expert.hidden_sizes), []).append((name, expert))
    stacked = tuple(
        jax.tree.map(lambda *leaves: jnp.asarray(leaves, jnp.float32), *(it.learner for _, it in group))
        for group in groups.values()
    )
    names = tuple(name for group in groups.values() for name, _ in group)
    return Mixture(stacked, tuple(sizes for _, sizes in groups), names, regression=regression, **rates)
