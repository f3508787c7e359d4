"""A model as it was at one moment, which any number of threads may ask."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from perdure.learners.mixture import Mixture
from perdure.online.answers import predicted
from perdure.online.columns import Columns
from perdure.online.drawings import with_features
from perdure.online.inputs import check_kind, padded, vectors_of
from perdure.online.packing import Packing
from perdure.online.program import Program
from perdure.online.rows import Rows, as_rows, of_dictionaries
from perdure.online.state import BLOCK, ModelState
from perdure.storage.arrays import named_arrays


@dataclass(frozen=True)
class ModelView:
    """What a model knew at a position of its journal.

    Nothing in it changes, and what the model learns later does not touch it.
    """

    position: int
    """Of the last example that the model had learned."""
    classes: tuple[Any, ...]
    """In the order of their first example."""
    n_outputs: int
    """Classes, or targets."""
    regression: bool
    features: str | None
    """Of drawings, if rows are that."""
    columns: Columns
    shape: tuple[int, ...] | None
    """Of an input, if it is no row of a table."""
    width: int
    """Columns for which the state has room."""
    packed: list[Any] | None
    """Arrays of the learner and its state; None before the first row."""
    program: Program | None
    packing: Packing | None
    """Of the arrays."""
    n_seen: int
    """Rows that the model had learned."""

    @property
    def state(self) -> ModelState | None:
        """All that learning changes, as NumPy arrays; None before the first row."""
        unpacked = self._unpacked()
        return None if unpacked is None else unpacked[1]

    @property
    def expert_weights(self) -> dict[str, float]:
        """How far each expert of a mixture is trusted, in all 1; empty for other learners."""
        learner, state = self._unpacked() or (None, None)
        if not isinstance(learner, Mixture) or state is None:
            return {}
        weights = np.asarray(learner.weights(jnp.asarray(state.learner.losses)))
        return dict(zip(learner.names, weights.tolist(), strict=True))

    def to_arrays(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Return the state's arrays by name, and the rest as JSON holds it, of a model that has learned a row."""
        state = self.state
        assert state is not None
        described = {
            "columns": self.columns.to_json(),
            "classes": list(self.classes),
            "n_targets": self.n_outputs if self.regression else None,
            "n_seen": self.n_seen,
            "shape": list(self.shape or (self.width,)),
            "is_table": self.shape is None,
            "n_outputs": len(state.known),
        }
        return named_arrays(state), described

    def _unpacked(self) -> tuple[Any, ModelState] | None:
        """Return the learner and its state."""
        if self.packed is None or self.packing is None:
            return None
        return self.packing.unpack(list(map(on_host, self.packed)))

    def compile(self) -> None:
        """Compile the programs that answer one row and several, so that nobody who asks waits for it."""
        if self.packed is None or self.program is None:
            return
        for n_rows in (1, BLOCK):
            self.program.predict(self.packed, np.zeros((n_rows, *(self.shape or (self.width,))), np.float32))

    def predict_proba(self, X: Any) -> Float[np.ndarray, "rows outputs"]:
        """Return the probability of each class, in the order of `classes`; or targets, for regression.

        Raises:
            RowError: naming the row that cannot be read.
        """
        rows = as_rows([X] if isinstance(X, Mapping) else X)
        return self.gather(rows.n, self.dispatch(rows))

    def predict_proba_one(self, row: Mapping[str, Any]) -> Float[np.ndarray, " outputs"]:
        """Return the same for one row; faster than `predict_proba`."""
        vector = self.columns.encode_plain(row, self.width) if self.shape is None else None
        if vector is None or self.packed is None or self.program is None:
            return self.predict_proba(of_dictionaries([row]))[0]
        return np.asarray(self.program.predict(self.packed, vector[None]))[0, : self.n_outputs]

    def predict(self, X: Any) -> list[Any]:
        """Return the most probable class of each row, or targets; None before the first example."""
        return self.decide(self.predict_proba(X))

    def decide(self, answers: Float[np.ndarray, "rows outputs"]) -> list[Any]:
        """Return what `predict` returns for rows with these answers."""
        if not self.regression:
            return predicted(answers, self.classes)
        if not answers.shape[1]:
            return [None] * len(answers)
        return answers[:, 0].tolist() if answers.shape[1] == 1 else answers.tolist()

    def dispatch(self, rows: Rows) -> Sequence[tuple[Any, int]]:
        """Begin to answer rows: return what is on the device for each block, and how many rows of it count.

        Raises:
            RowError: as `predict_proba`.
        """
        if self.packed is None or self.program is None:
            return []
        rows = with_features(rows, self.features)
        check_kind(rows, self.shape, has_learned=True)
        vectors, parts = vectors_of(rows, self.columns, self.width), []
        for start in range(0, rows.n, BLOCK):
            part = vectors[start : start + BLOCK]
            # One program for one row, one for more.
            own = padded(part) if len(part) > 1 else part
            parts.append((self.program.predict(self.packed, own), len(part)))
        return parts

    def gather(self, n_rows: int, parts: Sequence[tuple[Any, int]]) -> Float[np.ndarray, "rows outputs"]:
        """Wait for what `dispatch` has begun, and return it."""
        if not parts:
            return np.zeros((n_rows, self.n_outputs), np.float32)
        answers = np.concatenate([np.asarray(outputs)[:n] for outputs, n in parts])[:, : self.n_outputs]
        silent = self.n_outputs - answers.shape[1]  # classes for which the state has not grown yet
        return np.pad(answers, ((0, 0), (0, silent))) if silent else answers


def on_host(array: Any) -> Any:
    """Return an array as NumPy's, random keys as they are."""
    return array if jnp.issubdtype(array.dtype, jax.dtypes.prng_key) else np.asarray(array)


@jax.jit
def copied(arrays: list[Any]) -> list[Any]:
    """Return copies of arrays, which stay when a program consumes the arrays."""
    return [jnp.copy(it) for it in arrays]
