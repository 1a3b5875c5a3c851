"""A store's directory: the STORE file, the writers' locks, one directory per log."""

from __future__ import annotations

import errno
import os
import re
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from objstore._quarantine import QUARANTINE_NAME
from objstore._reserve import RESERVE_NAME, Reserve
from objstore.errors import StorageError, StoreNotFoundError, StoreVersionError
from objstore_log import (
    STORE_BYTES,
    STORE_VERSION,
    Environment,
    FileStorage,
    MemoryStorage,
    Storage,
    StoreHeader,
    Writers,
    decode_store_header,
    encode_store_header,
    log_id_in,
)

STORE_NAME: Final = "STORE"
WRITERS_NAME: Final = "writers"
LOGS_NAME: Final = "logs"
_LOG_NAME: Final = re.compile("[0-9a-f]{8,16}")
REGISTRY_NAME: Final = "00000000"
SCRUB_NAME: Final = "SCRUB"
SCRUB_LOCK_NAME: Final = "SCRUB.lock"
FIRST_NAME: Final = "lock"
"""What a log's directory holds first: its lock, which may be made by anybody."""
_NOT_OURS: Final = {errno.ENOENT, errno.ENOTDIR, errno.EBUSY}
"""There is none, or it is a link or a mount point, whose name somebody else made."""
MAKING_NAME: Final = "STORE.lock"
TEMPORARY_NAME: Final = "STORE.tmp"
_OWN_NAMES: Final = {
    STORE_NAME,
    MAKING_NAME,
    TEMPORARY_NAME,
    WRITERS_NAME,
    LOGS_NAME,
    RESERVE_NAME,
    QUARANTINE_NAME,
    SCRUB_LOCK_NAME,
    SCRUB_NAME,
}
MAKING_TRIES: Final = 500
MAKING_PAUSE_S: Final = 0.01


def system_environment() -> Environment:
    """Give the real clock and entropy."""
    return Environment(time.time_ns, time.monotonic, os.urandom)


class StoreDirectory:
    """An open store directory."""

    def __init__(
        self,
        storage: Storage,
        header: StoreHeader,
        environment: Environment,
        reserve: Reserve,
    ) -> None:
        self.storage = storage
        self.reserve = reserve
        self.header = header
        self.environment = environment
        self.writers = Writers(
            storage.directory(WRITERS_NAME, create=True),
            int.from_bytes(environment.random_bytes(8), "little"),
        )
        self.writers.enter()
        self._logs = _open_logs(storage)

    def log_directory(self, number: int) -> Storage:
        """Give the directory of a log, made when missing; its name is durable."""
        name = f"{number:08x}"
        found = _lasting_directory(self._logs, name)
        if found is not None:
            return found
        with _making(self.storage):
            return _make_log_directory(self._logs, name)

    def remove_log(self, number: int) -> None:
        """Remove a log's directory with everything in it; missing is fine."""
        name = f"{number:08x}"
        if name not in self._logs.names():
            return
        directory = self._logs.directory(name)
        for file in directory.names():
            directory.remove(file)
        self._logs.remove_directory(name)
        self._logs.sync_directory()

    def log_numbers(self) -> list[int]:
        """Give the numbers of the logs that have a directory."""
        names = filter(_LOG_NAME.fullmatch, self._logs.names())
        return [int(name, 16) for name in names]

    def close(self) -> None:
        """Give the writer lock back."""
        self.writers.leave()


def open_directory(
    path: str | None,
    *,
    create: bool,
    environment: Environment,
    force_network: bool = False,
) -> StoreDirectory:
    """Open the store in a directory (`None`: in memory), or make it.

    Raises:
        StoreNotFoundError: there is none, and `create` is false or the place is taken
            by something else.
        StoreVersionError: a newer version wrote it.
        StorageError: the place cannot be used; the text says why.
    """
    if path is None:
        return open_storage(MemoryStorage(), create=True, environment=environment)
    try:
        _check_place(path, create=create)
        storage = FileStorage(path, create=create, force_network=force_network)
        return open_storage(
            storage, create=create, environment=environment, reserve=Reserve(path)
        )
    except OSError as error:
        if isinstance(error, StorageError | StoreNotFoundError):
            raise
        raise StorageError(
            path=path,
            operation="open",
            reason=error.strerror or str(error),
            errno=error.errno,
        ) from error


