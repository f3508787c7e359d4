"""GEM's projection: time of a step, and its solver beside others: ``python benchmarks/projection.py``.

The others, as far as they are installed: ``pip install qpax jaxnnls jaxopt``. Errors are those of the projected
gradient in float32, relative to its length before, against quadprog in float64; times are the least of several, when
every constraint binds, which is the worst case.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import optax
import quadprog
from rich.console import Console
from rich.table import Table

from perdure.updates import projection
from perdure.updates.projection import dual_solution, project

REPEATS = 20
SIZES = (19, 99)
"""Past tasks at the end of benchmarks of 20 and of 100 tasks."""
N_WEIGHTS = 89_610
"""Of the network 784–100–100–10."""
N_INSTANCES = 100

Solver = Callable[[jax.Array, jax.Array], jax.Array]
"""From GGᵀ and Gg to v ≥ 0."""


def ours(gram: jax.Array, products: jax.Array) -> jax.Array:
    return dual_solution(gram, products, 0.0, jnp.ones(len(products), bool))


def optax_nnls(gram: jax.Array, products: jax.Array) -> jax.Array:
    """Solve in terms of a factor of the Gram matrix, as optax wants it."""
    values, vectors = jnp.linalg.eigh(gram)
    root = jnp.sqrt(jnp.maximum(values, 0))
    inverse = jnp.where(root > 1e-4 * root[-1], 1 / jnp.where(root > 0, root, 1), 0)
    return optax.nnls(root[:, None] * vectors.T, -inverse * (vectors.T @ products), 1000)


def qpax(gram: jax.Array, products: jax.Array) -> jax.Array:
    t = len(products)
    none, below = (jnp.zeros((0, t)), jnp.zeros(0)), (-jnp.eye(t), jnp.zeros(t))
    return import_module("qpax").solve_qp(gram, products, *none, *below, solver_tol=1e-5)[0]


def jaxnnls(gram: jax.Array, products: jax.Array) -> jax.Array:
    return import_module("jaxnnls").solve_nnls(gram, -products)[0]


def jaxopt(gram: jax.Array, products: jax.Array) -> jax.Array:
    bounds = (jnp.zeros(len(products)), jnp.full(len(products), jnp.inf))
    solver = import_module("jaxopt").BoxCDQP(maxiter=2000, tol=1e-5)
    return solver.run(bounds[0], params_obj=(gram, products), params_ineq=bounds).params


def instances(singular: bool, rng: np.random.Generator) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return rows of unit length and a gradient of unit length that conflicts with some of them."""
    drawn = []
    for _ in range(N_INSTANCES):
        t = int(rng.integers(2, 100))
        rows, gradient, shared = rng.standard_normal((t, 3 * t)), *rng.standard_normal((2, 3 * t))
        rows += rng.choice([0, 1, 3]) * shared
        gradient -= rng.choice([0, 1, 3]) * shared
        if singular:
            rows[t // 2 :] = rows[rng.integers(t // 2, size=t - t // 2)] * rng.choice([-1, 1, 1], (t - t // 2, 1))
        lengths = np.linalg.norm(rows, axis=1, keepdims=True)
        drawn.append(((rows / lengths).astype(np.float32), (gradient / np.linalg.norm(gradient)).astype(np.float32)))
    return drawn


def errors(solver: Solver, singular: bool) -> np.ndarray:
    """Return the error of each instance; NaN where the solver returns NaN."""
    # Padded to one size, so that it is compiled but once: rows that have nothing to do with the others.
    size, found = 99, []
    program = jax.jit(solver)
    for rows, gradient in instances(singular, np.random.default_rng(0)):
        t = len(rows)
        gram, products = np.eye(size, dtype=np.float32), np.zeros(size, np.float32)
        gram[:t, :t], products[:t] = rows @ rows.T, rows @ gradient
        rows, gradient = rows.astype(float), gradient.astype(float)
        weights = np.asarray(program(jnp.asarray(gram), jnp.asarray(products)), float)[:t]
        exact = quadprog.solve_qp(np.eye(len(gradient)), gradient, rows.T, np.zeros(t))[0]
        found.append(np.linalg.norm(gradient + weights @ rows - exact))
    return np.asarray(found)


def least_milliseconds(function: Callable[..., Any], *arguments: Any) -> float:
    """Return the least time of one call once compiled."""
    program = jax.jit(function).lower(*arguments).compile()
    times = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        jax.block_until_ready(program(*arguments))
        times.append(time.perf_counter() - began)
    return 1e3 * min(times)


def binding(t: int, p: int, n_seeds: int | None = None) -> tuple[jax.Array, jax.Array]:
    """Return rows and a gradient that has a negative product with each, for one or several seeds."""
    lead = () if n_seeds is None else (n_seeds,)
    rows = np.random.default_rng(0).standard_normal((*lead, t, p))
    return jnp.asarray(rows, jnp.float32), jnp.asarray(-rows.sum(-2), jnp.float32)


def solvers() -> Table:
    """Compare the solvers."""
    table = Table("solver", "rows", "NaN", "median error", "largest error", *(f"t = {t}, ms" for t in SIZES), box=None)
    for solver in (ours, optax_nnls, qpax, jaxnnls, jaxopt):
        if solver in (qpax, jaxnnls, jaxopt) and find_spec(solver.__name__) is None:
            continue
        times = []
        for t in SIZES:
            rows, gradient = binding(t, 3 * t)
            times.append(f"{least_milliseconds(solver, rows @ rows.T, rows @ gradient):.3f}")
        for singular in (False, True):
            found = errors(solver, singular)
            kind = "half of them repeated" if singular else "independent"
            failed = np.isnan(found)
            row = (f"{np.nanmedian(found):.0e}", f"{np.nanmax(found):.0e}") if not failed.all() else ("", "")
            table.add_row(solver.__name__, kind, f"{failed.sum()}", *row, *times)
    return table


def steps() -> Table:
    """Time the whole projection: when every constraint binds, when none does, and of five seeds."""
    names = ("all bind", "none binds", "five seeds, all bind", "the same, Gram matrices in one product")
    table = Table("past tasks", *(f"{name}, ms" for name in names), box=None)
    for t in SIZES:
        counts = jnp.ones(t, bool)
        rows, gradient = binding(t, N_WEIGHTS)
        seeds = (*binding(t, N_WEIGHTS, 5), 0.0, counts)
        times = [least_milliseconds(project, rows, sign * gradient, 0.0, counts) for sign in (1, -1)]
        times.append(least_milliseconds(jax.vmap(project, (0, 0, None, None)), *seeds))
        with mock.patch.object(projection, "_gram", lambda rows: rows @ rows.T):
            # A new function, or JAX would take the program traced before.
            times.append(least_milliseconds(jax.vmap(lambda *them: project(*them), (0, 0, None, None)), *seeds))
        table.add_row(f"{t}", *(f"{it:.2f}" for it in times))
    return table


def main() -> None:
    """Print both tables."""
    console = Console(width=120)
    console.print(steps())
    console.print(solvers())


if __name__ == "__main__":
    main()
