"""Which runs saw the same stream, so that their figures can be held against each other."""

from __future__ import annotations

from collections.abc import Sequence

from perdure.records.learner import RunRecord


def by_stream(records: Sequence[RunRecord]) -> list[list[RunRecord]]:
    """Return the runs of each stream, in the order of their first ones."""
    groups: list[list[RunRecord]] = []
    for record in records:
        group = next((it for it in groups if share_streams(record, it[0])), None)
        if group is None:
            groups.append([record])
        else:
            group.append(record)
    return groups


def share_streams(one: RunRecord, other: RunRecord) -> bool:
    """Tell whether two runs saw the same examples in the same order, seed by seed."""
    if one.seeds != other.seeds or one.config["benchmark"] != other.config["benchmark"]:
        return False
    data = [(it.environment or {}).get("data_checksums") for it in (one, other)]
    return None in data or data[0] == data[1]