def _check_place(path: str, *, create: bool) -> None:
    place = Path(path)
    if place.is_dir():
        names = [entry.name for entry in place.iterdir()]
        if STORE_NAME in names:
            return
        foreign = set(names) - _OWN_NAMES
        if foreign:
            raise StoreNotFoundError(
                path=path,
                reason=f"it is not a store: it holds {min(foreign)!r} and no "
                f"{STORE_NAME} file",
                hint="name a store, or an empty or a new directory",
            )
        if not create and LOGS_NAME not in names:
            raise StoreNotFoundError(path=path)
    elif os.path.lexists(place):
        raise StoreNotFoundError(
            path=path,
            reason="it is not a store but a file",
            hint="name a directory",
        )
    elif not create:
        raise StoreNotFoundError(path=path)


def open_storage(
    storage: Storage,
    *,
    create: bool,
    environment: Environment,
    reserve: Reserve | None = None,
) -> StoreDirectory:
    """Open the store on a storage port, making it when `create` is true."""
    header = _read_header(storage)
    if header is None:
        store_id = _id_in_registry(storage)
        if create or store_id is not None:
            header = _make(storage, environment, store_id)
    if header is None:
        raise StoreNotFoundError(path=storage.path)
    if header.version > STORE_VERSION:
        raise StoreVersionError(
            path=storage.path,
            found=header.version,
            supported=STORE_VERSION,
            what="store format",
        )
    return StoreDirectory(storage, header, environment, reserve or Reserve(None))


def _read_header(storage: Storage) -> StoreHeader | None:
    if STORE_NAME not in storage.names():
        return None
    file = storage.open(STORE_NAME)
    try:
        header = decode_store_header(file.read_at(0, 2 * STORE_BYTES))
    finally:
        file.close()
    if header is None and _id_in_registry(storage) is None:
        raise StorageError(
            path=f"{storage.path}/{STORE_NAME}",
            operation="read",
            reason="both copies of its header are damaged; restore this file from a "
            "backup",
        )
    return header


def _id_in_registry(storage: Storage) -> bytes | None:
    """Give the store's id as the registry has it, when the file STORE is lost."""
    if LOGS_NAME not in storage.names():
        return None
    logs = storage.directory(LOGS_NAME)
    if REGISTRY_NAME not in logs.names():
        return None
    return log_id_in(logs.directory(REGISTRY_NAME))


def _make(
    storage: Storage, environment: Environment, store_id: bytes | None
) -> StoreHeader:
    """Make the STORE file, once, however many processes try.

    Args:
        storage: where.
        environment: clock and entropy.
        store_id: of a store that has lost the file; `None` for a new one.
    """
    with _making(storage):
        found = _read_header(storage)
        if found is not None:
            return found
        header = StoreHeader(
            STORE_VERSION,
            store_id or environment.random_bytes(16),
            environment.now_ns(),
        )
        file = storage.open(TEMPORARY_NAME, create=True)
        try:
            file.write_at(0, [encode_store_header(header)])
            file.sync()
        finally:
            file.close()
        storage.replace(TEMPORARY_NAME, STORE_NAME)
        storage.sync_directory()
        return header


@contextmanager
def _making(storage: Storage) -> Generator[None]:
    """Be the only process that makes anything in the store's directory."""
    for _ in range(MAKING_TRIES):
        lock = storage.try_lock(MAKING_NAME)
        if lock is not None:
            break
        time.sleep(MAKING_PAUSE_S)
    else:
        raise StorageError(
            path=storage.path,
            operation="make",
            reason="another process has been making the store for too long",
        )
    try:
        yield
    finally:
        lock.release()


# Nothing is put into a directory before a sync of its name has succeeded, so that one
# that holds anything has a name that outlives a power cut. Of an empty one nobody
# knows: who made it may have been killed, or its sync refused, and the next sync of
# the same name may be a success without it. So an empty one is made anew.


def _lasting_directory(parent: Storage, name: str) -> Storage | None:
    try:
        directory = parent.directory(name)
    except FileNotFoundError:
        return None
    return directory if directory.names() else None


def _make_directory(parent: Storage, name: str) -> Storage:
    """Make a directory, durably. Only for who makes things alone."""
    found = _lasting_directory(parent, name)
    if found is not None:
        return found
    try:
        parent.remove_directory(name)
    except OSError as error:
        if error.errno not in _NOT_OURS:
            raise
    directory = parent.directory(name, create=True)
    parent.sync_directory()
    return directory


def _make_log_directory(logs: Storage, name: str) -> Storage:
    directory = _make_directory(logs, name)
    directory.open(FIRST_NAME, create=True).close()
    return directory


def _open_logs(storage: Storage) -> Storage:
    """Give the directory of all logs, with that of the registry in it."""
    logs = _lasting_directory(storage, LOGS_NAME)
    if logs is not None:
        return logs
    with _making(storage):
        logs = _make_directory(storage, LOGS_NAME)
        _make_log_directory(logs, REGISTRY_NAME)
        return logs
