"""The body of META records. Law: docs/format.md, "META". Pure."""

from __future__ import annotations

from struct import Struct, error
from typing import Final, NamedTuple

from objstore._engine import ChangeKind, Extent, Meta, StoredMeta
from objstore_log import Kind, NewRecord, Record

_PREFIX = Struct("<B3xII4xQQQQQq")
PREFIX_BYTES: Final = _PREFIX.size
assert PREFIX_BYTES == 64  # noqa: PLR2004 - the format page says so
_BAD_PREFIX: Final = "a META record's prefix is not of this format"
_BAD_EXTENTS: Final = "a META record's extents are cut short"
_U64 = Struct("<Q")
_CONTENT_TIME_PLACE: Final = 32
_EXPIRES_PLACE: Final = 40
_PREVIOUS_PLACE: Final = 48
_DELTA_PLACE: Final = 56
_EXTENT = Struct("<QI4xQ")
_ONE_EXTENT_END: Final = PREFIX_BYTES + _EXTENT.size
_CHANGES: Final[tuple[ChangeKind, ...]] = ("put", "meta", "delete", "link", "expire")
_WITH_CONTENT: Final = frozenset(
    {_CHANGES.index("put") + 1, _CHANGES.index("meta") + 1}
)


class Content(NamedTuple):
    """The content that a META refers to, as the log has it."""

    extents: tuple[Extent, ...]
    relative_index: int | None
    """Set when the first own chunk of the append is the start of the last extent."""
    stored_size: int


class MetaFacts(NamedTuple):
    """What the projection needs of a META, without its document."""

    change: ChangeKind
    extents: tuple[Extent, ...]
    size: int
    stored_size: int
    expires_ns: int
    previous: int
    size_delta: int


def encode_meta(
    meta: Meta, content: Content, *, previous: int, size_delta: int
) -> NewRecord:
    """Give the record that says a change.

    Args:
        meta: the change.
        content: its chunks; a relative extent's first sequence is its index.
        previous: the sequence of the name's META before this one.
        size_delta: what it adds to the live content bytes.
    """
    expires = meta.expires_ns or 0
    if meta.ttl_ns is not None:
        expires = meta.ttl_ns
    parts = [
        _PREFIX.pack(
            _CHANGES.index(meta.change) + 1,
            len(content.extents),
            meta.chunk_bytes,
            meta.size,
            content.stored_size,
            meta.content_time_ns or 0,
            expires,
            previous,
            size_delta,
        )
    ]
    parts += [
        _EXTENT.pack(extent.first, extent.count, extent.size)
        for extent in content.extents
    ]
    relative: tuple[int, ...] = ()
    if content.relative_index is not None:
        relative = (PREFIX_BYTES + (len(content.extents) - 1) * _EXTENT.size,)
    parts.append(meta.document)
    return NewRecord(
        Kind.META,
        b"".join(parts),
        key=meta.name.encode(),
        nuid=meta.nuid,
        relative=relative,
        after_commit=() if meta.ttl_ns is None else (_EXPIRES_PLACE,),
    )


def decode_meta(record: Record, incarnation: str) -> StoredMeta:
    """Read a META record of an incarnation of its bucket.

    Raises:
        ValueError: the body is not of this format (its checksum was right).
    """
    return decode_body(
        record.sequence,
        record.time_ns,
        record.key,
        record.nuid,
        bytes(record.body),
        incarnation,
    )


def decode_body(  # noqa: PLR0917 - a row's columns, for each name of a long list
    sequence: int,
    time_ns: int,
    key: bytes,
    nuid: bytes,
    body: bytes,
    incarnation: str,
) -> StoredMeta:
    """Read a META record of which nothing but its parts is at hand.

    Raises:
        ValueError: as `decode_meta`.
    """
    try:
        values: tuple[int, ...] = _PREFIX.unpack_from(body)
        kind = _CHANGES[values[0] - 1]
    except (error, IndexError) as cause:
        raise ValueError(_BAD_PREFIX) from cause
    _, count, chunk_bytes, size, stored, content_time, expires, _, _ = values
    end = PREFIX_BYTES + count * _EXTENT.size
    if end > len(body):
        raise ValueError(_BAD_EXTENTS)
    return StoredMeta(
        sequence,
        time_ns,
        key.decode(),
        body[end:],
        kind,
        nuid,
        size,
        chunk_bytes,
        # one step each, because long lists take it for every name
        tuple(map(Extent._make, _EXTENT.iter_unpack(body[PREFIX_BYTES:end]))),
        content_time or time_ns,
        expires or None,
        stored,
        incarnation,
    )


def only_chunk(body: bytes) -> tuple[int, int, bytes] | None:
    """Read the META of a content that is one chunk and stays.

    Returns:
        The chunk's sequence, the content's size and the document; `None` for others.
    """
    if len(body) < _ONE_EXTENT_END:
        return None
    change, count, _, size, _, _, expires, _, _ = _PREFIX.unpack_from(body)
    if count != 1 or expires or change not in _WITH_CONTENT:
        return None
    first, chunks, _ = _EXTENT.unpack_from(body, PREFIX_BYTES)
    return (first, size, body[_ONE_EXTENT_END:]) if chunks == 1 else None


def decode_facts(body: bytes) -> MetaFacts:
    """Read what the projection needs of a META's body."""
    change, count, _, size, stored, _, expires, previous, delta = _prefix(body)
    return MetaFacts(
        change, _extents(body, count), size, stored, expires, previous, delta
    )


def previous_of(body: bytes) -> int:
    """Give the sequence of the name's META before this one, 0 for none."""
    return _prefix(body)[7]


def repeated(record: Record) -> NewRecord:
    """Make a META that says again what a damaged one said; its content keeps its age.

    It adds nothing to the live content bytes: the damaged one has.
    """
    body = bytearray(record.body)
    (content_time,) = _U64.unpack_from(body, _CONTENT_TIME_PLACE)
    _U64.pack_into(body, _CONTENT_TIME_PLACE, content_time or record.time_ns)
    _U64.pack_into(body, _PREVIOUS_PLACE, record.sequence)
    _U64.pack_into(body, _DELTA_PLACE, 0)
    return NewRecord(Kind.META, bytes(body), key=record.key, nuid=record.nuid)


def size_delta_of(body: bytes) -> int:
    """Give what a META adds to the live content bytes."""
    return _prefix(body)[8]


def _prefix(
    body: bytes,
) -> tuple[ChangeKind, int, int, int, int, int, int, int, int]:
    try:
        values: tuple[int, ...] = _PREFIX.unpack_from(body)
        change = _CHANGES[values[0] - 1]
    except (error, IndexError) as cause:
        raise ValueError(_BAD_PREFIX) from cause
    _, count, chunk_bytes, size, stored, content_time, expires, previous, delta = values
    return (
        change,
        count,
        chunk_bytes,
        size,
        stored,
        content_time,
        expires,
        previous,
        delta,
    )


def _extents(body: bytes, count: int) -> tuple[Extent, ...]:
    end = PREFIX_BYTES + count * _EXTENT.size
    if end > len(body):
        raise ValueError(_BAD_EXTENTS)
    return tuple(map(Extent._make, _EXTENT.iter_unpack(body[PREFIX_BYTES:end])))
