"""The page of a study: published figures and measured ones side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from matplotlib.figure import Figure

from perdure.records.learner import RunRecord
from perdure.records.summary import ALIGNMENTS
from perdure.report.blocks import Block, Heading, Paragraph, Picture
from perdure.report.cells import (
    MER_TOLERANCE,
    TOLERANCE,
    accuracy_table,
    alignment_table,
    cost_table,
    published_only_table,
    values_table,
    variants_table,
)
from perdure.report.figures import accuracy_matrices, alignment_over_stream, image_of, retained_against_memory
from perdure.report.figures.style import accuracies, knows_the_past
from perdure.report.names import benchmark_title
from perdure.report.tables import metric_of, published_figure

_SOURCE = "Riemer et al. 2019, tables 1 and 2"
_SOURCE_OF_LOOK_AHEAD = "Gupta et al. 2020, the table of MNIST"
_TITLES = {"mer": "Meta-Experience Replay, measured", "la-maml": "La-MAML, C-MAML and Sync, measured"}
_KEPT = (
    "Kept is all that a method keeps between examples of one seed: weights, copies of them, rates, examples, sums. "
    "Methods without a size of memory store no examples."
)
_INTERVAL = "mean ± 95 % interval over seeds"
_MEMORY_OF_FIGURES = 500


def study_blocks(
    tables: Mapping[str, Sequence[RunRecord]],
    timing: Sequence[RunRecord],
    command: str,
    *,
    study: str = "mer",
    quick: bool = False,
) -> list[Block]:
    """Return the page of a study.

    Args:
        tables: finished runs of each requested table: "retained", "alignment", "variants", "omniglot" of the MER study,
            "look-ahead" of that of La-MAML.
        timing: finished runs of one seed alone.
        command: what was typed to make the page.
        study: name of the study.
        quick: the runs are of a quick pass and not to be held against the published figures.
    """
    records = _unique([*(record for table in tables.values() for record in table)])
    title = "Quick pass: not comparable with the published figures" if quick else _TITLES.get(study, study)
    blocks: list[Block] = [
        Heading(1, title),
        Paragraph(f"Written by `{command}`. Do not edit: run the command again."),
        Paragraph(measured_with([*records, *timing])),
    ]
    if quick:
        blocks.append(
            Paragraph(
                "Streams are a twentieth as long as the published ones, with fewer tasks and memories to match: this "
                "page shows that everything works, not how well."
            )
        )
    sections: dict[str, Callable[[Sequence[RunRecord], bool], list[Block]]] = {
        "retained": _retained,
        "alignment": _alignment,
        "variants": _variants,
        "omniglot": _omniglot,
        "look-ahead": _look_ahead,
    }
    for name, section in sections.items():
        if name in tables and (tables[name] or name == "omniglot"):
            blocks += section(tables[name], quick)
    if timing:
        blocks += [
            Heading(2, "Time of one seed"),
            Paragraph("One seed, alone on the machine, in a process of its own; nothing logged but losses."),
            cost_table(timing),
        ]
    if records:
        blocks += [
            Heading(2, "Time and memory"),
            Paragraph(
                "Seeds of a run learn side by side, and several runs at a time, each on its share of the CPUs. "
                "Training is the time of all seeds together without compilation and tests; peak memory that of the "
                "run's process."
            ),
            cost_table(records),
            Heading(2, "Hyper-parameters"),
            values_table(records),
        ]
    return blocks


def measured_with(records: Sequence[RunRecord]) -> str:
    """Return what the runs were measured with."""

    def words(environment: Mapping) -> str:
        versions = environment.get("versions", {})
        libraries = ", ".join(f"{name} {versions[name]}" for name in ("perdure", "jax", "python") if name in versions)
        return f"{libraries} on a machine with {environment.get('cpu_count')} CPUs ({environment.get('device')})"

    places = dict.fromkeys(words(record.environment) for record in records if record.environment is not None)
    return f"Measured with {'; '.join(places)}." if places else "Nothing has been measured yet."


def _retained(records: Sequence[RunRecord], quick: bool) -> list[Block]:
    text = f"Percent of all test images of all tasks after the last example: {_INTERVAL}."
    if not quick:
        text += (
            f" Published: mean ± standard deviation over five runs ({_SOURCE}). A figure is reached if it lies above "
            f"the published mean or at most {TOLERANCE} points below it, {MER_TOLERANCE} for MER."
        )
    blocks: list[Block] = [Heading(2, "Retained accuracy (%)"), Paragraph(text), Paragraph(_KEPT)]
    for benchmark, runs in _by_benchmark(records).items():
        blocks += [Heading(3, benchmark_title(benchmark)), accuracy_table(runs, with_published=not quick)]
    hollow = "" if quick else " Hollow: published."
    caption = f"Retained accuracy against the size of the memory, {_INTERVAL}.{hollow}"
    blocks.append(_picture(retained_against_memory(records), caption))
    for benchmark, runs in _by_benchmark(_with_whole_matrix(records)).items():
        caption = (
            f"{benchmark_title(benchmark)}: accuracy on every task after every task, mean over seeds. Below the "
            "diagonal are tasks learned before; a column that darkens downwards is forgotten."
        )
        blocks.append(_picture(accuracy_matrices(runs), caption))
    return blocks


def _look_ahead(records: Sequence[RunRecord], quick: bool) -> list[Block]:
    text = (
        f"Percent of all test images of all tasks after the last example: {_INTERVAL}. Batches of 10 examples, 10 "
        "memories with each, to first order, as the released commands have it."
    )
    if not quick:
        text += (
            f" Published: means over five runs ({_SOURCE_OF_LOOK_AHEAD}). Those marked as remembered have not been "
            "checked against the paper yet, so that their verdicts are provisional. A "
            f"figure is reached if it lies above the published mean or at most {TOLERANCE} points below it."
        )
    blocks: list[Block] = [Heading(2, "Retained accuracy (%)"), Paragraph(text), Paragraph(_KEPT)]
    if not quick and _sync_falls_short(records):
        blocks.append(
            Paragraph(
                "Sync falls short on Permutations. Its released command has an initial rate of 0.15 there, that of "
                "C-MAML 0.03. With 0.03 Sync comes within about two points of the figure, while the initial weights of "
                "the released code, or a lower rate of the weights, make no difference (seed 0)."
            )
        )
    for benchmark, runs in _by_benchmark(records).items():
        blocks += [Heading(3, benchmark_title(benchmark)), accuracy_table(runs, with_published=not quick)]
    return blocks


def _sync_falls_short(records: Sequence[RunRecord]) -> bool:
    """Tell whether Sync's retained accuracy on Permutations is not reached, with the released command's rate."""
    own = [it for it in records if (it.learner, it.benchmark) == ("sync", "mnist-permutations")]
    pairs = [(metric_of(it, "retained_accuracy"), published_figure(it)) for it in own]
    return any(
        measured is not None and figure is not None and 100 * measured.mean < figure.mean - TOLERANCE
        for measured, figure in pairs
    )


def _alignment(records: Sequence[RunRecord], quick: bool) -> list[Block]:
    text = (
        "Mean over learning of the dot product between the loss gradients on the arriving example and on a random past "
        "example of the stream, both before the update from the arriving example and both after it, and of the cosine "
        f"of the angle between the two before it: {_INTERVAL}."
    )
    if not quick:
        text += " The published dot product is mean ± standard deviation over five runs and names no memory size."
    blocks: list[Block] = [Heading(2, "Gradient alignment"), Paragraph(text)]
    if not quick and _er_changes_sign(records):
        blocks.append(
            Paragraph(
                "By the definition, which is before the update, ER's dot product is positive in every cell; after the "
                "update it is negative, as the published one is."
            )
        )
    for benchmark, runs in _by_benchmark(records).items():
        blocks += [Heading(3, benchmark_title(benchmark)), alignment_table(runs, with_published=not quick)]
    logged = [record for record in records if record.alignment is not None]
    shown = [record for record in logged if record.memory_size == _MEMORY_OF_FIGURES] or _smallest_memories(logged)
    if shown:
        sizes = ", ".join(f"{size}" for size in sorted({record.memory_size or 0 for record in shown}))
        caption = f"Dot product over the stream, moving mean over a tenth of it; memory {sizes}."
        blocks.append(_picture(alignment_over_stream(shown), caption))
    return blocks


def _er_changes_sign(records: Sequence[RunRecord]) -> bool:
    """Tell whether ER's mean dot product is positive before the update and negative after it in all its runs."""
    summaries = [record.summary for record in records if record.learner == "er"]
    before, after, _ = ALIGNMENTS
    return bool(summaries) and all(
        it is not None and it.metrics[before].mean > 0 > it.metrics[after].mean for it in summaries
    )


