"""GEM's projection against recorded runs, quadprog, and what defines it; A-GEM's against its formula."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import quadprog
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from perdure.updates.projection import average_projection, dual_solution, project
from tests.conftest import reference_files

SIZE = 99
"""Rows that every instance is padded to with rows that do not count, so that it is compiled but once."""

solve = jax.jit(dual_solution)
projected = jax.jit(project)


def dual(rows, gradient, margin, dtype: type = np.float64):
    """Return v, found in `dtype` among rows that do not count and hold NaN."""
    t = len(rows)
    size = max(t, SIZE)
    small = rows.astype(dtype)
    gram, products = np.full((size, size), np.nan, dtype), np.full(size, np.nan, dtype)
    gram[:t, :t], products[:t] = small @ small.T, small @ gradient.astype(dtype)
    weights = np.asarray(solve(gram, products, dtype(margin), np.arange(size) < t), np.float64)
    assert np.isfinite(weights).all()
    assert not weights[t:].any()
    assert (weights[:t] >= margin).all()
    return weights[:t]


def projection(rows, gradient, margin, dtype: type = np.float64):
    """Return g + Gᵀv, v having been found in `dtype`."""
    return gradient + dual(rows, gradient, margin, dtype) @ rows


def raised_length(rows, gradient, margin):
    """Return the length of g + margin · Σ rows, to which errors are relative."""
    return np.linalg.norm(gradient + margin * rows.sum(0))


def exact_projection(rows, gradient, margin):
    """Return the projection of g + margin · Σ rows onto the cone, by quadprog, which likes problems of order one."""
    raised = gradient + margin * rows.sum(0)
    units, length = unit(rows), np.linalg.norm(raised)
    if not len(units) or not length:
        return raised
    return length * quadprog.solve_qp(np.eye(len(raised)), raised / length, units.T, np.zeros(len(units)))[0]


def unit(rows):
    """Return the rows that are not zero, with unit length."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows[lengths[:, 0] > 0] / lengths[lengths[:, 0] > 0]


def violation(rows, found):
    return max(0.0, -float(np.min(unit(rows) @ found, initial=0.0)))


def independent(rng, t, p):
    return rng.standard_normal((t, p)) + rng.choice([0, 1, 3]) * rng.standard_normal(p)


