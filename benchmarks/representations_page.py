"""The tables of the page on representations, put between the marks of its text from what was measured."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from perdure.report.markdown import aligned_markdown
from perdure.storage.files import write_atomically

TITLES = {
    "omniglot-small-prototypes": "prototypes",
    "omniglot-small-gemcl": "GeMCL",
    "omniglot-small-anml": "ANML",
    "omniglot-small": "OML",
    "omniglot-small-sr-nn": "SR-NN",
    "omniglot-small-pretraining": "pretraining",
    "scratch": "untrained",
}
"""Features of characters, the best first."""
SINE_TITLES = {"sine": "OML", "sine-sr-nn": "SR-NN", "sine-pretraining": "pretraining"}
PUBLISHED = {
    "200": {"OML": {"sgd": 60.0}, "SR-NN": {"sgd": 18.0}, "pretraining": {"sgd": 8.0}},
    "600": {"GeMCL": {"gaussian": 86.8, "gaussian-map": 86.9}, "ANML": {"sgd": 65.0}},
}
"""Held-out accuracies in percent. At 200 classes: Javed & White (2019), Figure 4. At 600: Banayeeanzade et al. (2021)
and the authors' later code of ANML (Beaulieu et al. 2020)."""
PUBLISHED_SINE = {"OML": 0.36, "SR-NN": 0.87, "pretraining": 1.45}

Interval = Sequence[float]
"""Mean, and where its interval begins and ends."""


def write(numbers: Mapping[str, Any], page: Path) -> None:
    """Replace the tables between the marks of a page."""
    tables = {f"held-out-{count}": _classes_table(numbers, count, "held_out") for count in ("200", "600")}
    tables |= {f"learned-{count}": _classes_table(numbers, count, "trajectory") for count in ("200", "600")}
    tables |= {"fewer-classes": _curve_table(numbers), "sine": _sine_table(numbers)}
    text = page.read_text()
    for name, table in tables.items():
        mark = rf"(<!-- table: {name} -->\n).*?(<!-- end -->)"
        text, n_marks = re.subn(mark, lambda found, its=table: f"{found[1]}{its}\n{found[2]}", text, flags=re.DOTALL)
        if n_marks != 1:
            raise ValueError(f"{page} has {n_marks} marks <!-- table: {name} --> … <!-- end -->, expected one")
    write_atomically(page, text.encode())


def _classes_table(numbers: Mapping[str, Any], count: str, part: str) -> str:
    """Return features × heads for a number of classes; what was published stands in brackets."""
    heads = list(dict.fromkeys(head for name in TITLES for head in numbers.get(name, {})))
    rows = []
    for name, title in TITLES.items():
        if name in numbers:
            published = PUBLISHED.get(count, {}).get(title, {}) if part == "held_out" else {}
            cells = [_percent(numbers[name].get(head, {}).get(count, {}).get(part)) for head in heads]
            told = [f" [{published[head]:.1f}]" if head in published else "" for head in heads]
            rows.append([title, *(cell + it for cell, it in zip(cells, told, strict=True))])
    return aligned_markdown(["Features", *(f"`{it}`" for it in heads)], rows, (0,))


def _curve_table(numbers: Mapping[str, Any]) -> str:
    """Return held-out accuracy against the number of classes: gradient steps, and the best head in closed form."""
    counts = ("10", "50", "200", "600")
    rows = []
    for name, title in TITLES.items():
        for head in ("sgd", "lda"):
            if its := numbers.get(name, {}).get(head):
                rows.append([f"{title}, `{head}`", *(_percent(its.get(it, {}).get("held_out")) for it in counts)])
    return aligned_markdown(["Features and head", *counts], rows, (0,))


def _sine_table(numbers: Mapping[str, Any]) -> str:
    rows = []
    for name, title in SINE_TITLES.items():
        if name in numbers:
            cells = [_error(numbers[name].get(head, {}).get("error")) for head in ("sgd", "ridge")]
            rows.append([title, *cells, f"{PUBLISHED_SINE[title]:.2f}"])
    return aligned_markdown(["Features", "`sgd`", "`ridge`", "Published, `sgd`"], rows, (0,))


def _percent(interval: Interval | None) -> str:
    if interval is None:
        return "–"
    mean, low, high = (100 * it for it in interval)
    return f"{mean:.1f} ± {(high - low) / 2:.1f}"


def _error(interval: Interval | None) -> str:
    if interval is None:
        return "–"
    mean, low, high = interval
    return f"{mean:.2g} [{low:.2g}, {high:.2g}]"
