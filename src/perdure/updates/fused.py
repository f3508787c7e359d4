"""The chain of SGD steps as one kernel, for accelerators. Experimental: checked in Pallas's interpreter only."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jaxtyping import Array, Float, Shaped

from perdure.core import AnyArray
from perdure.models import MLP
from perdure.updates.losses import Loss
from perdure.updates.sequential import link


def fused_chain(
    upper: MLP,
    pre_activations: Float[Array, "k h"],
    gram: Float[Array, "k k"],
    y: Shaped[AnyArray, "k ..."],
    rates: Float[Array, " k"],
    loss: Loss,
) -> tuple[MLP, Float[Array, "k h"]]:
    """Return what `perdure.updates.sequential.chain` does, from a single kernel.

    The upper layers stay in registers from the first step to the last; the Gram rows and the δ's are the program's own.
    Under `jax.vmap` each run, a seed with its rates, is a program instance. On CPU Pallas interprets the kernel, which
    shows what it computes, not how fast. Nothing chooses this form by itself as long as it has not been
    measured on an accelerator.
    """
    leaves, structure = jax.tree.flatten(upper)
    k = len(rates)

    def kernel(before: Any, gram: Any, y: Any, rates: Any, *references: Any) -> None:
        given, (*changed, deltas) = references[: len(leaves)], references[len(leaves) :]
        deltas[...] = jnp.zeros(deltas.shape, deltas.dtype)

        def step(j: Array, leaves: list[Array]) -> list[Array]:
            upper = jax.tree.unflatten(structure, leaves)
            # Rows of `deltas` from j on are still zero, so the whole product is the sum over i < j.
            pre_activation = before[j] - (gram[j] * rates[...]) @ deltas[...]
            upper, deltas[j] = link(upper, pre_activation, y[j], rates[j], loss)
            return jax.tree.leaves(upper)

        after = jax.lax.fori_loop(0, k, step, [leaf[...] for leaf in given])
        for reference, leaf in zip(changed, after, strict=True):
            reference[...] = leaf

    shapes = [jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for leaf in (*leaves, pre_activations)]
    program = pl.pallas_call(kernel, shapes, interpret=jax.default_backend() == "cpu")
    *after, deltas = program(pre_activations, gram, jnp.asarray(y), rates, *leaves)
    return jax.tree.unflatten(structure, after), deltas
