"""All last sequences of a log as of one moment, in pages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from objstore_log._catalog_reader import Beside, CatalogSnapshot
from objstore_log._overlay import NewestRecords
from objstore_log._record import Record


class LogSnapshot:
    """What the log's look-ups gave when it was taken; not for two threads at once.

    Its methods are those of `Log` with the same names, and raise
    `CatalogDamagedError` where these would rebuild the catalog.
    """

    def __init__(self, newest: NewestRecords, catalog: CatalogSnapshot) -> None:
        self._newest = newest
        self._catalog = catalog

    def query(
        self, sql: str, parameters: Sequence[object] = ()
    ) -> list[tuple[object, ...]]:
        """Read a projection's tables."""
        return self._catalog.query(sql, tuple(parameters))

    def last(self, subject: bytes) -> tuple[int, Record | None]:
        """Give a subject's last sequence (0 when none), and its record if at hand."""
        record = self._newest.last(subject)
        if record is not None:
            return record.sequence, record
        return self._catalog.last(subject), None

    def subjects(
        self, start: bytes, stop: bytes | None, limit: int
    ) -> list[tuple[bytes, int]]:
        """Give subjects in `[start, stop)` with their last sequences, sorted."""
        rows = self._catalog.subjects(start, stop, limit)
        return self._newest.merge(rows, start, stop, limit)

    def subjects_beside(
        self, beside: Beside, start: bytes, stop: bytes | None, limit: int
    ) -> list[tuple[Any, ...]]:
        """Give what a projection has of subjects in `[start, stop)`, sorted."""
        rows = self._catalog.subjects_beside(beside, start, stop, limit)
        width = 3 + len(beside.columns)
        return self._newest.merge(rows, start, stop, limit, width=width)

    def release(self) -> None:
        """Let go; idempotent."""
        self._catalog.release()
