"""The footer that ends a sealed segment, and the index of a segment's records.

The footer's entries and the index in memory are the same bytes, so that sealing is a
copy and a sealed segment is looked up without decoding. Law: docs/format.md, "Footer".
Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from typing import Final, NamedTuple

from objstore_log._format import (
    RECORD_HEADER_BYTES,
    SEGMENT_HEADER_COPY_BYTES,
    DecodedSegmentHeader,
    RecordHeader,
    SegmentHeader,
    checksum,
    decode_segment_header,
    encode_record_header,
    encode_segment_header,
)
from objstore_log._record import SUBJECT_KINDS, Kind, subject_of
from objstore_log._storage import Buffer

_ENTRY = Struct("<QQQIBBH")
ENTRY_BYTES: Final = _ENTRY.size
TRAILER_MAGIC: Final = b"OBJFOOT\n"
_TRAILER = Struct("<8sQQQQQ")
TRAILER_BYTES: Final = _TRAILER.size + 8
_COUNTS = Struct("<QQQ")
FOOTER_PREFIX_BYTES: Final = SEGMENT_HEADER_COPY_BYTES + _COUNTS.size
_U64 = Struct("<Q")


class Entry(NamedTuple):
    """Where a numbered record is and what kind it is."""

    sequence: int
    position: int
    subject_hash: int
    length: int
    """All of the record: header, key and body."""
    kind: int
    flags: int
    key_length: int


def sequence_at(entries: Buffer, position: int) -> int:
    """Give the sequence of the entry at a place in bytes."""
    value: int = _U64.unpack_from(entries, position)[0]
    return value


class SegmentIndex:
    """The numbered records of one segment, in the order of their sequences.

    Sequences only grow but may have gaps (a re-logged or rewritten segment).
    """

    __slots__ = ("_bytes",)

    def __init__(self, entries: bytes | bytearray = b"") -> None:
        self._bytes = bytearray(entries)

    def __len__(self) -> int:
        """Give the number of records."""
        return len(self._bytes) // ENTRY_BYTES

    def add(self, header: RecordHeader) -> None:
        """Add the record that comes next."""
        self.add_fields(
            header.sequence,
            header.position,
            header.end - header.position,
            header.kind,
            header.flags,
            header.key,
        )

    def add_fields(  # noqa: PLR0917 - an entry's fields, on the hot path
        self,
        sequence: int,
        position: int,
        length: int,
        kind: int,
        flags: int,
        key: bytes,
    ) -> None:
        """Add the record that comes next, field by field."""
        assert not len(self) or sequence > self.last_sequence
        has_subject = kind in SUBJECT_KINDS
        subject_hash = checksum(subject_of(kind, key)) if has_subject else 0
        self._bytes += _ENTRY.pack(
            sequence, position, subject_hash, length, kind, flags, len(key)
        )

    def _at(self, place: int) -> tuple[bytes | bytearray, int]:
        """Give bytes, and where in them the entry at a place is."""
        return self._bytes, place * ENTRY_BYTES

    def entry(self, place: int) -> Entry:
        """Give the entry at a place."""
        return Entry._make(_ENTRY.unpack_from(*self._at(place)))

    def sequence(self, place: int) -> int:
        """Give the sequence at a place."""
        return sequence_at(*self._at(place))

    @property
    def first_sequence(self) -> int:
        """Give the first sequence, 0 when empty."""
        return self.sequence(0) if len(self) else 0

    @property
    def last_sequence(self) -> int:
        """Give the last sequence, 0 when empty."""
        return self.sequence(len(self) - 1) if len(self) else 0

    def place(self, sequence: int) -> int:
        """Give the place of the first record at or above a sequence."""
        count = len(self)
        if not count or sequence > self.last_sequence:
            return count
        guess = sequence - self.first_sequence
        if 0 <= guess < count and self.sequence(guess) == sequence:
            return guess
        low, high = 0, count
        while low < high:
            middle = (low + high) // 2
            if self.sequence(middle) < sequence:
                low = middle + 1
            else:
                high = middle
        return low

    def find(self, sequence: int) -> Entry | None:
        """Give the entry of exactly that sequence."""
        # where it is in a segment without gaps, which most are
        guess = sequence - self.first_sequence
        if 0 <= guess < len(self):
            entry = self.entry(guess)
            if entry.sequence == sequence:
                return entry
        place = self.place(sequence)
        if place < len(self):
            entry = self.entry(place)
            if entry.sequence == sequence:
                return entry
        return None

    def entry_bytes(self) -> bytes:
        """Give all entries as the footer stores them."""
        return bytes(self._bytes)


READ_RUN_BYTES_MAX: Final = 4 * 1024 * 1024
"""The most that one read of neighbouring records asks for."""
_GAP_BYTES_MAX: Final = 4_096
"""Bytes between two records that are read along rather than skipped."""


def close_runs(entries: list[Entry]) -> Iterator[list[Entry]]:
    """Split entries into runs that one read of bounded size covers without waste."""
    run: list[Entry] = []
    for entry in entries:
        if run:
            end = run[-1].position + run[-1].length
            gap = entry.position - end
            whole = entry.position + entry.length - run[0].position
            if gap > _GAP_BYTES_MAX or whole > READ_RUN_BYTES_MAX:
                yield run
                run = []
        run.append(entry)
    if run:
        yield run


class Footer(NamedTuple):
    """A sealed segment's footer as read."""

    header: SegmentHeader
    last_sequence: int
    entries: SegmentIndex
    usable: int
    """Where the footer record starts: all records lie below it."""


