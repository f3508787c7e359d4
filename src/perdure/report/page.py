"""A page that sets published figures and measured ones side by side."""

from __future__ import annotations

from collections.abc import Sequence

from perdure.experiments.presets import Published, published_alignment
from perdure.experiments.results import ALIGNMENTS, RunRecord
from perdure.metrics.transfer import Statistic
from perdure.report.markdown import aligned_markdown
from perdure.report.tables import published_figure

TOLERANCE = 1.0
"""Points below the published mean within which a figure counts as reached."""


def results_page(records: Sequence[RunRecord], command: str) -> str:
    """Return a Markdown page on finished runs.

    Args:
        records: runs of several seeds are held against the published figures; runs of one seed tell their cost.
        command: what was typed to make the page.
    """
    several = [it for it in records if len(it.seeds) > 1]
    single = [it for it in records if len(it.seeds) == 1]
    logged = [it for it in several if "gradient_alignment" in _metrics(it)]
    parts = [
        "# Results",
        f"Written by `{command}`. Do not edit: run the command again.",
        _where(records),
        "## Retained accuracy",
        (
            "Percent of all test images of all tasks after the last example: mean ± 95 % interval over seeds, "
            "beside the published mean ± standard deviation over five runs (Riemer et al. 2019, tables 1 and 2). "
            f"A cell is reached if its mean lies at most {TOLERANCE} points below the published mean."
        ),
        aligned_markdown(
            ["learner", "benchmark", "memory", "seeds", "published", "measured", "difference", "verdict"],
            [_accuracy_row(it) for it in several],
            text_columns=(0, 1, 7),
        ),
    ]
    if logged:
        parts += [
            "## Gradient alignment",
            (
                "Mean over learning of the dot product between the loss gradients on the arriving example and on "
                "a random past example of the stream, before the update, and of the cosine of the angle between them: "
                "mean ± 95 % interval over seeds. The published dot product is mean ± standard deviation and names no "
                "memory size."
            ),
            aligned_markdown(
                ["learner", "benchmark", "memory", "published dot product", "dot product", "cosine"],
                [_alignment_row(it) for it in logged],
                text_columns=(0, 1),
            ),
        ]
    if single:
        parts += [
            "## Time of one seed",
            "Training after compilation, one seed alone, in a process of its own.",
            aligned_markdown(
                ["learner", "benchmark", "memory", "training", "compilation", "peak memory"],
                [_cost_row(it) for it in single],
                text_columns=(0, 1),
            ),
        ]
    return "\n\n".join(parts) + "\n"


def _where(records: Sequence[RunRecord]) -> str:
    environment = records[0].environment or {}
    versions = environment.get("versions", {})
    libraries = ", ".join(f"{name} {versions[name]}" for name in ("perdure", "jax", "python") if name in versions)
    return f"Measured with {libraries} on {environment.get('cpu_count')} CPU cores ({environment.get('device')})."


def _metrics(record: RunRecord) -> dict[str, Statistic]:
    return {} if record.summary is None else dict(record.summary.metrics)


def _names(record: RunRecord) -> list[str]:
    return [record.learner, record.benchmark, "–" if record.memory_size is None else f"{record.memory_size}"]


def _accuracy_row(record: RunRecord) -> list[str]:
    measured, published = _metrics(record)["retained_accuracy"], published_figure(record)
    mean = 100 * measured.mean
    row = [*_names(record), f"{len(record.seeds)}", _plus_minus(published, 2)]
    row.append(f"{mean:.2f} ± {100 * measured.ci95:.2f}")
    if published is None:
        return [*row, "–", "–"]
    difference = mean - published.mean
    return [*row, f"{difference:+.2f}", "reached" if difference >= -TOLERANCE else "not reached"]


def _alignment_row(record: RunRecord) -> list[str]:
    dot_product, cosine = (_metrics(record)[name] for name in ALIGNMENTS)
    published = published_alignment(record.learner, record.benchmark)
    return [
        *_names(record),
        _plus_minus(published, 3),
        f"{dot_product.mean:+.3f} ± {dot_product.ci95:.3f}",
        f"{cosine.mean:+.4f} ± {cosine.ci95:.4f}",
    ]


def _cost_row(record: RunRecord) -> list[str]:
    summary = record.summary
    assert summary is not None
    peak = "–" if summary.peak_memory_bytes is None else f"{summary.peak_memory_bytes / 2**20:,.0f} MiB"
    return [*_names(record), f"{summary.training_seconds:.1f} s", f"{summary.compile_seconds:.1f} s", peak]


def _plus_minus(figure: Published | None, decimals: int) -> str:
    return "–" if figure is None else f"{figure.mean:.{decimals}f} ± {figure.std:.{decimals}f}"
