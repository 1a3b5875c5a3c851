"""The rows that have to be reached: DESIGN section 8, as data. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from benchmarks.figures import Series
from benchmarks.limits import PREAD, RAW_APPEND, READ_FILE, SHA256
from benchmarks.questions import (
    beside_large,
    large,
    million,
    ranges,
    small_get,
    small_put,
    space,
    watchers,
)

SYNC, ASYNC = "objstore sync", "objstore async"
NATS_SYNCED, NATS = "NATS synced", "NATS"
MS = 1e-3
MB = 1e6


@dataclass(frozen=True, slots=True)
class Row:
    """A promise about one figure."""

    work: str
    group: str
    subject: str
    base: str | None
    """Who it is related to, in the same group; `None`: the figure itself counts."""
    sense: Literal["time", "speed", "value"]
    """`time`: at most so many times as long as the base; `speed`: at least so many
    times as fast; `value`: at most this."""
    must: float
    aim: float | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a row."""

    row: Row
    figure: float

    @property
    def meets_must(self) -> bool:
        """Tell whether the promise was kept."""
        return self._within(self.row.must)

    @property
    def meets_aim(self) -> bool:
        """Tell whether it is as good as it was meant to become."""
        return self.row.aim is None or self._within(self.row.aim)

    def _within(self, border: float) -> bool:
        if self.row.sense == "speed":
            return self.figure >= border
        return self.figure <= border


def _put_rows(size: int) -> list[Row]:
    group = large.PUT.format(size)
    return [
        row
        for subject in (SYNC, ASYNC)
        for row in (
            Row(f"{group}, {subject}", group, subject, SHA256, "speed", 0.6, 0.85),
            Row(f"{group}, {subject}", group, subject, NATS_SYNCED, "speed", 6),
        )
    ]


def _get_rows(group: str, must: float, aim: float, nats: float | None) -> list[Row]:
    rows: list[Row] = []
    for subject in (SYNC, ASYNC):
        work = f"{group}, {subject}"
        rows.append(Row(work, group, subject, SHA256, "speed", must, aim))
        if nats is not None:
            rows.append(Row(work, group, subject, NATS, "speed", nats))
    return rows


ONE, MANY, WARM = small_put.ONE, small_put.MANY, small_get.WARM
SMALL_ROWS = [
    Row(f"{ONE}, {SYNC}", ONE, SYNC, RAW_APPEND, "time", 1.6, 1.2),
    Row(f"{ONE}, {ASYNC}", ONE, ASYNC, RAW_APPEND, "time", 2.2, 1.6),
    Row(f"{ONE}, {SYNC}", ONE, SYNC, NATS_SYNCED, "speed", 4),
    Row(f"{ONE}, {ASYNC}", ONE, ASYNC, NATS_SYNCED, "speed", 4),
    Row(f"{MANY}, {ASYNC}", MANY, ASYNC, NATS_SYNCED, "speed", 10, 30),
    Row(f"{MANY}, {ASYNC}", MANY, ASYNC, "SQLite FULL", "speed", 3, 9),
    Row(f"{WARM}, {SYNC}", WARM, SYNC, READ_FILE, "speed", 0.8, 1.5),
    Row(f"{WARM}, {ASYNC}", WARM, ASYNC, READ_FILE, "speed", 0.5, 1),
    Row(f"{WARM}, {ASYNC}", WARM, ASYNC, NATS, "speed", 60),
]
LARGE_ROWS = [
    *_put_rows(large.MIDDLE),
    *_put_rows(large.LARGE),
    *_get_rows(large.GET.format(large.MIDDLE), 0.6, 0.75, 20),
    *_get_rows(large.STREAM.format(large.LARGE), 0.75, 0.95, 20),
    *_get_rows(large.GET.format(large.LARGE), 0.4, 0.5, None),
    Row(f"{ranges.RANGE}, {SYNC}", ranges.RANGE, SYNC, PREAD, "speed", 0.4, 0.7),
    Row(f"{ranges.RANGE}, {ASYNC}", ranges.RANGE, ASYNC, PREAD, "speed", 0.4, 0.7),
]


def _value(work: str, group: str, subject: str, must: float, aim: float) -> Row:
    return Row(work, group, subject, None, "value", must, aim)


VALUE_ROWS = [
    _value(million.OPEN, million.OPEN, million.WARM, 150 * MS, 50 * MS),
    _value(million.MEMORY, million.MEMORY, million.WHOLE, 60 * MB, 30 * MB),
    _value(million.LIST, million.LIST, million.WARM, 0.8, 0.3),
    _value(million.PAGE, million.PAGE, million.WARM, 10 * MS, 4 * MS),
    *(
        _value(f"{watchers.SEEN}, {way}", watchers.SEEN, way, must, aim)
        for way, must, aim in (
            (watchers.SAME_ASYNC, 0.5 * MS, 0.05 * MS),
            (watchers.SAME_SYNC, 0.5 * MS, 0.05 * MS),
            (watchers.OTHER, 10 * MS, 1 * MS),
        )
    ),
    *(
        _value(f"{beside_large.BESIDE}, {way}", beside_large.BESIDE, way, must, aim)
        for way, must, aim in (
            (beside_large.THREADS, 20 * MS, 8 * MS),
            (beside_large.TASKS, 20 * MS, 8 * MS),
        )
    ),
    _value(space.SPACE, space.SPACE, space.SUBJECT, 1.2, 1.05),
]
ROWS = [*SMALL_ROWS, *LARGE_ROWS, *VALUE_ROWS]


def figure_of(row: Row, taken: Sequence[Series]) -> float | None:
    """Relate a row's subject to its base; `None` when one of them was not taken."""
    medians = {
        series.subject: series.median for series in taken if series.group == row.group
    }
    own = medians.get(row.subject)
    if own is None or row.base is None:
        return own
    base = medians.get(row.base)
    if base is None:
        return None
    return own / base if row.sense == "time" else base / own


def judge(taken: Sequence[Series]) -> list[Verdict]:
    """Judge every row that was taken."""
    verdicts: list[Verdict] = []
    for row in ROWS:
        figure = figure_of(row, taken)
        if figure is not None:
            verdicts.append(Verdict(row, figure))
    return verdicts
