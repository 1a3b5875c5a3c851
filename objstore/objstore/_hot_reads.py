"""Small objects: one look-up of the name at most, a look at the head, and one read.

What is noted is where the only chunk of a name's newest version stands, and its digest;
never its bytes. The digest proves them; everything else, and everything that is not as
it was, goes the long way, which also says what is wrong.
"""

from __future__ import annotations

from hashlib import sha256
from struct import Struct
from typing import Final

from objstore._bucket_metas import BucketMetas
from objstore._bucket_records import meta_subject_of
from objstore._document import stated_digest
from objstore._meta_record import only_chunk
from objstore.errors import BadObjectMetaError
from objstore_log import Log

HOT_BYTES_MAX: Final = 64 * 1024
"""A larger content costs more to read and to hash than to look up."""
_NOTE: Final = Struct("<QQQI32s")
"""The chunk's sequence, its segment and position, the length and the digest."""
_LONG_WAY: Final = b""
"""The note of a name that is not small and plain."""


class HotReads:
    """Where the contents of one bucket's names are."""

    def __init__(self, log: Log, metas: BucketMetas) -> None:
        self._places = log.places
        self._metas = metas

    def read(self, name: str, *, wait: bool) -> bytes | None:
        """Give the content of a name's newest version, verified by its digest.

        Returns:
            `None` when it is not small and plain, or not at hand.
        """
        subject = meta_subject_of(name)
        places = self._places
        note = places.noted(subject)
        if note is None:
            note = self._look_up(subject, wait=wait)
        if not note:
            return None
        sequence, segment, position, length, digest = _NOTE.unpack(note)
        place = places.at(sequence, segment, position, length)
        content = None if place is None else place.read(wait=wait)
        if content is not None and sha256(content).digest() == digest:
            return content
        if content is not None or place is None:
            # its segment was written anew, or is damaged
            places.forget(subject)
        return None

    def _look_up(self, subject: bytes, *, wait: bool) -> bytes | None:
        """Give a note and keep it; `None` when that takes more than a look-up."""
        generation = self._places.generation
        found = self._metas.newest_parts(subject)
        if found is None:
            return None
        note: bytes | None = _LONG_WAY
        plain = only_chunk(found.body)
        if plain is not None and 0 < plain[1] <= HOT_BYTES_MAX:
            note = self._note_of(*plain, wait=wait)
        if note is not None:
            self._places.note(subject, note, generation)
        if not note:
            # it is looked up once more at once
            self._metas.remember(subject, found, generation)
        return note

    def _note_of(
        self, sequence: int, size: int, document: bytes, *, wait: bool
    ) -> bytes | None:
        # its header is proven once: one that is damaged is told, whatever stands there
        found = self._places.of_record(sequence, wait=wait)
        if found is None:
            return None
        place, _ = found
        length = place.length
        try:
            digest = stated_digest(document)
        except (BadObjectMetaError, ValueError):
            return _LONG_WAY
        if not digest or length != size:
            return _LONG_WAY
        position = place.position + len(place.header)
        return _NOTE.pack(sequence, place.segment.number, position, length, digest)
