"""Fresh networks of the same depth but fewer units, for learners that divide one network's units among tasks."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from jaxtyping import PRNGKeyArray


@runtime_checkable
class Narrowable(Protocol):
    """A model that can be rebuilt with fewer units; any class with such a method is one."""

    def narrowed(self, n: int, key: PRNGKeyArray) -> Narrowable:
        """Return a fresh model for the same inputs and outputs, each inner width divided by `n`, at least 1.

        Args:
            n: divisor, at least 1; the quotient is rounded down.
            key: random key for the weights.
        """
        ...


def narrowed_width(width: int, n: int) -> int:
    """Return ``width // n``, at least 1.

    Raises:
        ValueError: if `n` is below 1.
    """
    if n < 1:
        raise ValueError(f"a network was to be narrowed by {n}, expected a whole number ≥ 1; give the number of tasks")
    return max(1, width // n)
