"""What an upper package notes of a subject's newest record. Pure.

A note counts until a commit of its subject is shown, so that nobody who has one need
look the subject up. Notes are what was read from the log or from sound rows of the
catalog; they go with the cache of subjects when either turns out to be another one.
"""

from __future__ import annotations

from typing import Final

NOTES_BYTES_MAX: Final = 16 * 1024 * 1024
"""What the notes of one log take at most, with all that keeping them takes."""
NOTE_BYTES: Final = 180
"""What a note takes beside its own bytes and its subject's: two objects' headers, and
its part of a table that is between a third and two thirds full."""


class Notes:
    """The oldest notes are forgotten first. The log calls it under its own lock.

    Only `get` may run beside everything.
    """

    def __init__(self, limit_bytes: int = NOTES_BYTES_MAX) -> None:
        self._limit_bytes = limit_bytes
        self._notes: dict[bytes, bytes] = {}
        self._bytes = 0
        self.get = self._notes.get
        """Give the note of a subject, `None` when there is none."""

    def __len__(self) -> int:
        """Count the notes."""
        return len(self._notes)

    def put(self, subject: bytes, note: bytes) -> None:
        """Keep a note in the place of any other one of its subject."""
        self.discard(subject)
        self._notes[subject] = note
        self._bytes += NOTE_BYTES + len(subject) + len(note)
        while self._bytes > self._limit_bytes:
            self.discard(next(iter(self._notes)))

    def discard(self, subject: bytes) -> None:
        """Forget the note of a subject, if there is one."""
        note = self._notes.pop(subject, None)
        if note is not None:
            self._bytes -= NOTE_BYTES + len(subject) + len(note)

    def clear(self) -> None:
        """Forget everything."""
        self._notes.clear()
        self._bytes = 0
