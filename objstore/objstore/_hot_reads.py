"""Small objects that are read again and again: a look at the head, and one read.

What is kept is where a version's only chunk stands, never its bytes. Whoever gets them
proves them by the digest that the version's document states; everything else, and
everything that is not as it was, goes the long way, which also says what is wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from objstore._bucket_records import meta_subject_of
from objstore._meta_record import only_chunk
from objstore_log import Log, Place, Record

HOT_BYTES_MAX: Final = 64 * 1024
"""A larger content costs more to read and to hash than to look up."""
HOT_NAMES_MAX: Final = 20_000


class _Hot(NamedTuple):
    """A name's newest version."""

    sequence: int
    subject: bytes
    document: bytes
    place: Place | None
    """`None` when it goes the long way."""


class HotReads:
    """Where the contents of one bucket's names are."""

    def __init__(self, log: Log, newest: Callable[[bytes], Record | None]) -> None:
        self._places = log.places
        self._newest = newest
        self._known: dict[str, _Hot] = {}

    def read(self, name: str, *, wait: bool) -> tuple[bytes, bytes] | None:
        """Give the document of a name's newest version and its content, unverified.

        Returns:
            `None` when it is not small and plain, or not at hand.
        """
        hot = self._known.get(name)
        if hot is None or not self._places.is_newest(hot.subject, hot.sequence):
            hot = self._look_up(name)
        if hot is None or hot.place is None:
            return None
        content = hot.place.read(wait=wait)
        if content is None or len(content) != hot.place.length:
            self._known.pop(name, None)
            return None
        return hot.document, content

    def _look_up(self, name: str) -> _Hot | None:
        subject = meta_subject_of(name)
        record = self._newest(subject)
        if record is None:
            return None
        plain = only_chunk(bytes(record.body))
        hot = _Hot(record.sequence, subject, b"", None)
        if plain is not None and 0 < plain[1] <= HOT_BYTES_MAX:
            first, size, document = plain
            place = self._places.of(first)
            if place is not None and place.length == size:
                hot = _Hot(record.sequence, subject, document, place)
        if len(self._known) >= HOT_NAMES_MAX:
            self._known.pop(next(iter(self._known)), None)
        self._known[name] = hot
        return hot
