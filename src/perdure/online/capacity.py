"""How much room rows would take in a model, before it learns them."""

from __future__ import annotations

from collections.abc import Sequence, Set
from typing import Any

from perdure.core import Learner
from perdure.execution.available import available_memory
from perdure.learners.closed_form import CLOSED_FORM
from perdure.learners.head import Head
from perdure.online.columns import HASHED_SLOTS, MAX_CATEGORIES, Column, Columns, Table
from perdure.online.errors import RowError

_COPIES = 3
"""Of a state, when it is made: on the host, packed, and on the device."""
_NUMBERS = frozenset({float, int, bool, type(None)})


def check_capacity(
    columns: Columns, classes: Set[Any], table: Table, targets: Sequence[Any], *, max_inputs: int, max_classes: int
) -> bool:
    """Check that rows do not bring more inputs or classes than a model may have; tell whether they bring any.

    Args:
        columns: that the model knows.
        classes: that it knows; for regression none, and no targets.
        table: the rows.
        targets: of the rows; none for regression.
        max_inputs: columns of numbers, flags for missing values and categories that it may have.
        max_classes: classes that it may have.

    Raises:
        RowError: naming the column, or the row whose class is one too many.
    """
    n_inputs, n_known = columns.n_slots, len(classes)
    for name in dict.fromkeys([*columns.known, *table.columns]):
        added = _added(columns.known.get(name), table.columns.get(name))
        n_inputs += added
        if added and n_inputs > max_inputs:
            raise RowError(
                f"column {name!r} would bring the model to {n_inputs:,} inputs, expected at most {max_inputs:,}; leave "
                "it out, or give it fewer categories",
                row=table.number(0),
                column=name,
            )
    new: set[Any] = set()
    for row, label in enumerate(targets):
        if label in classes or label in new:
            continue
        new.add(label)
        if n_known + len(new) > max_classes:
            raise RowError(
                f"row {table.number(row)} has the class {label!r}, which would be one of {n_known + len(new):,}, "
                f"expected at most {max_classes:,}; give it one of the classes before",
                row=table.number(row),
            )
    return bool(new) or n_inputs > columns.n_slots


def check_memory(learner: Learner[Any], n_bytes: int, n_inputs: int, n_outputs: int) -> None:
    """Check that the state of a learner fits the memory that is free, before it is made.

    Args:
        learner: whose state it is.
        n_bytes: of the state.
        n_inputs: numbers of an input.
        n_outputs: classes or targets.

    Raises:
        RowError: if it does not fit.
    """
    if _COPIES * n_bytes <= available_memory():
        return
    remedy = (
        "use nearest-mean or gaussian to learn classes, or fewer features, for example their first principal components"
        if isinstance(learner, Head)
        else "use fewer inputs or hidden units, or a smaller memory"
    )
    raise RowError(
        f"room for {n_inputs:,} features and {n_outputs:,} outputs makes {_name_of(learner)} keep {n_bytes / 1e9:.1f} "
        f"GB, of which {_COPIES} copies are made at times, expected at most the {available_memory() / 1e9:.1f} GB of "
        f"memory that are free; {remedy}"
    )


def _name_of(learner: Learner[Any]) -> str:
    """Return what `method` calls a head, or the class of another learner."""
    names = [name for name, it in CLOSED_FORM.items() if type(it) is type(learner)]
    return names[0] if names else type(learner).__name__


def _added(column: Column | None, values: Any) -> int:
    """Return how many inputs the values of a column may add at most; no values are as many missing ones."""
    if column is not None and not column.is_category:
        return int(column.missing_slot is None and (values is None or None in values))
    if values is None:
        return 0
    if column is None and _NUMBERS.issuperset(map(type, values)):
        return 2
    texts = {str(it) for it in values if it is not None}
    known = {} if column is None else column.categories
    new = len(texts - known.keys()) if column is not None else len(texts) + 2
    room = MAX_CATEGORIES - len(known)
    return new if new <= room else room + (0 if column is not None and column.hashed else HASHED_SLOTS)
