"""Which segments are worth being copied without what nobody needs in them.

Pure. Every combination of facts matches exactly one row; a test enumerates them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import Enum
from typing import Final, NamedTuple

from objstore_log._footer import Entry, SegmentIndex, footer_bytes
from objstore_log._format import COMMIT_BYTES, SEGMENT_HEADER_BYTES

GAIN_BYTES_MIN: Final = 64 * 1024
"""Less is not worth a file: a segment has a thousand times as much when it is full."""
GAIN_SHARE_MIN: Final = 1 / 8
"""Of what a copy keeps: until then a log takes that much more than it must, and for
each byte that comes back at most eight are copied."""
COPIED_BYTES_MAX: Final = 256 * 1024 * 1024
"""What one run copies in one log; it goes on in the next one."""

BATCH_BYTES_MIN: Final = 256 * 1024
"""Smaller batches are joined in a copy: a commit for each would cost their savings."""


class Move(Enum):
    """What becomes of a segment that is not dead."""

    LEAVE = "leave"
    """Only its large dead bodies are punched out."""
    REWRITE = "rewrite"
    """A copy without the dead takes its name."""


class Facts(NamedTuple):
    """What is known of a segment when it is judged."""

    is_sealed: bool
    """It ends in a valid footer, which names every record in it."""
    is_decided: bool
    """All of it is at or below the sequence up to which the catalog judges."""
    is_applied: bool
    """The catalog's last commit stands behind it, so that no place in it is kept."""
    is_damaged: bool
    """Something of it cannot be read: a copy would launder that."""
    is_held: bool
    """A reader has pinned it: its room would not come back."""
    is_worth_it: bool
    """See `is_worth_it`."""


class _Row(NamedTuple):
    is_sealed: bool | None
    is_decided: bool | None
    is_applied: bool | None
    is_damaged: bool | None
    is_held: bool | None
    is_worth_it: bool | None
    move: Move


# `None` matches both.
TABLE: Final = (
    #    sealed decided applied damaged held worth
    _Row(False, None, None, None, None, None, Move.LEAVE),
    _Row(True, False, None, None, None, None, Move.LEAVE),
    _Row(True, True, False, None, None, None, Move.LEAVE),
    _Row(True, True, True, True, None, None, Move.LEAVE),
    _Row(True, True, True, False, True, None, Move.LEAVE),
    _Row(True, True, True, False, False, False, Move.LEAVE),
    _Row(True, True, True, False, False, True, Move.REWRITE),
)


def judge(facts: Facts) -> Move:
    """Say what becomes of a segment."""
    matches = [
        row.move
        for row in TABLE
        if all(
            want is None or want == fact
            for want, fact in zip(row[:-1], facts, strict=True)
        )
    ]
    assert len(matches) == 1, "the table is not exact"
    return matches[0]


def is_worth_it(stored_bytes: int, copied_bytes: int) -> bool:
    """Say whether a copy gives back enough for what it costs.

    Args:
        stored_bytes: what the segment takes once its large dead bodies are holes.
        copied_bytes: what a copy takes.
    """
    gain = stored_bytes - copied_bytes
    return gain >= GAIN_BYTES_MIN and gain >= copied_bytes * GAIN_SHARE_MIN


class Weighed(NamedTuple):
    """A segment that is worth it."""

    number: int
    stored_bytes: int
    copied_bytes: int


def choose(weighed: Iterable[Weighed]) -> set[int]:
    """Give the numbers of those that one run copies, the cheapest gains first."""
    left = COPIED_BYTES_MAX
    chosen: set[int] = set()
    for item in sorted(weighed, key=_cost):
        # one that is larger than the bound would never have its turn
        if item.copied_bytes <= left or not chosen:
            chosen.add(item.number)
            left -= item.copied_bytes
    return chosen


def _cost(item: Weighed) -> tuple[float, int]:
    gain = item.stored_bytes - item.copied_bytes
    return item.copied_bytes / gain, item.number


class Copy(NamedTuple):
    """What a copy of a segment holds, and what it leaves out."""

    batches: list[list[Entry]]
    """The records that stay, in order, by the batch of the copy that holds them."""
    left_out: list[Entry]
    ends_in_a_gap: bool
    """The last record of the segment is left out."""
    length: int
    """Of the whole file."""


def plan_copy(
    index: SegmentIndex, last_sequence: int, is_needed: Callable[[Entry], bool]
) -> Copy | None:
    """Say what a copy of a segment holds; `None` when that is nothing.

    Batches are joined, up to a bound, and never torn apart: between records of two
    batches stands a commit, so that one does not begin where the other ends.
    """
    batches: list[list[Entry]] = []
    left_out: list[Entry] = []
    joined_bytes = kept_bytes = end = 0
    for entry in map(index.entry, range(len(index))):
        if entry.position != end and joined_bytes >= BATCH_BYTES_MIN:
            joined_bytes = 0
        end = entry.position + entry.length
        if not is_needed(entry):
            left_out.append(entry)
            continue
        if not joined_bytes:
            batches.append([])
        batches[-1].append(entry)
        joined_bytes += entry.length
        kept_bytes += entry.length
    if not batches:
        return None
    ends_in_a_gap = batches[-1][-1].sequence < last_sequence
    commits = len(batches) + ends_in_a_gap
    count = sum(map(len, batches))
    length = SEGMENT_HEADER_BYTES + kept_bytes + commits * COMMIT_BYTES
    return Copy(batches, left_out, ends_in_a_gap, length + footer_bytes(count))
