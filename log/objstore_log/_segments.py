"""The segments of one log: which there are, which holds a sequence, making a new one.

The only way a segment file comes into being is `create`: whole under a temporary name,
synced, renamed, directory synced. So a file with a segment's name always has a durable
header, and the rename is the moment at which it fixes its predecessor's usable length.
"""

from __future__ import annotations

import errno
import threading
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from objstore_log._batch import Durable, EncodedBatch, encode_batch
from objstore_log._footer import (
    SegmentIndex,
)
from objstore_log._format import (
    MARKER_BYTES,
    SEGMENT_BEHIND_MARKS,
    SEGMENT_BEHIND_SEAL,
    SEGMENT_HEADER_BYTES,
    DecodedSegmentHeader,
    SegmentHeader,
    decode_segment_header,
    encode_segment_header,
)
from objstore_log._marks import LostSegments, Mark, marks_in, unmarked, widened
from objstore_log._record import Record
from objstore_log._segment import (
    SEGMENT_SUFFIX,
    Segment,
    parse_segment_name,
    segment_name,
)
from objstore_log._storage import Buffer, Storage
from objstore_log.errors import SequenceGoneError

TEMPORARY_SUFFIX: Final = ".tmp"
OPEN_FILES_MAX: Final = 64
"""Segment files of a log that stay open, pinned ones and the active one aside."""
LISTINGS_MAX: Final = 10
"""How often a directory is listed until two listings miss the same."""


@dataclass(frozen=True, slots=True)
class Environment:
    """Clock and entropy, so that the log itself has neither."""

    now_ns: Callable[[], int]
    """Wall clock, nanoseconds since 1970."""
    monotonic_s: Callable[[], float]
    random_bytes: Callable[[int], bytes]


@dataclass(frozen=True, slots=True)
class CopiedBatch:
    """A whole batch of the previous segment, to be written again into a new one."""

    records: list[Record]
    last_sequence: int
    time_ns: int
    writer_id: int


@dataclass(frozen=True, slots=True)
class NewSegment:
    """What the header of a new segment says."""

    number: int
    first_sequence: int
    previous_number: int
    """0 when it is the first."""
    previous_usable: int
    previous_last_sequence: int
    flags: int


@dataclass(frozen=True, slots=True)
class CreatedSegment:
    """A new active segment and the batches it was born with."""

    segment: Segment
    end: int
    batches: list[EncodedBatch]


def _number_of(segment: Segment) -> int:
    return segment.number


def _last_before(segment: Segment) -> int | None:
    """Give the number that stood before a segment: 0 for none, `None`: nobody knows.

    Numbers in between were refused by a disk, or given up with a lost end.
    """
    try:
        header = segment.header
    except OSError:
        # it went this moment, or cannot be read, which whoever needs it is told
        return None
    if not header.flags & SEGMENT_BEHIND_MARKS:
        return None
    # who finds a head and no segment begins anew behind those that are lost
    is_new = header.first_sequence == 1
    return header.previous_number or (0 if is_new else segment.number - 1)


