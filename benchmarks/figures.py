"""What is measured, and the statistics of it. Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

P95_TO_P50_MAX = 1.5
PRESSURE_MAX = 0.05
BUSY_MAX = 0.1
PARTS = (1, 5, 10, 25, 50, 75, 90, 95, 99, 99.9, 100)
"""Percentiles that are kept, so that a distribution can be drawn."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What one round of one subject gave, for one unit of work."""

    value: float
    cpu_s: float | None = None
    """Of every process that took part."""
    spread: Mapping[str, float] = field(default_factory=dict[str, float])
    """Percentiles over the single operations of the round."""


@dataclass(slots=True)
class Series:
    """All rounds of one subject in one comparison."""

    question: str
    group: str
    """Subjects of one group were taken in turn and may be compared."""
    subject: str
    unit: str = "s"
    durability: str = ""
    """What an acknowledgement means; empty where nothing is written."""
    payload_bytes: int = 0
    """Of one unit of work; makes a bandwidth of the seconds."""
    x: float | None = None
    """Where a point of a curve stands."""
    is_limit: bool = False
    values: list[float] = field(default_factory=list[float])
    cpu_s: list[float] = field(default_factory=list[float])
    spreads: dict[str, list[float]] = field(default_factory=dict[str, list[float]])

    def add(self, taken: Taken) -> None:
        """Add a round."""
        self.values.append(taken.value)
        if taken.cpu_s is not None:
            self.cpu_s.append(taken.cpu_s)
        for name, value in taken.spread.items():
            self.spreads.setdefault(name, []).append(value)

    @property
    def median(self) -> float:
        """Give the middle of the rounds."""
        return statistics.median(self.values)

    @property
    def median_cpu_s(self) -> float | None:
        """Give the middle of what the processor was busy for one unit of work."""
        return statistics.median(self.cpu_s) if self.cpu_s else None

    def median_of(self, percentile: str) -> float:
        """Give the middle of the rounds' percentiles."""
        return statistics.median(self.spreads[percentile])


@dataclass(frozen=True, slots=True)
class Canary:
    """How quiet the machine was for a second."""

    p50_s: float
    """Of an append with fdatasync."""
    p95_s: float
    pressure: float
    """The part of the time in which others waited for a processor."""
    busy: float
    """The part of all processors that others used."""
    loop_s: float
    """What a fixed loop in Python took."""

    @property
    def is_quiet(self) -> bool:
        """Tell whether figures that were taken now count."""
        steady = self.p95_s < P95_TO_P50_MAX * self.p50_s
        return steady and self.pressure < PRESSURE_MAX and self.busy < BUSY_MAX

    def __str__(self) -> str:
        quiet = "quiet" if self.is_quiet else "NOT quiet"
        return (
            f"{quiet}: append+fdatasync p50 {self.p50_s * 1e6:.0f} us, p95"
            f" {self.p95_s * 1e6:.0f} us, CPU pressure {self.pressure:.0%},"
            f" others use {self.busy:.0%}"
        )


def percentile(values: Sequence[float], part: float) -> float:
    """Give the smallest value that a part of all values does not pass.

    Args:
        values: At least one.
        part: Above 0, at most 1.
    """
    ordered = sorted(values)
    return ordered[max(0, math.ceil(part * len(ordered)) - 1)]


def spread_of(values: Sequence[float]) -> dict[str, float]:
    """Give the percentiles that are kept."""
    return {f"p{part:g}": percentile(values, part / 100) for part in PARTS}


def rotated(count: int, round_number: int) -> Iterable[int]:
    """Give the order of a round: nobody has the same neighbour before every time."""
    start = round_number % count
    order = [*range(start, count), *range(start)]
    return reversed(order) if round_number // count % 2 else order


def series_from(saved: Mapping[str, Any]) -> Series:
    """Read a series from JSON; the medians in it are made anew."""
    fields = Series.__dataclass_fields__
    return Series(**{key: value for key, value in saved.items() if key in fields})
