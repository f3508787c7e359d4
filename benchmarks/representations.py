"""What features are worth with each head: ``python benchmarks/representations.py [PART ...]``.

Evaluates the representations that come with perdure, and an untrained one, by the published protocol. What is measured
is kept in ``docs/representations.json``, from which ``docs/representations.md`` and its figures are written after each
representation. Every combination of features, head and number of classes is on the disk as soon as it is
measured, in ordinary records of evaluations under ``runs/representations``, and is not measured again: a stopped
command resumes where it was. All parts unless some are given, of closed-form, sgd, sines, oracle and times.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from perdure.cli.jax_settings import configure_jax

configure_jax()  # before JAX is imported: what the command line runs under

import jax
import page
import representations_page

from perdure.experiments.representations.evaluation import evaluate_all
from perdure.experiments.representations.evaluation_spec import EvaluationSpec, evaluation_spec
from perdure.experiments.representations.plan import make_recipe
from perdure.metrics.bootstrap import bootstrap_mean
from perdure.records.evaluation import ClassResult, Evaluation, EvaluationRecord
from perdure.report.figures.representations import errors_of
from perdure.representation.file import save_representation, shipped_representations
from perdure.representation.heads import HEADS_OF_NUMBERS, SGD
from perdure.storage.files import make_folder, write_atomically

DOCS = Path(__file__).parents[1] / "docs"
RECORDS = Path("runs/representations")
OML = "omniglot-small"
PRETRAINING = "omniglot-small-pretraining"
TIMES = "times"
"""The part that is no evaluation to keep."""
CLOSED_FORM = tuple(it for it in representations_page.HEADS if it != SGD)
ORACLE_PASSES = 5

Numbers = dict[str, Any]
"""What docs/representations.json holds: intervals by kind, features and head."""


class Part(NamedTuple):
    """Something to measure."""

    kind: str
    """Under which its numbers are kept."""
    spec: Callable[[str], EvaluationSpec]
    """Returns the evaluation of the features of a name or file."""
    names: Callable[[], Sequence[str]]
    """Returns names and files of features."""


def untrained(domain: str, size: str) -> str:
    """Return the file of a network as it was drawn."""
    path = RECORDS / f"{domain}-untrained.safetensors"
    if not path.exists():
        make_folder(RECORDS)
        recipe = make_recipe(domain, size, "scratch", {})
        save_representation(path, recipe.method.new_model(recipe.domain, jax.random.key(0)), {}, "")
    return str(path)


def of_characters() -> list[str]:
    """Return all features of characters, in the order of the page."""
    shipped = shipped_representations()
    return [*(it for it in representations_page.TITLES if it in shipped), untrained("omniglot", "small")]


def of_sines() -> list[str]:
    """Return all features of sine waves, in the order of the page."""
    return [
        *(it for it in representations_page.SINE_TITLES if it in shipped_representations()),
        untrained("sine", "paper"),
    ]


def _counts(texts: Sequence[str]) -> list[int]:
    return [int(it) for it in texts]


def closed_form_spec(name: str) -> EvaluationSpec:
    """Return the evaluation of features with all heads in closed form."""
    return evaluation_spec([name], _counts(representations_page.COUNTS), heads=CLOSED_FORM)


def sgd_spec(name: str) -> EvaluationSpec:
    """Return the evaluation of features with gradient steps; of OML's at every published number of classes."""
    counts = representations_page.OML_COUNTS if name == OML else representations_page.COUNTS
    return evaluation_spec([name], _counts(counts), heads=[SGD])


def sine_spec(name: str) -> EvaluationSpec:
    """Return the evaluation of features of sine waves."""
    return evaluation_spec([name], [], heads=HEADS_OF_NUMBERS)


def oracle_spec(name: str) -> EvaluationSpec:
    """Return the evaluation of features in random order, with several passes."""
    counts = _counts(representations_page.ORACLE_COUNTS)
    return evaluation_spec([name], counts, heads=[SGD], oracle=ORACLE_PASSES)


PARTS: Mapping[str, Part] = {
    "closed-form": Part("characters", closed_form_spec, of_characters),
    "sgd": Part("characters", sgd_spec, of_characters),
    "sines": Part("sines", sine_spec, of_sines),
    "oracle": Part("oracle", oracle_spec, lambda: [OML, PRETRAINING]),
}


def times() -> Numbers:
    """Return how long 50 runs of 600 classes take on OML's features, nothing of which is kept."""
    found: Numbers = {}
    for what, heads in (("all heads in closed form", CLOSED_FORM), ("`sgd`, with the sweep of its rate", (SGD,))):
        began, cpu = time.monotonic(), time.process_time()
        evaluate_all(evaluation_spec([OML], [600], heads=heads))
        found[what] = {"seconds": time.monotonic() - began, "cpu_seconds": time.process_time() - cpu}
    return {"heads": found, "machine": page.machine_text()}


def add(numbers: Numbers, kind: str, spec: EvaluationSpec, evaluations: Sequence[Evaluation]) -> None:
    """Add means and intervals of evaluations; those of features that have changed since give way."""
    sha256 = {it["name"]: it["sha256"] for it in spec.config["representations"]}
    for evaluation in evaluations:
        features = numbers.setdefault(kind, {}).get(evaluation.name, {})
        if features.get("sha256") != sha256[evaluation.name]:
            features = {"sha256": sha256[evaluation.name], "heads": {}}
        numbers[kind][evaluation.name] = features
        for it in evaluation.results:
            own = features["heads"].setdefault(it.head, {})
            if isinstance(it, ClassResult):
                own[str(it.classes)] = {part: bootstrap_mean(getattr(it, part)) for part in ("held_out", "trajectory")}
            else:
                own |= {"error": bootstrap_mean(it.so_far[:, -1])} | errors_of(it)._asdict()


def recorded(spec: EvaluationSpec) -> list[Evaluation]:
    """Return what is on the disk of an evaluation."""
    folder = spec.default_folder(RECORDS)
    return list(EvaluationRecord.load(folder).evaluations) if folder.exists() else []


def keep(numbers: Numbers) -> None:
    """Write what was measured, and the page."""
    write_atomically(DOCS / "representations.json", json.dumps(numbers, indent=1).encode() + b"\n")
    representations_page.write(numbers, DOCS)


def main() -> None:
    """Measure what is requested and not on the disk, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, TIMES, []], help="what to measure; all unless given")
    parser.add_argument("--recorded", action="store_true", help="write the page from the records as they are")
    given = parser.parse_args()
    path = DOCS / "representations.json"
    numbers = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    specs = {part: [PARTS[part].spec(name) for name in PARTS[part].names()] for part in PARTS}
    for part in [] if given.recorded else given.parts or [*PARTS, TIMES]:
        if part == TIMES:
            numbers[TIMES] = times()
        for spec in specs.get(part, []):
            add(numbers, PARTS[part].kind, spec, evaluate_all(spec, spec.default_folder(RECORDS)))
            keep(numbers)
    for part, its in specs.items():
        for spec in its:
            add(numbers, PARTS[part].kind, spec, recorded(spec))
    keep(numbers)


if __name__ == "__main__":
    main()
