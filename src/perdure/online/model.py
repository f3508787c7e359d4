"""A model that learns a table row by row, for ever: classes and columns may appear at any time."""

from __future__ import annotations

import copy
import dataclasses
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence, Set
from functools import partial
from threading import RLock
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from perdure.core import Learner, StreamInfo
from perdure.execution.compilation import bytes_of
from perdure.learners.head import Head
from perdure.online.answers import Answers
from perdure.online.capacity import check_memory
from perdure.online.columns import LARGEST_OF_HEADS, Admission, Columns, Table
from perdure.online.drawings import with_features
from perdure.online.errors import RowError
from perdure.online.growth import Segment, first_columns, first_outputs, segments, widened
from perdure.online.inputs import check_kind, pixels, vectors_of
from perdure.online.packing import Packing
from perdure.online.program import block_bits, initial_program, program_of
from perdure.online.rows import Rows, of_dictionaries
from perdure.online.state import BLOCK, ModelState
from perdure.online.targets import LARGEST, Classes, numbers
from perdure.online.view import ModelView, copied, on_host
from perdure.storage.arrays import named_arrays, restored
from perdure.updates.losses import huber_loss

_NOT_KEPT = ("_kept_columns", "_last", "_lock", "_packing", "_program")


class OnlineModel:
    """The state of a learner on a table, with what its columns and classes are.

    Learning n rows at once comes to the same bits as learning them one by one.
    """

    def __init__(
        self,
        learner: Learner[Any],
        *,
        regression: bool = False,
        hidden_sizes: Sequence[int] = (64, 64),
        seed: int = 0,
        allow_missing: bool = True,
        standardize: bool = True,
        features: str | None = None,
    ):
        """Begin with no columns and no classes.

        Args:
            learner: with its hyper-parameters; a loss of None becomes Huber's for numbers.
            regression: learn numbers, not classes.
            hidden_sizes: of the perceptron that the learner is given.
            seed: of all chance.
            allow_missing: may numbers and categories be missing?
            standardize: in standard deviations from the running mean?
            features: rows are drawings, of which these features are learned; see `perdure.online.drawings`.

        Raises:
            ValueError: if the learner must know tasks beforehand.
        """
        if learner.needs_task:
            raise ValueError(
                f"{type(learner).__name__} must be told which task each example belongs to, which a live stream does "
                "not tell; choose auto, online, er, mer, averaged-er, multi-timescale-mer, lda or ridge"
            )
        if regression and getattr(learner, "loss", "none needed") is None:
            learner = dataclasses.replace(learner, loss=huber_loss)  # pyright: ignore[reportCallIssue]
        self.learner = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), learner)
        self.regression = regression
        self.hidden_sizes = tuple(hidden_sizes)
        self.seed = seed
        self.standardize = standardize
        self.features = features
        largest = LARGEST_OF_HEADS if isinstance(learner, Head) and not standardize else LARGEST
        self.columns = Columns(allow_missing=allow_missing, centred=standardize, largest=largest)
        self._classes = Classes()
        self.n_targets: int | None = None
        self.n_seen = 0
        self._shape: tuple[int, ...] | None = None
        self._last: deque[tuple[list[Any], Any]] = deque(maxlen=1)
        """The packed arrays of (learner, state), and what was predicted for the last block."""
        self._lock = RLock()
        self._kept_columns: Columns | None = None
        """Copy of the columns for views."""
        self._width, self._n_capacity, self._n_slots = 0, 0, 0

    @property
    def state(self) -> ModelState | None:
        """All that learning changes, as NumPy arrays, which stay what they are; None before the first row."""
        return self._now.state

    @state.setter
    def state(self, state: ModelState) -> None:
        tree = jax.tree.map(on_host, (self.learner, state))
        self._packing = Packing.of(tree)
        self._last.append((jax.device_put(self._packing.pack(tree)), None))
        self._width, self._n_capacity = len(state.scaled), len(state.known)
        self._program = program_of(self._packing, self.shape, regression=self.regression)

    @property
    def has_learned(self) -> bool:
        """Has a row been learned?"""
        return self._packed is not None

    def __getstate__(self) -> dict[str, Any]:
        """Return what copies and pickles keep: the state as NumPy arrays, and nothing that is compiled."""
        with self._lock:
            kept = {name: it for name, it in vars(self).items() if name not in _NOT_KEPT}
            kept["columns"], kept["_classes"] = copy.deepcopy((self.columns, self._classes))
            return kept | {"arrays": named_arrays(self.state) if self.has_learned else None}

    def __setstate__(self, kept: dict[str, Any]) -> None:
        """Take over what `__getstate__` returned."""
        vars(self).update({name: it for name, it in kept.items() if name != "arrays"})
        self._last, self._lock, self._kept_columns = deque(maxlen=1), RLock(), None
        if kept["arrays"] is not None:
            self._take_over(kept["arrays"], self.shape, self._n_capacity)

    @property
    def classes(self) -> list[Any]:
        """Classes that have appeared, in the order of their first example."""
        return self._classes.labels

    @property
    def known_classes(self) -> Set[Any]:
        """The same, to look one up."""
        return self._classes.numbers_by_label.keys()

    @property
    def n_outputs(self) -> int:
        """Classes that have appeared, or targets."""
        return self.n_targets or 0 if self.regression else len(self._classes)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of an input; of a table's row, its capacity."""
        return self._shape or (self._width,)

    @property
    def n_bytes(self) -> int:
        """Size of the state."""
        return sum(it.nbytes for it in self._packed or [])

    @property
    def expert_weights(self) -> dict[str, float]:
        """How far each expert of a mixture is trusted now, in all 1; empty for other learners."""
        return self._now.expert_weights

    # --- learning and answering

    def learn(self, rows: Rows, y: Sequence[Any] | np.ndarray, classes: Sequence[Any] | np.ndarray = ()) -> None:
        """Learn rows in order; return once they are checked, while the last of them may still be computed.

        Args:
            rows: the inputs.
            y: a class of any kind for each row; or numbers (rows,) or (rows, targets) for regression.
            classes: classes to be numbered before those of the rows.

        Raises:
            RowError: naming the row that cannot be learned; nothing has been learned then.
        """
        for _ in self._learn(rows, y, classes, answers=False):
            pass

    def predict_then_learn(self, rows: Rows, y: Sequence[Any] | np.ndarray) -> Answers:
        """Learn rows as `learn` does; return what was predicted for each before it was learned."""
        parts = list(self._learn(rows, y))
        return Answers(parts, rows.n, max(self.n_outputs, 1))

    def _learn(
        self,
        rows: Rows,
        y: Sequence[Any] | np.ndarray,
        classes: Sequence[Any] | np.ndarray = (),
        *,
        answers: bool = True,
    ) -> Iterator[tuple[int, int, Any]]:
        """Learn rows block by block; yield where each begins and ends, and what was predicted for it, on the device."""
        if len(y) != rows.n:
            raise RowError(f"{rows.n} rows and {len(y)} targets were given, expected one for each row")
        rows = with_features(rows, self.features)
        with self._lock:
            if self.regression:
                targets = numbers(y, self.n_targets, rows.number)
            else:
                targets = self._classes.checked(y, rows.number)
            known = self._classes.checked(classes)
            before = self.columns.n_slots  # more than the state knows, if an interrupt came before it had grown
            admission = self._admit_inputs(rows)
            self._classes.add(known)
            needs = [(0, before, 0), *((row, slots, 0) for row, slots in admission.needs)]
            needs += self._admit_targets(targets)
            n_outputs = self._n_capacity or self.n_targets or 0
            for segment in segments(rows.n, needs, self._width, n_outputs):
                self._grow(rows, segment)
                vectors = vectors_of(rows, self.columns, segment.n_columns, admission.began)
                for start in range(segment.start, segment.stop, BLOCK):
                    stop = min(start + BLOCK, segment.stop)
                    own = self._target_vectors(targets[start:stop])
                    outputs = self._learn_block(vectors[start:stop], own, answers=answers)
                    self.n_seen += stop - start
                    yield start, stop, outputs

    def predict(self, rows: Rows) -> Float[np.ndarray, "rows outputs"]:
        """Return probabilities of the classes, in the order of `classes`, or targets; the state stays as it is.

        Raises:
            RowError: naming the row that cannot be read.
        """
        with self._lock:
            now = self._as_view(0, self._packed, self.columns)
            parts = now.dispatch(rows)
        return now.gather(rows.n, parts)

    def view(self, position: int) -> ModelView:
        """Return the model as it is now, called that of a position; later learning does not touch it."""
        with self._lock:
            if self._kept_columns is None or self._kept_columns.n_slots != self.columns.n_slots:
                self._kept_columns = copy.deepcopy(self.columns)  # whatever is new in columns takes a slot
            packed = None if self._packed is None else copied(self._packed)
            return self._as_view(position, packed, self._kept_columns)

    @property
    def _now(self) -> ModelView:
        """The model as it is until it learns more."""
        return self._as_view(0, self._packed, self.columns)

    def _as_view(self, position: int, packed: list[Any] | None, columns: Columns) -> ModelView:
        program, packing = (None, None) if packed is None else (self._program, self._packing)
        return ModelView(
            position,
            tuple(self.classes),
            self.n_outputs,
            self.regression,
            self.features,
            columns,
            self._shape,
            self._width,
            packed,
            program,
            packing,
            self.n_seen,
        )

    def learn_one(self, row: Mapping[Any, Any], target: Any) -> None:
        """Learn one row, given as a dictionary from column to value; the same as `learn` with one row.

        Raises:
            RowError: naming the column that cannot be learned; nothing has been learned then.
        """
        with self._lock:
            vector = self.columns.encode_plain(row, self._width)
            y = self._plain_target(target)
            if vector is None or y is None or self._n_slots != self.columns.n_slots:
                self.learn(of_dictionaries([row]), [target])
                return
            self._learn_block(vector[None], y, answers=False)
            self.n_seen += 1

    def predict_one(self, row: Mapping[Any, Any]) -> Float[np.ndarray, " outputs"]:
        """Return the probability of each class, in the order of `classes`, or targets, for one row."""
        with self._lock:
            vector = self.columns.encode_plain(row, self._width)
            if vector is None or self._packed is None or self.n_outputs > self._n_capacity:
                return self.predict(of_dictionaries([row]))[0]
            answers, n_outputs = self._program.predict(self._packed, vector[None]), self.n_outputs
        return np.asarray(answers)[0, :n_outputs]

    def check_room(self, n_features: int, n_classes: int) -> None:
        """Check that what a model that has learned nothing would keep of rows fits the memory.

        Args:
            n_features: numbers of a row.
            n_classes: classes that the rows have; 0 for regression.

        Raises:
            RowError: if it does not.
        """
        size, n_outputs = first_columns(n_features), first_outputs(n_classes)
        state = jax.eval_shape(self._initial((size,), n_outputs))
        check_memory(self.learner, bytes_of(state), size, n_outputs)

    def know(self, classes: Sequence[Any]) -> None:
        """Number classes before they appear."""
        self._classes.add(self._classes.checked(classes))

    def number_of(self, label: Any) -> int | None:
        """Return the place of a class in `classes`; None if it has not appeared."""
        return self._classes.number(label)

    # --- at rest

    def to_arrays(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Return the state's arrays by name, and the rest as JSON holds it."""
        return self._now.to_arrays()

    def restore(self, arrays: Mapping[str, np.ndarray], described: Mapping[str, Any]) -> None:
        """Take over what `to_arrays` returned.

        Raises:
            ContentError: if the arrays are those of another model.
        """
        columns = Columns.from_json(described["columns"], self.columns.largest)
        self.columns, self._kept_columns = columns, None
        self._classes = Classes()
        self.know(described["classes"])
        self.n_targets, self.n_seen = described["n_targets"], described["n_seen"]
        shape = tuple(described["shape"])
        self._shape = None if described["is_table"] else shape
        self._take_over(arrays, shape, described["n_outputs"])
        self._n_slots = self.columns.n_slots

    def _take_over(self, arrays: Mapping[str, np.ndarray], shape: tuple[int, ...], n_outputs: int) -> None:
        template = jax.eval_shape(self._initial(shape, n_outputs))
        self.state = restored(template, arrays)

    # --- rows

    def _admit_inputs(self, rows: Rows) -> Admission:
        """Take up new columns."""
        check_kind(rows, self._shape, has_learned=self.has_learned)
        if isinstance(rows.inputs, Table):
            return self.columns.admit(rows.inputs)
        pixels(rows)  # raises if there is a value that cannot be learned
        self._shape = rows.inputs.shape[1:]
        return Admission([], {})

    def _admit_targets(self, targets: Any) -> list[tuple[int, int, int]]:
        """Take up new classes, or the number of targets; return the rows that need outputs, and how many."""
        if self.regression:
            self.n_targets = targets.shape[1]
            return []
        needs = [(0, 0, len(self._classes))]  # some may be known before they appear
        for row, label in enumerate(targets):
            if label not in self._classes:
                self._classes.add([label])
                needs.append((row, 0, len(self._classes)))
        return needs

    def _learn_block(self, vectors: np.ndarray, y: np.ndarray, *, answers: bool) -> Any:
        """Learn at most `BLOCK` rows; return what was predicted for each before, if requested, still on the device."""
        # What a network predicts is a part of learning; a head in closed form may take d³ operations more for it.
        program = self._program
        learn = program.learn if answers or not isinstance(self.learner, Head) else program.only_learn
        # The state that the program consumes and the one that it returns change places within one call into C: an
        # interrupt comes before or after it, never in between.
        self._last.extend(map(learn, (self._packed,), (block_bits(vectors, y),)))
        return self._last[0][1]

    @property
    def _packed(self) -> list[Any] | None:
        """The packed arrays of (learner, state); None before the first row."""
        return self._last[0][0] if self._last else None

    def _grow(self, rows: Rows, segment: Segment) -> None:
        """Give the state the capacity of a segment, and tell it which columns are in use."""
        is_table = isinstance(rows.inputs, Table)
        shape = (segment.n_columns,) if isinstance(rows.inputs, Table) else rows.inputs.shape[1:]
        size = int(np.prod(shape))
        if (size, segment.n_outputs, self.columns.n_slots) == (self._width, self._n_capacity, self._n_slots):
            return
        state = self.state
        if (size, segment.n_outputs) != (self._width, self._n_capacity):
            initial = self._initial(shape, segment.n_outputs)()
            state = initial if state is None else widened(state, initial)
        assert state is not None
        if is_table and self.standardize:
            state = state._replace(scaled=self.columns.scaled(size))
        self.state, self._n_slots = state, self.columns.n_slots

    def _initial(self, shape: tuple[int, ...], n_outputs: int) -> Callable[[], ModelState]:
        """Return what makes the state before the first row, of a capacity."""
        if any(it.name == "stream_info" for it in dataclasses.fields(self.learner)):
            info = StreamInfo(n_outputs, 1, (1,))
            self.learner = dataclasses.replace(self.learner, stream_info=info)  # pyright: ignore[reportCallIssue]
        parameters, structure = jax.tree.flatten(self.learner)
        program = initial_program(structure, self.hidden_sizes, shape, n_outputs, regression=self.regression)
        return partial(program, parameters, np.uint32(self.seed))

    def _target_vectors(self, targets: Any) -> np.ndarray:
        """Return class numbers (rows,), or targets (rows, outputs)."""
        if not self.regression:
            return np.asarray(self._classes.numbers(targets), np.int32)
        return targets.astype(np.float32)

    def _plain_target(self, target: Any) -> np.ndarray | None:
        """Return what `_target_vectors` returns for one row; None if it is new or has to be looked at."""
        if not self.regression:
            number = self._classes.number(target) if isinstance(target, Hashable) else None
            return None if number is None or number >= self._n_capacity else np.asarray([number], np.int32)
        if self.n_targets != 1 or not isinstance(target, float | int) or not abs(target) <= LARGEST:
            return None
        return np.full((1, 1), target, np.float32)
