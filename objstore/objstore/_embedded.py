"""The embedded engine: operations carried out on segmented logs in this process.

Blocking operations run in the caller's thread. Awaited ones run inline when that needs
no waiting, appends go to the committer thread, everything else to a worker thread.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from typing import Any, Final, TypeVar

import anyio
from anyio import CapacityLimiter

from objstore import _engine as ops
from objstore import _engine_backup as backup_ops
from objstore._bucket_health import BucketHealth
from objstore._bucket_log import BucketLog
from objstore._bucket_metas import page_of_snapshot
from objstore._bucket_state import SEALED
from objstore._embedded_at_hand import EmbeddedAtHand
from objstore._embedded_backup import (
    freeze_bucket,
    freeze_registry,
    get_directory,
    leave_gap,
)
from objstore._embedded_errors import bucket_of, explained, read_pinned, refused
from objstore._embedded_kinds import PATIENT, WHOLE, is_clearing
from objstore._embedded_store import EmbeddedStore
from objstore._engine import Capability, Engine, Op
from objstore._handles import check_not_ending
from objstore._loop_wake import current_waker, in_thread, shielded
from objstore._open_stores import acquire_store, release_store
from objstore._outcome import aborted, committed, submit_abort
from objstore._reserve import CLEARING_TRIES
from objstore._store_url import path_of
from objstore.errors import (
    BucketNotFoundError,
    ClosedError,
    ObjStoreError,
)
from objstore_log import patience, uninterrupted

T = TypeVar("T")
NUID_BYTES: Final = 16
_NUIDS_BYTES: Final = 64 * NUID_BYTES
WORKER_THREADS: Final = 16
"""Operations that wait for the disk at the same time, for one handle."""
INLINE_BYTES_MAX: Final = 1024 * 1024
"""Content up to this is copied on the event loop when it is in the page cache."""
CAPABILITIES: Final = frozenset(
    {Capability.SYNCHRONOUS, Capability.OBJECT_TTL, Capability.SHARED_COPY}
)


def open_embedded(
    url: str,
    *,
    create: bool = True,
    sync: object = "always",  # noqa: ARG001 - a bucket's own, set when it is created
    lock_timeout: float | None = None,
    force_network: bool = False,
) -> Engine:
    """Open the embedded engine; blocks.

    Raises:
        BadStoreError: the URL means no place.
        StoreNotFoundError: `create` is false and there is no store, or the place is
            taken by something else.
        StoreVersionError: a newer version wrote it.
        StorageError: the place cannot be used.
    """
    path = path_of(url)
    check_not_ending(f"the store {url}")
    store = None
    try:
        with uninterrupted, patience(lock_timeout):
            store = acquire_store(
                path, url=url, create=create, force_network=force_network
            )
        return EmbeddedEngine(store, url=url, lock_timeout_s=lock_timeout)
    except BaseException:
        # Ctrl-C behind the opening: nobody would ever close it
        if store is not None:
            release_store(store)
        raise


class EmbeddedEngine(EmbeddedAtHand):
    """One handle on a store directory."""

    def __init__(
        self,
        store: EmbeddedStore,
        *,
        url: str | None = None,
        lock_timeout_s: float | None = None,
    ) -> None:
        self._store = store
        self._lock_timeout_s = lock_timeout_s
        self.url = url or store.url
        self.store_id = store.store_id
        self.capabilities = CAPABILITIES
        self.backing_store = "memory" if store.in_memory else "log"
        self._is_closed = False
        self._limiter: CapacityLimiter | None = None
        self._nuids: list[bytes] = []
        """Drawn and not given yet; a forked child, which has them too, cannot put."""
        self._wakes: set[Callable[[], None]] = set()
        """What wakes those who wait for a change through this handle."""

    def now_ns(self) -> int:
        """Give the wall clock."""
        return self._store.directory.environment.now_ns()

    def purge_ns(self) -> int:
        """Give the time that purging goes by."""
        return self._store.purge_ns()

    def new_nuid(self) -> bytes:
        """Give 16 random bytes."""
        # many at a time: each call gives the interpreter to another thread
        nuids = self._nuids
        while True:
            try:
                return nuids.pop()
            except IndexError:
                drawn = self._store.directory.environment.random_bytes(_NUIDS_BYTES)
                starts = range(0, _NUIDS_BYTES, NUID_BYTES)
                nuids += [drawn[start : start + NUID_BYTES] for start in starts]

    def _check(self) -> None:
        if self._is_closed:
            raise ClosedError(what=f"the store {self.url}")
        if sys.is_finalizing():
            check_not_ending(f"the store {self.url}")
        store = self._store
        if store.is_forked:
            store.check_not_forked()
        store.dropped.settle()

    # --- blocking -------------------------------------------------------------

    def run(self, op: Op[T]) -> T:
        """Carry an operation out, blocking this thread."""
        self._check()
        found = self._at_hand(op)
        before = self._before(op) if found is None else found.entry.log_id
        answer: T
        try:
            if type(op) in WHOLE:
                with uninterrupted, patience(self._lock_timeout_s):
                    answer = self._carried_out(op, found)
            elif type(op) in PATIENT:
                with patience(self._lock_timeout_s):
                    answer = self._carried_out(op, None)
            else:
                answer = self._carried_out(op, found)
        except (ObjStoreError, OSError) as error:
            answer = self._saved(op, before, error)
        return answer

    def _at_hand(self, op: Op[Any]) -> BucketLog | None:
        """Give the bucket of an operation of every put if it is plainly there.

        One look at the registry's head serves all that the operation asks of it.
        """
        if type(op) not in _AT_HAND:
            return None
        hot: Any = op
        store = self._store
        try:
            if isinstance(op, ops.Append):
                return store.at_hand_to_change(op.bucket, op.incarnation)
            return store.at_hand(hot.name if type(op) is ops.GetBucket else hot.bucket)
        except (ObjStoreError, OSError):
            # the long way says it in the words that it needs
            return None

    def _carried_out(self, op: Op[Any], found: BucketLog | None) -> Any:
        if found is not None:
            at_hand = _AT_HAND[type(op)]
            if is_clearing(op):
                return self._store.reserve.clearing(partial(at_hand, found, op))
            return at_hand(found, op)
        handler = _HANDLERS[type(op)]
        if is_clearing(op):
            return self._store.reserve.clearing(partial(handler, self._store, op))
        return handler(self._store, op)

    def _before(self, op: Op[Any]) -> bytes | None:
        """Give which bucket it is that an operation begins in."""
        name = bucket_of(op)
        return self._store.identity(name) if name else None

    def _saved(
        self, op: Op[T], before: bytes | None, error: ObjStoreError | OSError
    ) -> T:
        """Give what a pin still holds of a deleted bucket, or raise what happened."""
        self._check()
        told = explained(self._store, op, before, error)
        if isinstance(told, BucketNotFoundError) and isinstance(op, ops.ReadChunks):
            chunks: Any = read_pinned(op)
            if chunks is not None:
                return chunks  # type: ignore[no-any-return]
        if told is error:
            raise error
        raise told from error

    # --- awaiting -------------------------------------------------------------

    async def arun(self, op: Op[T]) -> T:
        """Carry an operation out on asyncio or trio."""
        self._check()
        found = self._at_hand(op)
        before = self._before(op) if found is None else found.entry.log_id
        try:
            answer: T = await self._answer(op, found)
        except (ObjStoreError, OSError) as error:
            answer = self._saved(op, before, error)
        return answer

    async def _answer(self, op: Op[Any], found: BucketLog | None) -> Any:
        answer: Any
        if isinstance(op, ops.Append):
            if found is None:
                with patience(self._lock_timeout_s):
                    found = self._store.bucket_to_change(op.bucket, op.incarnation)
            answer = await self._committed(found, op)
        elif found is not None:
            # what takes no more than a look-up needs no thread
            answer = _AT_HAND[type(op)](found, op)
        elif isinstance(op, ops.Abort):
            answer = None
            await aborted(self._store.bucket(op.bucket), op.nuid)
        elif isinstance(op, ops.Last):
            answer = self._store.bucket(op.bucket).last(op.name)
        elif isinstance(op, ops.ReadChunks):
            answer = await self._read_chunks(op)
        elif isinstance(op, ops.WaitForChange):
            answer = await self._wait(op)
        else:
            answer = await self._in_thread(op)
        return answer

    async def _committed(self, bucket: BucketLog, op: ops.Append) -> ops.AppendResult:
        if not is_clearing(op):
            return await committed(bucket, op, self._lock_timeout_s)
        with self._store.reserve.lending() as loan:
            for _ in range(CLEARING_TRIES - 1):
                try:
                    return await committed(bucket, op, self._lock_timeout_s)
                except OSError as error:
                    if not loan.is_given_for(error):
                        raise
            return await committed(bucket, op, self._lock_timeout_s)

    async def _in_thread(self, op: Op[Any]) -> Any:
        if self._limiter is None:
            self._limiter = CapacityLimiter(WORKER_THREADS)
        return await in_thread(partial(self.run, op), self._limiter)

    async def _read_chunks(self, op: ops.ReadChunks) -> list[ops.Buffer]:
        if op.count * op.meta.chunk_bytes <= INLINE_BYTES_MAX:
            bucket = self._store.bucket(op.bucket, op.meta.incarnation)
            found = bucket.read_chunks(op.meta, op.index, op.count, wait=False)
            if found is not None:
                return found
        chunks: list[ops.Buffer] = await self._in_thread(op)
        return chunks

    async def _wait(self, op: ops.WaitForChange) -> int:
        log = self._store.bucket(op.bucket).log
        waker = current_waker()
        with anyio.move_on_after(op.timeout_s):
            while True:
                event = anyio.Event()
                wake = partial(waker.set, event)
                self._wakes.add(wake)
                number = log.add_waiter(wake)
                try:
                    # behind `add`: a close from here on wakes this waiter
                    self._check()
                    if log.visible_sequence > op.after:
                        break
                    await event.wait()
                finally:
                    log.discard_waiter(number)
                    self._wakes.discard(wake)
        self._check()
        return log.visible_sequence

    def drop(self, op: ops.Abort) -> None:
        """Abort a put with the next operation; takes no lock."""

        def abort() -> None:
            submit_abort(self._store.bucket(op.bucket), op.nuid)

        self._store.dropped.add(abort)

    # --- closing --------------------------------------------------------------

    def close(self) -> None:
        """Close this handle; the last one of the process closes the store.

        In an interpreter that is ending this does nothing: threads cannot be joined
        any more, and what a killed process leaves is whole.
        """
        if sys.is_finalizing():
            return
        with uninterrupted:
            if not self._is_closed:
                self._is_closed = True
                # other handles may keep the logs open, which would wake nobody
                for wake in list(self._wakes):
                    wake()
                try:
                    release_store(self._store)
                except OSError as error:
                    raise refused(self._store, "close", error) from error

    async def aclose(self) -> None:
        """Close without blocking the event loop."""
        await shielded(partial(in_thread, self.close), is_bounded=False)


# --- the table of operations --------------------------------------------------------

Handler = Callable[[EmbeddedStore, Any], Any]


def _append(store: EmbeddedStore, op: ops.Append) -> ops.AppendResult:
    return store.bucket_to_change(op.bucket, op.incarnation).append(op)


def _changes(store: EmbeddedStore, op: ops.Changes) -> ops.ChangePage:
    return store.bucket(op.bucket).changes(op.after, op.limit)


def _page(store: EmbeddedStore, op: ops.Page) -> list[ops.StoredMeta]:
    if op.snapshot is not None:
        return page_of_snapshot(op, op.snapshot)
    bucket = store.bucket(op.bucket)
    return bucket.page(op.prefix, op.start_after, op.limit, op.as_of)


def _snapshot(store: EmbeddedStore, op: ops.Snapshot) -> ops.PinHandle:
    return store.dropped.pin(store.bucket(op.bucket).snapshot())


def _read_chunks(store: EmbeddedStore, op: ops.ReadChunks) -> list[ops.Buffer]:
    bucket = store.bucket(op.bucket, op.meta.incarnation)
    chunks = bucket.read_chunks(op.meta, op.index, op.count)
    assert chunks is not None
    return chunks


def _pin(store: EmbeddedStore, op: ops.Pin) -> ops.PinHandle:
    space = store.space(op.bucket, op.meta.incarnation)
    return store.dropped.pin(space.pin(op.meta))


def _reclaim(store: EmbeddedStore, op: ops.Reclaim) -> ops.Reclaimed:
    now_ns = store.purge_ns()
    reclaimed = store.space(op.bucket).reclaim(now_ns, dry_run=op.dry_run)
    store.reserve.keep()
    return reclaimed


def _damaged(store: EmbeddedStore, op: ops.Damaged) -> list[ops.DamageFound]:
    found = store.health(op.bucket).damaged()
    return found + [
        item for item in store.scrub.found.get(op.bucket, []) if item not in found
    ]


def _repair_catalog(
    store: EmbeddedStore, op: ops.RepairCatalog
) -> list[ops.RepairDone]:
    if not op.dry_run:
        store.scrub.forget(op.bucket)
    return store.health(op.bucket).repair_catalog(dry_run=op.dry_run)


def _restore(store: EmbeddedStore, op: ops.Restore) -> ops.RepairDone:
    health = store.health(op.bucket)
    assert isinstance(health, BucketHealth), "the registry has no versions"
    return health.restore(op.damaged, store.purge_ns(), dry_run=op.dry_run)


def _wait(store: EmbeddedStore, op: ops.WaitForChange) -> int:
    return store.bucket(op.bucket).log.wait(op.after, op.timeout_s)


_HANDLERS: dict[type[Op[Any]], Handler] = {
    ops.CreateBucket: lambda store, op: store.create(op.name, op.document, op.options),
    ops.GetBucket: lambda store, op: store.bucket(op.name).state(),
    ops.UpdateBucket: lambda store, op: store.update(op),
    ops.DeleteBucket: lambda store, op: store.delete(op.name),
    ops.ListBuckets: lambda store, op: store.names(),  # noqa: ARG005 - one shape
    ops.SealBucket: lambda store, op: store.bucket_to_change(op.bucket).seal(SEALED),
    ops.Append: _append,
    ops.Abort: lambda store, op: store.bucket(op.bucket).abort(op.nuid),
    ops.Last: lambda store, op: store.bucket(op.bucket).last(op.name),
    ops.ReadChunks: _read_chunks,
    ops.Pin: _pin,
    ops.Page: _page,
    ops.Snapshot: _snapshot,
    ops.Changes: _changes,
    ops.VisibleSequence: lambda store, op: store.bucket(op.bucket).log.visible_sequence,
    ops.WaitForChange: _wait,
    ops.SequenceAt: lambda store, op: store.bucket(op.bucket).log.sequence_at(
        op.time_ns
    ),
    ops.TimeAt: lambda store, op: store.bucket(op.bucket).time_at(op.sequence),
    ops.GetUsage: lambda store, op: store.bucket(op.bucket).usage(),
    ops.DueExpiries: lambda store, op: store.bucket(op.bucket).due(
        op.time_ns, op.limit, op.after
    ),
    ops.Reclaim: _reclaim,
    ops.RemoveLeftovers: lambda store, op: store.remove_leftovers(),  # noqa: ARG005 - one shape
    backup_ops.GetDirectory: get_directory,
    backup_ops.FreezeRegistry: freeze_registry,
    backup_ops.FreezeBucket: freeze_bucket,
    backup_ops.LeaveGap: leave_gap,
    ops.VerifyRecords: lambda store, op: store.health(op.bucket).scrub(op.token),
    ops.Damaged: _damaged,
    ops.CompareCatalog: lambda store, op: store.health(op.bucket).compare_catalog(),
    ops.RepairCatalog: _repair_catalog,
    ops.Quarantine: lambda store, op: store.health(op.bucket).quarantine(
        op.what, op.reason, dry_run=op.dry_run
    ),
    ops.Restore: _restore,
    ops.Heal: lambda store, op: store.health(op.bucket).heal(
        op.segment, dry_run=op.dry_run
    ),
    ops.Scrub: lambda store, op: store.scrub.step(op.stopped),
    ops.GetMetrics: lambda store, op: store.scrub.metrics(),  # noqa: ARG005 - one shape
}
_AT_HAND: dict[type[Op[Any]], Callable[[BucketLog, Any], Any]] = {
    ops.GetBucket: lambda bucket, op: bucket.state(),  # noqa: ARG005 - one shape
    ops.Last: lambda bucket, op: bucket.last(op.name),
    ops.Append: lambda bucket, op: bucket.append(op),
}
"""How the operations of every put go on in a bucket that is open and as it was."""
