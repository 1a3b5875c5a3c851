"""The catalog's files, its two connections, and who may delete what.

Knows nothing of the content. Several processes use one database, and any of them may
find it damaged and put an empty one in its place. SQLite survives that when
- nobody is between opening the database and opening its WAL (the opening lock), and
- a handle keeps to the files that it opened, complete, until it is closed.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import sqlite3
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock
from weakref import WeakSet

from objstore_log._catalog_schema import (
    CatalogBusy,
    CatalogDamagedError,
    connect,
    use_wal,
)
from objstore_log.errors import ClosedError, StorageError

MEMORY_PATH = ":memory:"
WRITE_WAIT_S = 0.05
"""How long an apply waits for that of another process."""
READ_WAIT_S = 5.0
"""Readers wait only while another process recovers or removes the WAL."""
OPEN_WAIT_S = 10.0
_OPEN_POLL_S = 0.005


class Handle:
    """One connection, absent while closed, and the lock that orders its users."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.db: sqlite3.Connection | None = None
        _handles.add(self)

    def opened(self) -> sqlite3.Connection:
        """Give the connection or raise `ClosedError`."""
        if self.db is None:
            raise ClosedError(what="the catalog")
        return self.db

    def close(self) -> None:
        """Close the connection; a second call does nothing."""
        db, self.db = self.db, None
        if db is not None:
            db.close()


_handles: WeakSet[Handle] = WeakSet()


def _abandon_inherited_handles() -> None:
    # Closing here would roll the parent's transaction back in the memory that both
    # share, so a child keeps its copies, unused, to its very end.
    for handle in list(_handles):
        if handle.db is not None:
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(handle.db))
        handle.db = None
        handle.lock = Lock()


os.register_at_fork(after_in_child=_abandon_inherited_handles)


class CatalogFile:
    """One place for a database: what is there, and the connections to it."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.is_memory = path == MEMORY_PATH
        self.writer = Handle()
        # A database in memory belongs to its one connection.
        self.reader = self.writer if self.is_memory else Handle()
        self._inode = (0, 0)

    def connect(self) -> None:
        """Open both connections; they have opened the WAL too when this returns."""
        self.writer.db = connect(self.path, WRITE_WAIT_S)
        if not self.is_memory:
            use_wal(self.writer.db, self.path)
            self.reader.db = connect(self.path, READ_WAIT_S)
            use_wal(self.reader.db, self.path)
            self._inode = _inode_of(self.path)

    def disconnect(self) -> None:
        """Close both connections."""
        self.reader.close()
        self.writer.close()

    @contextmanager
    def all_locked(self) -> Generator[None]:
        """Keep every other user of the connections waiting."""
        if self.is_memory:
            with self.writer.lock:
                yield
        else:
            with self.writer.lock, self.reader.lock:
                yield

    @contextmanager
    def opening_alone(self) -> Generator[None]:
        """Keep other openings away, so that no one opens what is being deleted."""
        if self.is_memory:
            yield
            return
        path = f"{self.path}-lock"
        with _named_errors(path):
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        deadline = time.monotonic() + OPEN_WAIT_S
        try:
            while not _try_flock(descriptor, path):
                if time.monotonic() >= deadline:
                    raise CatalogBusy(path=path)
                time.sleep(_OPEN_POLL_S)
            yield
        finally:
            # A child forked meanwhile has the descriptor too and must not hold it.
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)

    def exists(self) -> bool:
        """Tell whether there is a database file."""
        return not self.is_memory and Path(self.path).exists()

    def is_replaced(self) -> bool:
        """Tell whether the path leads to another file than the one opened here."""
        return not self.is_memory and _inode_of(self.path) != self._inode

    def refuse_replaced(self) -> None:
        """Raise when what is written here would reach no other process."""
        if self.is_replaced():
            raise CatalogDamagedError(
                path=self.path, reason="another process has replaced it"
            )

    def remove(self) -> None:
        """Delete the files; only with the opening lock."""
        if self.is_memory:
            return
        # The WAL last: without its database it says nothing.
        for suffix in ("", "-shm", "-wal"):
            path = self.path + suffix
            with _named_errors(path):
                Path(path).unlink(missing_ok=True)

    def stored_bytes(self) -> int:
        """Give the bytes of the database and its WAL."""
        total = 0
        for suffix in ("", "-wal"):
            with suppress(FileNotFoundError):
                total += Path(self.path + suffix).stat().st_size
        return total

    def open_whole(self) -> Handle:
        """Open a private connection that shows one snapshot of everything."""
        handle = Handle()
        with self.writer.lock, self.opening_alone():
            writer = self.writer.opened()
            self.refuse_replaced()
            db = handle.db = connect(self.path, READ_WAIT_S)
            try:
                if self.is_memory:
                    db.deserialize(writer.serialize())
                else:
                    use_wal(db, self.path)
                # the snapshot is that of the first read, not of the beginning
                db.execute("BEGIN")
                db.execute("SELECT count(*) FROM sqlite_master").fetchall()
            except BaseException:
                handle.close()
                raise
        return handle

    @contextmanager
    def whole(self) -> Generator[sqlite3.Connection]:
        """Give a private connection that shows one snapshot of everything."""
        handle = self.open_whole()
        try:
            yield handle.opened()
        finally:
            handle.close()


@contextmanager
def snapshot(db: sqlite3.Connection) -> Generator[None]:
    """Let all reads of the block see one state."""
    db.execute("BEGIN")
    try:
        yield
    finally:
        if db.in_transaction:
            db.execute("ROLLBACK")


def _inode_of(path: str) -> tuple[int, int]:
    try:
        stat = Path(path).stat()
    except FileNotFoundError:
        return 0, 0
    return stat.st_dev, stat.st_ino


def _try_flock(descriptor: int, path: str) -> bool:
    with _named_errors(path):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


@contextmanager
def _named_errors(path: str) -> Generator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(
            path=path,
            operation="open catalog",
            reason=error.strerror or str(error),
            errno=error.errno,
        ) from error
