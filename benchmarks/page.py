"""The page on performance: what the suite has measured, in words, tables and a figure."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from perdure.experiments.cores import usable_cpus
from perdure.experiments.files import make_folder, write_atomically
from perdure.report.blocks import Block, Heading, Paragraph, Table
from perdure.report.figures.style import COLOURS, WIDTH, image_of, tidy
from perdure.report.markdown import markdown_page

if TYPE_CHECKING:
    from sides import Compared
    from suite import Curve, Roofline

MIB = 2**20
WEIGHTS = 784 * 100 + 100 * 100 + 100 * 10 + 210
"""Of the network that everything is measured on."""


def write(
    compared: Sequence[Compared],
    n_seeds: int,
    curves: Sequence[Curve],
    machine: Roofline,
    start: float,
    peaks: Mapping[int, int],
    docs: Path,
) -> None:
    """Write performance.md, performance.json and the figure into the folder of the documentation."""
    blocks: list[Block] = [
        Heading(1, "Performance"),
        Paragraph("Written by `make bench`. Do not edit: run the command again."),
        Paragraph(f"Measured on {machine_text()}; {versions_text()}."),
        Heading(2, "Beside plain PyTorch"),
        Paragraph(
            "The same methods on the same stream in one process, in turn, medians of several rounds: perdure, and "
            "loops of plain PyTorch written the obvious way ([benchmarks/eager.py](../benchmarks/eager.py)), each with "
            "all cores. The network is 784–100–100–10. A step of MER is SGD on one example; for the others it is all "
            f"that is done for an arriving example. Times with {n_seeds} seeds are those of a seed, while all learn "
            "side by side."
        ),
        _compared_table(compared, n_seeds),
        Heading(2, "Beside what the machine can do"),
        *_roofline_blocks(compared, machine),
        Heading(2, "How the cost grows"),
        Paragraph("![Cost against memory size, hidden units, seeds, length, draws and tasks](figures/performance.png)"),
        Paragraph(
            "The method is MER with 5 batches of 10 memories and a memory of 500, unless a panel says otherwise. One "
            "seed, network and stream as above."
        ),
        *[_curve_table(curve) for curve in curves],
        Heading(2, "Start and memory"),
        Paragraph(f"Started for the second time, a process has learned its first examples after {start:.1f} s."),
        Table(
            ["memory of examples", "its pixels, MiB", "peak of the process, MiB"],
            [[f"{size:,}", f"{size * 784 / MIB:.1f}", f"{peak / MIB:.0f}"] for size, peak in peaks.items()],
            (),
        ),
        Paragraph("The peak counts Python, JAX and the compiler; the stream, as long as the memory, stands beside it."),
    ]
    figures = docs / "figures"
    make_folder(figures)
    for ending in ("png", "svg"):
        write_atomically(figures / f"performance.{ending}", image_of(curves_figure(curves), ending))
    write_atomically(docs / "performance.md", markdown_page(blocks).encode())
    numbers = {
        "machine": machine_text(),
        "versions": versions_text(),
        "microseconds_per_example": {
            it.method.name: {
                "steps": it.method.steps,
                "eager": it.eager,
                "one seed": it.one_seed,
                f"{n_seeds} seeds": it.several_seeds,
                "compile_seconds": it.compile_seconds,
            }
            for it in compared
        },
        "growth": [{"of": it.thing, "unit": it.unit, "points": it.points} for it in curves],
        "roofline": {"operations_per_second": machine.products, "bytes_per_second": machine.copies},
        "seconds_to_first_example": start,
        "peak_bytes": dict(peaks),
    }
    write_atomically(docs / "performance.json", json.dumps(numbers, indent=2).encode() + b"\n")


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


def _compared_table(compared: Sequence[Compared], n_seeds: int) -> Table:
    headers = [
        "method",
        "PyTorch, µs a step",
        "perdure",
        "ratio",
        f"{n_seeds} seeds",
        "ratio",
        "examples/s",
        "compiled in, s",
    ]
    rows = []
    for it in compared:
        sides = [micros / it.method.steps for micros in (it.eager, it.one_seed, it.several_seeds)]
        eager, one, several = (f"{micros:,.1f}" for micros in sides)
        ratios = [f"{sides[0] / micros:.1f}" for micros in sides[1:]]
        speed = f"{1e6 / it.several_seeds:,.0f}"
        rows.append([it.method.name, eager, one, ratios[0], several, ratios[1], speed, f"{it.compile_seconds:.1f}"])
    return Table(headers, rows, (0,))


def _roofline_blocks(compared: Sequence[Compared], machine: Roofline) -> list[Block]:
    """Set the steps of MER beside products of large matrices and copies of large arrays."""
    operations, traffic = 6 * WEIGHTS, 3 * 4 * WEIGHTS
    text = (
        f"All cores together multiply matrices at {machine.products / 1e9:.0f} billion operations a second, and copy "
        f"memory at {machine.copies / 1e9:.0f} GB/s. Plain SGD needs six operations a weight for a step "
        f"({operations / 1e6:.2f} million) and moves each weight three times ({traffic / 1e6:.2f} MB): that is what a "
        "step is counted as here, however it is computed. The Gram form reads the first layer twice a batch instead."
    )
    rows = []
    for it in compared:
        if it.method.steps > 1:
            for seeds, micros in (("one seed", it.one_seed), ("several seeds", it.several_seeds)):
                rate = operations / (micros / it.method.steps * 1e-6)
                bytes_a_second = traffic / (micros / it.method.steps * 1e-6)
                cells = [f"{rate / 1e9:.0f}", f"{100 * rate / machine.products:.0f} %"]
                cells += [f"{bytes_a_second / 1e9:.0f}", f"{100 * bytes_a_second / machine.copies:.0f} %"]
                rows.append([f"{it.method.name}, {seeds}", *cells])
    headers = ["method", "billion operations a second", "share", "GB/s if done plainly", "share"]
    return [Paragraph(text), Table(headers, rows, (0,))]


def _curve_table(curve: Curve) -> Table:
    return Table([curve.thing, curve.unit], [[f"{x:,}", f"{y:,.2f}"] for x, y in curve.points], ())


def curves_figure(curves: Sequence[Curve]) -> Figure:
    """Show each curve in a panel of its own, both axes logarithmic, from a tenth of the largest cost at most."""
    columns = 2
    n_rows = -(-len(curves) // columns)
    figure = Figure(figsize=(WIDTH, 2.1 * n_rows), layout="constrained")
    panels = figure.subplots(n_rows, columns, squeeze=False).ravel()
    for axes, curve in zip(panels, curves, strict=False):
        x, y = zip(*curve.points, strict=True)
        axes.plot(x, y, marker="o", color=COLOURS[0])
        axes.set_xscale("log")
        axes.set_xticks(x, [f"{value:,}" for value in x], fontsize=8)
        axes.minorticks_off()
        axes.set_ylim(0, 1.15 * max(y))
        axes.set_xlabel(curve.thing, fontsize=9)
        axes.set_title(curve.unit, loc="left", fontsize=9)
        tidy(axes, grid="y")
    for axes in panels[len(curves) :]:
        axes.set_axis_off()
    return figure