def _variants(records: Sequence[RunRecord], quick: bool) -> list[Block]:
    return [
        Heading(2, "Variants of ER and MER"),
        Paragraph(
            f"Retained accuracy (%), {_INTERVAL}. ER: Algorithm 4, one mini-batch; Algorithm 5, balanced over tasks. "
            "MER: Algorithm 1, Reptile steps within and across batches; Algorithm 6, one level of them; Algorithm 7, "
            "one batch with a higher rate for the arriving example."
        ),
        variants_table(records),
    ]


def _omniglot(records: Sequence[RunRecord], quick: bool) -> list[Block]:
    blocks: list[Block] = [Heading(2, "Incremental Omniglot: retained accuracy (%)")]
    for options, runs in _by_options(records).items():
        if options:
            text = f"A part of the benchmark ({options}), with hyper-parameters of our own choice: {_INTERVAL}."
        else:
            text = f"The whole benchmark: {_INTERVAL}."
        whole = not options and not quick
        blocks += [Paragraph(text), accuracy_table(runs, with_published=whole)]
    if not quick:
        blocks += [
            Paragraph(f"Published ({_SOURCE}), not run here: mean ± standard deviation over five runs."),
            published_only_table("omniglot", records),
        ]
    return blocks


def _picture(figure: Figure, caption: str) -> Picture:
    return Picture(image_of(figure, "svg"), caption)


def _unique(records: Iterable[RunRecord]) -> list[RunRecord]:
    return list({record.folder: record for record in records}.values())


def _by_benchmark(records: Sequence[RunRecord]) -> dict[str, list[RunRecord]]:
    names = dict.fromkeys(record.benchmark for record in records)
    return {name: [record for record in records if record.benchmark == name] for name in names}


def _by_options(records: Sequence[RunRecord]) -> dict[str, list[RunRecord]]:
    groups: dict[str, list[RunRecord]] = {}
    for record in records:
        options = record.config["benchmark"].get("options", {})
        groups.setdefault(", ".join(f"{name} {value}" for name, value in options.items()), []).append(record)
    return groups


def _with_whole_matrix(records: Sequence[RunRecord]) -> list[RunRecord]:
    return [record for record in records if knows_the_past(accuracies(record))]


def _smallest_memories(records: Sequence[RunRecord]) -> list[RunRecord]:
    """Return the runs that have the smallest memory of their benchmark."""
    smallest = {name: min(it.memory_size or 0 for it in runs) for name, runs in _by_benchmark(records).items()}
    return [record for record in records if (record.memory_size or 0) == smallest[record.benchmark]]
