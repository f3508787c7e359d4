"""What a model in a folder is and knows, as a table."""

from __future__ import annotations

from typing import Any

from rich.table import Table
from rich.text import Text

_MOST = 12
"""Classes or columns named at most."""


def status_table(status: Any) -> Table:
    """Return one line for each thing that `DurableModel.status` tells."""
    settings, features = status.settings, status.settings["features"]
    forgotten = status.position - status.n_examples
    lines = [
        ("Model", status.folder),
        ("Learns", "numbers" if settings["regression"] else "classes"),
        ("Method", settings["method"]),
        ("Memory", f"{settings['memory_size']:,} examples, {settings['memory_rule']}"),
        ("Examples", f"{status.n_examples:,}" + (f", {forgotten:,} forgotten" if forgotten else "")),
        ("Drawings", f"by the features {features}") if features else ("Columns", _named(status.columns)),
    ]
    if not settings["regression"]:
        lines.append(("Classes", _named(status.classes)))
    if status.weights:
        trusted = sorted(status.weights.items(), key=lambda it: -it[1])
        lines.append(("Trusts now", ", ".join(f"{name} {100 * it:.0f} %" for name, it in trusted if it >= 0.01)))
    lines.append(("Journal", f"{status.journal_bytes / 1e6:,.1f} MB"))
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in lines:
        table.add_row(Text(name), Text(str(value)))
    return table


def _named(things: list[Any]) -> str:
    if not things:
        return "none yet"
    shown = ", ".join(map(str, things[:_MOST]))
    return f"{len(things):,}: {shown}" + (" …" if len(things) > _MOST else "")