class Segments:
    """All segments of a log in the order of their numbers."""

    def __init__(
        self, storage: Storage, log_id: bytes, environment: Environment
    ) -> None:
        self.storage = storage
        self.log_id = log_id
        self.fallback_marker: tuple[int, bytes] | None = None
        """(segment number, marker) as the head states it."""
        self._environment = environment
        self._view: tuple[list[Segment], list[int]] = [], []
        """The segments and their first sequences; replaced whole, for readers without
        a lock."""
        self._recent: dict[int, Segment] = {}
        self._recent_lock = threading.Lock()
        self._refused: dict[str, bytes] = {}
        """Markers of segments whose names this process could not make durable."""
        self.followed = 0
        """Up to which number they were read: a later one that is listed may be taken
        back by its maker, and another one get its name."""
        self._lost: dict[int, LostSegments] = {}
        """By the number of the segment behind them."""

    def refresh(self) -> None:
        """Read the directory: take new segments in, let vanished ones go.

        While a reclaimer is at work a listing may miss both a segment and its mark, so
        that what is newly lost is looked at again.
        """
        names = self.storage.names()
        for _ in range(LISTINGS_MAX):
            self._take(names)
            lost = self._find_lost(marks_in(names))
            if lost == self._lost:
                return
            before, names = names, self.storage.names()
            if before == names:
                self._lost = lost
                return

    def _take(self, names: list[str]) -> None:
        known = {segment.number: segment for segment in self}
        found: list[Segment] = []
        for name in names:
            parsed = parse_segment_name(name)
            if parsed is None:
                continue
            number, first = parsed
            if self._is_refused(name):
                continue
            segment = known.pop(number, None) if number <= self.followed else None
            found.append(segment or self._new(number, first))
        for gone in known.values():
            self._forget_use(gone)
        self._set(sorted(found, key=lambda segment: segment.number))

    def _is_refused(self, name: str) -> bool:
        """Say whether it is the file that this process made in vain.

        Another process may have made one of that name since.
        """
        refused = self._refused.get(name)
        if refused is None:
            return False
        try:
            decoded = _header_in(self.storage, name)
        except FileNotFoundError:
            return True
        return decoded is not None and decoded.header.marker == refused

    def _find_lost(self, marks: list[Mark]) -> dict[int, LostSegments]:
        lost: dict[int, LostSegments] = {}
        before = 0
        for segment in self:
            # most gaps are marked, and no header need be read for them
            if unmarked(marks, before + 1, segment.number - 1) is not None:
                numbers = unmarked(marks, before + 1, _last_before(segment) or 0)
                if numbers is not None:
                    lost[segment.number] = LostSegments(numbers, segment.number)
            before = segment.number
        return lost

    @property
    def lost(self) -> list[LostSegments]:
        """Give what is missing, in order."""
        return list(self._lost.values())

    def lost_before(self, segment: Segment) -> LostSegments | None:
        """Give what is missing just before a segment."""
        return self._lost.get(segment.number)

    def _new(self, number: int, first_sequence: int) -> Segment:
        marker = self.fallback_marker
        own = marker[1] if marker is not None and marker[0] == number else None
        return Segment(self.storage, self.log_id, number, first_sequence, own)

    def _set(self, segments: list[Segment]) -> None:
        self._view = segments, [segment.first_sequence for segment in segments]

    def __len__(self) -> int:
        """Give how many there are."""
        return len(self._view[0])

    def __iter__(self) -> Iterator[Segment]:
        """Iterate in order."""
        return iter(list(self._view[0]))

    @property
    def active(self) -> Segment:
        """Give the last segment.

        Raises:
            FileNotFoundError: somebody has removed the log.
        """
        segments = self._view[0]
        if not segments:
            raise FileNotFoundError(
                errno.ENOENT, "no segment is left", self.storage.path
            )
        return segments[-1]

    def get(self, number: int) -> Segment | None:
        """Give the segment with that number, `None` when there is none."""
        for segment in reversed(self._view[0]):
            if segment.number == number:
                return segment
        return None

    def following(self, segment: Segment) -> Segment | None:
        """Give the next segment, `None` for the last."""
        segments = self._view[0]
        # looked up by number: it may have vanished from the list, and several may
        # begin with the same sequence when their bytes were void
        place = bisect_right(segments, segment.number, key=_number_of)
        return segments[place] if place < len(segments) else None

    def usable(self, segment: Segment, header: SegmentHeader | None = None) -> int:
        """Give how many bytes of a segment that is not the active one count.

        With a header, of the file that it stands in.
        """
        with suppress(FileNotFoundError):
            own = segment.opened().header if header is None else header
            if own.is_rewritten:
                # what its successor states is of the file that it was copied from
                return own.usable
        following = self.following(segment)
        # When the next one is gone this one has a footer: it could not go else.
        with suppress(FileNotFoundError):
            if following is not None:
                header = following.header
                if header.previous_number == segment.number:
                    return header.previous_usable
        footer = segment.footer
        return segment.file.size() if footer is None else footer.usable

    def is_stated_sealed(self, segment: Segment) -> bool:
        """Say whether the segments behind it state that a durable footer ends it.

        Only what was sealed has its successor reclaimed. A store of before the flag
        says nothing of its other segments.
        """
        following = self.following(segment)
        with suppress(FileNotFoundError):
            if segment.is_rewritten:
                return True
            if following is not None and self.lost_before(following) is None:
                header = following.header
                if header.previous_number == segment.number:
                    return bool(header.flags & SEGMENT_BEHIND_SEAL)
                return header.previous_number > segment.number
        return False

    def locate(self, sequence: int) -> Segment:
        """Give the segment that holds a sequence, if any does.

        Raises:
            SequenceGoneError: every segment starts above it.
        """
        segments, firsts = self._view
        place = bisect_right(firsts, sequence) - 1
        if place < 0:
            raise SequenceGoneError(sequence=sequence)
        segment = segments[place]
        self._touch(segment)
        return segment

    def tail(self, sequence: int) -> list[Segment]:
        """Give the segment that holds a sequence, if any does, and all behind it."""
        segments, firsts = self._view
        return segments[max(bisect_right(firsts, sequence) - 1, 0) :]

    def _touch(self, segment: Segment) -> None:
        """Note a use; let the least recently used indexes and files go."""
        if segment is self.active:
            return
        with self._recent_lock:
            self._recent.pop(segment.number, None)
            self._recent[segment.number] = segment
            if len(self._recent) > OPEN_FILES_MAX:
                oldest = next(iter(self._recent.values()))
                del self._recent[oldest.number]
                oldest.drop_index()
                if not oldest.pins:
                    oldest.let_go()

    def _forget_use(self, segment: Segment) -> None:
        with self._recent_lock:
            self._recent.pop(segment.number, None)
        if not segment.pins:
            segment.let_go()

    def forget(self, segment: Segment) -> None:
        """Take a segment that was unlinked out of the list."""
        self._set([other for other in self if other is not segment])
        self._forget_use(segment)

    def mark(self, segment: Segment) -> list[Mark]:
        """Make the mark durable that a segment is about to be reclaimed.

        Returns:
            Marks that it covers, which may go once another sync of the names is due.
        """
        numbers = self._view[0]
        place = numbers.index(segment)
        before = _last_before(segment)
        if before is None:
            # what stood there before marks were made was reclaimed
            before = numbers[place - 1].number if place else 0
        marks = marks_in(self.storage.names())
        mark = widened(marks, Mark(before + 1, segment.number))
        # Made anew even where it stands: a directory whose sync was refused once may
        # keep what it had then for good, and still call the next sync a success.
        made = f"{mark.name}{TEMPORARY_SUFFIX}"
        self.storage.open(made, create=True).close()
        self.storage.replace(made, mark.name)
        self.storage.sync_directory()
        return [
            other
            for other in marks
            if mark.first <= other.first <= other.last <= mark.last and other != mark
        ]

    def renew(self, segment: Segment) -> None:
        """Look at a segment anew that a copy has replaced."""
        fresh = self._new(segment.number, segment.first_sequence)
        self._set([fresh if other is segment else other for other in self])
        self._forget_use(segment)

    def renew_rewritten(self) -> None:
        """Let go of files that another process has put others in the place of."""
        for segment in self:
            if segment is not self.active and segment.is_replaced():
                self.renew(segment)

    def next_number(self, previous: int, first_sequence: int) -> int:
        """Give the number for the segment behind one.

        A name that was refused is used again, or the refused file might come back in
        a power cut; no other file may have its number.
        """
        number = previous + 1
        while any(
            parsed is not None and parsed[0] == number and parsed[1] != first_sequence
            for parsed in map(parse_segment_name, self._refused)
        ):
            number += 1
        return number

    def close(self, *, keeps_pinned: bool = False) -> None:
        """Close all files, or all but the pinned ones, which close with their pins."""
        for segment in self:
            if not (keeps_pinned and segment.pins):
                segment.close()

    # --- writing --------------------------------------------------------------

    def create(self, new: NewSegment, copies: Sequence[CopiedBatch]) -> CreatedSegment:
        """Make the next segment durable, with batches copied from the previous one.

        Guarantee: before the rename nothing has changed; after it the new segment is
        durable with everything it was born with.
        """
        header = SegmentHeader(
            self.log_id,
            new.number,
            new.first_sequence,
            self._environment.random_bytes(MARKER_BYTES),
            self._environment.now_ns(),
            new.previous_number,
            new.previous_usable,
            new.previous_last_sequence,
            flags=new.flags,
        )
        encoded, buffers, end = _encode_copies(header, copies)
        name = segment_name(new.number, new.first_sequence)
        temporary = name.removesuffix(SEGMENT_SUFFIX) + TEMPORARY_SUFFIX
        if temporary in self.storage.names():
            self.storage.remove(temporary)
        file = self.storage.open(temporary, create=True)
        try:
            file.write_at(0, buffers)
            file.sync()
        except OSError:
            # its bytes may be the last room that there was
            with suppress(OSError):
                self.storage.remove(temporary)
            raise
        finally:
            file.close()
        self.storage.replace(temporary, name)
        try:
            self.storage.sync_directory()
        except OSError:
            # no later sync makes this file's name durable: only that of another file
            self._refused[name] = header.marker
            with suppress(OSError):
                self.storage.remove(name)
            raise
        self._refused.pop(name, None)
        segment = Segment(self.storage, self.log_id, new.number, new.first_sequence)
        segment.is_own = True
        index = SegmentIndex()
        for batch in encoded:
            batch.add_to(index)
        segment.set_index(index, header)
        self._set([*self, segment])
        return CreatedSegment(segment, end, encoded)


