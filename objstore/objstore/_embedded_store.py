"""The shared part of embedded engines: one per directory and process.

Opening a directory twice in one process gives two handles on one of these, so that a
process never competes with itself for the log's locks. A forked child may not use it.
"""

from __future__ import annotations

import errno
import logging
import threading
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import partial
from typing import Final

from objstore._bucket_health import BucketHealth
from objstore._bucket_log import BucketLog
from objstore._bucket_space import BucketSpace
from objstore._bucket_state import GONE
from objstore._clock_trust import ClockTrust
from objstore._config import decode_config, engine_options
from objstore._dropped import Dropped
from objstore._engine import BucketOptions, BucketState, UpdateBucket
from objstore._projection import ObjectProjection
from objstore._quarantine import Quarantine
from objstore._registry import (
    REGISTRY_NUMBER,
    BucketEntry,
    Registry,
    check_unchanged,
)
from objstore._registry_health import RegistryHealth
from objstore._store_directory import StoreDirectory
from objstore._store_scrub import StoreScrub
from objstore.errors import (
    BucketExistsError,
    BucketNotFoundError,
    CorruptionError,
    ForkedError,
    ObjStoreError,
    StorageError,
)
from objstore_log import Log, LogOptions, MemoryStorage, Storage, Writers

LOG_ID_BYTES: Final = 16
MEMORY_NUMBER: Final = 0
"""Buckets in memory have no number: no directory belongs to them."""
_logger = logging.getLogger("objstore")
_HIDING: Final = (
    "this process has it in memory and another one in files: delete_object_store({!r}) "
    "here gives up the one in memory, then the one in files is found"
)
_BESIDE_OTHERS: Final = {errno.ENOENT, errno.ENOTDIR, errno.ENOTEMPTY, errno.EEXIST}
"""What removing a directory may end with when others remove or open it, too."""


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
        self.reserve = directory.reserve
        environment = directory.environment
        self._clock = ClockTrust(environment.now_ns(), environment.monotonic_s())
        self._lock = threading.RLock()
        self._buckets: dict[str, BucketLog] = {}
        self._spaces: dict[str, tuple[BucketLog, BucketSpace]] = {}
        self._memory: dict[str, BucketEntry] = {}
        self._left_over: set[int] = set()
        """Logs of deleted buckets that cannot be removed, which was told."""
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
        self.scrub = StoreScrub(self)

    def check_not_forked(self) -> None:
        """Raise in a process that inherited this store by fork."""
        if self.is_forked:
            raise ForkedError(what=f"the store {self.url}")

    def purge_ns(self) -> int:
        """Give the time that purging goes by."""
        environment = self.directory.environment
        return self._clock.purge_ns(environment.now_ns(), environment.monotonic_s())

    # --- buckets --------------------------------------------------------------

    def names(self) -> list[str]:
        """Give the names of all buckets, sorted; those that are damaged, too."""
        kept = [item.name for item in self.registry.entries() if not item.is_deleted]
        return sorted({*kept, *self.registry.damaged_names(), *self._memory})

    def create(self, name: str, document: bytes, options: BucketOptions) -> BucketState:
        """Create a bucket; gives it as it was made, though it may be deleted already.

        Raises:
            BucketExistsError: with the existing state as `state`.
        """
        while True:
            try:
                made = self._make(name, document, options)
                break
            except BucketExistsError as error:
                existing = self.identity(name)
                try:
                    state = self._state(name, existing)
                except BucketNotFoundError:
                    if not self.is_gone(name, existing):
                        raise
                    # deleted since: now it can be made
                    continue
                raise BucketExistsError(bucket=name, state=state) from error
        try:
            return self._state(name, made.log_id)
        except BucketNotFoundError:
            limit, sequence = options.max_bytes, made.sequence
            incarnation = made.log_id.hex()
            return BucketState(name, document, incarnation, False, limit, sequence)  # noqa: FBT003 - `sealed`
        except (ObjStoreError, OSError):
            self._unmake(made)
            raise

    def _unmake(self, made: BucketEntry) -> None:
        """Take a bucket back that cannot be opened, as on a full disk."""
        with suppress(ObjStoreError, OSError):
            self.registry.delete(made.name, made.log_id)
            self._remove_gone(made.number)

    def _state(self, name: str, log_id: bytes | None) -> BucketState:
        """Give a bucket's state.

        Raises:
            BucketNotFoundError: the bucket of that identity is deleted.
        """
        try:
            return self.bucket(name, log_id.hex() if log_id else None).state()
        except (ObjStoreError, OSError) as error:
            if self.is_gone(name, log_id):
                raise BucketNotFoundError(bucket=name) from error
            raise

    def _make(self, name: str, document: bytes, options: BucketOptions) -> BucketEntry:
        log_id = self.directory.environment.random_bytes(LOG_ID_BYTES)
        if name in self._memory or (options.in_memory and not self.in_memory):
            entry = BucketEntry(
                name, MEMORY_NUMBER, log_id, document, 0, options=options
            )
            return self._make_in_memory(entry)
        return self.registry.create(name, document, log_id)

    def _make_in_memory(self, entry: BucketEntry) -> BucketEntry:
        with self._lock:
            found = self.registry.find(entry.name)
            exists = found is not None and not found.is_deleted
            if exists or entry.name in self._memory:
                raise BucketExistsError(bucket=entry.name)
            self._memory[entry.name] = entry
            return entry

    def _entry(self, name: str) -> BucketEntry:
        kept = self._memory.get(name)
        if kept is None:
            return self.registry.get(name)
        found = self.registry.find(name)
        if found is not None and not found.is_deleted:
            # another process made it, which cannot see this one's
            raise BucketExistsError(
                bucket=name, differing=("storage",), hint=_HIDING.format(name)
            )
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

    def at_hand(self, name: str) -> BucketLog | None:
        """Give a bucket's log if it is open and nothing is to be said of it."""
        found = self._buckets.get(name)
        if found is None or self._memory or self.is_forked:
            return None
        return found if self.registry.is_newest(found.entry) else None

    def at_hand_to_change(self, name: str, incarnation: str | None) -> BucketLog | None:
        """Give what `at_hand` gives if it is that incarnation and nothing undecided."""
        found = None if self.registry.is_undecided(name) else self.at_hand(name)
        if found is None or not incarnation or found.incarnation == incarnation:
            return found
        return None

    def bucket_to_change(self, name: str, incarnation: str | None = None) -> BucketLog:
        """Give a bucket's open log, of which nothing is undecided."""
        if name not in self._memory:
            self.registry.settle(name)
        return self.bucket(name, incarnation)

    def _open_current(self, name: str) -> BucketLog:
        with self._lock:
            while True:
                # read anew: somebody may have deleted and made it meanwhile
                entry = self._entry(name)
                found = self._buckets.get(name)
                if found is not None and found.entry.log_id == entry.log_id:
                    if found.entry != entry:
                        self._configure(found, entry)
                    return found
                self._abandon(name)
                found = self._open_live(entry)
                if found is not None:
                    self._buckets[name] = found
                    return found

    def _open_live(self, entry: BucketEntry) -> BucketLog | None:
        """Open a bucket's log; gives `None` when the bucket is deleted meanwhile."""
        try:
            found = self.reserve.clearing(partial(self._open_bucket, entry))
        except (ObjStoreError, OSError):
            if self.is_gone(entry.name, entry.log_id):
                return None
            raise
        if self.is_gone(entry.name, entry.log_id):
            # its directory may have gone, and been made again by the opening
            found.abandon()
            return None
        return found

    def _forget_deleted(self, name: str) -> None:
        with self._lock:
            if self.is_gone(name, None):
                self._abandon(name)

    def _abandon(self, name: str) -> None:
        """Close what is open of a bucket that was deleted."""
        self._spaces.pop(name, None)
        found = self._buckets.pop(name, None)
        if found is not None:
            found.abandon()

    def identity(self, name: str) -> bytes | None:
        """Give the log id of what has a name now: empty when nothing has it.

        `None` when nobody knows, because the registry cannot be read.
        """
        try:
            entry = self._memory.get(name) or self.registry.find(name)
        except (ObjStoreError, OSError):
            return None
        return b"" if entry is None or entry.is_deleted else entry.log_id

    def is_gone(self, name: str, log_id: bytes | None) -> bool:
        """Say whether a bucket is deleted; one of the name with another id is another.

        When nobody knows it is not: what its own log says counts.
        """
        now = self.identity(name)
        return now is not None and (not now or log_id not in {None, now})

    def space(self, name: str, incarnation: str | None = None) -> BucketSpace:
        """Give what looks after a bucket's space. Raises as `bucket`."""
        bucket = self.bucket(name, incarnation)
        with self._lock:
            found = self._spaces.get(name)
            if found is None or found[0] is not bucket:
                found = (bucket, BucketSpace(bucket))
                self._spaces[name] = found
            return found[1]

    def health(self, name: str) -> BucketHealth | RegistryHealth:
        """Give what looks after a bucket's health, or the registry's without a name.

        Raises as `bucket`.
        """
        if not name:
            kept = Quarantine(self.directory.storage, REGISTRY_NUMBER)
            return RegistryHealth(self.registry, kept, self.directory.log_numbers)
        bucket = self.bucket(name)
        number = bucket.entry.number
        storage = None if number == MEMORY_NUMBER else self.directory.storage
        return BucketHealth(bucket, Quarantine(storage, number))

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
        try:
            return BucketLog(entry, options, log)
        except BaseException:
            log.abandon(partial(BucketNotFoundError, bucket=entry.name))
            raise

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
            bucket = self.bucket(name, entry.log_id.hex())
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
            while not self.registry.delete(name, bucket.entry.log_id):
                # another one has the name by now
                bucket = self.bucket(name)
            number = bucket.entry.number
            try:
                bucket.seal(GONE)
            except (CorruptionError, FileNotFoundError, StorageError):
                # another process's retention may be removing it
                self._remove_gone(number)
                if number in self.directory.log_numbers():
                    raise
            finally:
                self._abandon(name)
            # it is deleted; what another process still has there goes with retention
            with suppress(OSError):
                self.directory.remove_log(number)

    def remove_leftovers(self) -> None:
        """Remove what a crash left of deleted buckets, or who opened one too late.

        What cannot be removed keeps no bucket from giving its space back.
        """
        for number in self.directory.log_numbers():
            if not self.registry.is_gone(number):
                continue
            try:
                self._remove_gone(number)
            except OSError as error:
                if number not in self._left_over:
                    self._left_over.add(number)
                    _logger.warning("%s: left of a deleted bucket: %s", self.url, error)

    def _remove_gone(self, number: int) -> None:
        """Remove a log's directory, although others remove it or open it, too."""
        try:
            self.directory.remove_log(number)
        except OSError as error:
            if error.errno not in _BESIDE_OTHERS:
                raise

    def close(self) -> None:
        """Close every log and give the writer lock back, whichever of them fails."""
        self.scrub.close()
        with self._lock, ExitStack() as closing:
            closing.callback(self.directory.close)
            closing.callback(self.registry.log.close)
            for bucket in self._buckets.values():
                closing.callback(self._close_bucket, bucket)
            self._buckets.clear()

    def _close_bucket(self, bucket: BucketLog) -> None:
        name = bucket.entry.name
        if self.is_gone(name, bucket.entry.log_id):
            bucket.abandon()
            return
        try:
            bucket.close()
        except (ObjStoreError, OSError):
            # another process may have deleted it this moment
            if not self.is_gone(name, bucket.entry.log_id):
                raise

    def abandon_after_fork(self) -> None:
        """Make every later use in this forked child an error."""
        self.is_forked = True


def _options_of(entry: BucketEntry) -> BucketOptions:
    if entry.options is not None:
        return entry.options
    return engine_options(decode_config(entry.document))
