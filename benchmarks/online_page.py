"""The page on the online model: ``python benchmarks/online_page.py`` writes it again from ``docs/online.json``."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import page

from perdure.report.blocks import Block, Heading, Paragraph, Table
from perdure.report.markdown import markdown_page
from perdure.storage.files import write_atomically

TARGETS = {"predict": 100, "perdure online": 150, "perdure er": 300, "perdure mer": 600, "perdure auto": 1_000}
"""Microseconds of a row."""


def machine() -> str:
    """Return processor, cores and versions."""
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("jax", "river"))
    return f"{page.machine_text()}; {versions}"


def write(numbers: Mapping[str, Any], docs: Path) -> None:
    """Write online.md from what was measured."""
    blocks: list[Block] = [
        Heading(1, "The online model beside River"),
        Paragraph("Written by `python benchmarks/online.py`. Do not edit: run the command again."),
    ]
    for part, build in _PARTS.items():
        if part in numbers:
            blocks += [*build(numbers[part]), Paragraph(f"Measured on {numbers[part]['machine']}.")]
    write_atomically(docs / "online.md", markdown_page(blocks).encode())


def _accuracy(found: Mapping[str, Any]) -> list[Block]:
    streams = {name: it for name, it in found.items() if name != "machine"}
    methods = list(next(iter(streams.values())))
    rows = [[name, *(_mean(it[method]) for method in methods)] for name, it in streams.items()]
    rows.append(["Mean", *(f"{_over(streams, method):.1f}" for method in methods)])
    pipelines = [it for it in methods if it.startswith("River")]
    best = {name: max(statistics.fmean(it[method]) for method in pipelines) for name, it in streams.items()}
    ahead = {name: statistics.fmean(it["auto"]) - best[name] for name, it in streams.items()}
    mean = statistics.fmean(ahead.values())
    told = ", ".join(f"{name} {value:+.1f}" for name, value in ahead.items())
    return [
        Heading(2, "Accuracy"),
        Paragraph(
            "Prequential accuracy in percent: each row is answered, then learned. Means over three seeds, of shuffles "
            "or of generators, ± the standard deviation. One set of defaults for all streams on both sides; perdure's "
            "were chosen on other streams and seeds."
        ),
        Table(["Stream", *methods], rows, (0,)),
        Paragraph(f"`auto` against the best of River's three pipelines, in points: {told}; {mean:+.1f} on average."),
    ]


def _contexts(found: Mapping[str, Any]) -> list[Block]:
    streams = {name: it for name, it in found.items() if name != "machine"}
    methods = list(next(iter(streams.values())))
    rows = [[name, *(_mean(it[method]) for method in methods)] for name, it in streams.items()]
    return [
        Heading(2, "Where contexts return"),
        Paragraph("Replay pays where what was true comes again: it is not forgotten meanwhile."),
        Table(["Stream", *methods], rows, (0,)),
    ]


def _rows(found: Mapping[str, Any]) -> list[Block]:
    methods = {name: it for name, it in found.items() if name != "machine"}
    rows = []
    for name, it in methods.items():
        target = f"{TARGETS[name]:,}" if name in TARGETS else "–"
        figures = [f"{it[key]:,.0f}" for key in ("predict_p50", "predict_cpu", "learn_p50", "learn_mean", "learn_cpu")]
        rows.append([name, *figures, target])
    header = ["Method", "Predict, median", "CPU", "Learn, median", "Mean", "CPU", "Target to learn"]
    return [
        Heading(2, "One row from Python"),
        Paragraph(
            "Microseconds to answer and to learn one row of 20 numbers, given as a dictionary, after 1,000 rows. "
            "Networks have two hidden layers of 100 units; trees and forests are what they are. The last column is "
            "what this project demands of itself to learn a row; to answer, 100."
        ),
        Table(header, rows, (0,)),
    ]


def _bulk(found: Mapping[str, Any]) -> list[Block]:
    without, with_river = (found[name] for name in ("without_river", "with_river"))
    return [
        Heading(2, "A file"),
        Paragraph(
            f"`perdure stream` on {found['rows']:,} rows of {found['columns']} columns with ER, from the start of the "
            f"program to the figures, when it has been compiled before: {without['seconds']:.1f} s, "
            f"{without['cpu']:.1f} s of CPU time (target: 6 s). With the extra river, which marks drift and takes long "
            f"to load: {with_river['seconds']:.1f} s, {with_river['cpu']:.1f} s of CPU time. Medians of three."
        ),
    ]


def _durability(found: Mapping[str, Any]) -> list[Block]:
    plain, durable, added = (f"{found[name]:.0f} µs" for name in ("plain", "durable", "added"))
    return [
        Heading(2, "What the journal costs"),
        Paragraph(
            f"ER in batches of 100: {plain} an example without a journal, {durable} with it, ids included: {added} "
            f"more (target: 50 µs). While the model is open, journal and log together take {found['bytes']:,.0f} bytes "
            "for an example of 20 numbers; see [sizes](run-it.md#how-much-memory-and-disk)."
        ),
    ]


def _forgetting(found: Mapping[str, Any]) -> list[Block]:
    first, middle, last = (f"{found[f'from_the_{place}']:.1f} s" for place in ("first", "middle", "last"))
    return [
        Heading(2, "Forgetting"),
        Paragraph(
            f"To forget 10 of {found['examples']:,} examples that ER has learned: {first} if they are the first, "
            f"{middle} from the middle, {last} near the end (target: 2 s)."
        ),
    ]


_PARTS = {
    "accuracy": _accuracy,
    "contexts": _contexts,
    "rows": _rows,
    "bulk": _bulk,
    "durability": _durability,
    "forgetting": _forgetting,
}


def _mean(values: Sequence[float]) -> str:
    return f"{statistics.fmean(values):.1f} ± {statistics.stdev(values):.1f}"


def _over(streams: Mapping[str, Any], method: str) -> float:
    return statistics.fmean(statistics.fmean(it[method]) for it in streams.values())


if __name__ == "__main__":
    folder = Path(__file__).parents[1] / "docs"
    write(json.loads((folder / "online.json").read_text(encoding="utf-8")), folder)
