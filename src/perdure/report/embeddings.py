"""Methods on embeddings as a table: what they know at the end, and what that costs."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from perdure.metrics.transfer import mean_and_interval
from perdure.records.embeddings import WITH_MEMORY, EmbeddingsRecord

_ORDERS = {
    "classes": "one class after another",
    "shuffled": "shuffled",
    "file": "in the order of the file",
}


def embeddings_table(record: EmbeddingsRecord) -> Table:
    """Return one row a method, the most accurate first."""
    seeds, first = record.config["seeds"], record.results[0]
    over = f", means over {len(seeds)} seeds ± the 95 % half width" if len(seeds) > 1 else ""
    caption = (
        f"{record.config['name']}: {first.rows[-1]:,} examples learned in one pass, {_ORDERS[record.config['order']]}. "
        f"Accuracy in percent{over}: of held-out examples at the end, and of {first.n_answered:,} examples just before "
        "each was learned (prequential). µs: CPU time to learn an example. Kept: between examples."
        f"{_whole_stream(record)}"
    )
    table = Table(
        caption=caption, caption_justify="left", box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold"
    )
    table.add_column("Method", no_wrap=True)
    for header in ("Held out", "Prequential", "µs", "Kept, kB"):
        table.add_column(header, justify="right", no_wrap=True)
    for method, own in record.methods.items():
        accuracies = (_percent([getattr(it, what) for it in own]) for what in ("held_out", "prequential"))
        cost, size = (sum(getattr(it, what) for it in own) / len(own) for what in ("microseconds", "n_bytes"))
        table.add_row(*map(Text, (method, *accuracies, f"{cost:,.0f}", f"{size / 1000:,.0f}")))
    return table


def _whole_stream(record: EmbeddingsRecord) -> str:
    """Return which methods have kept all that they learned, and could not forget; nothing if none has."""
    n_learned = record.results[0].rows[-1]
    names = [it for it in record.methods if it in WITH_MEMORY]
    if not names or record.config["memory_size"] < n_learned:
        return ""
    smaller = max(int(float(f"{n_learned / 10:.0e}")), 1)
    return (
        f" Note: {' and '.join(names)} kept all {n_learned:,} examples; what they know with a smaller memory, "
        f"--memory-size {smaller} tells."
    )


def _percent(values: Sequence[float]) -> str:
    found = mean_and_interval([100 * it for it in values])
    return f"{found.mean:.1f}" + ("" if math.isnan(found.ci95) else f" ± {found.ci95:.1f}")
