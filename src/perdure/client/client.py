"""The client: the methods of an estimator, on a model that a server keeps."""

from __future__ import annotations

import secrets
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from perdure.client.transport import ServiceError, Transport
from perdure.online.rows import as_rows, dictionaries


class Prediction(NamedTuple):
    """An answer, and the name by which its label can be given later."""

    prediction: Any
    probabilities: dict[Any, float]
    """Of each class; none for regression."""
    id: str | None
    position: int
    """Of the last example that the model had learned."""


class Client:
    """A model on a server (`perdure serve`), taught and asked with the methods of `OnlineClassifier`.

    What was sent is sent again if there is no answer; each example has an id, so that none is learned twice.
    """

    def __init__(
        self,
        url: str,
        token: str | None = None,
        *,
        model: str | None = None,
        timeout: float = 60.0,
        retries: int = 6,
        batch_size: int = 500,
    ):
        """Connect when there is something to send.

        Args:
            url: of the server, such as "http://127.0.0.1:8000".
            token: made by `perdure serve token`; None where none is needed.
            model: name of the model; None for the only one that there is.
            timeout: seconds until a request counts as lost.
            retries: how often it is sent again, after a wait that grows.
            batch_size: rows of a request, at least 1.

        Raises:
            ModuleNotFoundError: if httpx is not installed.
            ValueError: if the address or the size is none.
        """
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}, expected at least 1")
        self._transport = Transport(url, token, timeout=timeout, retries=retries)
        self._model = model
        self._batch_size = batch_size

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # --- models of the server

    def models(self) -> list[dict[str, Any]]:
        """Return what each model is and knows."""
        return self._transport.send("GET", "/v1/models")["models"]

    def create(self, name: str, **settings: Any) -> dict[str, Any]:
        """Make a model, and speak of it from now on.

        Args:
            name: 1 to 64 of a-z, 0-9, ".", "_" and "-".
            settings: `method`, `regression`, … as `DurableModel.open` has them.

        Raises:
            ServiceError: if there is one of this name, or none can have the settings.
        """
        made = self._transport.send("POST", "/v1/models", {"name": name, **settings}, repeatable=False)
        self._model = name
        return made

    def delete(self, name: str) -> None:
        """Delete a model with all that it has learned."""
        self._transport.send("DELETE", f"/v1/models/{name}", query={"confirm": name}, repeatable=False)
        self._model = None if self._model == name else self._model

    def describe(self) -> dict[str, Any]:
        """Return what the model is and knows."""
        return self._send("GET", "")

    # --- teaching

    def learn_one(self, x: Mapping[str, Any], y: Any, id: str | None = None) -> dict[str, Any]:
        """Learn one row; return its position, and what was predicted before it was learned.

        Raises:
            ServiceError: if it cannot be learned; its `field` names the place.
        """
        return self._send("POST", "/learn", {"x": dict(x), "y": y, "id": id or _new_id()})

    def learn_many(self, X: Any, y: Any, ids: Sequence[str] | None = None) -> list[dict[str, Any]]:
        """Learn rows in order, some at a time; return of each what `learn_one` returns.

        Args:
            X: dictionaries, an array or a data frame.
            y: a class for each row, or numbers.
            ids: a name for each row.

        Raises:
            ServiceError: if a row cannot be learned; the batches before its own are learned.
        """
        rows, targets = _dictionaries(X), list(y)
        names = [_new_id() for _ in rows] if ids is None else list(ids)
        if not len(rows) == len(targets) == len(names):
            raise ValueError(f"{len(rows)} rows, {len(targets)} targets and {len(names)} ids were given")
        examples = [{"x": x, "y": y, "id": id} for x, y, id in zip(rows, targets, names, strict=True)]
        told: list[dict[str, Any]] = []
        for batch in self._batches(examples):
            told += self._send("POST", "/learn", {"examples": batch})["examples"]
        return told

    def partial_fit(self, X: Any, y: Any, classes: Any = None) -> Client:
        """Learn rows as `learn_many` does; `classes` need not be given."""
        self.learn_many(X, y)
        return self

    def feedback(self, prediction_id: str, y: Any) -> dict[str, Any]:
        """Give the label of an earlier prediction, by the `id` that `ask` has returned.

        Raises:
            ServiceError: if no such prediction waits for its label.
        """
        return self._send("POST", "/feedback", {"prediction_id": prediction_id, "y": y})

    # --- asking

    def ask(self, x: Mapping[str, Any]) -> Prediction:
        """Predict one row, whose label may come later: see `feedback`."""
        found = self._send("POST", "/predict", {"x": dict(x)})
        shares = dict(zip(found.get("classes", []), found.get("probabilities", []), strict=True))
        return Prediction(found["prediction"], shares, found["prediction_id"], found["position"])

    def predict_one(self, x: Mapping[str, Any]) -> Any:
        """Return the most probable class, None before the first example; or the target, for regression."""
        return self._send("POST", "/predict", {"x": dict(x), "feedback": False, "probabilities": False})["prediction"]

    def predict_proba_one(self, x: Mapping[str, Any]) -> dict[Any, float]:
        """Return the probability of each class that has appeared."""
        found = self._send("POST", "/predict", {"x": dict(x), "feedback": False})
        return dict(zip(found["classes"], found["probabilities"], strict=True))

    def predict(self, X: Any) -> np.ndarray:
        """Return the most probable class of each row, or targets."""
        parts = [it["predictions"] for it in self._predicted(X, probabilities=False)]
        return np.asarray([it for part in parts for it in part])

    def predict_proba(self, X: Any) -> Float[np.ndarray, "rows classes"]:
        """Return the probability of each class, in the order of `classes_`."""
        found = list(self._predicted(X, probabilities=True))
        classes = found[-1]["classes"]
        order = _sorted_places(classes)
        answers = np.zeros((sum(len(it["probabilities"]) for it in found), len(classes)))
        start = 0
        for part in found:  # classes may have appeared meanwhile, at the end
            rows = np.asarray(part["probabilities"], np.float64).reshape(-1, len(part["classes"]))
            answers[start : start + len(rows), : rows.shape[1]] = rows
            start += len(rows)
        return answers[:, order]

    def score(self, X: Any, y: Any) -> float:
        """Return the accuracy on rows, 0..1; for regression R²."""
        predicted, shown = self.predict(X), np.asarray(list(y))
        if not self.describe()["settings"]["regression"]:
            return float(np.mean([one == other for one, other in zip(predicted.tolist(), shown.tolist(), strict=True)]))
        away = np.sum((shown - shown.mean(axis=0)) ** 2)
        return float(1 - np.sum((shown - predicted) ** 2) / away) if away else float("nan")

    @property
    def classes_(self) -> np.ndarray:
        """The classes that have appeared, sorted if they can be."""
        classes = self.describe()["classes"]
        return np.asarray([classes[it] for it in _sorted_places(classes)])

    # --- the history

    def undo(self) -> dict[str, Any] | None:
        """Forget the last example, and return it; None if there is none.

        Warns:
            PerdureWarning: if a file of the server still holds it.
        """
        return _forgotten(self._send("POST", "/undo", repeatable=False))

    def forget(self, ids: Sequence[str]) -> int:
        """Forget examples exactly; return how many had not been forgotten before.

        Warns:
            PerdureWarning: if a file of the server still holds them.
        """
        return _forgotten(self._send("POST", "/forget", {"ids": list(ids)}))

    def relabel(self, id: str, y: Any) -> None:
        """Correct the class of an example."""
        self._send("POST", "/relabel", {"id": id, "y": y})

    def examples(self, *, text: str | None = None, label: str | None = None) -> Iterator[dict[str, Any]]:
        """Yield the examples, the newest first.

        Args:
            text: only those in which it occurs.
            label: only those of this class.
        """
        before = None
        while True:
            page = self._send("GET", "/examples", query={"before": before, "text": text, "label": label, "limit": 500})
            yield from page["examples"]
            before = page["before"]
            if before is None:
                return

    def backtest(self, methods: Sequence[str], *, window: int = 500, delay: int = 0) -> dict[str, Any]:
        """Return what other methods would have been worth on the same history, once that is known.

        Raises:
            ServiceError: if there is no such method, or the job failed or was stopped.
        """
        body = {"methods": list(methods), "window": window, "delay": delay}
        job = self._send("POST", "/backtest", body, repeatable=False)
        wait = 0.05
        while job["state"] in ("waiting", "running"):
            time.sleep(wait)
            wait = min(2 * wait, 2.0)
            job = self._send("GET", f"/backtest/{job['id']}")
        if job["state"] != "done":
            raise ServiceError(job.get("error") or f"the backtest was {job['state']}")
        return job["results"]

    # --- inside

    def _send(self, method: str, path: str, body: Any = None, *, query: Any = None, repeatable: bool = True) -> Any:
        return self._transport.send(
            method, f"/v1/models/{self._name()}{path}", body, query=query, repeatable=repeatable
        )

    def _name(self) -> str:
        if self._model is None:
            names = [it["name"] for it in self.models()]
            if len(names) != 1:
                raise ValueError(
                    f"the server has the models {', '.join(names) or '(none yet)'}; choose one: Client(…, model=NAME)"
                    + ("" if names else ", or make one: client.create(NAME)")
                )
            (self._model,) = names
        return self._model

    def _batches(self, items: list[Any]) -> Iterator[list[Any]]:
        for start in range(0, len(items), self._batch_size):
            yield items[start : start + self._batch_size]

    def _predicted(self, X: Any, *, probabilities: bool) -> Iterator[dict[str, Any]]:
        for batch in self._batches(_dictionaries(X)):
            body = {"rows": batch, "feedback": False, "probabilities": probabilities}
            yield self._send("POST", "/predict", body)


def _dictionaries(X: Any) -> list[dict[str, Any]]:
    """Return rows as dictionaries from column to value."""
    if isinstance(X, Mapping):
        raise ValueError("a single row was given, expected several; use learn_one, predict_one or predict_proba_one")
    if isinstance(X, Sequence) and X and all(isinstance(it, Mapping) for it in X):
        return [dict(it) for it in X]
    return dictionaries(as_rows(X))


def _sorted_places(classes: list[Any]) -> list[int]:
    try:
        return sorted(range(len(classes)), key=lambda place: classes[place])
    except TypeError:
        return list(range(len(classes)))


def _forgotten(told: Mapping[str, Any]) -> Any:
    """Return what was forgotten; warn if it is still in a file."""
    if not told.get("erased", True):
        from perdure.core import PerdureWarning  # loads JAX, which a client does without

        warnings.warn(told["detail"], PerdureWarning, stacklevel=3)
    return told["forgot"]


def _new_id() -> str:
    return f"c-{secrets.token_hex(10)}"
