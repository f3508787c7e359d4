"""Learning and answering, compiled for one structure of learner and state."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import jax

from perdure.online.state import Block, learn_block, predict_rows


class Program(NamedTuple):
    """What is compiled, called with arrays alone: taking modules apart would take longer than learning a row."""

    learn: Callable[..., Any]
    """From the arrays of learner and state (consumed), x (`BLOCK`, ...), y (`BLOCK`, ...) and the number of rows that
    count, to the arrays of the state after them and what was predicted for each before it was learned."""
    predict: Callable[..., Any]
    """From the arrays of learner and state, and x (rows, ...), to probabilities or targets (rows, outputs)."""


@lru_cache(maxsize=32)
def program_of(structure: Any, *, regression: bool) -> Program:
    """Return the program of a tree structure of (learner, state); models of one structure share it.

    It is compiled when it is first called, and again for other capacities.
    """

    def learn(parameters: Any, leaves: Any, x: Any, y: Any, n: Any) -> tuple[Any, Any]:
        learner, state = jax.tree.unflatten(structure, [*parameters, *leaves])
        after, outputs = learn_block(learner, state, Block(x, y, n), regression=regression)
        return jax.tree.leaves(after), outputs

    def predict(parameters: Any, leaves: Any, x: Any) -> Any:
        learner, state = jax.tree.unflatten(structure, [*parameters, *leaves])
        return predict_rows(learner, state, x, regression=regression)

    return Program(jax.jit(learn, donate_argnums=1), jax.jit(predict))
