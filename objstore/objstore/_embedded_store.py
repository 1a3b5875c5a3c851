"""The shared part of embedded engines: one per directory and process.

Opening a directory twice in one process gives two handles on one of these, so that a
process never competes with itself for the log's locks. A forked child may not use it.
"""

from __future__ import annotations

import os
import threading
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Final

from objstore._bucket_log import BucketLog
from objstore._bucket_space import BucketSpace
from objstore._bucket_state import GONE
from objstore._config import decode_config, engine_options
from objstore._engine import BucketOptions, BucketState
from objstore._projection import ObjectProjection
from objstore._registry import REGISTRY_NUMBER, BucketEntry, Registry
from objstore._store_directory import (
    StoreDirectory,
    open_directory,
    open_storage,
    system_environment,
)
from objstore.errors import BucketExistsError, ForkedError
from objstore_log import Environment, Log, LogOptions, MemoryStorage, Storage, Writers

LOG_ID_BYTES: Final = 16
MEMORY_NUMBER: Final = 0
"""Buckets in memory have no number: no directory belongs to them."""


class EmbeddedStore:
    """Buckets on logs in one directory."""

    def __init__(
        self,
        directory: StoreDirectory,
        *,
        url: str,
        lock_timeout_s: float | None,
        in_memory: bool,
    ) -> None:
        self.directory = directory
        self.url = url
        self.in_memory = in_memory
        self.handles = 0
        self.is_forked = False
        self._lock_timeout_s = lock_timeout_s
        self._lock = threading.RLock()
        self._buckets: dict[str, BucketLog] = {}
        self._spaces: dict[str, tuple[BucketLog, BucketSpace]] = {}
        self._memory: dict[str, BucketEntry] = {}
        header = directory.header
        self.store_id = header.store_id.hex()
        self.registry = Registry(
            Log.open(
                directory.log_directory(REGISTRY_NUMBER),
                header.store_id,
                options=LogOptions(lock_timeout_s=lock_timeout_s),
                environment=directory.environment,
                writers=directory.writers,
            )
        )
        _stores.add(self)

    def check_not_forked(self) -> None:
        """Raise in a process that inherited this store by fork."""
        if self.is_forked:
            raise ForkedError(what=f"the store {self.url}")

    # --- buckets --------------------------------------------------------------

    def names(self) -> list[str]:
        """Give the names of all buckets, sorted; those that are damaged, too."""
        kept = [item.name for item in self.registry.entries() if not item.is_deleted]
        return sorted({*kept, *self.registry.damaged_names(), *self._memory})

    def create(self, name: str, document: bytes, options: BucketOptions) -> BucketState:
        """Create a bucket.

        Raises:
            BucketExistsError: with the existing state as `state`.
        """
        log_id = self.directory.environment.random_bytes(LOG_ID_BYTES)
        try:
            if name in self._memory or (options.in_memory and not self.in_memory):
                self._create_in_memory(name, document, options, log_id)
            else:
                self.registry.create(name, document, log_id)
        except BucketExistsError as error:
            raise BucketExistsError(
                bucket=name, state=self.bucket(name).state()
            ) from error
        return self.bucket(name).state()

    def _create_in_memory(
        self, name: str, document: bytes, options: BucketOptions, log_id: bytes
    ) -> None:
        with self._lock:
            found = self.registry.find(name)
            exists = found is not None and not found.is_deleted
            if exists or name in self._memory:
                raise BucketExistsError(bucket=name)
            self._memory[name] = BucketEntry(
                name, MEMORY_NUMBER, log_id, document, 0, options=options
            )

    def _entry(self, name: str) -> BucketEntry:
        return self._memory.get(name) or self.registry.get(name)

    def bucket(self, name: str) -> BucketLog:
        """Give a bucket's open log. Raises `BucketNotFoundError`."""
        self.check_not_forked()
        entry = self._entry(name)
        found = self._buckets.get(name)
        if found is not None and found.entry == entry:
            return found
        with self._lock:
            found = self._buckets.get(name)
            if found is None or found.entry.log_id != entry.log_id:
                if found is not None:
                    found.close()
                found = self._open_bucket(entry)
                self._buckets[name] = found
            elif found.entry != entry:
                self._configure(found, entry)
            return found

    def space(self, name: str) -> BucketSpace:
        """Give what looks after a bucket's space. Raises `BucketNotFoundError`."""
        bucket = self.bucket(name)
        with self._lock:
            found = self._spaces.get(name)
            if found is None or found[0] is not bucket:
                found = (bucket, BucketSpace(bucket))
                self._spaces[name] = found
            return found[1]

    def _open_bucket(self, entry: BucketEntry) -> BucketLog:
        options = _options_of(entry)
        storage: Storage
        writers: Writers
        if entry.number == MEMORY_NUMBER:
            storage = MemoryStorage()
            writers = Writers(
                storage.directory("writers", create=True),
                self.directory.writers.writer_id,
            )
        else:
            storage = self.directory.log_directory(entry.number)
            writers = self.directory.writers
        log = Log.open(
            storage,
            entry.log_id,
            options=self._log_options(options),
            environment=self.directory.environment,
            writers=writers,
            projections=[ObjectProjection()],
        )
        return BucketLog(entry, options, log)

    def _log_options(self, options: BucketOptions) -> LogOptions:
        made = LogOptions(sync=options.sync, lock_timeout_s=self._lock_timeout_s)
        if options.segment_bytes is not None:
            made = replace(made, segment_bytes=options.segment_bytes)
        return made

    def _configure(self, bucket: BucketLog, entry: BucketEntry) -> None:
        bucket.entry = entry
        bucket.options = _options_of(entry)
        bucket.log.configure(self._log_options(bucket.options))

    def update(self, name: str, document: bytes, options: BucketOptions) -> BucketState:
        """Replace a bucket's configuration and say so on its feed."""
        with self._lock:
            kept = self._memory.get(name)
            if kept is not None:
                entry = replace(kept, document=document, options=options)
                self._memory[name] = entry
            else:
                entry = self.registry.update(name, document)
            bucket = self.bucket(name)
            bucket.note_config(entry)
            return bucket.state()

    def delete(self, name: str) -> None:
        """Delete a bucket and its content.

        Guarantee: the registry's record is the moment; writers that are under way are
        refused before this returns; the files go last.
        """
        with self._lock:
            bucket = self.bucket(name)
            if name in self._memory:
                del self._memory[name]
            else:
                self.registry.delete(name)
            self._buckets.pop(name, None)
            bucket.seal(GONE)
            bucket.close()
            if bucket.entry.number != MEMORY_NUMBER:
                self.directory.remove_log(bucket.entry.number)

    def remove_leftovers(self) -> None:
        """Remove the directories of deleted buckets that a crash left."""
        gone = {item.number for item in self.registry.entries() if item.is_deleted}
        live = {item.number for item in self.registry.entries() if not item.is_deleted}
        for number in self.directory.log_numbers():
            if number in gone - live:
                self.directory.remove_log(number)

    def close(self) -> None:
        """Close every log and give the writer lock back."""
        with self._lock:
            for bucket in self._buckets.values():
                bucket.close()
            self._buckets.clear()
            self.registry.log.close()
            self.directory.close()

    def abandon_after_fork(self) -> None:
        """Make every later use in this forked child an error."""
        self.is_forked = True


