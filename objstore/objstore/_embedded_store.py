"""The shared part of embedded engines: one per directory and process.

Opening a directory twice in one process gives two handles on one of these, so that a
process never competes with itself for the log's locks. A forked child may not use it.
"""

from __future__ import annotations

import os
import threading
import weakref
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

from objstore._bucket_log import BucketLog
from objstore._bucket_space import BucketSpace
from objstore._bucket_state import GONE
from objstore._config import decode_config, engine_options
from objstore._dropped import Dropped
from objstore._engine import BucketOptions, BucketState, UpdateBucket
from objstore._projection import ObjectProjection
from objstore._registry import (
    REGISTRY_NUMBER,
    BucketEntry,
    Registry,
    check_unchanged,
)
from objstore._store_directory import (
    StoreDirectory,
    open_directory,
    open_storage,
    system_environment,
)
from objstore.errors import (
    BucketExistsError,
    BucketNotFoundError,
    ForkedError,
    ObjStoreError,
)
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
        in_memory: bool,
    ) -> None:
        self.directory = directory
        self.url = url
        self.in_memory = in_memory
        self.handles = 0
        self.is_forked = False
        self.dropped = Dropped()
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
                options=LogOptions(),
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
        kept = self._memory.get(name)
        if kept is None:
            return self.registry.get(name)
        found = self.registry.find(name)
        if found is not None and not found.is_deleted:
            # another process made it, which cannot see this one's
            raise BucketExistsError(bucket=name, differing=("storage",))
        return kept

    def bucket(self, name: str, incarnation: str | None = None) -> BucketLog:
        """Give a bucket's open log.

        Raises:
            BucketNotFoundError: there is none, or it is not that incarnation.
            BucketExistsError: there is one in memory here and one in files.
        """
        self.check_not_forked()
        try:
            entry = self._entry(name)
        except BucketNotFoundError:
            if name in self._buckets:
                self._forget_deleted(name)
            raise
        found = self._buckets.get(name)
        if found is None or found.entry != entry:
            found = self._open_current(name)
        if incarnation and found.incarnation != incarnation:
            raise BucketNotFoundError(bucket=name)
        return found

    def _open_current(self, name: str) -> BucketLog:
        with self._lock:
            # read anew: another thread may have deleted and made it meanwhile
            entry = self._entry(name)
            found = self._buckets.get(name)
            if found is not None and found.entry.log_id == entry.log_id:
                if found.entry != entry:
                    self._configure(found, entry)
                return found
            self._abandon(name)
            found = self._open_bucket(entry)
            if self.is_deleted(name, found):
                # its directory may have gone, and been made again by the opening
                found.abandon()
                raise BucketNotFoundError(bucket=name)
            self._buckets[name] = found
            return found

    def _forget_deleted(self, name: str) -> None:
        with self._lock:
            if self.is_deleted(name, None):
                self._abandon(name)

    def _abandon(self, name: str) -> None:
        """Close what is open of a bucket that was deleted."""
        self._spaces.pop(name, None)
        found = self._buckets.pop(name, None)
        if found is not None:
            found.abandon()

    def opened(self, name: str) -> BucketLog | None:
        """Give the log that is open under a name, of whatever incarnation."""
        return self._buckets.get(name)

    def is_deleted(self, name: str, opened: BucketLog | None) -> bool:
        """Say whether a bucket is deleted, or is not the one that was opened."""
        try:
            entry = self._memory.get(name) or self.registry.get(name)
        except BucketNotFoundError:
            return True
        except (ObjStoreError, OSError):
            # nobody knows: what the bucket's own log says counts
            return False
        return opened is not None and entry.log_id != opened.entry.log_id

    def space(self, name: str, incarnation: str | None = None) -> BucketSpace:
        """Give what looks after a bucket's space. Raises as `bucket`."""
        bucket = self.bucket(name, incarnation)
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
        made = LogOptions(sync=options.sync)
        if options.segment_bytes is not None:
            made = replace(made, segment_bytes=options.segment_bytes)
        return made

    def _configure(self, bucket: BucketLog, entry: BucketEntry) -> None:
        bucket.entry = entry
        bucket.options = _options_of(entry)
        bucket.log.configure(self._log_options(bucket.options))

    def update(self, op: UpdateBucket) -> BucketState:
        """Replace a bucket's configuration and say so on its feed."""
        name, document = op.name, op.document
        with self._lock:
            kept = self._memory.get(name)
            if kept is not None:
                check_unchanged(kept, op.expected)
                later = kept.sequence + 1
                entry = replace(
                    kept, document=document, options=op.options, sequence=later
                )
                self._memory[name] = entry
            else:
                entry = self.registry.update(name, document, expected=op.expected)
            bucket = self.bucket(name)
            bucket.note_config(entry)
            return bucket.state()

    def delete(self, name: str) -> None:
        """Delete a bucket and its content.

        Guarantee: the registry's record is the moment; writers that are under way are
        refused before this returns; the files go last.
        """
        with self._lock:
            if self._memory.pop(name, None) is not None:
                self._abandon(name)
                return
            bucket = self.bucket(name)
            self.registry.delete(name)
            try:
                bucket.seal(GONE)
            finally:
                self._abandon(name)
            # it is deleted; what another process still has there goes with retention
            with suppress(OSError):
                self.directory.remove_log(bucket.entry.number)

    def remove_leftovers(self) -> None:
        """Remove the directories of deleted buckets that a crash left."""
        gone = {item.number for item in self.registry.entries() if item.is_deleted}
        live = {item.number for item in self.registry.entries() if not item.is_deleted}
        for number in self.directory.log_numbers():
            if number in gone - live:
                self.directory.remove_log(number)

    def close(self) -> None:
        """Close every log and give the writer lock back, whichever of them fails."""
        with self._lock, ExitStack() as closing:
            closing.callback(self.directory.close)
            closing.callback(self.registry.log.close)
            for bucket in self._buckets.values():
                closing.callback(self._close_bucket, bucket)
            self._buckets.clear()

    def _close_bucket(self, bucket: BucketLog) -> None:
        name = bucket.entry.name
        if self.is_deleted(name, bucket):
            bucket.abandon()
            return
        try:
            bucket.close()
        except (ObjStoreError, OSError):
            # another process may have deleted it this moment
            if not self.is_deleted(name, bucket):
                raise

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
    except OSError:
        # missing, or opening says what is wrong with it
        return None
    return found.st_dev, found.st_ino


def acquire_store(
    path: str | None,
    *,
    url: str,
    create: bool,
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
            store = _open(directory, url, in_memory=path is None)
            if path is not None:
                key = _directory_key(path)
                assert key is not None
                _open_stores[key] = store
        store.handles += 1
        return store


def open_on_storage(storage: Storage, environment: Environment) -> EmbeddedStore:
    """Open a store on any storage port, with any clock (for simulations)."""
    directory = open_storage(storage, create=True, environment=environment)
    store = _open(directory, storage.path, in_memory=False)
    store.handles = 1
    return store


def _open(directory: StoreDirectory, url: str, *, in_memory: bool) -> EmbeddedStore:
    try:
        return EmbeddedStore(directory, url=url, in_memory=in_memory)
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
