"""Does a learner keep the contract on these examples? Asked before anything is compiled or written."""

from __future__ import annotations

from typing import Any

import jax
from jaxtyping import PRNGKeyArray

from perdure.core import Example, Info, Learner


def check_contract(learner: Learner[Any], state: Any, example: Example, n_outputs: int, key: PRNGKeyArray) -> None:
    """Check shapes and dtypes of what a learner returns; it is traced, nothing is computed.

    Args:
        learner: the learner.
        state: what its `init` returned.
        example: one example of the stream.
        n_outputs: number of outputs of the benchmark.
        key: a random key.

    Raises:
        TypeError: if a leaf of the state is no array, `observe` does not return a state like the one it was given
            and an `Info` of scalars and `n_outputs` outputs, or `predict` does not return one row of logits an input.
        ValueError: from a model that does not fit the examples.
    """
    name = type(learner).__name__
    for path, leaf in jax.tree_util.tree_leaves_with_path(state):
        if not hasattr(leaf, "dtype"):
            raise TypeError(
                f"the state of {name} holds {leaf!r} at {jax.tree_util.keystr(path)}, expected arrays only; "
                "make it a static field of the model (eqx.field(static=True)) or an array"
            )
    observed = jax.eval_shape(learner.observe, state, example, key)
    if not (isinstance(observed, tuple) and len(observed) == 2 and isinstance(observed[1], Info)):
        raise TypeError(
            f"{name}.observe returned {type(observed).__name__}, expected a pair: the new state and an Info"
        )
    _check_info(name, observed[1], n_outputs)
    before, after = _forms(state), _forms(observed[0])
    for path in sorted(before.keys() | after.keys()):
        if before.get(path) != after.get(path):
            raise TypeError(
                f"{name}.observe made state{path} {after.get(path, 'absent')} of {before.get(path, 'absent')}; "
                "the state must keep its shapes and dtypes"
            )
    inputs, tasks = (jax.tree.map(lambda leaf: leaf[None], leaf) for leaf in (example.x, example.task))
    logits = _forms(jax.eval_shape(learner.predict, state, inputs, tasks))
    if list(logits) != [""] or not logits[""].endswith(f"[1, {n_outputs}]"):
        raise TypeError(
            f"{name}.predict returned {logits} for one input, expected one array of logits, [1, {n_outputs}]; "
            f"the benchmark has {n_outputs} outputs"
        )


def _check_info(name: str, info: Info, n_outputs: int) -> None:
    wanted = {"loss": (), "outputs": (n_outputs,), **{f"extra[{it!r}]": () for it in info.extra}}
    for (what, shape), value in zip(wanted.items(), (info.loss, info.outputs, *info.extra.values()), strict=True):
        if getattr(value, "shape", None) != shape:
            raise TypeError(
                f"{name}.observe returned an Info whose {what} is {_forms(value)}, expected one array of shape {shape}"
            )


def _forms(tree: Any) -> dict[str, str]:
    """Return dtype and shape of each leaf by its path."""
    return {
        jax.tree_util.keystr(path): f"{leaf.dtype}{list(leaf.shape)}"
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }
