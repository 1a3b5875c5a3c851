"""Reading a segment's bytes from front to back, past damage where that is allowed.

Pure: bytes come from a `ReadAt` that the caller gives.
Damage is data here, never an exception: `scan_records` names it, finds the next record
by the segment's sync marker and goes on; `scan_batches` stops at it, because above the
durable point a batch counts only when it and everything before it is whole.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple, TypeAlias

from objstore_log._format import (
    COMMIT_BYTES,
    MARKER_BYTES,
    RECORD_HEADER_BYTES,
    Commit,
    RecordHeader,
    checksum,
    decode_commit,
    decode_record_header,
    headers_checksum,
    key_bytes_missing,
)
from objstore_log._record import RECORD_KEY_BYTES_MAX, Kind

WINDOW_BYTES: Final = 1024 * 1024
"""How much is read ahead at a time."""

_OWN_POSITION: Final = 64
"""Where a record header states its own position, as a u64."""
_LOW_BYTES: Final = 2
_REGION_BYTES: Final = 1 << 8 * _LOW_BYTES
"""Positions in a region differ in these bytes alone."""

ReadAt: TypeAlias = Callable[[int, int], bytes]
"""(position, length) -> bytes, shorter only where the file ends."""


UNREADABLE_BYTES: Final = 4 * 1024
"""What a disk refuses at a time, or a multiple of it."""


def past_refusals(read_at: ReadAt) -> ReadAt:
    """Read zeros where a disk refuses to read: a bad sector is damage like any other.

    What is not there to be read raises as before.
    """

    def read(position: int, length: int) -> bytes:
        try:
            return read_at(position, length)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
        if length <= UNREADABLE_BYTES:
            return bytes(length)
        ends = range(position, position + length, UNREADABLE_BYTES)
        return b"".join(
            read(start, min(UNREADABLE_BYTES, position + length - start))
            for start in ends
        )

    return read


class Damage(NamedTuple):
    """A stretch of a segment that holds no valid record."""

    position: int
    end: int
    reason: str
    header: RecordHeader | None = None
    """The record whose body is damaged, when its header is whole."""
    is_missing: bool = False
    """Its bytes stand in no file any more."""


class Batch(NamedTuple):
    """A whole batch: its records and the commit record that ends it."""

    position: int
    end: int
    records: tuple[RecordHeader, ...]
    commit: Commit
    commit_checksum: int
    last_sequence: int


class BatchEnd(NamedTuple):
    """Why a scan of batches stopped before the end of the range."""

    position: int
    """Where the last whole batch ends."""
    reason: str


class Window:
    """A forward view over a file that reads ahead."""

    __slots__ = ("_data", "_end", "_read_at", "_start", "_window_bytes")

    def __init__(
        self, read_at: ReadAt, end: int, window_bytes: int = WINDOW_BYTES
    ) -> None:
        self._read_at = read_at
        self._end = end
        self._window_bytes = window_bytes
        self._data = b""
        self._start = 0

    def locate(self, position: int, length: int) -> tuple[bytes, int]:
        """Give bytes and the place in them where `position` is.

        At least `length` bytes follow that place, unless the range ends before.
        """
        place = position - self._start
        wanted = min(length, self._end - position)
        if place < 0 or place + wanted > len(self._data):
            read = min(max(wanted, self._window_bytes), self._end - position)
            self._data = self._read_at(position, max(read, 0))
            self._start = position
            place = 0
        return self._data, place

    def body(self, header: RecordHeader) -> memoryview:
        """Give a record's body, shorter when the range is cut."""
        data, place = self.locate(header.body_position, header.body_length)
        return memoryview(data)[place : place + header.body_length]


def read_header(window: Window, position: int, marker: bytes) -> RecordHeader | None:
    """Give the valid header at a position, else `None`."""
    data, place = window.locate(position, RECORD_HEADER_BYTES)
    missing = key_bytes_missing(data, place)
    if missing:
        data, place = window.locate(position, len(data) - place + missing)
    return decode_record_header(data, place, marker, position)


def find_record(
    window: Window, position: int, end: int, marker: bytes
) -> RecordHeader | None:
    """Give the first record with a valid header at or above a position."""
    while position < end:
        # what the window has is searched first: asking for more would read it anew
        data, place = window.locate(position, min(RECORD_HEADER_BYTES, end - position))
        found = data.find(marker, place)
        if found < 0:
            scanned = len(data) - place
            if scanned < MARKER_BYTES:
                return None
            # a marker may lie across the border of two reads
            position += max(scanned - MARKER_BYTES + 1, 1)
            continue
        candidate = position + found - place
        header = read_header(window, candidate, marker)
        if header is not None and header.end <= end:
            return header
        position = candidate + 1
    return None


