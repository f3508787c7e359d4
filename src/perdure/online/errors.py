"""What can be wrong with rows that a model is given."""

from __future__ import annotations


class RowError(ValueError):
    """A row cannot be learned or answered; the message names row and column, and nothing of the rows was learned."""
