"""Reading a catalog: single rows, pages, and all of it as of one moment.

Every row carries a checksum that is looked at here, except in `query`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from xxhash import xxh3_64_intdigest

from objstore_log import _catalog_schema as schema
from objstore_log._catalog_file import Handle
from objstore_log._catalog_schema import MASK, CatalogDamagedError, is_subject_sound
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


class Beside(NamedTuple):
    """A projection's table that has at most one row of each subject's last sequence."""

    table: str
    columns: tuple[str, ...]


@lru_cache
def _page_beside(beside: Beside, *, is_bounded: bool) -> str:
    columns = ", ".join(f"b.{column}" for column in beside.columns)
    bound = " AND s.subject < ?" if is_bounded else ""
    # the names are constants of the projection's module
    return (
        f"SELECT s.subject, s.sequence, s.checksum, {columns} FROM subjects s"  # noqa: S608
        f" LEFT JOIN {beside.table} b ON b.sequence = s.sequence"
        f" WHERE s.subject >= ?{bound} ORDER BY s.subject LIMIT ?"
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
        return [(subject, sequence) for subject, sequence, _ in self._sound(rows)]

    def subjects_beside(
        self, beside: Beside, start: bytes, stop: bytes | None, limit: int
    ) -> list[tuple[Any, ...]]:
        """List subjects as `subjects` does, with what a projection has beside them.

        Returns:
            `(subject, sequence, checksum, *columns)`, sorted. The columns are not
            checked here; all are `None` where the projection has no row.
        """
        sql = _page_beside(beside, is_bounded=stop is not None)
        bounds = (start, limit) if stop is None else (start, stop, limit)
        return self._sound(self.query(sql, bounds))

    def _sound(self, rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
        """Give rows that begin as those of `subjects` do if all are as written."""
        before = b""
        digest = xxh3_64_intdigest
        for row in rows:
            subject, sequence, checksum = row[:3]
            # `is_subject_sound`, without a call for each of very many; a subject is
            # never empty
            if (
                type(subject) is not bytes
                or type(sequence) is not int
                or sequence < 0
                or subject <= before
                or digest(subject + sequence.to_bytes(8, "little")) & MASK != checksum
            ):
                raise CatalogDamagedError(
                    path=self._path, reason=f"a row behind {before!r} is damaged"
                )
            before = subject
        return rows


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