def more_rows_than_weights(rng, t, p):
    return independent(rng, t, max(2, t // 2))


def repeated(rng, t, p):
    return independent(rng, t, p)[rng.integers(0, 1 + t // 2, t)]


def opposite(rng, t, p):
    return repeated(rng, t, p) * rng.choice([-1, 1, 1], (t, 1))


def zero(rng, t, p):
    return independent(rng, t, p) * (rng.random((t, 1)) < 0.7)


def scaled(rng, t, p):
    return independent(rng, t, p) * 10 ** rng.uniform(-6, 3, (t, 1))


def nearly_repeated(rng, t, p):
    return repeated(rng, t, p) + 10 ** rng.uniform(-9, -2, (t, 1)) * rng.standard_normal((t, p))


def nearly_opposite(rng, t, p):
    return opposite(rng, t, p) + 10 ** rng.uniform(-3, -2, (t, 1)) * rng.standard_normal((t, p))


def everything(rng, t, p):
    return nearly_opposite(rng, t, p) * (rng.random((t, 1)) < 0.9) * 10 ** rng.uniform(-3, 2, (t, 1))


SEPARATE = [independent, more_rows_than_weights, repeated, opposite, zero, scaled]
"""Rows that either depend on one another or are far from it."""
KINDS = [*SEPARATE, nearly_repeated, nearly_opposite, everything]


def instances(kind, n):
    """Yield rows, a gradient that is partly at odds with them, and a margin."""
    rng = np.random.default_rng(KINDS.index(kind))
    for number in range(n):
        t = int(rng.integers(1, SIZE + 1))
        rows = kind(rng, t, int(rng.integers(t, 2 * t + 3)))
        gradient = rng.standard_normal(rows.shape[1]) - rng.choice([0, 0.3, 3]) * unit(rows).sum(0)
        yield rows, gradient, (0.0, 0.1, 0.5, 1.0)[number % 4]


def load(file):
    with np.load(file) as numbers:
        return dict(numbers)


def margins(recorded):
    """Return the recorded margins by their names, such as 0.5 for ``margin05``."""
    names = {found[1] for found in (re.search("_(margin[0-9]+)_dual$", name) for name in recorded) if found}
    return {name: float(f"{name[6]}.{name[7:]}") for name in sorted(names)}


@pytest.mark.reference
@pytest.mark.parametrize("file", reference_files("mer", "gem_projection*.npz"))
def test_recorded_instances(x64, file):
    recorded = load(file)
    assert margins(recorded)
    for name, margin in margins(recorded).items():
        for number in range(int(recorded["n_instances"])):
            memories, gradient, weights, expected = (
                recorded[f"inst{number:02}_{part}"]
                for part in ("memories", "gradient", f"{name}_dual", f"{name}_projected")
            )
            rows = memories.T
            np.testing.assert_allclose(dual(rows, gradient, margin), weights, rtol=0, atol=1e-10)
            np.testing.assert_allclose(projection(rows, gradient, margin), expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize(("digits", "margin"), [("0", 0.0), ("05", 0.5), ("1", 1.0), ("025", 0.25), ("15", 1.5)])
def test_margins_are_named_by_their_digits(digits, margin):
    assert margins({f"inst00_margin{digits}_dual": 0, "inst00_gradient": 0}) == {f"margin{digits}": margin}


@pytest.mark.reference
@pytest.mark.parametrize("file", reference_files("mer", "gem_margin*.npz"))
def test_recorded_steps(x64, file):
    run = load(file)
    margin = float(run["hp_memory_strength"])
    names = ("memory_gradients", "gradient_before", "gradient_after")
    for memories, before, after in zip(*(run[f"example_{name}"] for name in names), strict=True):
        counts = np.isfinite(memories).all(0)
        rows = jnp.asarray(np.where(counts, memories, 7.0).T)
        np.testing.assert_allclose(
            projected(rows, jnp.asarray(before), margin, jnp.asarray(counts)), after, rtol=0, atol=1e-10
        )


@pytest.mark.parametrize("kind", KINDS)
def test_agrees_with_quadprog(x64, kind):
    for rows, gradient, margin in instances(kind, 112):
        found = projection(rows, gradient, margin)
        length = raised_length(rows, gradient, margin)
        np.testing.assert_allclose(found / length, exact_projection(rows, gradient, margin) / length, rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", SEPARATE)
def test_in_float32_as_accurate_as_the_rows_allow(kind):
    """An error of 4 ε in each entry of the Gram matrix of b binding rows changes the projection by up to 4 b ε / σ².

    The rows have unit length, and σ is the least of their singular values.
    """
    for rows, gradient, margin in instances(kind, 40):
        rows, gradient = rows.astype(np.float32).astype(float), gradient.astype(np.float32).astype(float)
        length = raised_length(rows, gradient, margin)
        expected = exact_projection(rows, gradient, margin)
        binding = unit(rows)[unit(rows) @ expected < 1e-9 * length]
        singular = np.linalg.svd(binding, compute_uv=False)
        least = min(singular[singular > 1e-6], default=1.0)
        error = np.linalg.norm(projection(rows, gradient, margin, np.float32) - expected) / length
        assert error <= 4 * max(1, len(singular)) * np.finfo(np.float32).eps / least**2


@pytest.mark.parametrize("kind", KINDS)
def test_in_float32_violations_are_small_even_if_rows_nearly_cancel_out(kind):
    for rows, gradient, margin in instances(kind, 40):
        rows, gradient = rows.astype(np.float32).astype(float), gradient.astype(np.float32).astype(float)
        found = projection(rows, gradient, margin, np.float32)
        bound = np.sqrt(SIZE * np.finfo(np.float32).eps)
        assert violation(rows, found) <= bound * raised_length(rows, gradient, margin)


@pytest.mark.parametrize(("dtype", "bound"), [(np.float32, np.sqrt(SIZE * 2.0**-23)), (np.float64, 1e-5)])
def test_survives_rows_that_numerically_span_next_to_nothing(x64, dtype, bound):
    rng = np.random.default_rng(0)
    places = np.linspace(0, 1, 200)
    for width in (0.01, 0.1, 1.0):
        for _ in range(10):
            bumps = np.exp(-((places - np.linspace(0, 1, SIZE)[:, None]) ** 2) / width)
            rows = (bumps * rng.choice([-1, 1], (SIZE, 1))).astype(dtype).astype(float)
            gradient = rng.standard_normal(200)
            found = projection(rows, gradient, 0.0, dtype)
            assert violation(rows, found) <= bound * np.linalg.norm(gradient)
            # No further from the gradient than zero is, which is in the cone too.
            assert np.linalg.norm(found - gradient) <= (1 + bound) * np.linalg.norm(gradient)


@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_none_end_too(poison):
    rows, gradient = np.ones((3, 4), np.float32), -np.ones(4, np.float32)
    rows[1, 2] = poison
    jax.block_until_ready(projected(rows, gradient, 0.0, np.ones(3, bool)))
    gradient[3] = poison
    jax.block_until_ready(projected(rows, gradient, 0.0, np.ones(3, bool)))


def whole(shape):
    """Whole numbers: rows that depend on one another are frequent, rows that nearly do impossible."""
    return arrays(np.float64, shape, elements=st.integers(-4, 4).map(float))


T, P = 6, 5
problems = st.tuples(whole((T, P)), whole(P), st.sampled_from([0.0, 0.5, 2.0]), arrays(bool, T))
powers = arrays(np.float64, T, elements=st.integers(-8, 8).map(lambda power: 10.0**power))


def found(rows, gradient, margin, counts):
    """Return what `project` makes of it in float64."""
    with jax.enable_x64(True):
        return np.asarray(projected(rows, gradient, margin, counts))


def close(one, other, size):
    np.testing.assert_allclose(one, other, rtol=0, atol=1e-9 * (1 + size))


@given(problems, powers)
def test_weights_satisfy_the_conditions_of_the_minimum(problem, scales):
    rows, gradient, margin, counts = problem
    rows = rows * scales[:, None]
    rows[~counts] = 1e3
    with jax.enable_x64(True):
        weights = np.asarray(solve(rows @ rows.T, rows @ gradient, margin, counts))
    size = raised_length(rows[counts], gradient, margin)
    units = np.linalg.norm(rows, axis=1)
    excess = units * (weights - np.where(counts, margin, 0))
    slopes = rows @ (gradient + weights @ rows) / np.where(units > 0, units, 1)
    assert not weights[~counts].any()
    assert (excess >= 0).all()
    assert (slopes[counts] >= -1e-9 * (1 + size)).all()
    close(excess[counts] * slopes[counts], 0, size**2)


@given(problems)
def test_only_a_gradient_that_harms_a_past_task_changes(problem):
    rows, gradient, margin, counts = problem
    result = found(rows, gradient, margin, counts)
    if (rows[counts] @ gradient >= 0).all():
        np.testing.assert_array_equal(result, gradient)
    else:
        assert violation(rows[counts], result) <= 1e-9 * (1 + raised_length(rows[counts], gradient, margin))
        assert np.abs(result - gradient).max() > 1e-3


@given(problems)
def test_at_margin_0_it_is_the_nearest_and_stays_where_it_is(problem):
    rows, gradient, _, counts = problem
    result = found(rows, gradient, 0.0, counts)
    close(result, exact_projection(rows[counts], gradient, 0.0), np.linalg.norm(gradient))
    close(found(rows, result, 0.0, counts), result, np.linalg.norm(gradient))


@given(problems, powers, st.sampled_from([1e-6, 0.3, 1e4]))
def test_at_margin_0_only_directions_matter(problem, scales, factor):
    rows, gradient, _, counts = problem
    result = found(rows, gradient, 0.0, counts)
    close(found(rows * scales[:, None], factor * gradient, 0.0, counts) / factor, result, np.linalg.norm(gradient))


@given(problems, st.permutations(range(T)))
def test_the_order_of_past_tasks_does_not_matter(problem, order):
    rows, gradient, margin, counts = problem
    size = raised_length(rows[counts], gradient, margin)
    result = found(rows[order], gradient, margin, counts[list(order)])
    close(result, found(rows, gradient, margin, counts), size)


def test_several_seeds_side_by_side_in_a_scan_as_each_alone():
    rng = np.random.default_rng(0)
    rows = jnp.asarray(rng.standard_normal((7, 5, 6, 20)), jnp.float32)
    gradients = jnp.asarray(rng.standard_normal((7, 5, 20)), jnp.float32) - rows[:, :, 0]
    counts = jnp.asarray(rng.random((7, 5, 6)) < 0.7)

    def step(_, now):
        return None, jax.vmap(project, (0, 0, None, 0))(now[0], now[1], 0.5, now[2])

    together = jax.jit(lambda *steps: jax.lax.scan(step, None, steps)[1])(rows, gradients, counts)
    for moment in range(7):
        for seed in range(5):
            here = (moment, seed)
            alone = projected(rows[here], gradients[here], 0.5, counts[here])
            np.testing.assert_allclose(together[here], alone, rtol=0, atol=1e-5)


vectors = whole(P)


@given(vectors, vectors)
def test_average_projection_takes_out_what_harms(gradient, reference):
    with jax.enable_x64(True):
        result = np.asarray(average_projection(jnp.asarray(gradient), jnp.asarray(reference)))
    if gradient @ reference < 0:
        share = (gradient @ reference) / (reference @ reference)
        np.testing.assert_allclose(result, gradient - share * reference, rtol=0, atol=1e-12)
        assert abs(result @ reference) < 1e-12
    else:
        np.testing.assert_array_equal(result, gradient)


@given(vectors, vectors)
def test_average_projection_is_that_onto_one_row(gradient, reference):
    with jax.enable_x64(True):
        result = np.asarray(average_projection(jnp.asarray(gradient), jnp.asarray(reference)))
    close(result, found(reference[None], gradient, 0.0, np.ones(1, bool)), 1)
