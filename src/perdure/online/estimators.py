"""The online model as an estimator of scikit-learn and of River."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Float
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.exceptions import DataConversionWarning, NotFittedError

from perdure.core import Learner
from perdure.online.arguments import is_plain, n_features, objects, repeated, seed
from perdure.online.columns import Table
from perdure.online.drawings import n_pixels
from perdure.online.model import OnlineModel
from perdure.online.river import RiverEstimator, register
from perdure.online.rows import Rows, as_rows, is_data_frame, names_of
from perdure.online.settings import ModelSettings, sizes
from perdure.online.snapshots import save_model
from perdure.online.targets import as_array, numbers
from perdure.storage.reading import shortened

Estimator = TypeVar("Estimator", bound="OnlineEstimator")


class OnlineEstimator(RiverEstimator, BaseEstimator, ABC):
    """What classifier and regressor share; use `OnlineClassifier` or `OnlineRegressor`."""

    _regression: bool

    def __init__(
        self,
        method: str | Learner[Any] = "auto",
        *,
        memory_size: int = 2000,
        memory_rule: str = "reservoir",
        hidden_sizes: Sequence[int] | int = (64, 64),
        standardize: bool = True,
        allow_missing: bool = True,
        features: str | None = None,
        random_state: int | None = 0,
    ):
        """Keep the parameters; nothing is made before the first rows come.

        Args:
            method: "auto", several learners side by side; "online", "er", "mer", "averaged-er" or
                "multi-timescale-mer", which learn a network; "nearest-mean", "gaussian", "lda", "slda" or "ridge",
                which learn in closed form; or a learner with its hyper-parameters, perdure's or your own.
            memory_size: examples that a method with a memory keeps.
            memory_rule: what the memory keeps: "reservoir" (a uniform sample of all rows), "ring" (the last rows),
                "recent" (mostly the last rows), "balanced" (as many rows of each class as possible). For "auto", "er"
                and "mer"; "averaged-er" and "multi-timescale-mer" keep a uniform sample.
            hidden_sizes: units of each hidden layer; none for a linear model.
            standardize: bring numbers to standard deviations from their running mean?
            allow_missing: may values be missing?
            features: X are drawings, (rows, 28, 28) bytes with bright ink, of which these features are learned; a name
                of those that come with perdure, such as "omniglot-small".
            random_state: seed of all chance.
        """
        self.method = method
        self.memory_size = memory_size
        self.memory_rule = memory_rule
        self.hidden_sizes = hidden_sizes
        self.standardize = standardize
        self.allow_missing = allow_missing
        self.features = features
        self.random_state = random_state

    # --- scikit-learn: learning

    def fit(self: Estimator, X: Any, y: Any, sample_weight: Any = None) -> Estimator:
        """Forget everything and learn the rows in the given order, each once.

        Args:
            X: array (rows, columns) or data frame: numbers, categories as texts, missing values as NaN or None; or
                inputs of more dimensions, such as images.
            y: a target for each row.
            sample_weight: how often to learn each row; parts of a whole number by chance.

        Raises:
            RowError: naming row and column of what cannot be learned; then nothing has been learned.
        """
        return self._learn(self._settings().new_model(), X, y, sample_weight, is_first=True)

    def _learn(
        self: Estimator,
        model: OnlineModel,
        X: Any,
        y: Any,
        sample_weight: Any,
        *,
        classes: Sequence[Any] | np.ndarray = (),
        is_first: bool = False,
    ) -> Estimator:
        """Let a model learn rows, and only then take up the model and what the rows tell of their columns."""
        if y is None:
            raise ValueError(f"{type(self).__name__} requires y to be passed, but the target y is None")
        rows = as_rows(X)
        targets = self.checked_targets(y)
        features = self.checked_features(X, rows, is_first=is_first)
        rows, targets = repeated(rows, targets, sample_weight, (model.seed, model.n_seen))
        if rows.n:
            if not model.has_learned and self.features is None:
                n_classes = 0 if self._regression else len({*classes, *targets.tolist()})
                model.check_room(features["n_features_in_"], n_classes)
            model.learn(rows, targets, classes)
        if is_first and hasattr(self, "feature_names_in_"):
            del self.feature_names_in_
        vars(self).update(features, _model=model)
        return self

    def begun(self) -> OnlineModel:
        """Return the model, or a new one if nothing has been learned."""
        return self._model if hasattr(self, "_model") else self._settings().new_model()

    def begin(self, X: Any, rows: Rows) -> None:
        """Take up a new model if there is none, and what the rows tell of their columns."""
        vars(self).update(self.checked_features(X, rows), _model=self.begun())

    def _settings(self) -> ModelSettings:
        units = self.hidden_sizes
        return ModelSettings(
            method=self.method,
            regression=self._regression,
            memory_size=self.memory_size,
            memory_rule=self.memory_rule,
            hidden_sizes=sizes((units,) if isinstance(units, int | np.integer) else units),
            standardize=self.standardize,
            allow_missing=self.allow_missing,
            features=self.features,
            seed=seed(self.random_state),
        )

    def save(self, path: str | Path) -> None:
        """Write the model to one file of arrays and JSON (safetensors), which `perdure.load` reads.

        Raises:
            NotFittedError: if nothing has been learned.
            StorageError: if it cannot be written.
        """
        model = self.fitted()
        save_model(Path(path), model, self._settings().changed(seed=model.seed), model.n_seen)

    def adopt(self, model: OnlineModel) -> None:
        """Continue from a model that has learned with these parameters."""
        self._model = model
        names = list(model.columns.known)
        self.n_features_in_ = len(names) or n_pixels(model.features) or int(np.prod(model.shape))
        if names and any(it != f"x{place}" for place, it in enumerate(names)):
            self.feature_names_in_ = np.asarray(names, object)

    def checked_features(
        self, X: Any, rows: Rows, *, is_first: bool = False, answering: bool = False
    ) -> dict[str, Any]:
        """Return what the first rows tell of their columns; those of arrays stay as many, of data frames may change.

        Raises:
            ValueError: if rows have other columns than those learned, or none of them.
        """
        n = n_features(X, rows)
        if is_first or not hasattr(self, "n_features_in_"):
            names = names_of(X)
            return {"n_features_in_": n} | ({} if names is None else {"feature_names_in_": np.asarray(names, object)})
        if not is_data_frame(X) and not isinstance(X, list) and n != self.n_features_in_:
            raise ValueError(
                f"X has {n} features, but {type(self).__name__} is expecting {self.n_features_in_} features as input"
            )
        known = self._model.columns.known if hasattr(self, "_model") else {}
        may_be_new = not answering and (is_data_frame(X) or isinstance(X, list))
        given = rows.inputs.columns if isinstance(rows.inputs, Table) else {}
        if given and known and not may_be_new and not known.keys() & given.keys():
            raise ValueError(
                f"X has columns {shortened(', '.join(given))}, none of which {type(self).__name__} has "
                f"learned, expected some of {shortened(', '.join(known))}; give rows with their names"
            )
        return {}

    def fitted(self) -> OnlineModel:
        """Return the model.

        Raises:
            NotFittedError: if nothing has been learned.
        """
        if not hasattr(self, "_model") or not self._model.has_learned:
            raise NotFittedError(
                f"{type(self).__name__} has learned nothing yet; call fit, partial_fit or learn_one first"
            )
        return self._model

    def _outputs(self, X: Any) -> Float[np.ndarray, "rows outputs"]:
        """Return probabilities of the classes in the order in which they appeared, or targets."""
        model = self.fitted()
        rows = as_rows(X)
        self.checked_features(X, rows, answering=True)
        return model.predict(rows)

    @property
    def expert_weights_(self) -> dict[str, float]:
        """How far each expert of `method="auto"` is trusted now, in all 1; empty for other methods."""
        return self.fitted().expert_weights

    def __sklearn_is_fitted__(self) -> bool:
        """Tell scikit-learn whether something has been learned."""
        return hasattr(self, "_model") and self._model.has_learned

    def __sklearn_tags__(self) -> Any:
        """Tell scikit-learn what the estimator can do."""
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.input_tags.allow_nan = self.allow_missing
        tags.input_tags.string = tags.input_tags.categorical = True
        return tags

    @abstractmethod
    def checked_targets(self, y: Any) -> np.ndarray:
        """Return the targets of rows, checked."""

    # --- River

    def learn_one(self, x: Mapping[Any, Any], y: Any) -> None:
        """Learn one row, a dictionary from column to value."""
        if not hasattr(self, "_model"):
            if not isinstance(x, Mapping):
                raise TypeError(f"x is {type(x).__name__}, expected a dictionary from column to value")
            self._model = self._settings().new_model()
        self._model.learn_one(x, y)

    def learn_many(self, X: Any, y: Any) -> None:
        """Learn the rows of a data frame in order."""
        model = self.begun()
        model.learn(as_rows(X), list(y))
        self._model = model


class OnlineClassifier(ClassifierMixin, OnlineEstimator):
    """A classifier that is taught one example at a time, for ever.

    Classes of any kind and named columns may appear at any time. Learning rows one by one or many at once comes to the
    same bits. It is an estimator of scikit-learn (`fit`, `partial_fit`, `predict`, …) and of River (`learn_one`,
    `predict_one`, …).
    """

    _regression = False

    def partial_fit(self: Estimator, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Estimator:
        """Learn rows in the given order.

        Args:
            X: as in `fit`.
            y: a class for each row, of any kind; new ones may appear.
            classes: classes that exist; they need not be given.
            sample_weight: as in `fit`.

        Raises:
            RowError: as `fit`.
        """
        known = () if classes is None else self.checked_targets(classes)
        return self._learn(self.begun(), X, y, sample_weight, classes=known)

    @property
    def classes_(self) -> np.ndarray:
        """The classes that have appeared, sorted if they can be."""
        if not hasattr(self, "_model"):
            raise AttributeError(f"{type(self).__name__} has no classes_ before it has learned something")
        classes = self._model.classes
        return np.asarray(classes)[self._order()] if is_plain(classes) else objects(classes)[self._order()]

    def predict_proba(self, X: Any) -> Float[np.ndarray, "rows classes"]:
        """Return the probability of each class, in the order of `classes_`."""
        return self._outputs(X)[:, self._order()].astype(np.float64)

    def predict(self, X: Any) -> np.ndarray:
        """Return the most probable class of each row."""
        best = self.predict_proba(X).argmax(axis=1)
        return self.classes_[best]

    def _order(self) -> np.ndarray:
        """Return the places of the sorted classes."""
        classes = self._model.classes
        try:
            return np.asarray(sorted(range(len(classes)), key=lambda place: classes[place]), int)
        except TypeError:  # classes of several kinds have no order
            return np.arange(len(classes))

    def checked_targets(self, y: Any) -> np.ndarray:
        """Return the classes of rows as objects, (rows,)."""
        if isinstance(y, str):
            raise ValueError(f"y is the text {y!r}, expected one class for each row, such as [{y!r}]")
        if isinstance(y, Sequence) and any(isinstance(it, str) for it in y):
            return objects(list(y))  # NumPy would make texts of the others
        values = as_array(y)
        if values.ndim == 2 and values.shape[1] == 1:
            warnings.warn(
                "A column-vector y was passed when a 1d array was expected; it is flattened: y.ravel()",
                DataConversionWarning,
                stacklevel=4,
            )
            values = values.ravel()
        if values.ndim != 1:
            raise ValueError(f"y has shape {values.shape}, expected one class for each row, (rows,)")
        if values.dtype.kind == "f":
            if not np.isfinite(values).all():
                row = int((~np.isfinite(values)).argmax())
                raise ValueError(
                    f"Input y contains NaN or infinity: row {row} has the class {values[row]}; drop the row"
                )
            if (values != np.round(values)).any():
                row = int((values != np.round(values)).argmax())
                raise ValueError(
                    f"Unknown label type: continuous: row {row} has the class {values[row]}; for numbers, use "
                    "OnlineRegressor, or make them texts"
                )
        return objects(values.tolist())

    @property
    def _multiclass(self) -> bool:
        return True

    def predict_proba_one(self, x: Mapping[Any, Any]) -> dict[Any, float]:
        """Return the probability of each class that has appeared; none before the first example."""
        model = self.begun()
        shares = model.predict_one(x).astype(np.float64)
        return dict(zip(model.classes, (shares / shares.sum()).tolist(), strict=True)) if model.has_learned else {}

    def predict_one(self, x: Mapping[Any, Any]) -> Any:
        """Return the most probable class; None before the first example."""
        model = self.begun()
        return model.classes[int(model.predict_one(x).argmax())] if model.classes else None

    def predict_proba_many(self, X: Any) -> Any:
        """Return a data frame of probabilities, a column for each class."""
        import pandas as pd

        model = self.begun()
        return pd.DataFrame(model.predict(as_rows(X)), index=X.index, columns=model.classes)

    def predict_many(self, X: Any) -> Any:
        """Return a series of the most probable classes."""
        import pandas as pd

        probabilities = self.predict_proba_many(X)
        if probabilities.empty:
            return pd.Series([None] * len(X), index=X.index, dtype=object)
        return probabilities.idxmax(axis="columns")


class OnlineRegressor(RegressorMixin, OnlineEstimator):
    """A regressor that is taught one example at a time, for ever; see `OnlineClassifier`."""

    _regression = True

    def partial_fit(self: Estimator, X: Any, y: Any, sample_weight: Any = None) -> Estimator:
        """Learn rows in the given order; see `fit`."""
        return self._learn(self.begun(), X, y, sample_weight)

    def predict(self, X: Any) -> np.ndarray:
        """Return the target of each row, (rows,), or (rows, targets) if there are several."""
        values = self._outputs(X).astype(np.float64)
        return values[:, 0] if values.shape[1] == 1 else values

    def checked_targets(self, y: Any) -> np.ndarray:
        """Return the numbers of rows, (rows,) or (rows, targets)."""
        values = as_array(y)
        if values.dtype.kind not in "fiub":
            values = numbers(y, None).reshape(values.shape)
        if values.ndim not in (1, 2):
            raise ValueError(f"y has shape {values.shape}, expected (rows,) or (rows, targets)")
        if not np.isfinite(values).all():
            row = int((~np.isfinite(values.reshape(len(values), -1))).any(axis=1).argmax())
            raise ValueError(f"Input y contains NaN or infinity: row {row} has the target {values[row]}; drop the row")
        return values

    def __sklearn_tags__(self) -> Any:
        """Tell scikit-learn that several targets can be learned."""
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def predict_one(self, x: Mapping[Any, Any]) -> float | list[float]:
        """Return the target, or a list of them if there are several; 0 before the first example."""
        answers = self.begun().predict_one(x).tolist()
        return answers if len(answers) > 1 else answers[0] if answers else 0.0

    def predict_many(self, X: Any) -> Any:
        """Return a series of targets, or a data frame if there are several."""
        import pandas as pd

        answers = self.begun().predict(as_rows(X))
        if answers.shape[1] > 1:
            return pd.DataFrame(answers, index=X.index)
        return pd.Series(answers[:, 0] if answers.shape[1] else np.zeros(len(X)), index=X.index)


register(OnlineClassifier, "MiniBatchClassifier")
register(OnlineRegressor, "MiniBatchRegressor")
