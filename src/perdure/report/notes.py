"""What a careful colleague would say about a comparison."""

from __future__ import annotations

from collections.abc import Sequence

from perdure.records.learner import RunRecord

ENOUGH_SEEDS = 3


def comparison_notes(records: Sequence[RunRecord]) -> list[str]:
    """Return what to beware of when the runs are compared, a sentence each; none for a single run."""
    few = [f"{it.title} ({len(it.seeds)})" for it in records if len(it.seeds) < ENOUGH_SEEDS]
    if len(records) < 2 or not few:
        return []
    return [f"fewer than {ENOUGH_SEEDS} seeds, too few to compare by: {'; '.join(few)}; run them with more"]
