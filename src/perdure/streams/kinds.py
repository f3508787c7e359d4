"""Data sets of every kind that people hold, as inputs and labels, without importing what they come from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from perdure.streams.conversion import as_array, as_labels
from perdure.streams.raw.embeddings import read_embeddings

ACCEPTED = (
    "a pair (x, y) of arrays, the path of a .npz, .csv, .tsv, .parquet or .ndjson file, a table of pandas, a data set "
    "of Hugging Face, or a data set of PyTorch, whose items are (x, y)"
)
"""What a data set may be."""
_LABELS = ("label", "labels", "y", "target", "class", "fine_label")
"""Columns that are taken for the labels unless one is named, the first that there is."""


def examples_of(
    where: str, data: Any, *, label: str | None = None, features: str | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the inputs and labels of a data set.

    Args:
        where: what errors call it.
        data: as in `from_dataset`.
        label: column of the labels; None for "y" in a file, and elsewhere for a usual name.
        features: column of the inputs; None for the only one, or all.

    Raises:
        TypeError: if it is something else.
        ValueError: if items differ in shape, or there is no such column.
        DataError: if a file cannot be read or holds something else.
    """
    if isinstance(data, str | Path):
        read = read_embeddings(Path(data), features, label or "y")
        return as_array(f"{where}.x", read.x), _labels(f"{where}.y", read.y)
    if hasattr(data, "train_stream"):
        raise TypeError(f"{where} is a benchmark of Avalanche, expected {ACCEPTED}; give it to from_avalanche")
    if isinstance(data, Mapping) and hasattr(data, "column_names"):
        raise TypeError(
            f"{where} is a {type(data).__name__} with the parts {', '.join(map(str, data))}, expected one of them; "
            f"give it as data[{next(iter(data))!r}]"
        )
    for recognised, convert in _KINDS:
        if recognised(data):
            return convert(where, data, label, features)
    raise TypeError(f"{where} is a {type(data).__name__}, expected {ACCEPTED}; {_how_to_convert(data)}")


def _how_to_convert(data: Any) -> str:
    """Return how to make a data set of something else."""
    if isinstance(data, Mapping):
        names = list(data)[:2]
        return f"give a pair, as (data[{names[0]!r}], data[{names[1]!r}])" if len(names) == 2 else "give a pair (x, y)"
    if hasattr(data, "batch_size") and hasattr(data, "dataset"):
        return "give its data set, data.dataset, not the batches"
    if isinstance(data, list | tuple) and len(data) == 3:
        return "give two of them: inputs and labels; tasks of your own are for from_arrays"
    if isinstance(data, list) or (hasattr(data, "__iter__") and not hasattr(data, "dtype")):
        return "collect the examples: x, y = zip(*data), and give (list(x), list(y))"
    return "convert it to one of these"


def _is_pair(data: Any) -> bool:
    return isinstance(data, tuple | list) and len(data) == 2 and all(hasattr(it, "__len__") for it in data)


def _of_pair(where: str, data: Any, label: str | None, features: str | None) -> tuple[np.ndarray, np.ndarray]:
    x, y = data
    _refuse_names(where, "a pair of arrays", label, features)
    return as_array(f"{where}.x", x), _labels(f"{where}.y", y)


def _refuse_names(where: str, what: str, label: str | None, features: str | None) -> None:
    """Refuse names of columns where there are none."""
    for name, value in (("label", label), ("features", features)):
        if value is not None:
            raise ValueError(f"{name}={value!r} names a column, but {where} is {what}, which has none; leave it out")


def _labels(where: str, y: Any) -> np.ndarray:
    has_texts = any(isinstance(it, str) for it in np.asarray(y, dtype=object).flat)
    return as_labels(y) if has_texts else as_array(where, y)


def _is_hugging_face(data: Any) -> bool:
    return hasattr(data, "column_names") and hasattr(data, "features") and hasattr(data, "__getitem__")


def _of_hugging_face(where: str, data: Any, label: str | None, features: str | None) -> tuple[np.ndarray, np.ndarray]:
    label, names = _label_and_inputs(where, list(data.column_names), label, features)
    columns = [[np.asarray(it) for it in data[name]] for name in names]
    return _stacked(where, columns), as_labels(list(data[label]))


