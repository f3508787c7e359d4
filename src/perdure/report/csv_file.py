"""Tables as comma-separated values."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from perdure.report.blocks import Table


def csv_file(tables: Sequence[Table]) -> str:
    """Return tables one after another, with an empty line between them, quoted where it takes that (RFC 4180).

    Texts that a spreadsheet would compute as formulas begin with an apostrophe.
    """
    return "\n".join(_csv(table) for table in tables)


def _csv(table: Table) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table.headers)
    for row in table.rows:
        writer.writerow(_no_formula(it) if place in table.text_columns else it for place, it in enumerate(row))
    return text.getvalue()


def _no_formula(cell: str) -> str:
    return f"'{cell}" if cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell
