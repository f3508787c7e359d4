"""The page on performance: what the suite has measured, in words, tables and a figure.

``python benchmarks/page.py`` writes it again from ``docs/performance.json``.
"""

from __future__ import annotations

import json
import math
import os
import platform
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, NullLocator, StrMethodFormatter

from perdure.machine.cores import usable_cpus
from perdure.report.blocks import Block, Heading, Paragraph, Table
from perdure.report.figures.style import COLOURS, GREY, WIDTH, image_of, tidy
from perdure.report.markdown import markdown_page
from perdure.storage.files import make_folder, write_atomically

MIB = 2**20
WEIGHTS = 784 * 100 + 100 * 100 + 100 * 10 + 210
"""Of the network that everything is measured on."""
ROOM = 1.15
"""A figure reaches by this factor further than its points, so that none lies on its edge."""


def write(numbers: Mapping[str, Any], docs: Path) -> None:
    """Write performance.md and its figure into the folder of the documentation."""
    curves, loops = numbers["growth"], numbers["loops"]
    blocks: list[Block] = [
        Heading(1, "Performance"),
        Paragraph("Written by `make bench`. Do not edit: run the command again."),
        Paragraph(f"Measured on {numbers['machine']}; {numbers['versions']}."),
        Heading(2, "Beside plain PyTorch"),
        Paragraph(
            "The same methods on the same stream in one process, in turn, medians of several rounds: perdure, and "
            "loops of plain PyTorch written the obvious way ([benchmarks/eager.py](../benchmarks/eager.py)), each with "
            "all cores. The network is 784–100–100–10. A step of MER is SGD on one example; for the others it is all "
            f"that is done for an arriving example. Times with {numbers['n_seeds']} seeds are those of a seed, while "
            "all learn side by side."
        ),
        _compared_table(numbers),
        Paragraph(
            "Chains of small steps gain most: there PyTorch spends its time between the operations. ER with 100 "
            "memories and GEM are bound by products of matrices, which both sides do alike."
        ),
        Heading(2, "Beside what the machine can do"),
        *_roofline_blocks(numbers),
        Heading(2, "How the cost grows"),
        Paragraph("![Cost against memory size, hidden units, seeds, length, draws and tasks](figures/performance.png)"),
        Paragraph(
            "The method is MER with 5 batches of 10 memories and a memory of 500, unless a panel says otherwise. One "
            "seed, network and stream as above. Axes are logarithmic; dotted lines are growth in proportion."
        ),
        *[_curve_table(curve) for curve in curves],
        Heading(2, "Meta-steps of OML"),
        Paragraph(
            "A step of the small Omniglot preset, 15 images learned and 30 asked about, beside PyTorch as the released "
            "code does it (features again at every inner step, the loss of the query images after every one) and "
            "with features computed once; in turn, medians of several rounds. On sine waves: 10 functions of 5 steps, "
            "400 units."
        ),
        _meta_steps_table(numbers["meta_steps"]),
        Heading(2, "Games"),
        Paragraph(
            "Random play at the first level, state observations, episodes that restart by themselves; as many games at "
            "once as are fastest. The originals' figures are of one process (tests/reference/ple)."
        ),
        _games_table(numbers["games"]),
        Heading(2, "Start and memory"),
        Paragraph(
            "Started for the second time, a process has learned its first examples after "
            f"{numbers['seconds_to_first_example']:.1f} s."
        ),
        Table(
            ["memory of examples", "its pixels, MiB", "peak with 500 examples to learn, MiB", "with as many, MiB"],
            [
                [f"{size:,}", f"{size * 784 / MIB:.1f}", *(f"{peak / MIB:.0f}" for peak in peaks)]
                for size, *peaks in numbers["peak_bytes"]
            ],
            (),
        ),
        Paragraph(
            "The peak is the process's, with Python, JAX and the compiler. A memory's arrays are there whole from the "
            "start; the stream is there as the user's arrays, as the benchmark's and as the device's."
        ),
        Heading(2, "Loops compiled whole"),
        Paragraph(
            "The command line has XLA compile small loops whole; from Python that is the user's to set, by "
            "`XLA_FLAGS=--xla_backend_extra_options=xla_cpu_small_while_loop_byte_threshold=2000000`. MER, 10 memories "
            f"drawn, takes {loops['whole']:.2f} µs a step with it and {loops['piecemeal']:.2f} µs with every operation "
            f"dispatched by itself: {loops['piecemeal'] / loops['whole']:.2f} times."
        ),
    ]
    figures = docs / "figures"
    make_folder(figures)
    for ending in ("png", "svg"):
        write_atomically(figures / f"performance.{ending}", image_of(curves_figure(curves), ending))
    write_atomically(docs / "performance.md", markdown_page(blocks).encode())


def machine_text() -> str:
    """Return what the machine is called and how many cores there are."""
    described = Path("/proc/cpuinfo")
    lines = described.read_text().splitlines() if described.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return (
        f"{names[0] if names else platform.processor()}, {usable_cpus()} of {os.cpu_count()} cores, {platform.system()}"
    )