def _options_of(entry: BucketEntry) -> BucketOptions:
    if entry.options is not None:
        return entry.options
    return engine_options(decode_config(entry.document))


# --- one store for each directory ---------------------------------------------------

_open_stores: dict[tuple[int, int], EmbeddedStore] = {}
_open_lock = threading.Lock()
_stores: weakref.WeakSet[EmbeddedStore] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    global _open_lock  # noqa: PLW0603 - the parent's lock may be held for ever here
    _open_lock = threading.Lock()
    _open_stores.clear()
    for store in list(_stores):
        store.abandon_after_fork()


os.register_at_fork(after_in_child=_after_fork_in_child)


def _directory_key(path: str) -> tuple[int, int] | None:
    try:
        found = Path(path).stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def acquire_store(
    path: str | None,
    *,
    url: str,
    create: bool,
    lock_timeout_s: float | None,
    force_network: bool = False,
) -> EmbeddedStore:
    """Give the store of a directory, the same one for every handle in this process."""
    with _open_lock:
        key = None if path is None else _directory_key(path)
        store = None if key is None else _open_stores.get(key)
        if store is None:
            directory = open_directory(
                path,
                create=create,
                environment=system_environment(),
                force_network=force_network,
            )
            store = _open(directory, url, lock_timeout_s, in_memory=path is None)
            if path is not None:
                key = _directory_key(path)
                assert key is not None
                _open_stores[key] = store
        store.handles += 1
        return store


def open_on_storage(storage: Storage, environment: Environment) -> EmbeddedStore:
    """Open a store on any storage port, with any clock (for simulations)."""
    directory = open_storage(storage, create=True, environment=environment)
    store = _open(directory, storage.path, None, in_memory=False)
    store.handles = 1
    return store


def _open(
    directory: StoreDirectory,
    url: str,
    lock_timeout_s: float | None,
    *,
    in_memory: bool,
) -> EmbeddedStore:
    try:
        return EmbeddedStore(
            directory, url=url, lock_timeout_s=lock_timeout_s, in_memory=in_memory
        )
    except BaseException:
        directory.close()
        raise


def release_store(store: EmbeddedStore) -> None:
    """Give a handle back; the last one closes the store."""
    with _open_lock:
        store.handles -= 1
        if store.handles or store.is_forked:
            return
        for key, other in list(_open_stores.items()):
            if other is store:
                del _open_stores[key]
        store.close()
