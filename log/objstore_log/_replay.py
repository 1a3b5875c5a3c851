"""Reading committed batches again: at opening, and when another process committed.

Works on ranges that are known to hold committed batches, so damage in them is corrupt
and is reported; what can still be read is given.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from objstore_log._batch import record_of
from objstore_log._format import Commit, RecordHeader, checksum, decode_commit
from objstore_log._overlay import CATALOG_KINDS, Applied
from objstore_log._record import Kind, Record
from objstore_log._scan import Damage
from objstore_log._segment import Opened, Segment


class Replayed(NamedTuple):
    """One batch as read again."""

    headers: list[RecordHeader]
    """All of its numbered records that are whole."""
    records: list[Record]
    """Those of `CATALOG_KINDS`, with bodies; an empty body stands for a damaged one."""
    commit: Commit | None
    """`None` when the commit record itself is damaged."""
    through: Applied
    time_ns: int


def replay(
    segment: Segment, start: int, end: int, opened: Opened
) -> Iterator[Replayed | Damage]:
    """Give the batches of a segment's file between two batch ends, and the damage."""
    headers: list[RecordHeader] = []
    for item in segment.scan(start, end, verify_bodies=False, opened=opened):
        if isinstance(item, Damage):
            yield item
            continue
        if item.kind == Kind.FOOTER:
            break
        if item.kind == Kind.COMMIT:
            body = opened.file.read_at(item.body_position, item.body_length)
            whole = checksum(body) == item.body_checksum
            yield from _batch(
                opened, headers, item, decode_commit(body) if whole else None
            )
            headers = []
            continue
        if headers and item.batch_index <= headers[-1].batch_index:
            yield from _batch(opened, headers, headers[-1], None)
            headers = []
        headers.append(item)
    if headers:
        yield from _batch(opened, headers, headers[-1], None)


def _batch(
    opened: Opened,
    headers: list[RecordHeader],
    last: RecordHeader,
    commit: Commit | None,
) -> Iterator[Replayed | Damage]:
    records: list[Record] = []
    for header in headers:
        if header.kind not in CATALOG_KINDS:
            continue
        body = opened.file.read_at(header.body_position, header.body_length)
        if checksum(body) == header.body_checksum:
            records.append(record_of(header, body))
        else:
            yield Damage(header.position, header.end, "body checksum differs", header)
            # its subject was changed here: what was before must not come back
            records.append(record_of(header, b""))
    number = opened.header.number
    through = Applied(last.sequence, last.header_checksum, number, last.end)
    yield Replayed(headers, records, commit, through, last.time_ns)
