"""The online model's state, and one compiled program that learns any number of rows."""

from __future__ import annotations

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, PyTree, Shaped, UInt32

from perdure.core import Example, Learner
from perdure.models import MLP
from perdure.online.scaling import Moments, include, no_moments, standardized
from perdure.updates.losses import MASKED

BLOCK = 128
"""Rows a call of the program takes at most. One program serves one row and many, so that both come to the same bits."""
_SILENT = -30.0
"""Bias of an output whose class has not appeared: its probability, 10⁻¹³, disturbs no other class."""


class ModelState(NamedTuple):
    """All that learning changes."""

    learner: Any
    """State of the learner."""
    columns: Moments
    """Of the inputs."""
    targets: Moments
    """Of the targets, for regression; not used for classes."""
    scaled: Bool[Array, " columns"]
    """Columns that are standardized; the others are flags, or not in use yet."""
    known: Bool[Array, " outputs"]
    """Outputs whose class has appeared, or whose target is in use."""
    seen: UInt32[Array, " 2"]
    """Rows learned: low and high 32 bits."""
    key: UInt32[Array, " 2"]
    """Random key, as numbers: it is copied and kept like any array."""


def initial_state(
    learner: Learner[Any],
    network: PyTree,
    shape: tuple[int, ...],
    y: Shaped[Any, ...],
    n_outputs: int,
    key: PRNGKeyArray,
    *,
    regression: bool,
) -> ModelState:
    """Return the state before the first row.

    Args:
        learner: what learns.
        network: given to the learner.
        shape: of one input.
        y: a target, read for its shape and dtype.
        n_outputs: capacity for classes or targets.
        key: random key.
        regression: are targets learned, all of which are known, not classes?
    """
    learner_key, own_key = initial_keys(key)
    example = Example(jnp.zeros(shape), jnp.asarray(y), jnp.zeros((), jnp.int32))
    known = jnp.full(n_outputs, regression)
    start = learner.init(network, example, learner_key)
    n_columns = jnp.zeros(shape).size
    return ModelState(
        silence(start, known),
        no_moments(n_columns),
        no_moments(n_outputs),
        jnp.zeros(n_columns, bool),
        known,
        jnp.zeros(2, jnp.uint32),
        jax.random.key_data(own_key),
    )


def initial_keys(key: PRNGKeyArray) -> tuple[PRNGKeyArray, PRNGKeyArray]:
    """Return the keys from which the learner begins, and from which those of all rows come."""
    learner_key, own_key = jax.random.split(key)
    return learner_key, own_key


def row_key(key: UInt32[Array, " 2"], seen: UInt32[Array, " 2"]) -> PRNGKeyArray:
    """Return the key of row `n`, where `n` rows have been learned before; both as `ModelState` has them."""
    return jax.random.fold_in(jax.random.fold_in(jax.random.wrap_key_data(key), seen[1]), seen[0])


def silence(tree: Any, known: Bool[Array, " outputs"], before: Bool[Array, " outputs"] | None = None) -> Any:
    """Return a learner's state in which every perceptron's outputs of unknown classes are silent.

    Args:
        tree: state of the learner, perceptrons anywhere in it; what optimizers keep stays as it is.
        known: classes that have appeared.
        before: those that had appeared before; the bias of one that has not is set to 0 when it does.
    """
    before = known if before is None else before

    def quiet(node: Any) -> Any:
        if not isinstance(node, MLP):
            return node
        bias: Any = node.layers[-1].bias  # with leading axes for experts side by side
        now, was = (jnp.broadcast_to(mask, bias.shape) for mask in (known, before))
        bias = jnp.where(now, jnp.where(was, bias, 0.0), _SILENT)
        return eqx.tree_at(lambda it: it.layers[-1].bias, node, bias)

    return jax.tree.map(quiet, tree, is_leaf=lambda node: isinstance(node, MLP) or _is_of_optimizer(node))


