"""Between the engine's values and a bucket's records. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from objstore._engine import (
    BucketChange,
    BucketChangeKind,
    Buffer,
    Chunk,
    Extent,
    Meta,
    StoredMeta,
)
from objstore._meta_record import Content, decode_body
from objstore._projection import meta_checksum
from objstore.errors import CorruptionError, ObjStoreError
from objstore_log import Appended, Kind, Record, subject_of


def meta_subject_of(name: str) -> bytes:
    """Give a name's subject in the log's own form."""
    return subject_of(Kind.META, name.encode())


def content_of(meta: Meta, items: Sequence[Chunk | Meta]) -> Content:
    """Gather a meta's content: earlier extents, then the chunks of this append."""
    own = [
        (at, len(item.data))
        for at, item in enumerate(items)
        if isinstance(item, Chunk) and item.nuid == meta.nuid
    ]
    extents = meta.extents
    relative: int | None = None
    if own:
        relative = own[0][0]
        size = sum(length for _, length in own)
        extents = (*extents, Extent(relative, len(own), size))
    return Content(extents, relative, sum(extent.size for extent in extents))


def seal_state(record: Record) -> int:
    """Give what a SEAL record says; a damaged one counts as sealed."""
    return bytes(record.body)[0] if len(record.body) else 1


def as_stored(
    meta: Meta, content: Content, appended: Appended, place: int, incarnation: str
) -> StoredMeta:
    """Give what `decode_meta` gives for a meta that was just appended.

    Args:
        meta: What was appended.
        content: What it refers to, where `encode_meta` has it.
        appended: Where the append went.
        place: Its place in the append.
        incarnation: Of its bucket.
    """
    time_ns, expires_ns = appended.time_ns, meta.expires_ns
    if meta.ttl_ns is not None:
        expires_ns = meta.ttl_ns + time_ns
    extents = content.extents
    if content.relative_index is not None:
        last = extents[-1]
        moved = Extent(last.first + appended.first_sequence, last.count, last.size)
        extents = (*extents[:-1], moved)
    return StoredMeta(
        appended.first_sequence + place,
        time_ns,
        meta.name,
        meta.document,
        meta.change,
        meta.nuid,
        meta.size,
        meta.chunk_bytes,
        extents,
        meta.content_time_ns or time_ns,
        expires_ns or None,
        content.stored_size,
        incarnation,
    )


def record_of_row(row: Sequence[object]) -> Record | None:
    """Give the record of a row of `metas`; `None` when the row is damaged."""
    sequence, name, nuid, time_ns, body, stored = row
    if not (
        isinstance(sequence, int)
        and isinstance(name, bytes)
        and isinstance(nuid, bytes)
        and isinstance(time_ns, int)
        and isinstance(body, bytes)
    ):
        return None
    if meta_checksum(sequence, name, nuid, time_ns, body) != stored:
        return None
    return Record(Kind.META, sequence, time_ns, name, body, nuid, 0, 0, 0, 0)


def meta_of_row(row: Sequence[Any], incarnation: str) -> StoredMeta | None:
    """Read what the catalog has of a listed name; `None` when that is not sound.

    Args:
        row: `(subject, sequence, _, nuid, time_ns, body, checksum)`, the first two
            sound. The name in the checksum is that of the subject.
        incarnation: of the bucket.
    """
    subject, sequence, _, nuid, time_ns, body, stored = row
    if type(nuid) is not bytes or type(time_ns) is not int or type(body) is not bytes:
        return None
    name = subject[1:]
    if meta_checksum(sequence, name, nuid, time_ns, body) != stored:
        return None
    return decode_body(sequence, time_ns, name, nuid, body, incarnation)


def damaged_meta(path: str, subject: bytes, error: ObjStoreError) -> CorruptionError:
    """Say that a name's newest meta cannot be read, for what the log raised."""
    return CorruptionError(
        path=error.facts.get("path", path),
        segment=error.facts.get("segment", 0),
        position=error.facts.get("position", 0),
        sequence=error.facts["sequence"],
        name=subject[1:].decode(errors="replace"),
        reason="the object's meta is damaged",
    )


def lost_content(
    path: str, meta: StoredMeta, sequence: int, reason: str
) -> CorruptionError:
    """Say that a version's content is not where its meta says."""
    return CorruptionError(
        path=path,
        segment=0,
        position=0,
        sequence=sequence,
        name=meta.name,
        reason=reason,
    )


def behind(prefix: bytes) -> bytes | None:
    """Give the first subject behind all that start with a prefix."""
    stripped = prefix.rstrip(b"\xff")
    return stripped[:-1] + bytes((stripped[-1] + 1,)) if stripped else None


def runs_between(
    extents: Sequence[Extent], index: int, count: int
) -> list[tuple[int, int]]:
    """Give the sequence runs that hold chunks `index` to `index + count`."""
    runs: list[tuple[int, int]] = []
    start = 0
    end = index + count
    for extent in extents:
        low = max(index, start)
        high = min(end, start + extent.count)
        if low < high:
            runs.append((extent.first + low - start, high - low))
        start += extent.count
    return runs


def chunks_of(
    bucket: str,
    meta: StoredMeta,
    index: int,
    count: int,
    read: Callable[[int, int], Sequence[Record] | None],
) -> list[Buffer] | None:
    """Read chunks of a version; `None` when `read` gives `None` for a run of them.

    Raises:
        CorruptionError: one is a chunk of another object.
    """
    bodies: list[Buffer] = []
    for first, length in runs_between(meta.extents, index, count):
        records = read(first, length)
        if records is None:
            return None
        for record in records:
            expected = index + len(bodies)
            if record.nuid != meta.nuid or record.chunk_index != expected:
                reason = "the record holds a chunk of another object"
                raise lost_content(bucket, meta, record.sequence, reason)
            bodies.append(record.body)
    return bodies


def bucket_change(record: Record, kind: BucketChangeKind) -> BucketChange:
    document = bytes(record.body) if kind == "config" else b""
    return BucketChange(record.sequence, record.time_ns, kind, document)
