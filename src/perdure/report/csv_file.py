"""Tables as comma-separated values."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from perdure.report.blocks import Table


def csv_file(tables: Sequence[Table]) -> str:
    """Return tables one after another, with an empty line between them, quoted where it takes that (RFC 4180)."""
    return "\n".join(_csv(table) for table in tables)


def _csv(table: Table) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table.headers)
    writer.writerows(table.rows)
    return text.getvalue()
