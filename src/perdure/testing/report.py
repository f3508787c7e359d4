"""What a conformance check has found, in words."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from perdure.own import own_line

_MOST_NAMED = 2
"""Checks named that fail of one mistake."""


class Nonconformity(Exception):
    """A check has failed; the message tells what was found and what was expected."""


class Outcome(NamedTuple):
    """What one check has found."""

    name: str
    """What should hold."""
    problem: str | None
    """What was found instead; None if it holds."""


class Report(NamedTuple):
    """What all checks have found."""

    subject: str
    """What was checked."""
    outcomes: tuple[Outcome, ...]

    @property
    def failures(self) -> list[Outcome]:
        """The checks that failed."""
        return [it for it in self.outcomes if it.problem is not None]

    def __str__(self) -> str:
        lines = [f"{'ok    ' if it.problem is None else 'FAILED'}  {it.name}" for it in self.outcomes]
        problems: dict[str, list[str]] = {}  # one mistake may fail many checks: it is told once
        for it in self.failures:
            problems.setdefault(str(it.problem), []).append(it.name)
        details = [f"{_named(names)}:\n    {problem}" for problem, names in problems.items()]
        n_passed = len(self.outcomes) - len(self.failures)
        total = f"{self.subject}: {n_passed} of {len(self.outcomes)} checks passed"
        return "\n".join([total, *lines, *(["", *details] if details else [])])


class ConformanceError(AssertionError):
    """Something does not keep its contract; the message tells which checks failed and how."""

    def __init__(self, report: Report):
        """Keep the report, of which at least one check failed."""
        super().__init__(str(report))
        self.report = report


def examined(subject: str, checks: Mapping[str, Callable[[], None]]) -> Report:
    """Return the report of some checks.

    Args:
        subject: what is checked.
        checks: by what should hold; each raises `Nonconformity` if it does not. Any other exception counts as a failure
            too, and the first line of its text is reported.

    Raises:
        ConformanceError: if a check fails.
    """
    report = Report(subject, tuple(Outcome(name, _problem(check)) for name, check in checks.items()))
    if report.failures:
        raise ConformanceError(report)
    return report


def _problem(check: Callable[[], None]) -> str | None:
    try:
        check()
    except Nonconformity as found:
        return str(found)
    except Exception as error:
        return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}{own_line(error)}"
    return None


def _named(checks: Sequence[str]) -> str:
    """Return the first checks that a mistake fails, and how many more there are."""
    shown = "; ".join(checks[:_MOST_NAMED])
    return shown if len(checks) <= _MOST_NAMED else f"{shown}; and {len(checks) - _MOST_NAMED} more checks"


def forms(tree: Any) -> dict[str, str]:
    """Return dtype and shape of each leaf by its path, "state.memory.seen"."""
    return {
        jax.tree_util.keystr(path, simple=True, separator="."): f"{leaf.dtype}{list(leaf.shape)}"
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }


def expect_same_forms(before: Any, after: Any, what: str) -> None:
    """Refuse a tree whose leaves have other shapes or dtypes than another's.

    Raises:
        Nonconformity: naming the first leaf that differs.
    """
    one, other = forms(before), forms(after)
    for path in sorted(one.keys() | other.keys()):
        if one.get(path) != other.get(path):
            raise Nonconformity(
                f"{what} made {path} {other.get(path, 'absent')} of {one.get(path, 'absent')}; it must keep shapes and "
                "dtypes"
            )


def expect_equal(one: Any, other: Any, why: str, tolerance: float = 0.0) -> None:
    """Refuse two trees whose numbers differ.

    Args:
        one: a tree of arrays.
        other: a tree like it.
        why: what a difference means.
        tolerance: largest difference that rounding explains, relative and absolute.

    Raises:
        Nonconformity: naming the first leaf that differs, and by how much.
    """
    first, second = (jax.tree_util.tree_leaves_with_path(_numbers(it)) for it in (one, other))
    for (path, a), (_, b) in zip(first, second, strict=True):
        if not np.allclose(a, b, rtol=tolerance, atol=tolerance, equal_nan=True):
            place = jax.tree_util.keystr(path, simple=True, separator=".")
            with np.errstate(invalid="ignore"):
                most = np.nanmax(np.abs(a.astype(np.float64) - b.astype(np.float64)))
            raise Nonconformity(f"{why}: {place or 'the result'} differs by up to {most:.3g}")


def differs(one: Any, other: Any) -> bool:
    """Tell whether a number of two trees differs."""
    leaves = zip(jax.tree.leaves(_numbers(one)), jax.tree.leaves(_numbers(other)), strict=True)
    return any(not np.array_equal(a, b, equal_nan=True) for a, b in leaves)


def expect_finite(tree: Any, what: str) -> None:
    """Refuse NaN and infinity.

    Raises:
        Nonconformity: naming the first leaf with one.
    """
    for path, leaf in jax.tree_util.tree_leaves_with_path(_numbers(tree)):
        if leaf.dtype.kind == "f" and not np.isfinite(leaf).all():
            place = jax.tree_util.keystr(path, simple=True, separator=".")
            raise Nonconformity(f"{what} came to NaN or infinity at {place or 'the result'}")


def expect_no_hidden_chance(made: Callable[[], Any], what: str) -> None:
    """Refuse a function that draws from anything but its key.

    Args:
        made: calls the function, or compiles it to the text of a program, again each time: chance that is drawn while a
            program is traced is baked into the program, and two calls of one program cannot tell.
        what: the function's name.

    Raises:
        Nonconformity: if the results differ, or NumPy's global generator has moved.
    """
    results, moved = [], False
    # NumPy's old global generator is the very thing that is watched.
    numpy_held, python_held = np.random.get_state(), random.getstate()  # noqa: NPY002
    try:
        for seed in (1, 2):
            np.random.seed(seed)  # noqa: NPY002
            random.seed(seed)
            before = np.random.get_state()  # noqa: NPY002
            results.append(made())
            # Not Python's: type checkers draw from it. What is used of it shows in the results.
            moved |= differs(before, np.random.get_state())  # noqa: NPY002
    finally:
        np.random.set_state(numpy_held)  # noqa: NPY002
        random.setstate(python_held)
    if differs(*results):
        raise Nonconformity(f"{what} gives other results when it is traced again, so it draws from more than its key")
    if moved:
        raise Nonconformity(f"{what} draws from NumPy's global generator; draw from the key given")


def _numbers(tree: Any) -> Any:
    def number(leaf: Any) -> Any:
        if hasattr(leaf, "dtype") and jax.numpy.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            leaf = jax.random.key_data(leaf)
        array = np.asarray(leaf)
        return array if array.dtype.kind in "biufc" else np.frombuffer(str(leaf).encode(), np.uint8)

    return jax.tree.map(number, tree)
