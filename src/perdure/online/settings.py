"""What an online model is before its first row, as JSON holds it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from perdure.core import Learner
from perdure.online.methods import make_method
from perdure.online.model import OnlineModel
from perdure.records.describe import describe
from perdure.storage.reading import ContentError, entry


@dataclass(frozen=True)
class ModelSettings:
    """All that decides a model but the rows that it learns."""

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
    seed: int = 0
    """Of all chance, ≥ 0."""

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
            ContentError: if something is missing or of another kind, or the learner is another one.
        """
        values = {}
        for it in fields(cls):
            if it.name != "method":
                kind = list if it.name == "hidden_sizes" else type(it.default)
                values[it.name] = entry(content, it.name, kind, where)
        sizes = values["hidden_sizes"]
        if not all(isinstance(size, int) and size > 0 for size in sizes):
            raise ContentError(f"{where}, 'hidden_sizes' is {sizes}, expected whole numbers ≥ 1")
        named = content.get("method")
        if not isinstance(named, str):
            if method is None or describe(method, "method") != named:
                raise ContentError(
                    f"{where}: the model learned with {named!r}; give a learner of that description: "
                    "perdure.load(path, method=…)"
                )
            named = method
        return cls(**values | {"method": named, "hidden_sizes": tuple(sizes)})

    def changed(self, **given: Any) -> ModelSettings:
        """Return the same with those changes that are not None."""
        return replace(self, **{name: value for name, value in given.items() if value is not None})
