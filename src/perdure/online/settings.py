"""What an online model is before its first row, as JSON holds it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from perdure.core import Learner
from perdure.learners.replay import MEMORY_RULES
from perdure.online.drawings import check_features
from perdure.online.methods import make_method
from perdure.online.model import OnlineModel
from perdure.records.describe import describe
from perdure.storage.reading import ContentError, entry

_MOST = 2**31 - 1
"""Most examples, or units of a layer: what 32 bits count."""
_LARGEST_SEED = 2**32 - 1


@dataclass(frozen=True)
class ModelSettings:
    """All that decides a model but the rows that it learns.

    Raises:
        ValueError: naming the one that is not as below.
    """

    method: str | Learner[Any] = "auto"
    """One of `perdure.online.methods.METHODS`, or a learner with its hyper-parameters."""
    regression: bool = False
    """Learn numbers, not classes?"""
    memory_size: int = 2_000
    """Examples that a method with a memory keeps, at least 1."""
    memory_rule: str = "reservoir"
    """Which examples it keeps; see `perdure.learn.MEMORY_RULES`."""
    hidden_sizes: tuple[int, ...] = (64, 64)
    """Units of each hidden layer; none for a linear model."""
    standardize: bool = True
    """Bring numbers to standard deviations from their running mean?"""
    allow_missing: bool = True
    """May values be missing?"""
    features: str | None = None
    """Rows are drawings, of which these features are learned, one of `perdure.online.drawings.drawing_features()`."""
    seed: int = 0
    """Of all chance, 0 to 2³² - 1."""

    def __post_init__(self):
        for name in ("regression", "standardize", "allow_missing"):
            self._take(name, _truth(name, getattr(self, name)))
        self._take("memory_size", _whole("memory_size", self.memory_size, 1, _MOST))
        self._take("seed", _whole("seed", self.seed, 0, _LARGEST_SEED))
        self._take("hidden_sizes", sizes(self.hidden_sizes))
        check_features(self.features)
        if self.memory_rule not in MEMORY_RULES:
            raise ValueError(f"memory_rule is {self.memory_rule!r}, expected one of {', '.join(MEMORY_RULES)}")
        if self.regression and self.memory_rule == "balanced":
            raise ValueError(
                "memory_rule is 'balanced', which is for classes, but numbers are to be learned; choose one of "
                f"{', '.join(it for it in MEMORY_RULES if it != 'balanced')}"
            )

    def _take(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def new_model(self) -> OnlineModel:
        """Return the model before its first row.

        Raises:
            ValueError: if there is no such method or rule, or it cannot learn numbers.
        """
        learner = make_method(
            self.method,
            memory_size=self.memory_size,
            memory_rule=self.memory_rule,
            hidden_sizes=self.hidden_sizes,
            regression=self.regression,
        )
        return OnlineModel(
            learner,
            regression=self.regression,
            hidden_sizes=self.hidden_sizes,
            seed=self.seed,
            allow_missing=self.allow_missing,
            standardize=self.standardize,
            features=self.features,
        )

    def to_json(self) -> dict[str, Any]:
        """Return them as JSON holds them; of a learner its description."""
        values = {it.name: getattr(self, it.name) for it in fields(self)}
        method = values["method"]
        described = method if isinstance(method, str) else describe(method, "method")
        return values | {"method": described, "hidden_sizes": list(self.hidden_sizes)}

    @classmethod
    def of_json(cls, content: Mapping[str, Any], where: object, method: Learner[Any] | None = None) -> ModelSettings:
        """Return what `to_json` returned.

        Args:
            content: the JSON.
            where: what errors call it.
            method: the learner, if it was one of no name.

        Raises:
            ContentError: if something is missing or of another kind, they make no model, or the learner is another one.
        """
        values = {}
        for it in fields(cls):
            if it.name == "features":  # what was made before there were any has none
                values[it.name] = None if content.get("features") is None else entry(content, "features", str, where)
            elif it.name != "method":
                kind = list if it.name == "hidden_sizes" else type(it.default)
                values[it.name] = entry(content, it.name, kind, where)
        named = content.get("method")
        if not isinstance(named, str):
            if method is None or describe(method, "method") != named:
                raise ContentError(
                    f"{where}: the model learned with {named!r}; give a learner of that description: "
                    "perdure.load(path, method=…)"
                )
            named = method
        try:
            settings = cls(**values | {"method": named, "hidden_sizes": sizes(values["hidden_sizes"])})
            settings.new_model()
        except ValueError as cause:
            raise ContentError(f"{where}: {cause}") from cause
        return settings

    def changed(self, **given: Any) -> ModelSettings:
        """Return the same with those changes that are not None."""
        return replace(self, **{name: value for name, value in given.items() if value is not None})


def _whole(name: str, value: Any, least: int, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or not least <= value <= most:
        raise ValueError(f"{name} is {value!r}, expected a whole number from {least} to {most:,}")
    return int(value)


def _truth(name: str, value: Any) -> bool:
    if not isinstance(value, bool | np.bool_):
        raise ValueError(f"{name} is {value!r}, expected True or False")
    return bool(value)


def sizes(value: Any) -> tuple[int, ...]:
    """Return the units of each hidden layer.

    Raises:
        ValueError: if they are no whole numbers from 1 to what 32 bits count.
    """
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise ValueError(f"hidden_sizes is {value!r}, expected whole numbers such as (64, 64), or () for none")
    return tuple(_whole(f"hidden_sizes[{place}]", it, 1, _MOST) for place, it in enumerate(value))
