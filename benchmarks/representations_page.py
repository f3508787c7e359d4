"""The tables and figures of the page on representations; tables stand between marks of its text.

``python benchmarks/representations_page.py`` writes them again from ``docs/representations.json``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from perdure.report.figures.representations import PARTS, SineErrors, accuracy_curves, error_curves
from perdure.report.figures.saving import save_figure
from perdure.report.markdown import aligned_markdown
from perdure.storage.files import write_atomically

TITLES = {
    "omniglot-small-prototypes": "prototypes",
    "omniglot-small-gemcl": "GeMCL",
    "omniglot-small-anml": "ANML",
    "omniglot-small": "OML",
    "omniglot-small-sr-nn": "SR-NN",
    "omniglot-small-pretraining": "pretraining",
    "omniglot-untrained": "untrained",
}
"""Features of characters, in the order of their rows."""
SINE_TITLES = {
    "sine": "OML",
    "sine-sr-nn": "SR-NN",
    "sine-pretraining": "pretraining",
    "sine-untrained": "untrained",
}
"""Features of sine waves, likewise."""
CURVES = (
    ("omniglot-small-prototypes", "lda"),
    ("omniglot-small", "lda"),
    ("omniglot-small", "sgd"),
    ("omniglot-small-pretraining", "lda"),
    ("omniglot-small-pretraining", "sgd"),
)
"""Features and head of each curve of the figure of characters."""
SINE_CURVES = (("sine", "ridge"), ("sine", "sgd"), ("sine-pretraining", "ridge"), ("sine-pretraining", "sgd"))
"""The same of that of sine waves."""
HEADS = ("sgd", "nearest-mean", "gaussian", "gaussian-map", "lda", "slda", "ridge")
COUNTS = ("10", "50", "200", "600")
OML_COUNTS = ("10", "50", "75", "100", "150", "200", "600")
ORACLE_COUNTS = ("10", "50")

PUBLISHED = {
    ("held_out", "200"): {
        "OML": {"sgd": 60},
        "SR-NN": {"sgd": 18},
        "pretraining": {"sgd": 8},
        "untrained": {"sgd": 0.5},
    },
    ("trajectory", "200"): {
        "OML": {"sgd": 89},
        "SR-NN": {"sgd": 38},
        "pretraining": {"sgd": 13},
        "untrained": {"sgd": 1},
    },
    ("held_out", "600"): {
        "GeMCL": {"gaussian": 86.8, "gaussian-map": 86.9},
        "ANML": {"sgd": 63.8},
        "OML": {"sgd": 55},
    },
    ("trajectory", "600"): {"OML": {"sgd": 91}},
}
"""Accuracies in percent, of the authors' own networks.

200 classes: Javed & White (2019), Figure 4. 600 classes: Banayeeanzade et al. (2021); Beaulieu et al. (2020), Figure 4;
OML by its code as corrected in 2020, after 20,000 steps, replicated by others.
"""
PUBLISHED_OML = {
    "held_out": {"10": 93, "50": 82, "75": 81, "100": 78, "150": 66, "200": 60, "600": 55},
    "trajectory": {"10": 100, "50": 97, "75": 96, "100": 97, "150": 91, "200": 89, "600": 91},
}
"""The same for OML alone: Javed & White (2019), Figure 4; at 600 classes the replication."""
PUBLISHED_SINE = {"OML": 0.36, "SR-NN": 0.87, "pretraining": 1.45}
"""Mean squared errors with SGD: Javed & White (2019), Figure 3."""

Interval = Sequence[float]
"""Mean, and where its interval begins and ends."""


def write(numbers: Mapping[str, Any], docs: Path) -> None:
    """Replace the tables between the marks of the page, and its figures once all their curves were measured.

    Raises:
        ValueError: if the page does not have the marks of each table once.
    """
    page = docs / "representations.md"
    text = page.read_text(encoding="utf-8")
    for name, table in tables(numbers).items():
        mark = rf"(<!-- table: {name} -->\n).*?(<!-- end -->)"
        text, n_marks = re.subn(
            mark, lambda found, its=table: f"{found[1]}\n{its}\n\n{found[2]}", text, flags=re.DOTALL
        )
        if n_marks != 1:
            raise ValueError(f"{page} has <!-- table: {name} --> … <!-- end --> {n_marks} times, expected once")
    write_atomically(page, text.encode())
    for name, figure in figures(numbers):
        list(save_figure(figure, docs / "figures" / name))


def figures(numbers: Mapping[str, Any]) -> Iterator[tuple[str, Figure]]:
    """Yield with their names the figures all of whose curves were measured."""
    characters = _curves(numbers, "characters", CURVES)
    if len(characters) == len(CURVES):
        accuracies = {
            name: {part: {int(count): its[part] for count, its in found.items()} for part in PARTS}
            for name, found in characters.items()
        }
        yield "oml-classes", accuracy_curves(accuracies)
    errors = {
        name: SineErrors(found["so_far"], found["at_end"])
        for name, found in _curves(numbers, "sines", SINE_CURVES).items()
        if "so_far" in found
    }
    if len(errors) == len(SINE_CURVES):
        yield "oml-sine", error_curves(errors)


def _curves(numbers: Mapping[str, Any], kind: str, curves: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Return what was measured of each curve, by features and head."""
    titles = TITLES | SINE_TITLES
    heads = {name: its["heads"] for name, its in numbers.get(kind, {}).items()}
    return {f"{titles[name]}, {head}": heads[name][head] for name, head in curves if head in heads.get(name, {})}


