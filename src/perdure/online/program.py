"""Learning and answering, compiled for one structure of learner and state."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Shaped, UInt32

from perdure.execution.compilation import in_place_options
from perdure.models import MLP
from perdure.online.packing import Packing
from perdure.online.state import BLOCK, Block, ModelState, initial_state, learn_block, predict_rows


class Program(NamedTuple):
    """What is compiled, called with few arrays: taking modules apart would take longer than learning a row."""

    learn: Callable[..., Any]
    """From the packed arrays of (learner, state), which are consumed, and rows as `block_bits` returns them, to the
    packed arrays after them and what was predicted for each row before it was learned (`BLOCK`, outputs)."""
    only_learn: Callable[..., Any]
    """The same without predicting: zeros in place of it."""
    predict: Callable[..., Any]
    """From the packed arrays and x (rows, ...), to probabilities or targets (rows, outputs)."""


@lru_cache(maxsize=32)
def program_of(packing: Packing, shape: tuple[int, ...], *, regression: bool) -> Program:
    """Return the program for a packing of (learner, state) and inputs of a shape, compiled when first called.

    Models of the same share it.
    """

    def learn(packed: Any, bits: Any, *, answers: bool) -> tuple[Any, Any]:
        learner, state = packing.unpack(packed)
        block = _block_of(bits, shape, (len(state.known),) if regression else ())
        after, outputs = learn_block(learner, state, block, regression=regression, answers=answers)
        return packing.pack((learner, after)), outputs

    def predict(packed: Any, x: Any) -> Any:
        learner, state = packing.unpack(packed)
        return predict_rows(learner, state, x, regression=regression)

    def compiled(answers: bool) -> Callable[..., Any]:
        return jax.jit(partial(learn, answers=answers), donate_argnums=0, compiler_options=in_place_options())

    return Program(compiled(True), compiled(False), jax.jit(predict, compiler_options=in_place_options()))


@lru_cache(maxsize=32)
def initial_program(
    structure: Any, hidden_sizes: tuple[int, ...], shape: tuple[int, ...], n_outputs: int, *, regression: bool
) -> Callable[[Any, Any], ModelState]:
    """Return the program from the arrays of a learner and a seed to the state before the first row.

    Args:
        structure: of the learner, as JAX has it.
        hidden_sizes: of the perceptron that it is given.
        shape: of an input.
        n_outputs: capacity for classes or targets.
        regression: are numbers learned, not classes?
    """
    y = np.zeros(n_outputs, np.float32) if regression else np.zeros((), np.int32)

    def initial(parameters: Any, seed: Any) -> ModelState:
        learner, key = jax.tree.unflatten(structure, parameters), jax.random.key(seed)
        network = MLP(math.prod(shape), n_outputs, hidden_sizes, key=jax.random.fold_in(key, 0))
        return initial_state(learner, network, shape, y, n_outputs, key, regression=regression)

    return jax.jit(initial)


def block_bits(x: Float[np.ndarray, "rows ..."], y: Shaped[np.ndarray, "rows ..."]) -> UInt32[np.ndarray, " bits"]:
    """Return at most `BLOCK` rows as one array: their number, then x and y with room for `BLOCK` rows, all as bits.

    Args:
        x: raw inputs, float32.
        y: class numbers, int32 (rows,); or targets, float32 (rows, outputs).
    """
    end = 1 + BLOCK * math.prod(x.shape[1:])
    bits = np.zeros(end + BLOCK * math.prod(y.shape[1:]), np.uint32)
    bits[0] = len(x)
    bits[1 : 1 + x.size] = x.ravel().view(np.uint32)
    bits[end : end + y.size] = y.ravel().view(np.uint32)
    return bits


def _block_of(bits: UInt32[jax.Array, " bits"], shape: tuple[int, ...], targets: tuple[int, ...]) -> Block:
    """Return what `block_bits` was given; class numbers if there are no targets."""
    end = 1 + BLOCK * math.prod(shape)
    x = bits[1:end].view(np.float32).reshape(BLOCK, *shape)
    y = bits[end:].view(np.float32 if targets else np.int32).reshape(BLOCK, *targets)
    return Block(x, y, bits[0].astype(jnp.int32))
