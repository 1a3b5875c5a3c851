"""The catalog's tables, its checksums and its connections; no state.

A catalog file holds `catalog_state` (one row: whose it is, up to where it has the log,
the aggregate over all subjects), `subjects` and the tables of the projections.
Bits flip: every row carries a checksum, and the aggregate tells a missing row.
"""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from typing import Any, Protocol

from xxhash import xxh3_64_intdigest

from objstore_log._overlay import Applied
from objstore_log._posix import is_out_of_files
from objstore_log._record import Record
from objstore_log.errors import ObjStoreError, StorageError

FORMAT = 2
"""Another number on disk and the catalog is made anew."""
MASK = (1 << 63) - 1
"""SQLite's integers have a sign; checksums give up one bit for it."""
PAGE_CACHE_KIB = 8 * 1024
CHECKPOINT_PAGES = 4_096
VALUE_BYTES_MAX = 64 * 1024 * 1024
"""A damaged length is refused before it is allocated."""

_STATE_TABLE = """CREATE TABLE catalog_state (
    id INTEGER PRIMARY KEY, format INTEGER, identity BLOB, instance BLOB,
    projections TEXT, schema_checksum INTEGER, sequence INTEGER,
    commit_checksum INTEGER, segment INTEGER, position INTEGER,
    subject_count INTEGER, subject_sum INTEGER, checksum INTEGER)"""
_SUBJECTS_TABLE = """CREATE TABLE subjects (
    subject BLOB PRIMARY KEY, sequence INTEGER, checksum INTEGER) WITHOUT ROWID"""
_PRAGMAS: tuple[str, ...] = (
    "PRAGMA synchronous = NORMAL",
    f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}",
    f"PRAGMA journal_size_limit = {CHECKPOINT_PAGES * 4_096 * 2}",
    f"PRAGMA cache_size = -{PAGE_CACHE_KIB}",
    "PRAGMA cell_size_check = ON",
    "PRAGMA trusted_schema = OFF",
    "PRAGMA secure_delete = OFF",
    "PRAGMA temp_store = MEMORY",
)
_SCAN_ROWS = 1_000
_STATE = "SELECT * FROM catalog_state"
_PUT_STATE = "REPLACE INTO catalog_state VALUES (1, ?,?,?,?,?,?,?,?,?,?,?,?)"
_STATE_TYPES = (int, bytes, bytes, str, *(int,) * 7)


SQLITE_ERRORS = (sqlite3.Error, UnicodeDecodeError)
"""The second one comes when the text of an error quotes a damaged schema."""


_SHARED_MEMORY_ERRORS = {
    sqlite3.SQLITE_IOERR_SHMSIZE,
    sqlite3.SQLITE_IOERR_SHMMAP,
    sqlite3.SQLITE_IOERR_SHMOPEN,
}
"""Its file beside the database cannot grow: so it looks when the disk is full."""


class CatalogDamagedError(ObjStoreError):
    """The catalog is damaged; the log resets it and applies everything again."""

    def __init__(self, *, path: str, reason: str) -> None:
        super().__init__(
            f"{path}: {reason}; it is rebuilt from the log", path=path, reason=reason
        )


class CatalogBusy(ObjStoreError):  # noqa: N818 - a state to wait for, not a fault
    """Another process writes the catalog just now; try again later."""

    def __init__(self, *, path: str) -> None:
        super().__init__(f"{path}: another process is writing it; retry", path=path)


class Projection(Protocol):
    """What an upper package keeps in the catalog, in the same transactions.

    Its tables must not be called as those of this module, and none of its methods may
    begin or end a transaction.
    """

    name: str
    version: int
    """Another version on disk and the catalog is made anew."""

    def create(self, db: sqlite3.Connection) -> None:
        """Create its empty tables."""
        ...

    def apply(
        self,
        db: sqlite3.Connection,
        records: Sequence[Record],
        previous: Mapping[int, int],
    ) -> None:
        """Apply records in order.

        Args:
            db: the connection, inside a transaction.
            records: those of subject kinds and aborts, never chunks.
            previous: the sequence of each record with a subject -> the sequence that
                its subject had before it, 0 for none.
        """
        ...

    def check(self, db: sqlite3.Connection) -> bool:
        """Tell whether every row and aggregate holds; damaged rows must not raise."""
        ...

    def rows(self, db: sqlite3.Connection) -> Iterator[tuple[object, ...]]:
        """Give the whole content in one fixed order, however it came to be."""
        ...


@dataclass(frozen=True, slots=True)
class State:
    """The one row of `catalog_state`."""

    format: int
    identity: bytes
    instance: bytes
    """Random, made with the file, so that two connections know they share one."""
    projections: str
    schema_checksum: int
    sequence: int = 0
    commit_checksum: int = 0
    segment: int = 0
    position: int = 0
    subject_count: int = 0
    subject_sum: int = 0

    @property
    def applied(self) -> Applied:
        """Give the place; a checksum of 64 bits is stored with a sign."""
        checksum = self.commit_checksum % (1 << 64)
        return Applied(self.sequence, checksum, self.segment, self.position)

    def moved(self, through: Applied, count: int, checksum_sum: int) -> State:
        """Give the state behind a commit, with the new aggregate."""
        checksum = through.checksum
        return replace(
            self,
            sequence=through.sequence,
            commit_checksum=checksum - (1 << 64) if checksum >> 63 else checksum,
            segment=through.segment,
            position=through.position,
            subject_count=count,
            subject_sum=checksum_sum & MASK,
        )


