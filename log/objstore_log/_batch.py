"""Numbering and encoding of a batch: new records in, bytes and records out.

Pure. Law: docs/format.md, "Batch".
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct
from typing import Final, NamedTuple

from objstore_log._footer import SegmentIndex
from objstore_log._format import (
    COMMIT_BYTES,
    MUST_UNDERSTAND,
    RECORD_HEADER_BYTES,
    Commit,
    RecordHeader,
    checksum,
    encode_commit,
    encode_record_header,
    headers_checksum,
)
from objstore_log._record import (
    NUID_BYTES,
    RECORD_KEY_BYTES_MAX,
    RECORD_PAYLOAD_BYTES_MAX,
    STRUCTURAL_KINDS,
    Kind,
    NewRecord,
    Record,
)
from objstore_log._storage import Buffer
from objstore_log._value_class import value_class

_U64: Final = Struct("<Q")
U32_MAX: Final = (1 << 32) - 1


class Durable(NamedTuple):
    """The durable point of a segment, as a commit record states it."""

    position: int
    sequence: int


@value_class
class EncodedBatch:
    """A batch ready to be written at one position."""

    buffers: list[Buffer]
    length: int
    records: list[Record]
    headers: list[tuple[int, int, int]]
    """(position, whole length, header checksum) of each record."""
    last_sequence: int
    commit_checksum: int

    def add_to(self, index: SegmentIndex) -> None:
        """Add the batch's records to the index of its segment."""
        add = index.add_fields
        for record, (position, length, _) in zip(
            self.records, self.headers, strict=True
        ):
            add(
                record.sequence,
                position,
                length,
                record.kind,
                record.flags,
                record.key,
            )


def check_record(record: NewRecord) -> None:
    """Refuse what the format cannot hold, before anything is written.

    Raises:
        ValueError: a kind that only the log writes, or a field beyond its width.
    """
    if record.kind in STRUCTURAL_KINDS:
        raise ValueError(f"the log alone writes {record.kind!r}")
    if len(record.key) > RECORD_KEY_BYTES_MAX:
        raise ValueError(f"a key of {len(record.key)} bytes is too long")
    if len(record.body) > RECORD_PAYLOAD_BYTES_MAX:
        raise ValueError(f"a body of {len(record.body)} bytes is too long")
    if len(record.nuid) != NUID_BYTES:
        raise ValueError(f"a nuid has {NUID_BYTES} bytes, not {len(record.nuid)}")
    if not (0 <= record.chunk_index <= U32_MAX and 0 <= record.plain_length <= U32_MAX):
        raise ValueError("chunk index and plain length are 32-bit numbers")


def batch_bytes(records: Sequence[NewRecord]) -> int:
    """Give the bytes that a batch of these records takes."""
    return COMMIT_BYTES + sum(
        RECORD_HEADER_BYTES + len(record.key) + len(record.body) for record in records
    )


def number_records(
    tickets: Sequence[Sequence[NewRecord]], first_sequence: int, time_ns: int
) -> list[Record]:
    """Give every record its sequence and time; relative words become sequences."""
    records: list[Record] = []
    sequence = first_sequence
    for ticket in tickets:
        base = sequence
        for new in ticket:
            body = new.body
            if new.relative or new.after_commit:
                body = _resolve(new, base, time_ns)
            records.append(
                Record(
                    new.kind,
                    sequence,
                    time_ns,
                    new.key,
                    body,
                    new.nuid,
                    new.chunk_index,
                    new.plain_length,
                    new.codec,
                    new.flags | MUST_UNDERSTAND,
                )
            )
            sequence += 1
    return records


def _resolve(new: NewRecord, base: int, time_ns: int) -> bytes:
    body = bytearray(new.body)
    for places, addend in ((new.relative, base), (new.after_commit, time_ns)):
        for place in places:
            (value,) = _U64.unpack_from(body, place)
            _U64.pack_into(body, place, addend + value)
    return bytes(body)


def _encode_records(
    records: list[Record], marker: bytes, position: int
) -> tuple[list[Buffer], list[tuple[int, int, int]], int]:
    """Give the bytes of records, where each stands, and where they end."""
    buffers: list[Buffer] = []
    headers: list[tuple[int, int, int]] = []
    place = position
    for batch_index, record in enumerate(records):
        header, value = encode_record_header(
            marker,
            place,
            record.kind,
            record.key,
            len(record.body),
            checksum(record.body),
            sequence=record.sequence,
            time_ns=record.time_ns,
            batch_index=batch_index,
            nuid=record.nuid,
            chunk_index=record.chunk_index,
            plain_length=record.plain_length,
            codec=record.codec,
            flags=record.flags,
        )
        length = len(header) + len(record.body)
        buffers.append(header)
        if len(record.body):
            buffers.append(record.body)
        headers.append((place, length, value))
        place += length
    return buffers, headers, place


def encode_batch(
    records: list[Record],
    *,
    marker: bytes,
    position: int,
    last_sequence: int,
    time_ns: int,
    writer_id: int,
    durable: Durable,
) -> EncodedBatch:
    """Encode records and the commit record that closes them.

    Args:
        records: numbered, possibly none (an empty commit record).
        marker: the segment's sync marker.
        position: where the batch will stand in its segment.
        last_sequence: the sequence of the last record, or of the log when empty.
        time_ns: the batch's time.
        writer_id: who writes it.
        durable: the durable point of that segment as known now.
    """
    buffers, headers, place = _encode_records(records, marker, position)
    first = records[0].sequence if records else last_sequence + 1
    commit = encode_commit(
        Commit(
            first,
            len(records),
            place - position,
            headers_checksum([value for _, _, value in headers]),
            writer_id,
            durable.position,
            durable.sequence,
        ),
        marker=marker,
        position=place,
        last_sequence=last_sequence,
        time_ns=time_ns,
        batch_index=len(records),
    )
    buffers.append(commit)
    (commit_checksum,) = _U64.unpack_from(commit, RECORD_HEADER_BYTES - 8)
    return EncodedBatch(
        buffers,
        place + len(commit) - position,
        records,
        headers,
        last_sequence,
        commit_checksum,
    )


def record_of(header: RecordHeader, body: Buffer) -> Record:
    """Give the record that a header and its body are."""
    return Record(
        Kind(header.kind),
        header.sequence,
        header.time_ns,
        header.key,
        body,
        header.nuid,
        header.chunk_index,
        header.plain_length,
        header.codec,
        header.flags,
    )
