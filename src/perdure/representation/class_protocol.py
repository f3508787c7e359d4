"""The meta-test of classification: many classes one after another, on features that stay as they are.

Source: Javed & White (2019), section 4.2, and their released code.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from perdure.core import Rate
from perdure.learners.head import Head
from perdure.models import MLP
from perdure.representation.network import fresh_head
from perdure.representation.online import learn_online
from perdure.representation.score import score
from perdure.updates.losses import cross_entropy

N_TRAIN = 15
"""Of the images of a class, this number, the first ones, are learned; the others are held out."""
RATES = (0.03, 0.01, 0.003, 0.001, 3e-4, 1e-4, 3e-5, 1e-5)
"""Learning rates of the sweep, as in the released code."""


class ClassScores(NamedTuple):
    """Accuracies after the last example of a trajectory, as fractions."""

    trajectory: Float[Array, ""]
    """On the images that were learned: what has not been forgotten."""
    held_out: Float[Array, ""]
    """On other images of the same classes."""


def closed_form_run(
    features: Float[Array, "classes images d"],
    head: Head,
    chosen: Int[Array, " n"],
    key: PRNGKeyArray,
    *,
    n_train: int = N_TRAIN,
) -> ClassScores:
    """Return how well a head in closed form knows classes that it has learned one after another.

    Args:
        features: of all images, by class.
        head: what learns them, from nothing.
        chosen: classes to learn, in order.
        key: for what the head draws at the start.
        n_train: images of a class to learn, in order; the others are held out.
    """
    shown = features[chosen]
    n, images, d = shown.shape
    learned, held_out = shown[:, :n_train], shown[:, n_train:]
    state = head.start(d, n, features.dtype, key)
    state = head.learn_all(state, learned.reshape(-1, d), jnp.repeat(jnp.arange(n), n_train))
    outputs = head.scores(state, jnp.concatenate([learned.reshape(-1, d), held_out.reshape(-1, d)]))
    of_learned, of_held_out = jnp.split(outputs, [n * n_train])
    return ClassScores(
        score(of_learned, jnp.repeat(jnp.arange(n), n_train)),
        score(of_held_out, jnp.repeat(jnp.arange(n), images - n_train)),
    )


def class_run(
    features: Float[Array, "classes images d"],
    head: MLP,
    chosen: Int[Array, " n"],
    rate: Rate,
    key: PRNGKeyArray,
    *,
    n_train: int = N_TRAIN,
    iid_passes: int | None = None,
) -> ClassScores:
    """Return how well a fresh head knows classes that it has learned one after another.

    Args:
        features: of all images, by class.
        head: for its sizes; its weights are redrawn.
        chosen: classes to learn, in order. Their numbers are their labels.
        rate: learning rate of Adam.
        key: draws the head's weights, and the order if it is random.
        n_train: images of a class to learn, in order; the others are held out.
        iid_passes: passes over the same images in random order, instead of one in order; the Oracle of the paper.
    """
    head_key, order_key = jax.random.split(key)
    shown = features[chosen]
    learned, held_out = shown[:, :n_train], shown[:, n_train:]
    y = jnp.broadcast_to(chosen[:, None], shown.shape[:2])
    x, labels = learned.reshape(-1, 1, learned.shape[-1]), y[:, :n_train].reshape(-1, 1)
    if iid_passes is not None:
        orders = jax.vmap(lambda key: jax.random.permutation(key, len(x)))(jax.random.split(order_key, iid_passes))
        x, labels = x[orders.ravel()], labels[orders.ravel()]
    after = learn_online(fresh_head(head, head_key), x, labels, rate, optax.adam, cross_entropy)

    def accuracy(features: Float[Array, "n images d"], y: Int[Array, "n images"]) -> Float[Array, ""]:
        outputs = jax.vmap(after)(features.reshape(-1, features.shape[-1]))
        return score(outputs, y.ravel())

    return ClassScores(accuracy(learned, y[:, :n_train]), accuracy(held_out, y[:, n_train:]))
