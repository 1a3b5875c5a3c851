"""The two decisions of recovery, as tables: what damage means, what a tail needs.

Pure. Every combination of facts matches exactly one row; a test enumerates them.
"""

from __future__ import annotations

from enum import Enum
from typing import Final, NamedTuple, TypeVar

T = TypeVar("T")


class Verdict(Enum):
    """What bytes that are no valid record mean."""

    CORRUPT = "corrupt"
    """They were durable: name them, skip them, never end the log there."""
    TORN = "torn"
    """An unfinished write: the log ends before it, whatever is behind is void."""
    VOID = "void"
    """Behind the part that counts: nobody looks at them."""


class Place(NamedTuple):
    """Where a stretch without a valid record lies."""

    is_last_segment: bool
    """No later segment's header fixes this one's usable length."""
    below_usable: bool
    """It starts below the usable length (always true in the last segment)."""
    below_durable: bool
    """It starts below the greatest durable point that anything valid states."""


class _Row(NamedTuple):
    is_last_segment: bool | None
    below_usable: bool | None
    below_durable: bool | None
    verdict: Verdict


# `None` matches both.
DAMAGE_TABLE: Final = (
    # last   usable  durable
    _Row(False, False, None, Verdict.VOID),
    # a usable length is fixed only after everything below it was synced
    _Row(False, True, None, Verdict.CORRUPT),
    _Row(True, None, True, Verdict.CORRUPT),
    _Row(True, None, False, Verdict.TORN),
)


def judge_damage(place: Place) -> Verdict:
    """Say what a stretch without a valid record means."""
    return _only(
        [
            row.verdict
            for row in DAMAGE_TABLE
            if all(
                want is None or want == fact
                for want, fact in zip(row[:-1], place, strict=True)
            )
        ]
    )


class TailAction(Enum):
    """What the holder of the lock does before it appends."""

    CONTINUE = "continue"
    """Append behind the end."""
    RELOG = "relog"
    """Copy whole batches above the proven point into a new segment."""
    ROLL = "roll"
    """Start a new segment; this one is finished."""


class Tail(NamedTuple):
    """The facts of the active segment when the lock was taken."""

    is_sealed: bool
    """It ends in a valid footer."""
    has_unproven_name: bool
    """Its name was made to last just now: others may have the old file open."""
    is_poisoned: bool
    """A sync of this file failed once; what it holds above the point is unproven."""
    has_bytes_above_written: bool
    """The file is longer than its published end: a killed or interrupted writer."""
    is_shorter_than_written: bool
    """The file is shorter than its published end: it was truncated."""
    has_batches_above_durable: bool
    """Published batches that no sync has covered yet."""
    writers_alive: bool
    """Every writer of those batches still lives, so the page cache holds them."""


class _TailRow(NamedTuple):
    is_sealed: bool | None
    has_unproven_name: bool | None
    is_poisoned: bool | None
    has_bytes_above_written: bool | None
    is_shorter_than_written: bool | None
    has_batches_above_durable: bool | None
    writers_alive: bool | None
    action: TailAction


TAIL_TABLE: Final = (
    #        sealed name poison above shorter undurable alive
    _TailRow(True, None, None, None, None, None, None, TailAction.ROLL),
    _TailRow(False, True, None, None, None, None, None, TailAction.RELOG),
    _TailRow(False, False, True, None, None, None, None, TailAction.RELOG),
    _TailRow(False, False, False, True, None, None, None, TailAction.RELOG),
    _TailRow(False, False, False, False, True, None, None, TailAction.RELOG),
    _TailRow(False, False, False, False, False, True, False, TailAction.RELOG),
    _TailRow(False, False, False, False, False, True, True, TailAction.CONTINUE),
    _TailRow(False, False, False, False, False, False, None, TailAction.CONTINUE),
)


def judge_tail(tail: Tail) -> TailAction:
    """Say what the active segment's tail needs before the next append."""
    return _only(
        [
            row.action
            for row in TAIL_TABLE
            if all(
                want is None or want == fact
                for want, fact in zip(row[:-1], tail, strict=True)
            )
        ]
    )


def _only(matches: list[T]) -> T:
    assert len(matches) == 1, "the table is not exact"
    return matches[0]
