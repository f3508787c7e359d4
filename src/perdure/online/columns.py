"""Rows of a table as vectors: numbers, categories and missing values, in columns that may appear at any time.

A column of numbers has one slot of the vector, and one more, a flag, from the first time that a value is missing. A
column of categories has one slot for each category; above `MAX_CATEGORIES` further ones share slots by their hash.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from perdure.online.errors import RowError
from perdure.online.values import can_be_category, category_of, is_missing, number_of
from perdure.storage.reading import shortened

MAX_CATEGORIES = 64
"""Categories of a column with a slot of their own."""
HASHED_SLOTS = 32
"""Slots that all further categories of a column share."""
LARGEST_OF_HEADS = 1e15
"""Largest number that heads in closed form learn as it is: sums of squares of many must fit float32."""

_LARGEST = float(np.finfo(np.float32).max)
_NUMBERS = frozenset({float, int, bool, np.float64, np.float32, np.int64, np.int32})


class Table(NamedTuple):
    """Rows to be read, column by column."""

    columns: Mapping[str, Sequence[Any] | np.ndarray]
    """By name, all of one length."""
    n_rows: int
    first_row: int = 0
    """Number of the first row in messages."""
    numbers: np.ndarray | None = None
    """Number of every row in messages, if they do not follow on each other."""

    def number(self, row: int) -> int:
        """Return the number of a row in messages."""
        return self.first_row + row if self.numbers is None else int(self.numbers[row])


@dataclass
class Column:
    """What is known of one column."""

    name: str
    is_category: bool
    offset: float = 0.0
    """Subtracted from numbers before they become float32, which time stamps would lose their digits in."""
    slot: int | None = None
    """Of numbers."""
    missing_slot: int | None = None
    """Of the flag for a missing value; None while none was missing."""
    categories: dict[str, int] = field(default_factory=dict)
    """Slot of each category."""
    hashed: list[int] = field(default_factory=list)
    """Slots that further categories share."""

    def to_json(self) -> dict[str, Any]:
        """Return all of it as JSON holds it."""
        categories = [list(it) for it in self.categories.items()]
        return {**vars(self), "categories": categories, "hashed": list(self.hashed)}


class Admission(NamedTuple):
    """What the rows of a table have brought."""

    needs: list[tuple[int, int]]
    """Rows that take slots, and how many slots are in use from there on."""
    began: dict[str, int]
    """The row of the table at which each new column of numbers begins."""


class _News(NamedTuple):
    """Something in a column that was not there before."""

    row: int
    name: str
    what: str
    value: Any = None


class _Plain(NamedTuple):
    """All that encodes a row in which nothing is new or missing."""

    numbers: list[str]
    slots: np.ndarray
    offsets: np.ndarray
    categories: list[Column]


@dataclass
class Columns:
    """The columns seen so far and their slots; grows with the rows that are learned."""

    known: dict[str, Column] = field(default_factory=dict)
    n_slots: int = 0
    allow_missing: bool = True
    centred: bool = True
    """Subtract from the numbers of a column its first one? They are what they are if they are not standardized."""
    largest: float = _LARGEST
    """Numbers beyond it, either side of 0, are refused; at most that of float32."""
    _plain: _Plain | None = field(default=None, repr=False, compare=False)

    def admit(self, table: Table) -> Admission:
        """Take up what is new in the rows: columns, missing values, categories.

        All or nothing: if a row is bad, nothing is taken up.

        Raises:
            RowError: naming the row and the column of a value that is no number where numbers were, is infinite, too
                large for float32, or missing where that is not allowed.
        """
        absent = [it for it in self.known.values() if it.name not in table.columns]
        news = [it for name in table.columns for it in self._news_of(name, table)]
        news += [it for column in absent for it in self._news_of_absent(column, table)]
        # By row, then by name: one by one, the rows would have brought it in this order.
        needs, began = [], {}
        for it in sorted(news, key=lambda it: it[:2]):
            self._take_up(it)
            needs.append((it.row, self.n_slots))
            if it.what == "number column":
                began[it.name] = it.row
        return Admission(needs, began)

    def encode(self, table: Table, width: int, began: Mapping[str, int] | None = None) -> np.ndarray:
        """Return the rows as raw vectors, float32 (rows, width); NaN for missing numbers.

        What is unknown, columns and categories, is left out, and columns that are absent are missing.

        Args:
            table: the rows.
            width: of the vectors.
            began: rows at which columns begin, before which their values are not missing but unheard of.

        Raises:
            RowError: as `admit`.
        """
        vectors = np.zeros((table.n_rows, width), np.float32)
        for column in self.known.values():
            values = table.columns.get(column.name)
            if column.is_category:
                if values is not None:
                    self._encode_categories(column, values, vectors)
                continue
            if values is None:
                numbers = np.full(table.n_rows, np.nan)
            else:
                numbers = self._numbers(values, column.name, table) - column.offset
            assert column.slot is not None
            if column.slot < width:
                vectors[:, column.slot] = np.clip(numbers, -_LARGEST, _LARGEST)
            if column.missing_slot is not None and column.missing_slot < width:
                first = 0 if began is None else began.get(column.name, 0)
                vectors[first:, column.missing_slot] = np.isnan(numbers[first:])
        return vectors

    def encode_plain(self, row: Any, width: int) -> np.ndarray | None:
        """Return one row as `encode` does, (width,); None if something in it is new, missing or no plain number.

        Also None for what is no dictionary.

        For rows that come one by one this is twenty times faster.
        """
        plain = self._plain = self._plain or self._plain_columns()
        vector = np.zeros(width, np.float32)
        try:
            if len(row) != len(self.known):
                return None
            values = [row[name] for name in plain.numbers]
            if not _NUMBERS.issuperset(map(type, values)):
                return None
            numbers = np.array(values, np.float64)
            if not (np.abs(numbers) <= min(self.largest, _LARGEST / 2)).all():
                return None
            vector[plain.slots] = numbers - plain.offsets
            for column in plain.categories:
                vector[column.categories[row[column.name]]] = 1
        except (KeyError, IndexError, OverflowError, TypeError):
            return None
        return vector

    def scaled(self, width: int) -> np.ndarray:
        """Return which slots hold numbers to standardize, (width,)."""
        mask = np.zeros(width, bool)
        mask[[it.slot for it in self.known.values() if it.slot is not None and it.slot < width]] = True
        return mask

    def to_json(self) -> dict[str, Any]:
        """Return all of it as JSON holds it."""
        return {
            "columns": [it.to_json() for it in self.known.values()],
            "n_slots": self.n_slots,
            "allow_missing": self.allow_missing,
            "centred": self.centred,
        }

    @classmethod
    def from_json(cls, described: Mapping[str, Any], largest: float) -> Columns:
        """Return what `to_json` described, with the largest number that is learned."""
        columns = [Column(**{**it, "categories": dict(it["categories"])}) for it in described["columns"]]
        known = {it.name: it for it in columns}
        return cls(known, described["n_slots"], described["allow_missing"], described["centred"], largest)

    def _news_of(self, name: str, table: Table) -> list[_News]:
        """Return what is new in a column, in the order of the rows."""
        values, column = table.columns[name], self.known.get(name)
        is_category = column.is_category if column is not None else _holds_categories(values)
        return self._new_categories(name, values, table) if is_category else self._new_numbers(name, values, table)

    def _new_categories(self, name: str, values: Sequence[Any] | np.ndarray, table: Table) -> list[_News]:
        column = self.known.get(name)
        seen = set() if column is None else set(column.categories)
        news = []
        for row, value in enumerate(values):
            text = category_of(value)
            if text is None:
                self._check_missing(name, table.number(row))
                continue
            if isinstance(value, float) and math.isinf(value):
                raise RowError(
                    f"row {table.number(row)}, column {name!r} is {value}, expected a category, as in the rows before; "
                    "give a text",
                    row=table.number(row),
                    column=name,
                )
            if column is None and not news:
                news.append(_News(row, name, "category column"))
            if text not in seen:
                if not can_be_category(value):
                    raise RowError(
                        f"row {table.number(row)}, column {name!r} is {shortened(repr(value))} of type "
                        f"{type(value).__name__}, expected a number, a text, a date or a duration; convert it",
                        row=table.number(row),
                        column=name,
                    )
                seen.add(text)
                news.append(_News(row, name, "category", text))
        return news

    def _new_numbers(self, name: str, values: Sequence[Any] | np.ndarray, table: Table) -> list[_News]:
        column = self.known.get(name)
        numbers = self._numbers(values, name, table)
        missing = np.isnan(numbers)
        if missing.any():
            self._check_missing(name, table.number(int(missing.argmax())))
        news = []
        if column is None:
            if missing.all():
                return []  # of what kind it is will be seen later
            first = int((~missing).argmax())
            news.append(_News(first, name, "number column", float(numbers[first])))
            missing[:first] = False
        if missing.any() and (column is None or column.missing_slot is None):
            news.append(_News(int(missing.argmax()), name, "missing"))
        return news

    def _news_of_absent(self, column: Column, table: Table) -> list[_News]:
        self._check_missing(column.name, table.number(0))
        is_new = not column.is_category and column.missing_slot is None
        return [_News(0, column.name, "missing")] if is_new else []

    def _take_up(self, news: _News) -> None:
        self._plain = None
        if news.what == "number column":
            offset = news.value if self.centred else 0.0
            self.known[news.name] = Column(news.name, False, offset=offset, slot=self._new_slot())
        elif news.what == "category column":
            self.known[news.name] = Column(news.name, True)
        elif news.what == "missing":
            self.known[news.name].missing_slot = self._new_slot()
        else:
            column = self.known[news.name]
            if len(column.categories) < MAX_CATEGORIES:
                column.categories[news.value] = self._new_slot()
            elif not column.hashed:
                column.hashed = [self._new_slot() for _ in range(HASHED_SLOTS)]

    def _plain_columns(self) -> _Plain:
        numbers = [it for it in self.known.values() if not it.is_category]
        return _Plain(
            [it.name for it in numbers],
            np.asarray([it.slot for it in numbers], int),
            np.asarray([it.offset for it in numbers], np.float64),
            [it for it in self.known.values() if it.is_category],
        )

    def _new_slot(self) -> int:
        self.n_slots += 1
        return self.n_slots - 1

    def _encode_categories(self, column: Column, values: Sequence[Any] | np.ndarray, vectors: np.ndarray) -> None:
        for row, value in enumerate(values):
            text = category_of(value)
            if text is None:
                continue
            slot = column.categories.get(text)
            if slot is None and column.hashed:
                slot = column.hashed[zlib.crc32(text.encode(errors="surrogatepass")) % HASHED_SLOTS]
            if slot is not None and slot < vectors.shape[1]:
                vectors[row, slot] = 1

    def _numbers(self, values: Sequence[Any] | np.ndarray, name: str, table: Table) -> np.ndarray:
        """Return numbers as `_numbers` does, none of which is beyond the largest."""
        numbers = _numbers(values, name, table)
        if (bad := np.abs(numbers) > self.largest).any():
            row = int(bad.argmax())
            raise RowError(
                f"row {table.number(row)}, column {name!r} is {numbers[row]}, expected a number up to "
                f"{self.largest:g}, sums of whose squares fit float32; set standardize=True, or divide the column by a "
                "number of its size",
                row=table.number(row),
                column=name,
            )
        return numbers

    def _check_missing(self, name: str, row: int) -> None:
        if not self.allow_missing:
            raise RowError(
                f"row {row}, column {name!r} is missing, expected a value; give one, or set allow_missing=True",
                row=row,
                column=name,
            )


def _holds_categories(values: Sequence[Any] | np.ndarray) -> bool:
    """Tell by the first value that is not missing; numbers if there is none."""
    if isinstance(values, np.ndarray) and values.dtype.kind in "fiub":
        return False
    return number_of(next((it for it in values if not is_missing(it)), 0.0)) is None


def _numbers(values: Sequence[Any] | np.ndarray, name: str, table: Table) -> np.ndarray:
    """Return numbers as float64, NaN for missing.

    Raises:
        RowError: naming row and column of the first value that is no number, infinite or too large.
    """
    if isinstance(values, np.ndarray) and values.dtype.kind in "fiub":
        numbers = values.astype(np.float64)
    else:
        numbers = _plain_numbers(values)
        if numbers is None:
            numbers = _numbers_one_by_one(values, name, table)
    bad = ~np.isnan(numbers) & ~(np.abs(numbers) <= _LARGEST)
    if bad.any():
        row = int(bad.argmax())
        raise RowError(
            f"row {table.number(row)}, column {name!r} is {numbers[row]}, expected a finite number that fits float32 "
            f"(up to {_LARGEST:.3g}); correct or drop the row, or give no value there (null in JSON, NaN in an array)",
            row=table.number(row),
            column=name,
        )
    return numbers


def _plain_numbers(values: Sequence[Any] | np.ndarray) -> np.ndarray | None:
    """Return numbers as float64; None if they have to be looked at one by one."""
    if not _NUMBERS.issuperset(map(type, values)):
        return None
    try:
        return np.array(values, np.float64)
    except OverflowError:  # a whole number of more than 308 digits
        return None


def _numbers_one_by_one(values: Sequence[Any] | np.ndarray, name: str, table: Table) -> np.ndarray:
    numbers = np.empty(len(values))
    for row, value in enumerate(values):
        number = np.nan if is_missing(value) else number_of(value)
        if number is None:
            raise RowError(
                f"row {table.number(row)}, column {name!r} is {value!r}, expected a number, as in the rows before; "
                "convert it, or give the column another name",
                row=table.number(row),
                column=name,
            )
        numbers[row] = number
    return numbers
