"""The catalog: last sequences and projections of one log in a SQLite file.

Owns the content and its transactions. The log is the truth: a catalog that is damaged,
foreign or of another version is deleted and made anew, empty.
Invariants:
- `applied`, subjects, aggregates and projections move in one transaction.
- No read transaction outlives its call; those of `check`, `rows` and `snapshot` are on
  connections of their own.
- A catalog whose file was replaced by another process says so at its next `apply`.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from objstore_log import _catalog_schema as schema
from objstore_log._catalog_file import CatalogFile, snapshot
from objstore_log._catalog_reader import (
    LAST,
    Beside,
    CatalogReader,
    CatalogSnapshot,
    sound_sequence,
)
from objstore_log._catalog_schema import (
    CatalogBusy,
    CatalogDamagedError,
    Projection,
    State,
    row_checksum,
)
from objstore_log._overlay import Applied
from objstore_log._record import SUBJECT_KINDS, Record
from objstore_log.errors import StorageError

__all__ = ["Applied", "Catalog", "CatalogBusy", "CatalogDamagedError", "Projection"]

CATALOG_CHECK_BYTES = 4 * 1024 * 1024
"""A file up to this size is checked whole when it is opened."""
INSTANCE_BYTES = 16
PAUSE_STEPS = 10_000
"""Steps of SQLite's machine between two pauses of a slow check: about 1 ms."""

_PUT = (
    "INSERT INTO subjects VALUES (?, ?, ?) ON CONFLICT (subject) DO UPDATE"
    " SET sequence = excluded.sequence, checksum = excluded.checksum"
)
_logger = logging.getLogger("objstore")


