"""What features are worth with each head: ``python benchmarks/representations.py``.

Evaluates the representations that come with perdure, and an untrained one, by the published protocol, and writes the
tables and figures of ``docs/representations.md`` again. What ``runs/representations`` holds already is not evaluated
again. Name parts to do some only: ``python benchmarks/representations.py closed-form sine``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from perdure.cli.jax_settings import configure_jax

configure_jax()

import jax
import representations_page

from perdure.experiments.representations.evaluation import evaluate_all, evaluation_spec
from perdure.experiments.representations.plan import make_recipe
from perdure.metrics.bootstrap import bootstrap_mean
from perdure.records.evaluation import ClassResult, Evaluation, SineResult
from perdure.report.figures.representations import accuracy_against_classes, error_over_functions
from perdure.report.figures.saving import save_figure
from perdure.representation.file import save_representation, shipped_representations
from perdure.representation.heads import HEADS, HEADS_OF_NUMBERS, SGD

DOCS = Path(__file__).parents[1] / "docs"
RECORDS = Path("runs/representations")
COUNTS = (10, 50, 200, 600)
CURVE = (SGD, "lda")
"""Heads of the figure."""


def untrained() -> Path:
    """Return the file of the small network as it was drawn."""
    path = RECORDS / "scratch.safetensors"
    if not path.exists():
        RECORDS.mkdir(parents=True, exist_ok=True)
        recipe = make_recipe("omniglot", "small", "scratch", {})
        save_representation(path, recipe.method.new_model(recipe.domain, jax.random.key(0)), {}, "")
    return path


def of_classes(heads: tuple[str, ...], folder: str) -> list[Evaluation]:
    """Return evaluations of all features of characters with some heads."""
    names = [it for it in shipped_representations() if it.startswith("omniglot")]
    spec = evaluation_spec([*names, str(untrained())], COUNTS, heads=heads)
    return evaluate_all(spec, RECORDS / folder)


def of_sines() -> list[Evaluation]:
    """Return evaluations of all features of sine waves."""
    names = [it for it in shipped_representations() if it.startswith("sine")]
    return evaluate_all(evaluation_spec(names, [], heads=HEADS_OF_NUMBERS), RECORDS / "sine")


PARTS: Mapping[str, Any] = {
    "closed-form": lambda: of_classes(tuple(it for it in HEADS if it != SGD), "closed-form"),
    "sgd": lambda: of_classes((SGD,), "sgd"),
    "sine": of_sines,
}


def numbers(evaluations: list[Evaluation]) -> dict[str, Any]:
    """Return means and intervals by representation, head and, for classes, their number."""
    found: dict[str, Any] = {}
    for evaluation in evaluations:
        for it in evaluation.results:
            its = found.setdefault(evaluation.name, {}).setdefault(it.head, {})
            if isinstance(it, ClassResult):
                its[str(it.classes)] = {part: bootstrap_mean(getattr(it, part)) for part in ("held_out", "trajectory")}
            else:
                its["error"] = bootstrap_mean(it.so_far[:, -1])
    return found


def draw(evaluations: list[Evaluation]) -> None:
    """Write the figures."""
    classes = [(it, [its for its in it.results if its.head in CURVE]) for it in evaluations]
    chosen = [Evaluation(it.name, it.protocol, its) for it, its in classes if its]
    of_sine_waves = [it for it in chosen if isinstance(it.results[0], SineResult)]
    if characters := [it for it in chosen if it not in of_sine_waves]:
        save_figure(accuracy_against_classes(characters), DOCS / "figures" / "oml-classes")
    if of_sine_waves:
        save_figure(error_over_functions(of_sine_waves), DOCS / "figures" / "oml-sine")


if __name__ == "__main__":
    requested = sys.argv[1:] or list(PARTS)
    kept = DOCS / "representations.json"
    known = json.loads(kept.read_text()) if kept.exists() else {}
    evaluated = {part: PARTS[part]() for part in requested}
    for evaluations in evaluated.values():
        for name, heads in numbers(evaluations).items():
            known.setdefault(name, {}).update(heads)
    kept.write_text(json.dumps(known, indent=1) + "\n")
    draw([it for evaluations in evaluated.values() for it in evaluations])
    representations_page.write(known, DOCS / "representations.md")
