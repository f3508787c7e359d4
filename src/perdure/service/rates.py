"""How many requests one caller may make."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable

_MOST_CALLERS = 10_000


class Rates:
    """A bucket of requests for each caller, which fills at a steady rate up to a second's worth."""

    def __init__(self, per_second: float, clock: Callable[[], float] = time.monotonic):
        """Begin with full buckets."""
        self._per_second = per_second
        self._full = max(per_second, 1.0)
        self._clock = clock
        self._callers: OrderedDict[str, tuple[float, float]] = OrderedDict()
        """When each was last seen, and what was left; the one seen least lately first."""

    def take(self, caller: str) -> int | None:
        """Take a request; return the seconds to wait, None if there was one."""
        now = self._clock()
        left = self._left(caller, now)
        self._callers[caller] = now, max(left - 1, 0.0) if left >= 1 else left
        self._callers.move_to_end(caller)
        if len(self._callers) > _MOST_CALLERS:
            self._callers.popitem(last=False)
        return None if left >= 1 else math.ceil((1 - left) / self._per_second)

    def _left(self, caller: str, now: float) -> float:
        since, left = self._callers.get(caller, (now, self._full))
        return min(self._full, left + (now - since) * self._per_second)