def _is_table(data: Any) -> bool:
    return hasattr(data, "columns") and hasattr(data, "to_numpy")


def _of_table(where: str, data: Any, label: str | None, features: str | None) -> tuple[np.ndarray, np.ndarray]:
    columns = {str(it): it for it in data.columns}  # pandas numbers columns that have no names
    label, names = _label_and_inputs(where, list(columns), label, features)
    x = data[[columns[it] for it in names]].to_numpy()
    return as_array(f"{where}.x", x), data[columns[label]].to_numpy()


def _label_and_inputs(where: str, columns: list[str], label: str | None, features: str | None) -> tuple[str, list[str]]:
    found = label or next((it for it in _LABELS if it in columns), None)
    if found not in columns:
        missing = f"no column {label!r}" if label else "no column with a usual name of labels"
        raise ValueError(f"{where} has {missing}, expected one of its columns: {', '.join(columns)}; give label=…")
    if features is not None and features not in columns:
        raise ValueError(
            f"{where} has no column {features!r}, expected one of its columns: {', '.join(columns)}; give features=…"
        )
    return found, [features] if features else [it for it in columns if it != found]


def _is_indexed(data: Any) -> bool:
    is_plain = isinstance(data, str | bytes | Mapping | np.ndarray | list | tuple)
    return not is_plain and hasattr(data, "__len__") and hasattr(data, "__getitem__") and not hasattr(data, "dtype")


def _of_items(where: str, data: Any, label: str | None, features: str | None) -> tuple[np.ndarray, np.ndarray]:
    _refuse_names(where, "a data set of items (x, y)", label, features)
    return items_of(where, data)


def items_of(where: str, data: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the examples of a data set with a length whose items begin with (x, y)."""
    if not len(data):
        raise ValueError(f"{where} is empty, expected at least one example; add some or leave it out")
    xs, ys = [], []
    for n in range(len(data)):
        try:
            item = data[n]
        except Exception as error:  # whatever the data set's own code raises
            raise ValueError(
                f"{where}[{n}] raised {type(error).__name__}: {error}; correct the data set, or leave that example out"
            ) from error
        if not isinstance(item, tuple | list) or len(item) < 2:
            raise TypeError(f"{where}[{n}] is a {type(item).__name__}, expected (x, y); return both from __getitem__")
        xs.append(np.asarray(item[0]))
        label = np.asarray(item[1])
        if label.size != 1:
            raise ValueError(
                f"{where}[{n}] has a label of shape {label.shape}, expected a single one; return the number of its "
                "class from __getitem__"
            )
        ys.append(label.item())
    return _stacked(where, [xs]), as_labels(ys)


def _stacked(where: str, columns: Sequence[Sequence[np.ndarray]]) -> np.ndarray:
    """Return the inputs of examples, (n, ...); several columns of numbers lie side by side."""
    if not columns:
        raise ValueError(f"{where} has no column but that of the labels, expected inputs; add a column of them")
    if not len(columns[0]):
        raise ValueError(f"{where} is empty, expected at least one example; add some or leave it out")
    for column in columns:
        for n, it in enumerate(column):
            if it.shape != column[0].shape:
                raise ValueError(
                    f"{where}[{n}] has an input of shape {it.shape}, expected {column[0].shape} as that of the first; "
                    "bring all inputs to one shape"
                )
    arrays = [np.stack(column) for column in columns]
    joined = arrays[0] if len(arrays) == 1 else np.stack(arrays, axis=1)
    return as_array(f"{where}.x", joined)


_Convert = Callable[[str, Any, str | None, str | None], tuple[np.ndarray, np.ndarray]]
_KINDS: Sequence[tuple[Callable[[Any], bool], _Convert]] = (
    (_is_pair, _of_pair),
    (_is_hugging_face, _of_hugging_face),
    (_is_table, _of_table),
    (_is_indexed, _of_items),
)
"""How each kind of data set is known, and read, without importing what it comes from."""