def encode_footer_body(
    header: SegmentHeader, last_sequence: int, index: SegmentIndex
) -> bytes:
    """Give the body of the FOOTER record."""
    counts = _COUNTS.pack(header.first_sequence, last_sequence, len(index))
    copy = encode_segment_header(header)[:SEGMENT_HEADER_COPY_BYTES]
    return copy + counts + index.entry_bytes()


def encode_trailer(record_position: int, body: bytes, body_position: int) -> bytes:
    """Give the file's last bytes, which say where the footer is."""
    fields = _TRAILER.pack(
        TRAILER_MAGIC,
        record_position,
        body_position,
        len(body),
        checksum(body),
        0,
    )
    return fields + _U64.pack(checksum(fields))


def encode_footer(
    header: SegmentHeader,
    end: int,
    last_sequence: int,
    time_ns: int,
    index: SegmentIndex,
) -> list[bytes]:
    """Give all that follows a segment's records: the FOOTER record and the trailer.

    Args:
        header: the segment's.
        end: where the records end.
        last_sequence: of the segment.
        time_ns: of its last record.
        index: its numbered records.
    """
    body = encode_footer_body(header, last_sequence, index)
    record, _ = encode_record_header(
        header.marker,
        end,
        Kind.FOOTER,
        b"",
        len(body),
        checksum(body),
        sequence=last_sequence,
        time_ns=time_ns,
        batch_index=0,
    )
    return [record, body, encode_trailer(end, body, end + len(record))]


def footer_bytes(count: int) -> int:
    """Give how long all that follows so many records is."""
    body = FOOTER_PREFIX_BYTES + count * ENTRY_BYTES
    return RECORD_HEADER_BYTES + body + TRAILER_BYTES


class Trailer(NamedTuple):
    """Where a footer is."""

    record_position: int
    body_position: int
    body_length: int
    body_checksum: int


def decode_trailer(data: bytes) -> Trailer | None:
    """Read a file's last bytes; `None` when they are no trailer."""
    if len(data) != TRAILER_BYTES:
        return None
    fields = data[: _TRAILER.size]
    if _U64.unpack_from(data, _TRAILER.size)[0] != checksum(fields):
        return None
    magic, *rest, _ = _TRAILER.unpack(fields)
    return Trailer(*rest) if magic == TRAILER_MAGIC else None


def decode_footer(trailer: Trailer, body: Buffer) -> Footer | None:
    """Read a footer's body; `None` when it is damaged."""
    if len(body) != trailer.body_length or checksum(body) != trailer.body_checksum:
        return None
    data = bytes(body)
    decoded = decode_footer_prefix(data[:FOOTER_PREFIX_BYTES], len(data))
    if decoded is None:
        return None
    header, last, _ = decoded
    entries = SegmentIndex(data[FOOTER_PREFIX_BYTES:])
    return Footer(header, last, entries, trailer.record_position)


def decode_footer_prefix(
    prefix: bytes, length: int
) -> tuple[SegmentHeader, int, int] | None:
    """Read what stands before a footer's entries.

    Args:
        prefix: the first bytes of the body.
        length: of the whole body.

    Returns:
        The header, the last sequence and the number of entries; `None` when they do
        not fit the body.
    """
    if length < FOOTER_PREFIX_BYTES:
        return None
    copy = prefix[:SEGMENT_HEADER_COPY_BYTES]
    decoded: DecodedSegmentHeader | None = decode_segment_header(copy + copy)
    if decoded is None:
        return None
    _, last, count = _COUNTS.unpack_from(prefix, SEGMENT_HEADER_COPY_BYTES)
    if length - FOOTER_PREFIX_BYTES != count * ENTRY_BYTES:
        return None
    return decoded.header, last, count
