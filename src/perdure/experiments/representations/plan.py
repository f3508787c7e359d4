"""From the name of a domain, a size and a method to what trains a representation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax

from perdure.presets.representations import representation_presets
from perdure.representation.anml import ANML
from perdure.representation.augmentation import Augmentation, quarter_turned
from perdure.representation.blocks import Block
from perdure.representation.closed_form import GeMCL, Prototypes
from perdure.representation.domains import Domain, ImageClasses, SinePool, split_classes
from perdure.representation.episodes import ClassEpisodes, SineEpisodes
from perdure.representation.oml import OML, Method
from perdure.representation.pretraining import Pretraining
from perdure.streams.omniglot import load_omniglot
from perdure.streams.sine import draw_sines

DOMAINS = ("omniglot", "sine")
METHODS = ("oml", "anml", "prototypes", "gemcl", "pretraining", "sr-nn", "scratch")
N_VALIDATION_CLASSES = 64
POOL_SIZE = 400
_POOL_SEED = 0
_VALIDATE_EVERY = 2000
_ALWAYS = {"steps", "validate_every", "first_order"}


class Recipe(NamedTuple):
    """A training, ready to begin."""

    domain: Domain
    method: Method
    steps: int
    validate_every: int
    """Steps between two validations."""
    request: dict[str, Any]
    """Domain, size, method and changes by name, and the command line, for the record."""


def make_recipe(
    domain: str, size: str, method: str, changes: Mapping[str, Any], data_dir: Path | None = None, command: str = ""
) -> Recipe:
    """Return what trains a representation.

    Args:
        domain: one of `DOMAINS`.
        size: of its network, one of those with presets.
        method: one of `METHODS`; "scratch" leaves the network as it was drawn.
        changes: values of the method, `steps` and `validate_every`, that replace the preset's.
        data_dir: folder to search first for raw data files.
        command: what would do all this from the command line, for the record.

    Raises:
        ValueError: if there is no such preset, or the method has no such value.
        DataError: if data files cannot be found or downloaded.
    """
    sizes = representation_presets().get(domain, {})
    if size not in sizes or not (method == "scratch" or method in sizes[size]):
        known = [
            f"{d} {s} {m}" for d, by_size in representation_presets().items() for s, it in by_size.items() for m in it
        ]
        raise ValueError(
            f"there is no preset for {domain}, size {size}, method {method}; there are: "
            + ", ".join(sorted(name for name in known if not name.endswith(" domain")))
        )
    values = dict(sizes[size].get("oml" if method == "scratch" else method, {}))
    if unknown := sorted(changes.keys() - values.keys() - _ALWAYS):
        raise ValueError(f"{method} has no {', '.join(unknown)}; it has {', '.join(sorted(values))}")
    values |= changes
    steps = values.pop("steps")
    if values.pop("decays", False):
        values["decay_steps"] = steps or None
    validate_every = values.pop("validate_every", _VALIDATE_EVERY)
    own_domain = values.pop("domain", {})
    if "augmentation" in values:
        values["augmentation"] = Augmentation(**values["augmentation"])
    trains = _METHOD_CLASSES[method](**values)
    made = _DOMAIN_MAKERS[domain](sizes[size]["domain"] | own_domain, data_dir)
    request = {"domain": domain, "size": size, "method": method, "changes": dict(changes), "command": command}
    return Recipe(made, trains, 0 if method == "scratch" else steps, validate_every, request)


def _omniglot_domain(values: dict[str, Any], data_dir: Path | None) -> ImageClasses:
    drawings = load_omniglot(values.pop("side"), splits=["background"], data_dir=data_dir)
    images, held_out = split_classes(drawings.images, N_VALIDATION_CLASSES)
    if values.pop("quarter_turns", False):
        images = quarter_turned(images)
    if "blocks" in values:
        values["blocks"] = [Block(*it) for it in values["blocks"]]
    return ImageClasses(images, held_out, ClassEpisodes(**values.pop("episodes", {})), **_tuples(values))


def _sine_domain(values: dict[str, Any], data_dir: Path | None) -> SinePool:
    pool = draw_sines(POOL_SIZE, jax.random.key(_POOL_SEED))
    return SinePool(pool, SineEpisodes(**values.pop("episodes")), **_tuples(values))


_METHOD_CLASSES: Mapping[str, Callable[..., Method]] = {
    "oml": OML,
    "anml": ANML,
    "scratch": OML,
    "prototypes": Prototypes,
    "gemcl": GeMCL,
    "pretraining": Pretraining,
    "sr-nn": Pretraining,
}
_DOMAIN_MAKERS = {"omniglot": _omniglot_domain, "sine": _sine_domain}


def _tuples(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(it) if isinstance(it, list) else it for name, it in values.items()}
