"""Ranges of objects that are read again and again: a look at the heads, and one read.

What is kept is where a version's chunks stand, never their bytes: each range reads the
whole records that it touches and proves them by their checksums. Everything that is not
plain, not as it was or not at hand goes the long way, which also says what is wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Final, NamedTuple

from objstore._bucket_records import meta_subject_of, runs_between
from objstore._document import decode_document, stated_digest
from objstore._engine import StoredMeta
from objstore.errors import BadObjectMetaError
from objstore_log import Log, Record, RecordPlace

HOT_WHOLE_BYTES_MAX: Final = 1024 * 1024
"""A larger content is read in slabs."""
HOT_CHUNKS_MAX: Final = 8_192
"""Places that are kept for a bucket, about 2 MB; a gigabyte in chunks of 128 KiB."""
HOT_NAMES_MAX: Final = 1_000
_PLAIN: Final = frozenset({"put", "meta"})


class _Hot(NamedTuple):
    """A name's newest version, and where those of its chunks are that were read."""

    sequence: int
    subject: bytes
    stored: StoredMeta | None
    """`None` when it goes the long way."""
    chunks: dict[int, RecordPlace]


class HotRanges:
    """Where the chunks of one bucket's objects are."""

    def __init__(
        self,
        log: Log,
        newest: Callable[[bytes], Record | None],
        decode: Callable[[Record], StoredMeta],
    ) -> None:
        self._places = log.places
        self._newest = newest
        self._decode = decode
        self._known: dict[str, _Hot] = {}
        self._learnt = 0
        """Places since all were forgotten, roughly: threads may count at a time."""

    def read(self, name: str, offset: int, size: int, *, wait: bool) -> bytes | None:
        """Give bytes of a name's newest version, proven by their chunks' checksums.

        Returns:
            `None` when it has not all of them, is not plain, or not at hand.
        """
        hot = self._newest_of(name)
        stored = None if hot is None else hot.stored
        if hot is None or stored is None or offset + size > stored.size:
            return None
        return self._read(hot, stored, offset, size, wait=wait)

    def read_whole(self, name: str, *, wait: bool) -> bytes | None:
        """Give the content of a name's newest version as `read`, and by its digest."""
        hot = self._newest_of(name)
        stored = None if hot is None else hot.stored
        if hot is None or stored is None or not 0 < stored.size <= HOT_WHOLE_BYTES_MAX:
            return None
        content = self._read(hot, stored, 0, stored.size, wait=wait)
        if content is None:
            return None
        try:
            digest = stated_digest(stored.document)
        except (BadObjectMetaError, ValueError):
            return None
        return content if sha256(content).digest() == digest else None

    def _read(
        self, hot: _Hot, stored: StoredMeta, offset: int, size: int, *, wait: bool
    ) -> bytes | None:
        index, skipped = divmod(offset, stored.chunk_bytes)
        behind = (offset + size - 1) // stored.chunk_bytes + 1
        places: list[RecordPlace] = []
        for at in range(index, behind):
            place = hot.chunks.get(at) or self._learn(hot, stored, at, wait=wait)
            if place is None:
                return None
            places.append(place)
        found = self._places.read(places, skipped, size, wait=wait)
        if found is None:
            for at in range(index, behind):
                hot.chunks.pop(at, None)
        return found

    def _newest_of(self, name: str) -> _Hot | None:
        hot = self._known.get(name)
        if hot is None or not self._places.is_newest(hot.subject, hot.sequence):
            return self._look_up(name)
        return hot

    def _look_up(self, name: str) -> _Hot | None:
        subject = meta_subject_of(name)
        record = self._newest(subject)
        if record is None:
            return None
        if len(self._known) >= HOT_NAMES_MAX:
            self._known.clear()
        stored = self._plain(record)
        hot = self._known[name] = _Hot(record.sequence, subject, stored, {})
        return hot

    def _plain(self, record: Record) -> StoredMeta | None:
        """Read a meta; `None` unless it is of content that stays, and stands here."""
        stored = self._decode(record)
        if stored.expires_ns or not stored.extents or stored.change not in _PLAIN:
            return None
        try:
            decode_document(stored.document)
        except (BadObjectMetaError, ValueError):
            return None
        return stored

    def _learn(
        self, hot: _Hot, stored: StoredMeta, index: int, *, wait: bool
    ) -> RecordPlace | None:
        """Find a chunk's place and keep it."""
        runs = runs_between(stored.extents, index, 1)
        found = self._places.of_record(runs[0][0], wait=wait) if runs else None
        if found is None:
            return None
        place, header = found
        is_own = header.nuid == stored.nuid and header.chunk_index == index
        rest = stored.size - index * stored.chunk_bytes
        if not is_own or place.length != min(stored.chunk_bytes, rest):
            return None
        if self._learnt >= HOT_CHUNKS_MAX:
            self._forget_all()
        self._learnt += 1
        hot.chunks[index] = place
        return place

    def _forget_all(self) -> None:
        self._learnt = 0
        for hot in list(self._known.values()):
            hot.chunks.clear()
