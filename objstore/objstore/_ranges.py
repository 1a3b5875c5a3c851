"""Byte ranges: what a caller asked for, and which chunks hold it.

Pure. All chunks of an object are of one size but the last.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import index

from objstore._engine import Buffer
from objstore._metas import bad_meta
from objstore.errors import InvalidRangeError

SLAB_CHUNKS_MAX = 4_096
"""Chunks that are read or appended at a time."""


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes of an object, and the chunks that hold them."""

    offset: int
    """First byte in the object."""
    size: int
    """Number of bytes."""
    index: int
    """First chunk."""
    count: int
    """Number of chunks."""
    skipped: int
    """Bytes of the first chunk that are before `offset`."""


def whole(field: str, value: object) -> int:
    """Give a caller's whole number.

    Raises:
        BadObjectMetaError: it is none.
    """
    try:
        return index(value)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    except TypeError:
        problem = f"has the type {type(value).__name__}"
        raise bad_meta(field, value, problem, "give a whole number") from None


def check_match_option(if_match: object) -> int | None:
    """Give the sequence that an object has to be at. Raises as `whole`."""
    sequence = None if if_match is None else whole("if_match", if_match)
    if sequence is not None and sequence < 0:
        hint = "give an object's sequence, or 0 for none"
        raise bad_meta("if_match", if_match, "can never match", hint)
    return sequence


def resolve_range(
    bucket: str,
    name: str,
    *,
    size: int,
    start: int = 0,
    end: int | None = None,
    length: int | None = None,
) -> tuple[int, int]:
    """Give the first offset and the number of bytes that a range means.

    Args:
        bucket: Where the object is, for the error.
        name: The object, for the error.
        size: Bytes of the object.
        start: First byte; negative counts from the end, at most to the beginning.
        end: The byte behind the last; beyond the object it is the object's end.
        length: Number of bytes, instead of `end`.

    Raises:
        InvalidRangeError: it starts beyond the object or ends before it starts.
        BadObjectMetaError: a number is none.
        TypeError: both `end` and `length` were given.
    """
    if end is not None and length is not None:
        message = f"give end or length, not both (end={end}, length={length})"
        raise TypeError(message)
    start = whole("start", start)
    end = None if end is None else whole("end", end)
    length = None if length is None else whole("length", length)
    first = max(size + start, 0) if start < 0 else start
    stop = end if length is None else first + length
    if first > size or (stop is not None and stop < first):
        raise InvalidRangeError(
            bucket=bucket, name=name, start=first, end=stop, size=size
        )
    return first, min(size if stop is None else stop, size) - first


def slab_bytes(chunk_bytes: int, limit: int) -> int:
    """Give the greatest multiple of a chunk within a limit, at least one chunk.

    Of tiny chunks it is less: each costs more than its bytes.
    """
    return min(max(limit // chunk_bytes, 1), SLAB_CHUNKS_MAX) * chunk_bytes


def span_at(offset: int, size: int, *, chunk_bytes: int) -> Span:
    """Find the chunks that hold bytes of an object; an empty span has no chunk."""
    index, skipped = divmod(offset, chunk_bytes) if chunk_bytes else (0, 0)
    count = -(-(skipped + size) // chunk_bytes) if size else 0
    return Span(offset=offset, size=size, index=index, count=count, skipped=skipped)


def plan_spans(
    offset: int, size: int, *, chunk_bytes: int, limit: int
) -> Iterator[Span]:
    """Cut bytes of an object into spans of about `limit` bytes, at chunk borders."""
    end = offset + size
    slab = slab_bytes(chunk_bytes, limit) if size else 0
    while offset < end:
        stop = min((offset // slab + 1) * slab, end)
        yield span_at(offset, stop - offset, chunk_bytes=chunk_bytes)
        offset = stop


def trim(chunks: Sequence[Buffer], span: Span) -> list[Buffer]:
    """Give a span's bytes out of the chunks that hold them, without copying."""
    pieces = list(chunks)
    if span.skipped:
        pieces[0] = memoryview(pieces[0])[span.skipped :]
    excess = sum(map(len, pieces)) - span.size
    assert excess >= 0, "the engine gave fewer bytes than the meta states"
    if excess:
        last = memoryview(pieces[-1])
        pieces[-1] = last[: len(last) - excess]
    return pieces