def log_id_in(storage: Storage) -> bytes | None:
    """Give the log id that the segments in a directory state; `None` if none does."""
    for name in storage.names():
        if parse_segment_name(name) is None:
            continue
        decoded = _header_in(storage, name)
        if decoded is not None:
            return decoded.header.log_id
    return None


def _header_in(storage: Storage, name: str) -> DecodedSegmentHeader | None:
    file = storage.open(name)
    try:
        return decode_segment_header(file.read_at(0, SEGMENT_HEADER_BYTES))
    finally:
        file.close()


def _encode_copies(
    header: SegmentHeader, copies: Sequence[CopiedBatch]
) -> tuple[list[EncodedBatch], list[Buffer], int]:
    buffers: list[Buffer] = [encode_segment_header(header)]
    encoded: list[EncodedBatch] = []
    end = SEGMENT_HEADER_BYTES
    for copy in copies:
        batch = encode_batch(
            copy.records,
            marker=header.marker,
            position=end,
            last_sequence=copy.last_sequence,
            time_ns=copy.time_ns,
            writer_id=copy.writer_id,
            durable=Durable(SEGMENT_HEADER_BYTES, header.previous_last_sequence),
        )
        buffers += batch.buffers
        encoded.append(batch)
        end += batch.length
    return encoded, buffers, end
