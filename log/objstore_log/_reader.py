"""Reading records by sequence, and the change feed of a log.

A read that fails because the place of a record has moved (its segment was re-logged or
reclaimed meanwhile) looks the place up once more before it says anything.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Final, NamedTuple, TypeVar

from objstore_log._core import VANISHED_MAX, LogCore
from objstore_log._footer import Entry, SegmentIndex
from objstore_log._format import SEGMENT_HEADER_BYTES
from objstore_log._marks import LostSegments
from objstore_log._record import SUBJECT_KINDS, Kind, Record
from objstore_log._refusals import refusals
from objstore_log._sealed_index import FooterChangedError
from objstore_log._segment import Segment
from objstore_log.errors import CorruptionError, HistoryRewoundError, SequenceGoneError

T = TypeVar("T")
FEED_SCAN_RECORDS_MAX: Final = 65_536
"""Records that one page of the feed looks at before it returns with what it has."""


class FeedPage(NamedTuple):
    """Records of the feed, and the sequence up to which nothing was left out."""

    records: list[Record]
    through: int


@dataclass(slots=True)
class _Page:
    """A page of the feed while it is filled."""

    limit: int
    kinds: frozenset[Kind]
    records: list[Record] = field(default_factory=list[Record])
    looked_at: int = 0

    @property
    def is_full(self) -> bool:
        """Say whether nothing more is looked at."""
        return (
            len(self.records) >= self.limit or self.looked_at >= FEED_SCAN_RECORDS_MAX
        )

    def take(self, segment: Segment, entry: Entry) -> bool:
        """Add a record if it is wanted.

        Returns:
            False when it is damaged: the page ends before it, and the next one raises.
        """
        self.looked_at += 1
        if entry.kind in self.kinds:
            try:
                self.records += segment.read_entries([entry]) or []
            except CorruptionError:
                if self.records:
                    return False
                raise
        return True


def _stop(
    page: _Page,
    segment: Segment,
    first: int,
    last: int,
    lost: LostSegments | None = None,
) -> int:
    """End a page before lost records; a page that would be empty raises."""
    if page.records:
        return first - 1
    if lost is not None:
        raise CorruptionError(
            path=segment.storage.path,
            segment=lost.numbers.first,
            position=0,
            sequence=last,
            reason=f"records {first} to {last} are lost: {lost.reason}",
        )
    damage = segment.damages[0] if segment.damages else None
    raise CorruptionError(
        path=segment.path,
        segment=segment.number,
        position=0 if damage is None else damage.position,
        sequence=last,
        reason=f"records {first} to {last} are lost",
    )


class Reader:
    """Reads what is visible."""

    def __init__(self, core: LogCore) -> None:
        self._core = core

    def _retried(self, read: Callable[[], T]) -> T:
        """Read; look the places up anew when something is not where it was.

        A file that is missing had gone since the last look, so that looking goes on;
        what is damaged at the second look stays so.
        """
        with refusals(self._core.storage.path, "read"):
            has_looked_again = False
            for _ in range(VANISHED_MAX):
                try:
                    return read()
                except FileNotFoundError:
                    pass
                except (CorruptionError, SequenceGoneError):
                    if has_looked_again:
                        raise
                    has_looked_again = True
                with self._core.mutex:
                    self._core.catch_up()
                    self._core.segments.refresh()
            return read()

    def usable(self, segment: Segment) -> int:
        """Give how many bytes of a segment count for readers."""
        written = self._core.progress.written
        if segment.number == written.segment:
            return written.position
        return self._core.segments.usable(segment)

    def index(self, segment: Segment) -> SegmentIndex:
        """Give a segment's index, loading it when needed."""
        index = segment.loaded_index
        if index is not None:
            return index
        with self._core.mutex:
            return segment.index(self.usable(segment))

    def read_run(self, first: int, count: int) -> list[Record]:
        """Read consecutive sequences.

        Raises:
            SequenceGoneError: one of them is not kept.
            CorruptionError: one of them is damaged.
        """
        return self._retried(lambda: self._read_run(first, count))

    def try_read_run(self, first: int, count: int) -> list[Record] | None:
        """Read like `read_run` if that needs no waiting for the disk, else `None`."""
        try:
            segment = self._core.segments.locate(first)
            index = segment.loaded_index
            if index is None:
                return None
            entries = self._entries(index, first, count)
            if len(entries) < count:
                return None
            return segment.read_entries(entries, wait=False)
        except (OSError, CorruptionError, SequenceGoneError):
            return None

    def _read_run(self, first: int, count: int) -> list[Record]:
        records: list[Record] = []
        sequence, end = first, first + count
        while sequence < end:
            segment = self._core.segments.locate(sequence)
            entries = self._entries(self.index(segment), sequence, end - sequence)
            if not entries:
                raise self._missing(segment, sequence)
            read = segment.read_entries(entries)
            assert read is not None
            records += read
            sequence += len(entries)
        return records

    def _held_entries(self, segment: Segment, first: int, count: int) -> list[Entry]:
        with suppress(FooterChangedError):
            index = segment.loaded_index or segment.index(segment.file.size())
            return self._entries(index, first, count)
        return self._entries(segment.index(segment.file.size()), first, count)

    def read_held(
        self, segments: Sequence[Segment], first: int, count: int
    ) -> list[Record]:
        """Read like `read_run` out of files that are open, though the log is gone.

        Raises:
            SequenceGoneError: they do not hold it.
            CorruptionError: a record is damaged.
        """
        records: list[Record] = []
        sequence, end = first, first + count
        while sequence < end:
            holders = [held for held in segments if held.first_sequence <= sequence]
            if not holders:
                raise SequenceGoneError(sequence=sequence)
            segment = max(holders, key=lambda held: held.number)
            entries = self._held_entries(segment, sequence, end - sequence)
            if not entries:
                raise SequenceGoneError(sequence=sequence)
            read = segment.read_entries(entries)
            assert read is not None
            records += read
            sequence += len(entries)
        return records

    def _entries(self, index: SegmentIndex, first: int, count: int) -> list[Entry]:
        """Give the entries of a run as far as they lie in a segment, gap-free."""
        place = index.place(first)
        entries: list[Entry] = []
        for offset in range(min(count, len(index) - place)):
            entry = index.entry(place + offset)
            if entry.sequence != first + offset:
                break
            entries.append(entry)
        return entries

    def _missing(
        self, segment: Segment, sequence: int
    ) -> SequenceGoneError | CorruptionError:
        """Say why a sequence has no entry: damaged if its segment is, else gone."""
        if segment.damages:
            damage = segment.damages[0]
            return CorruptionError(
                path=segment.path,
                segment=segment.number,
                position=damage.position,
                sequence=sequence,
                reason=damage.reason,
            )
        return SequenceGoneError(sequence=sequence)

    def read(self, sequence: int) -> Record:
        """Read one record."""
        return self.read_run(sequence, 1)[0]

    # --- the feed -------------------------------------------------------------

    def feed(self, after: int, limit: int, kinds: frozenset[Kind]) -> FeedPage:
        """Give visible records of some kinds above a sequence, in log order.

        Raises:
            HistoryRewoundError: `after` is beyond the end or in a gap of the log.
            CorruptionError: the next record is damaged or lost; its `sequence` is
                where to go on behind it.
        """
        self._core.catch_up()
        visible = self._core.visible_sequence
        if after > visible:
            raise HistoryRewoundError(sequence=after, last_sequence=visible)
        page = self._retried(lambda: self._feed(after, limit, kinds, visible))
        # what was left out of a segment since the look was below a floor that was
        # committed before: whoever asks for the floor behind this sees it
        self._core.catch_up()
        return page

    def _feed(
        self, after: int, limit: int, kinds: frozenset[Kind], visible: int
    ) -> FeedPage:
        page = _Page(limit, kinds)
        segments = self._core.segments.tail(after)
        self._check_gap(segments, after)
        self._check_front(segments, after, visible)
        for segment, following in zip_longest(segments, segments[1:]):
            if segment.first_sequence > visible:
                break
            # what is behind the usable end stands in the next segment again
            end = visible
            if following is not None:
                end = min(end, following.first_sequence - 1)
            first = max(after + 1, segment.first_sequence)
            through = self._feed_segment(page, segment, following, first, end)
            if through is not None:
                return FeedPage(page.records, through)
        return FeedPage(page.records, visible)

    def _feed_segment(
        self,
        page: _Page,
        segment: Segment,
        following: Segment | None,
        first: int,
        end: int,
    ) -> int | None:
        """Add what one segment has; when the page ends in it, give through where."""
        expected = first
        index = self.index(segment)
        start = index.place(first)
        behind = _end_of(index, start - 1)
        for place in range(start, len(index)):
            entry = index.entry(place)
            if entry.sequence > end:
                break
            if entry.sequence > expected and segment.may_lack(behind, entry.position):
                return _stop(page, segment, expected, entry.sequence - 1)
            expected = entry.sequence + 1
            behind = entry.position + entry.length
            if not page.take(segment, entry):
                return entry.sequence - 1
            if page.is_full:
                return entry.sequence
        if not segment.may_lack(behind, self.usable(segment)):
            expected = max(expected, segment.header.covers_final + 1)
        lost = None
        last = min(end, self._last_of(segment, following))
        if following is not None:
            lost = self._core.segments.lost_before(following)
            last = last if lost is None else end
        return _stop(page, segment, expected, last, lost) if expected <= last else None

    def _last_of(self, segment: Segment, following: Segment | None) -> int:
        """Give the last sequence that a segment must hold, 0 when nobody says."""
        if following is None:
            return self._core.visible_sequence
        header = following.header
        if header.previous_number == segment.number:
            return header.previous_last_sequence
        # what stood behind it was reclaimed, so it was sealed: then its footer says
        return 0 if segment.footer is not None else following.first_sequence - 1

    def _check_front(self, segments: list[Segment], after: int, visible: int) -> None:
        """Refuse to begin behind segments that are lost, unless it is asked for."""
        for segment in segments[:1]:
            last = min(segment.first_sequence - 1, visible)
            lost = self._core.segments.lost_before(segment)
            if lost is not None and after < last:
                _stop(_Page(0, frozenset()), segment, after + 1, last, lost)

    def _check_gap(self, segments: list[Segment], after: int) -> None:
        """Refuse a place in the gap that an unclean end of a relaxed log left."""
        for segment in segments:
            if segment.first_sequence - 1 > after:
                previous_last = segment.header.previous_last_sequence
                if segment.header.previous_number and previous_last < after:
                    raise HistoryRewoundError(
                        sequence=after, last_sequence=previous_last
                    )
                return

    def first_sequence(self) -> int:
        """Give the first sequence that any segment still holds (1 when empty)."""
        for segment in self._core.segments:
            return segment.first_sequence
        return 1

    def sequence_at(self, time_ns: int) -> int:
        """Give the last visible sequence committed at or before a time."""
        self._core.catch_up()
        visible = self._core.visible_sequence
        return self._retried(lambda: self._sequence_at(time_ns, visible))

    def _sequence_at(self, time_ns: int, visible: int) -> int:
        candidate = 0
        for segment in self._core.segments:
            index = self.index(segment)
            place = self._place_after(segment, index, time_ns, index.place(visible + 1))
            if place:
                candidate = index.sequence(place - 1)
            elif candidate and len(index):
                # the segment's own time may be later than its records': clocks go back
                break
        return candidate

    def _place_after(
        self, segment: Segment, index: SegmentIndex, time_ns: int, end: int
    ) -> int:
        """Give the place behind the last record of an index at or before a time."""
        low, high = 0, end
        while low < high:
            middle = place = (low + high) // 2
            found_ns = segment.read_time(index.entry(place))
            while found_ns is None and place + 1 < high:
                # a damaged header tells no time, the next whole one does
                place += 1
                found_ns = segment.read_time(index.entry(place))
            if found_ns is not None and found_ns <= time_ns:
                low = place + 1
            else:
                high = middle
        return low


def _end_of(index: SegmentIndex, place: int) -> int:
    """Give where the record at a place ends, of none where records begin."""
    if place < 0:
        return SEGMENT_HEADER_BYTES
    entry = index.entry(place)
    return entry.position + entry.length


FEED_KINDS: Final = SUBJECT_KINDS
"""What a feed of everything but content holds."""
