"""What an evaluation of representations is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from perdure.experiments.representations.evaluate import SINE_PENALTIES, SINE_RATES, SWEEP_RUNS
from perdure.experiments.supervised.spec import RUNS, check_seed
from perdure.records.describe import digest
from perdure.records.evaluation import KIND, ORDERS, PROTOCOL
from perdure.records.folder import FORMAT, config_digest
from perdure.representation.class_protocol import RATES
from perdure.representation.file import describe_network, load_representation, representation_name, representation_place
from perdure.representation.heads import default_heads
from perdure.representation.network import Representation

_MOST = 1_000_000
"""Runs, or passes, at most."""


@dataclass(frozen=True)
class EvaluationSpec:
    """All that decides the figures of an evaluation; made by `evaluation_spec`, which checks it."""

    models: Mapping[str, Representation]
    """Representations by their names in tables."""
    places: Sequence[str]
    """Names, files or folders, from which they can be loaded again, wherever that is done."""
    classes: Sequence[int]
    """Numbers of classes, for representations of images."""
    heads: Mapping[str, Sequence[str]]
    """What learns on the features of each representation."""
    runs: int
    order: str
    """Of the classes, one of `ORDERS`."""
    oracle: int | None
    """Passes over a trajectory in random order; None for one in order."""
    fresh_head: bool
    """For sine waves, redraw the head too?"""
    seed: int
    """Of class sets, functions and heads."""

    @cached_property
    def config(self) -> dict[str, Any]:
        """The evaluation's config.json."""
        representations = [
            {
                "name": name,
                "network": describe_network(model),
                "sha256": digest(model),
                "heads": list(self.heads[name]),
            }
            for name, model in self.models.items()
        ]
        return {
            "format": FORMAT,
            "kind": KIND,
            "representations": representations,
            "classes": list(self.classes),
            "runs": self.runs,
            "order": self.order,
            "oracle": self.oracle,
            "fresh_head": self.fresh_head,
            "seed": self.seed,
            "sweep": {
                "runs": SWEEP_RUNS,
                "class_rates": list(RATES),
                "sine_rates": list(SINE_RATES),
                "sine_penalties": list(SINE_PENALTIES),
            },
        }

    def default_folder(self, root: Path = RUNS) -> Path:
        """Return where the evaluation goes unless told otherwise: one folder for each configuration."""
        first, *others = self.models
        more = f"-and-{len(others)}-more" if others else ""
        return root / f"evaluate-{first}{more}-{config_digest(self.config)}"

    @property
    def protocol(self) -> dict[str, Any]:
        """What all its representations have in common."""
        return {name: self.config[name] for name in PROTOCOL}


def evaluation_spec(
    names: Sequence[str],
    classes: Sequence[int],
    *,
    heads: Sequence[str] | Mapping[str, Sequence[str]] | None = None,
    runs: int = 50,
    order: str = "sorted",
    oracle: int | None = None,
    fresh_head: bool = False,
    seed: int = 0,
) -> EvaluationSpec:
    """Return what an evaluation of representations is, each by the protocol of what it was trained for.

    Args:
        names: of representations, as `load_representation` takes them.
        classes: numbers of classes, for representations of images.
        heads: what learns on the features, the same for all or by the name of the representation; None for what each
            was trained for.
        runs: of each.
        order: of the classes: "sorted" by their numbers, or "random", for each run another one.
        oracle: passes over a trajectory in random order; None for one in order.
        fresh_head: for sine waves, redraw the head too?
        seed: of class sets, functions and heads.

    Raises:
        RepresentationError: if there is no such representation, or its file is damaged.
        ValueError: if a number is out of range, or two representations have the same name.
    """
    called = [representation_name(name) for name in names]
    if not called or len(set(called)) < len(called):
        raise ValueError(
            f"representations called {', '.join(called)} were given, expected one or more, named differently"
        )
    if runs < 1 or (oracle is not None and oracle < 1):
        raise ValueError(f"runs = {runs} and oracle = {oracle}, expected numbers ≥ 1")
    for name, value in (("runs", runs), ("oracle", oracle or 1)):
        if value > _MOST:
            raise ValueError(f"{name} is {value}, expected at most {_MOST}")
    check_seed(seed)
    if order not in ORDERS:
        raise ValueError(f"order = {order!r}, expected one of {', '.join(ORDERS)}")
    models = {name: load_representation(place).model for name, place in zip(called, names, strict=True)}
    places = [representation_place(name) for name in names]
    if not isinstance(heads, Mapping):
        heads = {name: default_heads(model) if heads is None else heads for name, model in models.items()}
    by_name = {name: list(dict.fromkeys(heads[name])) for name in models}
    return EvaluationSpec(models, places, list(dict.fromkeys(classes)), by_name, runs, order, oracle, fresh_head, seed)