def row_checksum(key: bytes, sequence: int) -> int:
    """Give the checksum of a row that says: this key is at that sequence."""
    return xxh3_64_intdigest(key + sequence.to_bytes(8, "little")) & MASK


def is_subject_sound(key: object, sequence: object, checksum: object) -> bool:
    """Tell whether a stored row is as it was written; any value may come."""
    return (
        type(key) is bytes
        and type(sequence) is int
        and sequence >= 0
        and row_checksum(key, sequence) == checksum
    )


def _checksum_of(values: object) -> int:
    return xxh3_64_intdigest(repr(values).encode()) & MASK


def projections_text(projections: Sequence[Projection]) -> str:
    """Give what the file says of its projections."""
    return " ".join(sorted(f"{item.name}={item.version}" for item in projections))


def connect(path: str, timeout_s: float) -> sqlite3.Connection:
    """Open a connection that several threads may use, one at a time."""
    db = sqlite3.connect(
        path, timeout=timeout_s, isolation_level=None, check_same_thread=False
    )
    try:
        db.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, VALUE_BYTES_MAX)
        for pragma in _PRAGMAS:
            db.execute(pragma)
    except BaseException:
        db.close()
        raise
    return db


def use_wal(db: sqlite3.Connection, path: str) -> None:
    """Let readers and a writer go on beside each other, and open the WAL now."""
    mode = db.execute("PRAGMA journal_mode = WAL").fetchall()
    if mode != [("wal",)]:
        raise CatalogDamagedError(path=path, reason=f"it has journal mode {mode}")
    db.execute("SELECT count(*) FROM sqlite_master").fetchall()


def translated(error: Exception, path: str) -> ObjStoreError:
    """Turn an error of SQLite into what the log has to do about it."""
    # A wrong use of the module is our bug, and rebuilding would hide it.
    if isinstance(error, sqlite3.ProgrammingError | sqlite3.InterfaceError):
        raise error
    match _code_of(error) & 0xFF:
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return CatalogBusy(path=path)
        case sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_PERM:
            return StorageError(
                path=path,
                operation="catalog",
                reason=str(error),
                errno=errno.ENOSPC if is_out_of_files(path) else None,
            )
        case _ if number := errno_of(error):
            return StorageError(
                path=path, operation="catalog", reason=str(error), errno=number
            )
        case _:
            return CatalogDamagedError(path=path, reason=str(error))


def errno_of(error: Exception) -> int | None:
    """Give the system's number where an error of SQLite says that the disk is full."""
    code = _code_of(error)
    is_full = code & 0xFF == sqlite3.SQLITE_FULL or code in _SHARED_MEMORY_ERRORS
    return errno.ENOSPC if is_full else None


def _code_of(error: Exception) -> int:
    code: int = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    return code


def create(
    db: sqlite3.Connection,
    identity: bytes,
    instance: bytes,
    projections: Sequence[Projection],
) -> State:
    """Make the tables of an empty database, in the caller's transaction."""
    for statement in (_STATE_TABLE, _SUBJECTS_TABLE):
        db.execute(statement)
    for projection in projections:
        projection.create(db)
    text = projections_text(projections)
    state = State(FORMAT, identity, instance, text, schema_checksum(db))
    write_state(db, state)
    return state


def schema_checksum(db: sqlite3.Connection) -> int:
    """Give the checksum of what the file says its tables are and where they begin."""
    return _checksum_of(
        db.execute(
            "SELECT type, name, tbl_name, rootpage, sql FROM sqlite_master"
            " ORDER BY type, name"
        ).fetchall()
    )


def write_state(db: sqlite3.Connection, state: State) -> None:
    """Replace the state row."""
    values = astuple(state)
    db.execute(_PUT_STATE, (*values, _checksum_of(values)))


def read_state(db: sqlite3.Connection, path: str) -> State:
    """Read the state row.

    Raises:
        CatalogDamagedError: it is missing, damaged or of another format.
    """
    rows = db.execute(_STATE).fetchall()
    if len(rows) != 1:
        raise CatalogDamagedError(path=path, reason="the state row is missing")
    _, *values, checksum = rows[0]
    if tuple(map(type, values)) != _STATE_TYPES or checksum != _checksum_of(
        tuple(values)
    ):
        raise CatalogDamagedError(path=path, reason="the state row is damaged")
    return State(*values)


def subject_rows(db: sqlite3.Connection) -> Iterator[tuple[Any, Any, Any]]:
    """Give all rows of `subjects` in order, as stored."""
    cursor = db.execute("SELECT subject, sequence, checksum FROM subjects ORDER BY 1")
    while rows := cursor.fetchmany(_SCAN_ROWS):
        yield from rows


def are_tables_sound(
    db: sqlite3.Connection, state: State, projections: Sequence[Projection]
) -> bool:
    """Check the whole content of a snapshot: structure, every row, the aggregates."""
    # The structure first: it bounds what the scans behind it can run into.
    if db.execute("PRAGMA integrity_check(1)").fetchall() != [("ok",)]:
        return False
    if schema_checksum(db) != state.schema_checksum:
        return False
    count = total = 0
    for row in subject_rows(db):
        if not is_subject_sound(*row):
            return False
        count, total = count + 1, total + row[2]
    if (count, total & MASK) != (state.subject_count, state.subject_sum):
        return False
    return all(projection.check(db) for projection in projections)
