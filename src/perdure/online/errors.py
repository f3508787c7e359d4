"""What can be wrong with rows that a model is given."""

from __future__ import annotations


class RowError(ValueError):
    """A row cannot be learned or answered; the message names row and column, and nothing of the rows was learned."""

    def __init__(self, message: str, *, row: int | None = None, column: str | None = None):
        """Say what is wrong.

        Args:
            message: what was given, what was expected and what to do.
            row: number of the row, as in the message; None if no single one is wrong.
            column: its column; None if its target is wrong, or the row as a whole.
        """
        super().__init__(message)
        self.row = row
        self.column = column