class Catalog:
    """The catalog of one log, for any number of threads and processes.

    Every method raises `ClosedError` before `open`, after `close` and in the child of
    a fork; `CatalogDamagedError` asks for `reset`.
    """

    def __init__(
        self, path: str, *, identity: bytes, projections: Sequence[Projection]
    ) -> None:
        """Prepare; no I/O.

        Args:
            path: of the database file, or `:memory:`.
            identity: of the log; a file that states another one is not used.
            projections: applied in this order.
        """
        self._file = CatalogFile(path)
        self._reader = CatalogReader(self._file.reader, path)
        self._identity = identity
        self._projections = tuple(projections)
        self._instance = b""
        self._known: tuple[int, Applied] | None = None

    def open(self) -> Applied:
        """Open the file, or make it; a small one is checked whole.

        Returns:
            Up to where it has the log; `Applied()` when it was made anew.

        Raises:
            CatalogBusy: another process has been opening it for too long.
            StorageError: the operating system refuses to make it.
        """
        file = self._file
        assert file.writer.db is None, "opened twice"
        with file.all_locked(), file.opening_alone():
            return self._open_or_make()

    def reset(self) -> Applied:
        """Begin anew with an empty catalog, or with one that another process began.

        Returns:
            Up to where the new one has the log; apply from there. When it raises, the
            catalog is closed.
        """
        file = self._file
        with file.all_locked():
            file.writer.opened()
            with file.opening_alone():
                is_ours = not file.is_replaced()
                file.disconnect()
                if is_ours:
                    file.remove()
                return self._open_or_make()

    def close(self) -> None:
        """Close the connections; a second call does nothing."""
        with self._file.all_locked():
            self._file.disconnect()

    # Opening

    def _open_or_make(self) -> Applied:
        if self._file.exists():
            try:
                return self._adopt()
            except CatalogDamagedError as error:
                _logger.warning("catalog set aside: %s", error)
        self._file.remove()
        return self._make()

    def _adopt(self, image: bytes | None = None) -> Applied:
        """Use what is there, or an image, if it can be."""
        file = self._file
        self._known = None
        try:
            file.connect()
            if image:  # SQLite has no memory of no bytes
                file.writer.opened().deserialize(image)
            stored_bytes = file.stored_bytes() if image is None else len(image)
            return self._verified(file.reader.opened(), stored_bytes)
        except BaseException as error:
            file.disconnect()
            if isinstance(error, schema.SQLITE_ERRORS):
                raise schema.translated(error, file.path) from error
            raise

    def _make(self) -> Applied:
        file = self._file
        self._known = None
        instance = os.urandom(INSTANCE_BYTES)
        try:
            file.connect()
            db = file.writer.opened()
            db.execute("BEGIN IMMEDIATE")
            state = schema.create(db, self._identity, instance, self._projections)
            db.execute("COMMIT")
        except BaseException as error:
            file.disconnect()
            if isinstance(error, sqlite3.DatabaseError | CatalogDamagedError):
                raise StorageError(
                    path=file.path,
                    operation="make catalog",
                    reason=str(error),
                    errno=schema.errno_of(error),
                ) from error
            raise
        self._instance = instance
        return state.applied

    def _verified(self, db: sqlite3.Connection, stored_bytes: int) -> Applied:
        """Check what a connection shows: whose it is, and all of it when small."""
        with snapshot(db):
            state = schema.read_state(db, self._file.path)
            reason = self._reason_against(state)
            if reason is None and not self._is_sound(db, state, stored_bytes):
                reason = "its content is damaged"
        if reason is not None:
            raise CatalogDamagedError(path=self._file.path, reason=reason)
        self._instance = state.instance
        return state.applied

    def _is_sound(
        self, db: sqlite3.Connection, state: State, stored_bytes: int
    ) -> bool:
        if stored_bytes <= CATALOG_CHECK_BYTES:
            return schema.are_tables_sound(db, state, self._projections)
        return schema.schema_checksum(db) == state.schema_checksum

    def _reason_against(self, state: State) -> str | None:
        if state.format != schema.FORMAT:
            return f"it has format {state.format}, not {schema.FORMAT}"
        if state.identity != self._identity:
            return "it belongs to another log"
        if state.projections != schema.projections_text(self._projections):
            return f"it holds the projections {state.projections!r}"
        return None

    # Applying

    def apply(
        self, records: Sequence[Record], through: Applied, *, after: Applied
    ) -> Applied:
        """Apply durable commits in one transaction.

        Guarantee:
            All or nothing, also when a projection raises. Records that another
            process has applied already are left out.

        Args:
            records: of subject kinds and aborts, in order, from whole commits.
            through: where the last of these commits ends.
            after: where the first of these commits begins.

        Returns:
            Where the catalog is now: `through`, or beyond it, or the untouched place
            that does not reach `after`; then go on from there.

        Raises:
            CatalogBusy: another process is applying.
            CatalogDamagedError: it is damaged, or another process has replaced it.
        """
        with self._transaction() as db:
            state = schema.read_state(db, self._file.path)
            applied = state.applied
            if applied.place >= through.place or not _reaches(applied, after):
                return applied
            fresh = [item for item in records if item.sequence > applied.sequence]
            assert not fresh or fresh[-1].sequence <= through.sequence, through
            previous, count, change = self._put_subjects(db, fresh)
            for projection in self._projections:
                projection.apply(db, fresh, previous)
            count += state.subject_count
            schema.write_state(
                db, state.moved(through, count, state.subject_sum + change)
            )
            db.execute("COMMIT")
            return through

    def _put_subjects(
        self, db: sqlite3.Connection, records: Sequence[Record]
    ) -> tuple[dict[int, int], int, int]:
        """Write the last sequences; give `previous` and how the aggregate moves."""
        chains: dict[bytes, list[int]] = {}
        for record in records:
            if record.kind in SUBJECT_KINDS:
                chains.setdefault(record.subject, []).append(record.sequence)
        previous: dict[int, int] = {}
        rows: list[tuple[bytes, int, int]] = []
        count = change = 0
        # In the order of the tree: neighbours share pages.
        for subject in sorted(chains):
            sequences = chains[subject]
            found = db.execute(LAST, (subject,)).fetchall()
            before = sound_sequence(subject, found, self._file.path)
            checksum = row_checksum(subject, sequences[-1])
            count += not found
            change += checksum - (found[0][1] if found else 0)
            rows.append((subject, sequences[-1], checksum))
            for sequence in sequences:
                previous[sequence] = before
                before = sequence
        db.executemany(_PUT, rows)
        return previous, count, change

    @contextmanager
    def _transaction(self) -> Generator[sqlite3.Connection]:
        """Hold the write transaction; what the block does not commit is undone."""
        with self._file.writer.lock:
            db = self._file.writer.opened()
            self._file.refuse_replaced()
            try:
                try:
                    db.execute("BEGIN IMMEDIATE")
                    yield db
                finally:
                    self._known = None
                    # In the child of a fork the transaction is still the parent's.
                    if self._file.writer.db is db and db.in_transaction:
                        db.execute("ROLLBACK")
            except schema.SQLITE_ERRORS as error:
                raise schema.translated(error, self._file.path) from error

    # Reading

    def query(
        self, sql: str, parameters: Sequence[object] = ()
    ) -> list[tuple[Any, ...]]:
        """Run one short read of at most a page; its rows are not checked here."""
        return self._reader.query(sql, parameters)

    def applied(self) -> Applied:
        """Give up to where the catalog has the log now, whoever applied it."""
        handle = self._file.reader
        with handle.lock:
            db = handle.opened()
            try:
                version = db.execute("PRAGMA data_version").fetchall()[0][0]
                if self._known is not None and self._known[0] == version:
                    return self._known[1]
                applied = schema.read_state(db, self._file.path).applied
            except schema.SQLITE_ERRORS as error:
                raise schema.translated(error, self._file.path) from error
            self._known = version, applied
            return applied

    def last(self, subject: bytes) -> int:
        """Give the last sequence of a subject, 0 when it has none."""
        return self._reader.last(subject)

    def subjects(
        self, start: bytes, stop: bytes | None, limit: int
    ) -> list[tuple[bytes, int]]:
        """List at most `limit` subjects in `[start, stop)` with their sequences."""
        return self._reader.subjects(start, stop, limit)

    def subjects_beside(
        self, beside: Beside, start: bytes, stop: bytes | None, limit: int
    ) -> list[tuple[Any, ...]]:
        """List subjects with what a projection has. See `CatalogReader`."""
        return self._reader.subjects_beside(beside, start, stop, limit)

    def snapshot(self) -> CatalogSnapshot:
        """Show what it holds now for as long as somebody reads it.

        *Cost:* a connection; the WAL grows by what is applied meanwhile. A catalog in
        memory is copied.
        """
        try:
            return CatalogSnapshot(self._file.open_whole(), self._file.path)
        except schema.SQLITE_ERRORS as error:
            raise schema.translated(error, self._file.path) from error

    # The whole

    def check(self, pause: Callable[[], bool] | None = None) -> bool:
        """Tell whether all of it holds; nobody waits for it.

        *Cost:* reads everything in one snapshot on its own connection, so the WAL
        grows by what is applied meanwhile.

        Args:
            pause: called again and again, so that the check takes its time; when it
                gives true the check ends, and tells nothing.
        """
        try:
            with self._whole() as db:
                db.set_progress_handler(pause, PAUSE_STEPS)
                state = schema.read_state(db, self._file.path)
                return state.instance == self._instance and schema.are_tables_sound(
                    db, state, self._projections
                )
        except CatalogDamagedError:
            return False

    def rows(self) -> Iterator[tuple[object, ...]]:
        """Give subjects and projections, the same however they came to be."""
        with self.image() as (_, rows):
            yield from rows

    @contextmanager
    def image(self) -> Generator[tuple[Applied, Iterator[tuple[object, ...]]]]:
        """Give all rows as of one moment, and up to where they have the log."""
        with self._whole() as db:
            yield schema.read_state(db, self._file.path).applied, self._rows(db)

    def _rows(self, db: sqlite3.Connection) -> Iterator[tuple[object, ...]]:
        for subject, sequence, _ in schema.subject_rows(db):
            yield "subjects", subject, sequence
        for projection in self._projections:
            for row in projection.rows(db):
                yield projection.name, *row

    def empty_twin(self, path: str) -> Catalog:
        """Make a catalog of the same log elsewhere, to be compared with this one."""
        return Catalog(path, identity=self._identity, projections=self._projections)

    @property
    def is_small(self) -> bool:
        """Say whether a second one of its size may be in memory."""
        is_memory = self._file.is_memory
        return is_memory or self._file.stored_bytes() <= CATALOG_CHECK_BYTES

    @contextmanager
    def _whole(self) -> Generator[sqlite3.Connection]:
        try:
            with self._file.whole() as db:
                yield db
        except schema.SQLITE_ERRORS as error:
            raise schema.translated(error, self._file.path) from error

    def serialize(self) -> bytes:
        """Give the image of a catalog in memory."""
        assert self._file.is_memory, self._file.path
        with self._file.writer.lock:
            return self._file.writer.opened().serialize()

    def deserialize(self, image: bytes) -> Applied:
        """Open a catalog in memory from an image, as `open` opens a file."""
        assert self._file.is_memory, self._file.path
        with self._file.all_locked():
            self._file.disconnect()
            try:
                return self._adopt(image)
            except CatalogDamagedError as error:
                _logger.warning("catalog set aside: %s", error)
                return self._make()


def _reaches(applied: Applied, after: Applied) -> bool:
    if applied.sequence == after.sequence:
        return applied.checksum == after.checksum or applied.place > after.place
    return applied.sequence > after.sequence
