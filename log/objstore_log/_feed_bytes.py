"""How many bytes the records of a feed take, which bounds how far back it is kept.

A segment's index says so without reading a record, and what was summed once is not
summed again: a call looks at what has come since the last one, and at one segment more.
"""

from __future__ import annotations

from collections.abc import Iterator

from objstore_log._core import LogCore
from objstore_log._footer import SegmentIndex
from objstore_log._reader import Reader
from objstore_log._record import Kind
from objstore_log._segment import Segment

Kinds = frozenset[Kind]


class FeedBytes:
    """Weighs what readers may see of one log, from its end back."""

    def __init__(self, core: LogCore, reader: Reader) -> None:
        self._core = core
        self._reader = reader
        self._sums: dict[tuple[int, Kinds], tuple[int, int]] = {}
        """Of the first so many entries of a segment, by its number."""

    def released(self, kinds: Kinds, *, above: int, max_bytes: int) -> int:
        """Give the newest record with which a feed takes more than so many bytes.

        Args:
            kinds: What the feed holds.
            above: Where it begins; given back when all of it fits.
            max_bytes: Bytes of whole records, headers and keys included.
        """
        self._core.catch_up()
        self._forget_gone()
        left = max_bytes
        for segment, index, end in self._newest_first(above):
            size = self._sum(segment, index, end, kinds)
            if size > left:
                return max(above, _first_over(index, end, kinds, left))
            left -= size
        return above

    def holds(self, kinds: Kinds, *, above: int, through: int) -> bool:
        """Say whether a feed has a record in a range of sequences."""
        for segment in self._core.segments.tail(above):
            if segment.first_sequence > through:
                break
            index = self._reader.index(segment)
            places = range(index.place(above + 1), index.place(through + 1))
            if any(index.entry(place).kind in kinds for place in places):
                return True
        return False

    def _newest_first(self, above: int) -> Iterator[tuple[Segment, SegmentIndex, int]]:
        """Give segments with how many of their entries count, down to a sequence."""
        last = self._core.visible_sequence
        for segment in reversed(list(self._core.segments)):
            if last <= above:
                return
            if segment.first_sequence <= last:
                index = self._reader.index(segment)
                yield segment, index, index.place(last + 1)
                # what is behind it in an older segment stands in this one again
                last = segment.first_sequence - 1

    def _sum(
        self, segment: Segment, index: SegmentIndex, end: int, kinds: Kinds
    ) -> int:
        key = (segment.number, kinds)
        start, size = self._sums.get(key, (0, 0))
        if end < start:
            start = size = 0
        for place in range(start, end):
            entry = index.entry(place)
            if entry.kind in kinds:
                size += entry.length
        self._sums[key] = (end, size)
        return size

    def _forget_gone(self) -> None:
        kept = {segment.number for segment in self._core.segments}
        self._sums = {key: sums for key, sums in self._sums.items() if key[0] in kept}


def _first_over(index: SegmentIndex, end: int, kinds: Kinds, left: int) -> int:
    """Give the record of an index that has no room any more, counted from its end."""
    for place in range(end - 1, -1, -1):
        entry = index.entry(place)
        if entry.kind in kinds:
            left -= entry.length
            if left < 0:
                return entry.sequence
    raise AssertionError
