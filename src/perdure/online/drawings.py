"""Drawings as rows: small grey pictures, of which a model learns the features that a shipped encoder gives them."""

from __future__ import annotations

import base64
import binascii
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float32, UInt8

from perdure.core import as_features
from perdure.online.columns import Table
from perdure.online.errors import RowError
from perdure.online.rows import Rows
from perdure.representation.file import load_representation, shipped_representations
from perdure.representation.network import DenseEncoder
from perdure.streams.raw.piece import listed_names

COLUMN = "drawing"
"""Of a row that is a drawing: its pixels as base64 of one byte each, row by row; ink is bright."""


class DrawingEncoder(NamedTuple):
    """What turns drawings into features."""

    height: int
    width: int
    encode: Any
    """From one drawing, bytes (height, width), to its features."""


def check_features(name: str | None) -> None:
    """Check that features are None, or a name of those for drawings that come with perdure.

    Raises:
        ValueError: if they are not.
    """
    if name is not None and name not in drawing_features():
        raise ValueError(
            f"features is {name!r}, expected None or one of {', '.join(drawing_features())}; for features of another "
            "network, give them as the rows"
        )


@lru_cache
def drawing_features() -> tuple[str, ...]:
    """Return the names of features for drawings that come with perdure."""
    return tuple(it for it in shipped_representations() if it.startswith("omniglot"))


@lru_cache
def drawing_encoder(name: str) -> DrawingEncoder:
    """Return the encoder of a name that `check_features` accepts; its program is compiled when first called."""
    encoder = load_representation(name).model.encoder
    assert not isinstance(encoder, DenseEncoder)
    _, height, width = encoder.input_shape
    return DrawingEncoder(height, width, partial(_encoded, jax.device_put(encoder)))


def n_pixels(features: str | None) -> int:
    """Return how many pixels a drawing has, 0 without features."""
    return 0 if features is None else drawing_encoder(features).height * drawing_encoder(features).width


@jax.jit
def _encoded(encoder: Any, drawing: Any) -> Any:
    return encoder(as_features(drawing))


def with_features(rows: Rows, name: str | None) -> Rows:
    """Return rows of drawings, or an array (rows, height, width) of them, as rows of their features.

    Without a name rows are what they are. Drawings are encoded one by one, so that many at once come to the same bits.

    Raises:
        RowError: naming the row that is no drawing of the right size.
    """
    if name is None:
        return rows
    encoder = drawing_encoder(name)
    drawings = _of_table(rows, encoder) if isinstance(rows.inputs, Table) else _of_array(rows.inputs, encoder)
    features: Float32[np.ndarray, "rows d"] = np.stack([np.asarray(encoder.encode(it)) for it in drawings])
    return Rows(features, np.asarray([rows.number(row) for row in range(rows.n)], int))


def text_of(drawing: UInt8[np.ndarray, "height width"]) -> str:
    """Return a drawing as a row has it under `COLUMN`."""
    return base64.b64encode(np.ascontiguousarray(drawing, np.uint8).tobytes()).decode()


def as_table(X: Any, name: str | None) -> Any:
    """Return an array (rows, height, width) of drawings as rows that a journal can keep, anything else as it is.

    Args:
        X: rows as a model takes them.
        name: of the features that the model learns of drawings; without one rows are what they are.
    """
    if name is None or not isinstance(X, np.ndarray) or X.ndim != 3 or X.dtype != np.uint8:
        return X
    return [{COLUMN: text_of(drawing)} for drawing in X]


def _of_array(drawings: np.ndarray, encoder: DrawingEncoder) -> UInt8[np.ndarray, "rows height width"]:
    wanted = (encoder.height, encoder.width)
    if drawings.shape[1:] != wanted or drawings.dtype != np.uint8:
        raise RowError(
            f"drawings have shape {drawings.shape[1:]} and type {drawings.dtype}, expected {wanted} and uint8, ink "
            "bright, without an axis of channels; resize and convert them"
        )
    return drawings


def _of_table(rows: Rows, encoder: DrawingEncoder) -> list[UInt8[np.ndarray, "height width"]]:
    assert isinstance(rows.inputs, Table)
    n_bytes = encoder.height * encoder.width
    wanted = f"expected {COLUMN!r} alone: base64 of {n_bytes} bytes, {encoder.height} rows of {encoder.width} pixels"
    columns = list(rows.inputs.columns)
    if columns == [f"x{place}" for place in range(len(columns))]:
        shape = f"(rows, {encoder.height}, {encoder.width})"
        remedy = f"x.reshape(-1, {encoder.height}, {encoder.width})" if len(columns) == n_bytes else "resize them"
        raise RowError(
            f"x has shape ({rows.n}, {len(columns)}), expected drawings, {shape} of uint8, ink bright; {remedy}"
        )
    if columns != [COLUMN]:
        raise RowError(f"rows have the columns {listed_names(columns)}, {wanted}")
    drawings = []
    for row, text in enumerate(rows.inputs.columns[COLUMN]):
        content = _decoded(text)
        if content is None or len(content) != n_bytes:
            given = f"of {len(content)} bytes" if content is not None else "no base64 text"
            raise RowError(f"row {rows.number(row)} has a drawing that is {given}, {wanted}")
        drawings.append(np.frombuffer(content, np.uint8).reshape(encoder.height, encoder.width))
    return drawings


def _decoded(text: Any) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True) if isinstance(text, str) else None
    except binascii.Error:
        return None