def tables(numbers: Mapping[str, Any]) -> dict[str, str]:
    """Return the tables of the page by the names of their marks; what was not measured is a dash."""
    characters = _heads_by_title(numbers, "characters", TITLES)
    made = {
        f"{part}-{count}".replace("_", "-"): _classes_table(characters, part, count)
        for part in ("held_out", "trajectory")
        for count in ("200", "600")
    }
    return made | {
        "fewer-classes": _fewer_classes_table(characters),
        "oml": _oml_table(characters),
        "oracle": _oracle_table(_heads_by_title(numbers, "oracle", TITLES)),
        "sine": _sine_table(_heads_by_title(numbers, "sines", SINE_TITLES)),
        "times": _times_table(numbers.get("times", {})),
    }


def _heads_by_title(numbers: Mapping[str, Any], kind: str, titles: Mapping[str, str]) -> dict[str, Any]:
    """Return what was measured by the titles of features, in the order of their rows, and by head."""
    return {title: numbers.get(kind, {}).get(name, {}).get("heads", {}) for name, title in titles.items()}


def _classes_table(characters: Mapping[str, Any], part: str, count: str) -> str:
    """Return features × heads for a number of classes; what was published stands in brackets."""
    published = PUBLISHED[part, count]
    rows = [
        [
            title,
            *(_percent(_at(found, head, count, part), published.get(title, {}).get(head)) for head in HEADS),
        ]
        for title, found in characters.items()
    ]
    return aligned_markdown(["Features", *(f"`{it}`" for it in HEADS)], rows, (0,))


def _fewer_classes_table(characters: Mapping[str, Any]) -> str:
    rows = [
        [f"{title}, `{head}`", *(_percent(_at(found, head, count, "held_out")) for count in COUNTS)]
        for title, found in characters.items()
        for head in ("sgd", "nearest-mean", "lda")
    ]
    return aligned_markdown(["Features and head", *COUNTS], rows, (0,))


def _oml_table(characters: Mapping[str, Any]) -> str:
    """Return a row for each number of classes: OML as published, beside what was published."""
    rows = []
    for count in OML_COUNTS:
        cells = [
            it
            for part, published in PUBLISHED_OML.items()
            for it in (_percent(_at(characters["OML"], "sgd", count, part)), str(published[count]))
        ]
        rows.append([count, *cells])
    return aligned_markdown(["Classes", "held out", "published", "learned", "published"], rows, ())


def _oracle_table(oracle: Mapping[str, Any]) -> str:
    rows = [
        [title, *(_percent(_at(oracle[title], "sgd", count, "held_out")) for count in ORACLE_COUNTS)]
        for title in ("OML", "pretraining")
    ]
    return aligned_markdown(["Oracle, held out", *ORACLE_COUNTS], rows, (0,))


def _sine_table(sines: Mapping[str, Any]) -> str:
    rows = []
    for title, found in sines.items():
        if not found and title not in PUBLISHED_SINE:
            continue  # a row would be empty
        cells = [_error(found.get(head, {}).get("error")) for head in ("sgd", "ridge")]
        rows.append([title, *cells, str(PUBLISHED_SINE.get(title, "–"))])
    return aligned_markdown(["Features", "`sgd`", "`ridge`", "published, `sgd`"], rows, (0,))


def _times_table(times: Mapping[str, Any]) -> str:
    if not times:
        return "Not measured yet."
    rows = [
        [name, *(f"{it[clock]:.0f}" for clock in ("seconds", "cpu_seconds"))] for name, it in times["heads"].items()
    ]
    table = aligned_markdown(["Heads, on OML's features", "seconds", "CPU seconds"], rows, (0,))
    return f"{table}\n\nMeasured on {times['machine']}."


def _at(found: Mapping[str, Any], head: str, count: str, part: str) -> Interval | None:
    return found.get(head, {}).get(count, {}).get(part)


def _percent(interval: Interval | None, published: float | None = None) -> str:
    in_brackets = "" if published is None else f" [{published}]"
    if interval is None:
        return f"–{in_brackets}"
    mean, low, high = (100 * it for it in interval)
    return f"{mean:.1f} ± {(high - low) / 2:.1f}{in_brackets}"


def _error(interval: Interval | None) -> str:
    if interval is None:
        return "–"
    mean, low, high = (f"{it:.3g}" for it in interval)
    return f"{mean} [{low}, {high}]"


if __name__ == "__main__":
    folder = Path(__file__).parents[1] / "docs"
    write(json.loads((folder / "representations.json").read_text(encoding="utf-8")), folder)
