"""What River asks of an estimator beside learning and answering: copies, parameters, tags."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any


class RiverEstimator:
    """An estimator of River by what it can do, not by descent: River need not be installed."""

    _supervised = True
    _is_stochastic = False
    _mutable_attributes: frozenset[str] = frozenset()

    def clone(self, new_params: Mapping[str, Any] | None = None, include_attributes: bool = False) -> Any:
        """Return an estimator of the same parameters that has learned nothing.

        Args:
            new_params: parameters that are to be others.
            include_attributes: keep what was learned too?
        """
        copy = type(self)(**{**self._get_params(), **(new_params or {})})
        if include_attributes:
            learned = {name: it for name, it in vars(self).items() if name not in self._get_params()}
            vars(copy).update(deepcopy(learned))
        return copy

    def mutate(self, new_attrs: Mapping[str, Any]) -> None:
        """Change attributes in place; River asks for it, and there are none that may be changed.

        Raises:
            ValueError: if one is to be.
        """
        if new_attrs:
            raise ValueError(
                f"{', '.join(new_attrs)} cannot be changed in place; clone the estimator with other values"
            )

    def _get_params(self) -> dict[str, Any]:
        return self.get_params(deep=False)  # pyright: ignore[reportAttributeAccessIssue]

    @property
    def _raw_memory_usage(self) -> int:
        model = getattr(self, "_model", None)
        return 0 if model is None else model.n_bytes

    @property
    def _tags(self) -> set[str]:
        return set()

    @classmethod
    def _unit_test_params(cls) -> Iterator[dict[str, Any]]:
        yield {}

    def _unit_test_skips(self) -> set[str]:
        return set()


def register(estimator: type, kind: str) -> None:
    """Tell River that a class is one of its kinds of estimator, if River is installed.

    Args:
        estimator: the class.
        kind: name of River's base class, such as "MiniBatchClassifier".
    """
    try:
        from river import base  # pyright: ignore[reportMissingImports]
    except ImportError:
        return
    getattr(base, kind).register(estimator)