def _is_of_optimizer(node: Any) -> bool:
    """Is this what an optimizer keeps? It has the form of the network, and is none."""
    return type(node).__module__.startswith("optax.")


class Block(NamedTuple):
    """Rows of a call, the first `n` of `BLOCK`."""

    x: Float[Array, "block ..."]
    """Raw inputs; NaN is missing."""
    y: Shaped[Array, "block ..."]
    """Class numbers, or raw targets (block, outputs)."""
    n: Int[Array, ""]


def learn_block(
    learner: Learner[Any], state: ModelState, block: Block, *, regression: bool, answers: bool = True
) -> tuple[ModelState, Float[Array, "block outputs"]]:
    """Return the state after the rows, and what was predicted for each before it was learned; other rows are 0.

    Without `answers` all are 0, and what only they need is not computed.
    """

    def body(n: Any, carried: tuple[ModelState, Any]) -> tuple[ModelState, Any]:
        state, outputs = carried
        state, row = _learn_row(learner, state, block.x[n], block.y[n], regression=regression)
        return state, outputs.at[n].set(row) if answers else outputs

    outputs = jnp.zeros((len(block.x), len(state.known)))
    return jax.lax.fori_loop(0, block.n, body, (state, outputs))


def predict_rows(
    learner: Learner[Any], state: ModelState, x: Float[Array, "rows ..."], *, regression: bool
) -> Float[Array, "rows outputs"]:
    """Return probabilities of the classes, or targets, for raw inputs."""
    z = jax.vmap(lambda row: _features(state, row))(x)
    outputs = learner.predict(state.learner, z, jnp.zeros(len(x), jnp.int32))
    return jax.vmap(lambda row: _answer(state, row, regression=regression))(outputs)


def _features(state: ModelState, x: Float[Array, ...]) -> Float[Array, ...]:
    return standardized(state.columns, x.ravel(), state.scaled).reshape(x.shape)


def _answer(state: ModelState, outputs: Float[Array, " outputs"], *, regression: bool) -> Float[Array, " outputs"]:
    if regression:
        return outputs * jnp.sqrt(state.targets.variance) + state.targets.mean
    # All zeros before the first class has appeared: there is no answer then.
    scores = jnp.where(state.known, outputs, MASKED)
    return jnp.where(state.known, _told_apart(jax.nn.softmax(scores), scores), 0.0)


def _told_apart(shares: Float[Array, " outputs"], scores: Float[Array, " outputs"]) -> Float[Array, " outputs"]:
    """Return probabilities of which that of the best score is largest, where rounding had made others as large."""
    best, largest = jnp.argmax(scores), jnp.argmax(shares)
    more = jnp.nextafter(shares[largest], jnp.ones_like(shares[largest]))
    return shares.at[best].set(jnp.where(best == largest, shares[best], more))


def _learn_row(
    learner: Learner[Any], state: ModelState, x: Float[Array, ...], y: Shaped[Array, ...], *, regression: bool
) -> tuple[ModelState, Float[Array, " outputs"]]:
    target, targets, known, own = y, state.targets, state.known, state.learner
    if regression:
        targets = include(state.targets, y, state.known)
        deviation = jnp.sqrt(targets.variance)
        target = jnp.where(deviation > 0, (y - targets.mean) / jnp.where(deviation > 0, deviation, 1.0), 0.0)
    else:
        known = state.known.at[y].set(True)
        own = silence(own, known, state.known)
    key = row_key(state.key, state.seen)
    example = Example(_features(state, x), target, jnp.zeros((), jnp.int32))
    own, info = learner.observe(own, example, key)
    low = state.seen[0] + jnp.uint32(1)
    seen = jnp.stack([low, state.seen[1] + (low == 0).astype(jnp.uint32)])
    columns = include(state.columns, x.ravel(), state.scaled)
    after = ModelState(own, columns, targets, state.scaled, known, seen, state.key)
    return after, _answer(state, info.outputs, regression=regression)
