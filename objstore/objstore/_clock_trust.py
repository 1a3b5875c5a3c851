"""How far the wall clock is believed when something is purged for good. Pure.

Reads hide by the wall clock and show again when it was wrong. What retention purges
never comes back; so it follows the steady clock while the two disagree.
"""

from __future__ import annotations

from typing import Final

NS_PER_S: Final = 1_000_000_000
DISAGREEMENT_S: Final = 3_600
"""A step of the wall clock beyond this is doubted."""
GRACE_S: Final = 86_400
"""How long it is doubted; then it is believed as it is."""


class ClockTrust:
    """Compares the wall clock with the steady one since both were first seen."""

    def __init__(self, wall_ns: int, steady_s: float) -> None:
        self._wall_ns = wall_ns
        self._steady_s = steady_s
        self._doubted_since_s: float | None = None

    def purge_ns(self, wall_ns: int, steady_s: float) -> int:
        """Give the time that purging goes by, never beyond the wall clock."""
        steady_ns = self._wall_ns + int((steady_s - self._steady_s) * NS_PER_S)
        if abs(wall_ns - steady_ns) <= DISAGREEMENT_S * NS_PER_S:
            self._doubted_since_s = None
            return wall_ns
        if self._doubted_since_s is None:
            self._doubted_since_s = steady_s
        if steady_s - self._doubted_since_s >= GRACE_S:
            self._wall_ns, self._steady_s = wall_ns, steady_s
            self._doubted_since_s = None
            return wall_ns
        return min(wall_ns, steady_ns)
