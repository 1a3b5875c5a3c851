"""Marks of reclaimed segments: which numbers are gone because nobody needed them.

A mark is an empty file whose name states a range of numbers, durable before the first
segment in it goes. A segment that is missing without one is lost.
Law: docs/format.md, "Marks". Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple

MARK_SUFFIX: Final = ".gone"
_NAME: Final = re.compile("([0-9a-f]{8})-([0-9a-f]{8})" + re.escape(MARK_SUFFIX))


class Mark(NamedTuple):
    """The numbers of segments that are gone, or were never given."""

    first: int
    last: int

    @property
    def name(self) -> str:
        """Give its file's name."""
        return f"{self.first:08x}-{self.last:08x}{MARK_SUFFIX}"


@dataclass(frozen=True, slots=True)
class LostSegments:
    """Segments that are missing, and that no mark says were reclaimed."""

    numbers: Mark
    behind: int
    """The number of the segment that they stood before."""

    @property
    def reason(self) -> str:
        """Say what is wrong."""
        first, last = self.numbers
        if first == last:
            return "the segment is missing, and no mark says that it was reclaimed"
        return (
            f"segments {first:08x} to {last:08x} are missing, and no mark says that "
            "they were reclaimed"
        )


def parse_mark_name(name: str) -> Mark | None:
    """Give the mark that a name is, `None` for any other file."""
    found = _NAME.fullmatch(name)
    return None if found is None else Mark(int(found[1], 16), int(found[2], 16))


def marks_in(names: Iterable[str]) -> list[Mark]:
    """Give the marks among the names of a directory, sorted."""
    return sorted(mark for name in names if (mark := parse_mark_name(name)) is not None)


def widened(marks: Iterable[Mark], mark: Mark) -> Mark:
    """Give a mark together with those that it touches."""
    first, last = mark
    for other in sorted(marks):
        if other.first <= last + 1 and other.last >= first - 1:
            first, last = min(first, other.first), max(last, other.last)
    return Mark(first, last)


def unmarked(marks: Iterable[Mark], first: int, last: int) -> Mark | None:
    """Give what of a range no mark names, from its first to its last; `None`: none."""
    ranges = sorted(marks) if first <= last else []
    for mark in ranges:
        if mark.first <= first <= mark.last:
            first = mark.last + 1
    for mark in sorted(ranges, key=lambda mark: mark.last, reverse=True):
        if mark.first <= last <= mark.last:
            last = mark.first - 1
    return Mark(first, last) if first <= last else None