def versions_text() -> str:
    """Return the versions of what is compared."""
    libraries = ", ".join(f"{name} {metadata.version(name)}" for name in ("perdure", "jax", "torch", "numpy"))
    return f"python {platform.python_version()}, {libraries}"


def _compared_table(numbers: Mapping[str, Any]) -> Table:
    several = f"{numbers['n_seeds']} seeds"
    headers = ["method", "PyTorch, µs a step", "perdure", "ratio", several, "ratio", "examples/s", "compiled in, s"]
    rows = []
    for it in numbers["methods"]:
        eager, *ours = (it[side] / it["steps"] for side in ("eager", "one_seed", "several_seeds"))
        measured = [cell for micros in ours for cell in (f"{micros:,.1f}", f"{eager / micros:.1f}")]
        speed = f"{1e6 / it['several_seeds']:,.0f}"
        rows.append([it["name"], f"{eager:,.1f}", *measured, speed, f"{it['compile_seconds']:.1f}"])
    return Table(headers, rows, (0,))


def _meta_steps_table(took: Mapping[str, float]) -> Table:
    sides = {"perdure": "perdure", "PyTorch, as released": "released", "PyTorch, features once": "once"}
    rows = [[name, f"{took[it]:.1f}", f"{took[it] / took['perdure']:.1f}"] for name, it in sides.items()]
    rows.append(["perdure, sine waves", f"{took['sine']:.1f}", ""])
    return Table(["meta-step", "ms", "times perdure's"], rows, (0,))


def _games_table(games: Sequence[Mapping[str, Any]]) -> Table:
    headers = ["game", "at once", "million frames/s", "million/CPU-s", "original, million/CPU-s", "ratio"]
    rows = []
    for it in games:
        ours, original = it["frames_per_cpu_second"], it["original_per_cpu_second"]
        speeds = (f"{speed / 1e6:.1f}" for speed in (it["frames_per_second"], ours))
        rows.append([it["game"], f"{it['n_games']:,}", *speeds, f"{original / 1e6:.3f}", f"{ours / original:,.0f}"])
    return Table(headers, rows, (0,))


def _roofline_blocks(numbers: Mapping[str, Any]) -> list[Block]:
    """Set the steps of MER beside products of large matrices and copies of large arrays."""
    operations, traffic = 6 * WEIGHTS, 3 * 4 * WEIGHTS
    machine = numbers["roofline"]
    text = (
        f"All cores together multiply large matrices at {machine['operations_per_second'] / 1e9:.0f} billion "
        f"operations a second, and copy large arrays at {machine['bytes_per_second'] / 1e9:.0f} GB/s. Plain SGD needs "
        f"six operations a weight for a step, {operations / 1e6:.2f} million, and moves each weight three times, "
        f"{traffic / 1e6:.2f} MB. Counted like that, whatever the Gram form does instead, the chain of MER comes to:"
    )
    rows = []
    for it in numbers["methods"]:
        if it["steps"] > 1:
            for seeds, side in (("one seed", "one_seed"), (f"{numbers['n_seeds']} seeds", "several_seeds")):
                steps_a_second = 1e6 * it["steps"] / it[side]
                rate, moved = operations * steps_a_second, traffic * steps_a_second
                share = f"{100 * rate / machine['operations_per_second']:.0f} %"
                rows.append([f"{it['name']}, {seeds}", f"{rate / 1e9:.0f}", share, f"{moved / 1e9:.0f}"])
    headers = ["method", "billion operations a second", "share of the machine's", "GB/s, were the weights moved"]
    return [Paragraph(text), Table(headers, rows, (0,))]


def _curve_table(curve: Mapping[str, Any]) -> Table:
    return Table([curve["of"], curve["unit"]], [[f"{x:,}", f"{y:,.2f}"] for x, y in curve["points"]], ())


def curves_figure(curves: Sequence[Mapping[str, Any]]) -> Figure:
    """Show each curve in a panel of its own, both axes logarithmic: what grows in proportion rises like the dots."""
    columns = 2
    n_rows = -(-len(curves) // columns)
    figure = Figure(figsize=(WIDTH, 2.3 * n_rows), layout="constrained")
    panels = figure.subplots(n_rows, columns, squeeze=False).ravel()
    for axes, curve in zip(panels, curves, strict=False):
        x, y = zip(*curve["points"], strict=True)
        axes.plot(x, [y[0] * value / x[0] for value in x], linestyle=":", color=GREY)
        axes.plot(x, y, marker="o", color=COLOURS[0])
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xticks(x, [f"{value:,}" for value in x], fontsize=8)
        axes.xaxis.set_minor_locator(NullLocator())
        lowest, highest = min(y) / ROOM, max(y) * ROOM
        axes.set_ylim(10 ** math.floor(math.log10(lowest)), 10 ** math.ceil(math.log10(highest)))
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
        axes.set_xlabel(curve["of"], fontsize=9)
        axes.set_title(curve["unit"], loc="left", fontsize=9)
        tidy(axes, grid="y")
    for axes in panels[len(curves) :]:
        axes.set_axis_off()
    return figure


if __name__ == "__main__":
    DOCS = Path(__file__).parents[1] / "docs"
    write(json.loads((DOCS / "performance.json").read_text()), DOCS)
