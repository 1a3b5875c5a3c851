"""The bytes of a segment: headers, records, batches. Law: docs/format.md.

Pure: encodes values into bytes and says of given bytes what they are.
A decoder here never raises for what a disk may hold; it gives `None`.
"""

from __future__ import annotations

from struct import Struct
from typing import Final, NamedTuple

from xxhash import xxh3_64_intdigest

from objstore_log._record import (
    NO_NUID,
    RECORD_KEY_BYTES_MAX,
    RECORD_PAYLOAD_BYTES_MAX,
    Kind,
)
from objstore_log._storage import Buffer

FORMAT_VERSION: Final = 1
CHECKSUM_XXH3_64: Final = 1
MARKER_BYTES: Final = 8
NO_MARKER: Final = bytes(MARKER_BYTES)
"""Of a segment of which nobody knows the marker; no record begins with it."""
SEGMENT_RECORDS_MAX: Final = 1 << 20
"""A segment's sequences lie in [first, first + this)."""
MUST_UNDERSTAND: Final = 0x80
"""Record flag: a reader that does not know the kind refuses the log."""
FOOTER_BYTES_MAX: Final = 64 * 1024 * 1024

# docs/format.md, "Segment header": two equal copies open the file
SEGMENT_MAGIC: Final = b"OBJSEG\r\n"
SEGMENT_RELAXED: Final = 0x01
"""Segment flag: batches may have been seen before they were durable."""
SEGMENT_REWRITTEN: Final = 0x02
"""Segment flag: records that nobody needed were left out of it when it was copied."""
SEGMENT_BEHIND_SEAL: Final = 0x04
"""Segment flag: a durable footer ends the previous one."""
SEGMENT_BEHIND_MARKS: Final = 0x08
"""Segment flag: those before it do not go without a mark that they were reclaimed."""
_SEGMENT_HEADER = Struct("<8sHBBI16sQQ8sQQQQQQQ8x")
SEGMENT_HEADER_COPY_BYTES: Final = _SEGMENT_HEADER.size + 8
SEGMENT_HEADER_BYTES: Final = 2 * SEGMENT_HEADER_COPY_BYTES
assert SEGMENT_HEADER_COPY_BYTES == 128  # noqa: PLR2004 - as the page says

# docs/format.md, "Record header"
_RECORD_HEADER = Struct("<8sBBBBHHIIIIQQ16sQQ")
RECORD_HEADER_BYTES: Final = _RECORD_HEADER.size + 8
assert RECORD_HEADER_BYTES == 88  # noqa: PLR2004 - as the page says

# docs/format.md, "Commit record"
_COMMIT_BODY = Struct("<QIIQQQQQ")
COMMIT_BYTES: Final = RECORD_HEADER_BYTES + _COMMIT_BODY.size

_U64 = Struct("<Q")
checksum = xxh3_64_intdigest
"""XXH3-64 of a buffer, as an unsigned integer."""


class SegmentHeader(NamedTuple):
    """What a segment says of itself."""

    log_id: bytes
    number: int
    first_sequence: int
    marker: bytes
    created_ns: int
    previous_number: int
    """0 for the first segment; numbers begin at 1."""
    previous_usable: int
    """Bytes of the previous segment that count; what is behind them is void."""
    previous_last_sequence: int
    covers_first: int = 0
    covers_final: int = 0
    """Of a rewritten segment: the last sequence that stood in it."""
    usable: int = 0
    """Of a rewritten segment: where its own records end."""
    flags: int = 0

    @property
    def is_rewritten(self) -> bool:
        """Say whether records that nobody needed were left out of the segment."""
        return bool(self.flags & SEGMENT_REWRITTEN)


def encode_segment_header(header: SegmentHeader) -> bytes:
    """Give the bytes that open a segment file."""
    fields = _SEGMENT_HEADER.pack(
        SEGMENT_MAGIC,
        FORMAT_VERSION,
        CHECKSUM_XXH3_64,
        header.flags,
        0,
        header.log_id,
        header.number,
        header.first_sequence,
        header.marker,
        header.created_ns,
        header.previous_number,
        header.previous_usable,
        header.previous_last_sequence,
        header.covers_first,
        header.covers_final,
        header.usable,
    )
    return (fields + _U64.pack(checksum(fields))) * 2


class DecodedSegmentHeader(NamedTuple):
    """A segment header with what reading it told."""

    header: SegmentHeader
    version: int
    damaged_copy: int | None
    """Which of the two copies is damaged (0 or 1), if one is."""


def decode_segment_header(data: bytes) -> DecodedSegmentHeader | None:
    """Read the header from a file's first bytes; `None` when both copies are bad."""
    copies = [
        _decode_header_copy(data[start : start + SEGMENT_HEADER_COPY_BYTES])
        for start in (0, SEGMENT_HEADER_COPY_BYTES)
    ]
    for place, copy in enumerate(copies):
        if copy is not None:
            other = 1 - place
            damaged = other if copies[other] != copy else None
            return DecodedSegmentHeader(copy[0], copy[1], damaged)
    return None


def _decode_header_copy(data: bytes) -> tuple[SegmentHeader, int] | None:
    if len(data) < SEGMENT_HEADER_COPY_BYTES:
        return None
    fields = data[: _SEGMENT_HEADER.size]
    if _U64.unpack_from(data, _SEGMENT_HEADER.size)[0] != checksum(fields):
        return None
    magic, version, algorithm, flags, _, *rest = _SEGMENT_HEADER.unpack(fields)
    if magic != SEGMENT_MAGIC or algorithm != CHECKSUM_XXH3_64:
        return None
    return SegmentHeader._make([*rest, flags]), version


