"""Where whole bodies are: for reads that come again and again and must cost little.

A place says nothing of what stands there now: who reads it proves the bytes by a digest
and asks whether the subject still is at the sequence that the place was made for.
A record's place knows what its header was, so that reading it proves every byte anew.
"""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from typing import Final, NamedTuple

from objstore_log._core import LogCore
from objstore_log._footer import Entry
from objstore_log._format import (
    RECORD_HEADER_BYTES,
    RecordHeader,
    checksum,
    decode_record_header,
)
from objstore_log._record import Record
from objstore_log._segment import Segment
from objstore_log.errors import SequenceGoneError

BUFFER_BYTES: Final = 1_280 * 1024
"""What records may take that are read at once: a megabyte anywhere in chunks."""
GAP_BYTES_MAX: Final = 4_096
"""Between two records that are read together, such as the end of a batch."""


class Place(NamedTuple):
    """Where the body of one record was when somebody looked."""

    segment: Segment
    position: int
    length: int

    def read(self, *, wait: bool) -> bytes | None:
        """Give the bytes, unverified.

        Args:
            wait: with `False`, give `None` instead of waiting for the disk.

        Returns:
            `None` also when the file is not open: finding it again is for others.
        """
        return self.segment.read_open(self.position, self.length, wait=wait)


class RecordPlace(NamedTuple):
    """Where one record was when somebody looked, and its header, which was whole."""

    segment: Segment
    position: int
    header: bytes
    """With the key: all that the header's own checksum covers, and that checksum."""
    length: int
    """Of the body."""
    checksum: int
    """Of the body, as the header states it."""

    def read(self) -> bytes | None:
        """Give the body if the whole record is as it was; waits for the disk."""
        header, segment, position = self.header, self.segment, self.position
        if segment.read_open(position, len(header), wait=True) != header:
            return None
        body = segment.read_open(position + len(header), self.length, wait=True)
        is_whole = body is not None and checksum(body) == self.checksum
        return body if is_whole else None


class Places:
    """Looks places up, and whether they still count."""

    def __init__(self, core: LogCore) -> None:
        self._core = core
        self._buffers: list[memoryview] = []
        """Those that nobody reads into; as many as were ever in use at a time."""

    def is_newest(self, subject: bytes, sequence: int) -> bool:
        """Say whether a subject is at a sequence; False also when that is not at hand.

        Takes in what other processes committed.
        """
        core = self._core
        core.catch_up()
        return core.cache.sequence(subject) == sequence and not core.is_closed

    def noted(self, subject: bytes) -> bytes | None:
        """Give what was noted of a subject if its newest record still is the same.

        Takes in what other processes committed.
        """
        core = self._core
        core.catch_up()
        return None if core.is_closed else core.cache.notes.get(subject)

    @property
    def generation(self) -> int:
        """Give what `note` takes; read it before the look-up."""
        return self._core.cache.generation

    def note(self, subject: bytes, note: bytes, generation: int) -> None:
        """Note something of a subject's newest record, unless a commit came since."""
        core = self._core
        with core.mutex:
            if generation == core.cache.generation:
                core.cache.notes.put(subject, note)

    def forget(self, subject: bytes) -> None:
        """Note nothing of a subject any more."""
        with self._core.mutex:
            self._core.cache.notes.discard(subject)

    def at(
        self, sequence: int, segment: int, position: int, length: int
    ) -> Place | None:
        """Give a place that was noted; `None` when another segment has the record."""
        try:
            found = self._core.segments.locate(sequence)
        except SequenceGoneError:
            return None
        return Place(found, position, length) if found.number == segment else None

    def last(self, subject: bytes) -> tuple[int, Record | None] | None:
        """Give what `Log.last` gives if no catalog has to be asked, else `None`.

        Takes in what other processes committed.
        """
        core = self._core
        core.catch_up()
        record = core.overlay.last(subject)
        if record is not None:
            return record.sequence, record
        return core.cache.get(subject)

    def _find(self, sequence: int) -> tuple[Segment, Entry] | None:
        try:
            segment = self._core.segments.locate(sequence)
        except SequenceGoneError:
            return None
        index = segment.loaded_index
        entry = None if index is None else index.find(sequence)
        return None if entry is None else (segment, entry)

    def of_record(
        self, sequence: int, *, wait: bool
    ) -> tuple[RecordPlace, RecordHeader] | None:
        """Give the place of a whole record, and what its header says.

        Args:
            sequence: The record's.
            wait: with `False`, give `None` instead of waiting for the disk.

        Returns:
            `None` also when its index is not at hand, or its header is damaged.
        """
        found = self._find(sequence)
        if found is None:
            return None
        segment, entry = found
        before = RECORD_HEADER_BYTES + entry.key_length
        data = segment.read_open(entry.position, before, wait=wait)
        if data is None:
            return None
        header = decode_record_header(data, 0, segment.header.marker, entry.position)
        if header is None or header.sequence != sequence:
            return None
        length, stated = header.body_length, header.body_checksum
        return RecordPlace(segment, entry.position, data, length, stated), header

    def read(
        self, places: Sequence[RecordPlace], skipped: int, size: int, *, wait: bool
    ) -> bytes | None:
        """Read bytes out of records that stand in the order of their bodies.

        Guarantee: every record that is touched was read whole, its header is the one
        that was proven when its place was looked up, and its body has the checksum
        that the header states.

        Args:
            places: Of the records.
            skipped: Bytes of the first body that are before those that are wanted.
            size: How many are wanted.
            wait: with `False`, give `None` instead of waiting for the disk.

        Returns:
            `None` also when a record is not as it was, or they are too many bytes.
        """
        first = places[0]
        if wait and size == first.length and not skipped:
            return first.read()
        # Taken out while it is used: Ctrl-C may run a handler that reads, too.
        try:
            buffer = self._buffers.pop()
        except IndexError:
            buffer = memoryview(mmap.mmap(-1, BUFFER_BYTES))
        try:
            bodies = _bodies(places, buffer, wait=wait)
            if bodies is None:
                return None
            # all bodies are of one length but the last
            end = skipped + size - (len(bodies) - 1) * first.length
            bodies[-1] = bodies[-1][:end]
            bodies[0] = bodies[0][skipped:]
            return b"".join(bodies)
        finally:
            self._buffers.append(buffer)


def _bodies(
    places: Sequence[RecordPlace], buffer: memoryview, *, wait: bool
) -> list[memoryview] | None:
    """Read records into a buffer; give their bodies once all of them are proven."""
    first, last = places[0], places[-1]
    most = len(places) * (len(first.header) + first.length)
    length = last.position + len(last.header) + last.length - first.position
    if most + GAP_BYTES_MAX > len(buffer):
        return None
    is_run = last.segment is first.segment and 0 < length <= most + GAP_BYTES_MAX
    if is_run and not first.segment.fill_open(
        first.position, buffer[:length], wait=wait
    ):
        return None
    start = 0
    bodies: list[memoryview] = []
    for place in places:
        if is_run:
            start = place.position - first.position
        middle = start + len(place.header)
        end = middle + place.length
        if not is_run and not place.segment.fill_open(
            place.position, buffer[start:end], wait=wait
        ):
            return None
        body = buffer[middle:end]
        if bytes(buffer[start:middle]) != place.header:
            return None
        if checksum(body) != place.checksum:
            return None
        bodies.append(body)
        start = end
    return bodies
