"""Where whole bodies are: for reads that come again and again and must cost little.

A place says nothing of what stands there now: who reads it proves the bytes by a digest
and asks whether the subject still is at the sequence that the place was made for.
"""

from __future__ import annotations

from typing import NamedTuple

from objstore_log._core import LogCore
from objstore_log._format import RECORD_HEADER_BYTES
from objstore_log._record import Record
from objstore_log._segment import Segment
from objstore_log.errors import SequenceGoneError


class Place(NamedTuple):
    """Where the body of one record was when somebody looked."""

    segment: Segment
    position: int
    length: int

    def read(self, *, wait: bool) -> bytes | None:
        """Give the bytes, unverified.

        Args:
            wait: with `False`, give `None` instead of waiting for the disk.

        Returns:
            `None` also when the file is not open: finding it again is for others.
        """
        return self.segment.read_open(self.position, self.length, wait=wait)


class Places:
    """Looks places up, and whether they still count."""

    def __init__(self, core: LogCore) -> None:
        self._core = core

    def is_newest(self, subject: bytes, sequence: int) -> bool:
        """Say whether a subject is at a sequence; False also when that is not at hand.

        Takes in what other processes committed.
        """
        core = self._core
        core.catch_up()
        return core.cache.sequence(subject) == sequence and not core.is_closed

    def last(self, subject: bytes) -> tuple[int, Record | None] | None:
        """Give what `Log.last` gives if no catalog has to be asked, else `None`.

        Takes in what other processes committed.
        """
        core = self._core
        core.catch_up()
        record = core.overlay.last(subject)
        if record is not None:
            return record.sequence, record
        return core.cache.get(subject)

    def of(self, sequence: int) -> Place | None:
        """Give the place of a record's body, `None` when its index is not at hand."""
        try:
            segment = self._core.segments.locate(sequence)
        except SequenceGoneError:
            return None
        index = segment.loaded_index
        entry = None if index is None else index.find(sequence)
        if entry is None:
            return None
        before = RECORD_HEADER_BYTES + entry.key_length
        return Place(segment, entry.position + before, entry.length - before)