class RecordHeader(NamedTuple):
    """A record's header as read, with its key."""

    kind: int
    flags: int
    codec: int
    key_length: int
    body_length: int
    plain_length: int
    chunk_index: int
    batch_index: int
    sequence: int
    time_ns: int
    nuid: bytes
    position: int
    body_checksum: int
    header_checksum: int
    key: bytes

    @property
    def body_position(self) -> int:
        """Give where its body starts."""
        return self.position + RECORD_HEADER_BYTES + self.key_length

    @property
    def end(self) -> int:
        """Give where the next record starts."""
        return self.body_position + self.body_length


def encode_record_header(  # noqa: PLR0917 - the fields that every record has
    marker: bytes,
    position: int,
    kind: int,
    key: bytes,
    body_length: int,
    body_checksum: int,
    *,
    sequence: int,
    time_ns: int,
    batch_index: int,
    nuid: bytes = NO_NUID,
    chunk_index: int = 0,
    plain_length: int = 0,
    codec: int = 0,
    flags: int = 0,
) -> tuple[bytes, int]:
    """Give header and key as bytes, and the header's checksum."""
    fields = _RECORD_HEADER.pack(
        marker,
        kind,
        flags,
        codec,
        0,
        len(key),
        0,
        body_length,
        plain_length,
        chunk_index,
        batch_index,
        sequence,
        time_ns,
        nuid,
        position,
        body_checksum,
    )
    value = checksum(fields + key)
    return b"".join((fields, _U64.pack(value), key)), value


def body_bytes_max(kind: int) -> int:
    """Give the longest body that a record of this kind may have."""
    return FOOTER_BYTES_MAX if kind == Kind.FOOTER else RECORD_PAYLOAD_BYTES_MAX


def decode_record_header(
    data: Buffer, start: int, marker: bytes, position: int
) -> RecordHeader | None:
    """Read the header at `data[start:]` that stands at `position` of its segment.

    Returns:
        `None` when it is cut short or is no valid header for that place: another
        marker, another position, a length over the limit, a wrong checksum.
    """
    if len(data) - start < RECORD_HEADER_BYTES:
        return None
    (
        found_marker,
        kind,
        flags,
        codec,
        _reserved,
        key_length,
        _reserved2,
        body_length,
        plain_length,
        chunk_index,
        batch_index,
        sequence,
        time_ns,
        nuid,
        own_position,
        body_checksum,
    ) = _RECORD_HEADER.unpack_from(data, start)
    if found_marker != marker or own_position != position or kind == 0:
        return None
    if key_length > RECORD_KEY_BYTES_MAX or body_length > body_bytes_max(kind):
        return None
    key_start = start + RECORD_HEADER_BYTES
    key = bytes(data[key_start : key_start + key_length])
    if len(key) < key_length:
        return None
    (header_checksum,) = _U64.unpack_from(data, start + _RECORD_HEADER.size)
    fields = bytes(data[start : start + _RECORD_HEADER.size])
    if checksum(fields + key) != header_checksum:
        return None
    return RecordHeader(
        kind,
        flags,
        codec,
        key_length,
        body_length,
        plain_length,
        chunk_index,
        batch_index,
        sequence,
        time_ns,
        nuid,
        position,
        body_checksum,
        header_checksum,
        key,
    )


def key_bytes_missing(data: Buffer, start: int) -> int:
    """Give how many bytes a header at `data[start:]` lacks, judged by its key length.

    Only a hint for how much to read; the header may be damaged.
    """
    available = len(data) - start
    if available < RECORD_HEADER_BYTES:
        return RECORD_HEADER_BYTES - available
    key_length: int = Struct("<H").unpack_from(data, start + 12)[0]
    wanted = RECORD_HEADER_BYTES + min(key_length, RECORD_KEY_BYTES_MAX)
    return max(0, wanted - available)


class Commit(NamedTuple):
    """What the commit record that ends a batch says."""

    first_sequence: int
    record_count: int
    byte_length: int
    """Bytes of the batch's records, this one left out."""
    headers_checksum: int
    """XXH3-64 over the records' header checksums (u64 each, in order)."""
    writer_id: int
    durable_position: int
    """Bytes of this segment below it were durable when this was written."""
    durable_sequence: int


def encode_commit(
    commit: Commit,
    *,
    marker: bytes,
    position: int,
    last_sequence: int,
    time_ns: int,
    batch_index: int,
) -> bytes:
    """Give the commit record as bytes."""
    body = _COMMIT_BODY.pack(
        commit.first_sequence,
        commit.record_count,
        0,
        commit.byte_length,
        commit.headers_checksum,
        commit.writer_id,
        commit.durable_position,
        commit.durable_sequence,
    )
    header, _ = encode_record_header(
        marker,
        position,
        Kind.COMMIT,
        b"",
        len(body),
        checksum(body),
        sequence=last_sequence,
        time_ns=time_ns,
        batch_index=batch_index,
    )
    return header + body


def decode_commit(body: Buffer) -> Commit | None:
    """Read a commit record's body."""
    if len(body) != _COMMIT_BODY.size:
        return None
    first, count, _, *rest = _COMMIT_BODY.unpack(body)
    return Commit(first, count, *rest)


def headers_checksum(header_checksums: list[int]) -> int:
    """Give the checksum over a batch's headers that its commit record states."""
    return checksum(b"".join(map(_U64.pack, header_checksums)))
