"""Reading a catalog: single rows, pages, and all of it as of one moment.

Every row carries a checksum that is looked at here, except in `query`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from objstore_log import _catalog_schema as schema
from objstore_log._catalog_file import Handle
from objstore_log._catalog_schema import CatalogDamagedError, is_subject_sound
from objstore_log._overlay import Applied

LAST = "SELECT sequence, checksum FROM subjects WHERE subject = ?"
_PAGE = (
    "SELECT subject, sequence, checksum FROM subjects WHERE subject >= ?"
    " ORDER BY subject LIMIT ?"
)
_PAGE_TO = (
    "SELECT subject, sequence, checksum FROM subjects WHERE subject >= ?"
    " AND subject < ? ORDER BY subject LIMIT ?"
)


def sound_sequence(subject: bytes, found: list[tuple[Any, ...]], path: str) -> int:
    """Give what the row of a subject says, 0 without one.

    Raises:
        CatalogDamagedError: the row is not as it was written.
    """
    if not found:
        return 0
    if not is_subject_sound(subject, *found[0]):
        raise CatalogDamagedError(
            path=path, reason=f"the row of subject {subject!r} is damaged"
        )
    sequence: int = found[0][0]
    return sequence


class CatalogReader:
    """Reads through one connection, for any number of threads."""

    def __init__(self, handle: Handle, path: str) -> None:
        self._handle = handle
        self._path = path

    def query(
        self, sql: str, parameters: Sequence[object] = ()
    ) -> list[tuple[Any, ...]]:
        """Run one short read of at most a page; its rows are not checked here."""
        handle = self._handle
        with handle.lock:
            try:
                return handle.opened().execute(sql, parameters).fetchall()
            except schema.SQLITE_ERRORS as error:
                raise schema.translated(error, self._path) from error

    def last(self, subject: bytes) -> int:
        """Give the last sequence of a subject, 0 when it has none."""
        return sound_sequence(subject, self.query(LAST, (subject,)), self._path)

    def subjects(
        self, start: bytes, stop: bytes | None, limit: int
    ) -> list[tuple[bytes, int]]:
        """List at most `limit` subjects in `[start, stop)` with their sequences."""
        if stop is None:
            rows = self.query(_PAGE, (start, limit))
        else:
            rows = self.query(_PAGE_TO, (start, stop, limit))
        before = None
        for row in rows:
            if not is_subject_sound(*row) or (before is not None and row[0] <= before):
                raise CatalogDamagedError(
                    path=self._path, reason=f"a row behind {before!r} is damaged"
                )
            before = row[0]
        return [(subject, sequence) for subject, sequence, _ in rows]


class CatalogSnapshot(CatalogReader):
    """All of a catalog as of the moment it was taken, until it is released."""

    def __init__(self, handle: Handle, path: str) -> None:
        """Take over a connection that shows one state."""
        super().__init__(handle, path)
        with handle.lock:
            try:
                self.applied: Applied = schema.read_state(handle.opened(), path).applied
            except BaseException:
                handle.close()
                raise

    def release(self) -> None:
        """Close the connection; a second call does nothing."""
        with self._handle.lock:
            self._handle.close()