def scan_records(
    read_at: ReadAt, start: int, end: int, marker: bytes, *, verify_bodies: bool
) -> Iterator[RecordHeader | Damage]:
    """Give every record with a valid header in a range, commits included, and damage.

    A record whose header is whole but whose body is not is a `Damage` with `header`;
    that is seen only with `verify_bodies`.
    """
    window = Window(read_at, end)
    position = start
    while position < end:
        header = read_header(window, position, marker)
        if header is None or header.end > end:
            following = find_record(window, position + 1, end, marker)
            resume = end if following is None else following.position
            yield Damage(position, resume, "no valid record header")
            position = resume
            continue
        if verify_bodies and checksum(window.body(header)) != header.body_checksum:
            yield Damage(position, header.end, "body checksum differs", header)
        else:
            yield header
        position = header.end


def scan_batches(
    read_at: ReadAt, start: int, end: int, marker: bytes, *, verify_bodies: bool = True
) -> Iterator[Batch | BatchEnd]:
    """Give whole batches from `start` on: the end of a batch or of the file header.

    The last item is a `BatchEnd` when something in the range is not part of a whole
    batch.
    """
    window = Window(read_at, end)
    position = batch_start = start
    records: list[RecordHeader] = []
    while position < end:
        header = read_header(window, position, marker)
        if header is None or header.end > end:
            yield BatchEnd(batch_start, "no valid record header")
            return
        if header.kind == Kind.FOOTER:
            yield BatchEnd(batch_start, "footer")
            return
        if verify_bodies and checksum(window.body(header)) != header.body_checksum:
            yield BatchEnd(batch_start, "body checksum differs")
            return
        if header.batch_index != len(records):
            yield BatchEnd(batch_start, "record of another batch")
            return
        if header.kind == Kind.COMMIT:
            commit = _check_commit(window, header, batch_start, records)
            if commit is None:
                yield BatchEnd(batch_start, "commit record does not fit its batch")
                return
            yield Batch(
                batch_start,
                header.end,
                tuple(records),
                commit,
                header.header_checksum,
                header.sequence,
            )
            batch_start = header.end
            records = []
        else:
            records.append(header)
        position = header.end
    if records:
        yield BatchEnd(batch_start, "no commit record")


def _check_commit(
    window: Window, header: RecordHeader, batch_start: int, records: list[RecordHeader]
) -> Commit | None:
    """Give the commit if it closes exactly these records."""
    body = window.body(header)
    if checksum(body) != header.body_checksum:
        return None
    commit = decode_commit(body)
    if commit is None:
        return None
    fits = (
        commit.record_count == len(records)
        and commit.byte_length == header.position - batch_start
        and commit.headers_checksum
        == headers_checksum([record.header_checksum for record in records])
    )
    return commit if fits else None


def find_record_of_any(read_at: ReadAt, size: int) -> tuple[bytes, RecordHeader] | None:
    """Give the first valid record and its sync marker, without knowing that.

    Every record header states its own position; where one does, its first bytes are
    tried as the marker.
    """
    for base in range(0, size, _REGION_BYTES):
        data = read_at(base, _REGION_BYTES + RECORD_HEADER_BYTES + RECORD_KEY_BYTES_MAX)
        stated = base.to_bytes(8, "little")[_LOW_BYTES:]
        found = data.find(stated, _OWN_POSITION + _LOW_BYTES)
        while found >= 0:
            place = found - _LOW_BYTES - _OWN_POSITION
            low = int.from_bytes(data[found - _LOW_BYTES : found], "little")
            if low == place:
                marker = data[place : place + MARKER_BYTES]
                header = decode_record_header(data, place, marker, base + place)
                if header is not None:
                    return marker, header
            found = data.find(stated, found + 1)
    return None


def greatest_durable_position(
    read_at: ReadAt, start: int, end: int, marker: bytes
) -> int:
    """Give the greatest durable position that any valid commit in a range states.

    Reads past damage: a commit behind it proves that the damage is no torn write.
    """
    window = Window(read_at, end)
    greatest = 0
    position = start
    while (header := find_record(window, position, end, marker)) is not None:
        if header.kind == Kind.COMMIT and header.end - header.position == COMMIT_BYTES:
            body = window.body(header)
            commit = decode_commit(body)
            if commit is not None and checksum(body) == header.body_checksum:
                greatest = max(greatest, commit.durable_position)
        position = header.end
    return greatest
