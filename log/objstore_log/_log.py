"""The log: append, read, follow. The facade of this package's machinery."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from typing import Any, Final

from objstore_log._applier import Applier
from objstore_log._catalog import Catalog, Projection
from objstore_log._catalog_reader import Beside
from objstore_log._commit import Committer
from objstore_log._commit_loop import CommitLoop
from objstore_log._compare import Comparer, Comparison
from objstore_log._core import Listener, LogCore, LogOptions, SegmentDamage
from objstore_log._feed_bytes import FeedBytes
from objstore_log._frozen import Freezer
from objstore_log._head_slot import Head
from objstore_log._interrupts import uninterrupted
from objstore_log._mend import Mender
from objstore_log._places import Places
from objstore_log._progress import End
from objstore_log._reader import FeedPage, Reader
from objstore_log._record import Appended, Kind, NewRecord, Record
from objstore_log._refusals import refusals
from objstore_log._scrub import STRETCH_BYTES, Scrubber, ScrubPage, ScrubToken
from objstore_log._segments import Environment
from objstore_log._snapshot import LogSnapshot
from objstore_log._space import Needs, Reclaimer, ReclaimResult, SegmentPin
from objstore_log._storage import Storage
from objstore_log._takeover import prepare_tail
from objstore_log._threads import Background, is_running, join
from objstore_log._tickets import Guard, Ticket
from objstore_log._unfinished import Announcer
from objstore_log._waiters import Waiters
from objstore_log._wakeup import Wakeup
from objstore_log._writers import Writers
from objstore_log.errors import BusyError, ForkedError, ObjStoreError, PoisonedError

CLOSE_WAIT_S: Final = 1.0
"""How long closing waits for another process before it leaves the proof to it."""
APPLY_TRIGGER_ROWS: Final = 10_000


class Log:
    """An open log of one directory in this process."""

    def __init__(
        self,
        storage: Storage,
        log_id: bytes,
        *,
        options: LogOptions,
        environment: Environment,
        writers: Writers,
        projections: Sequence[Projection] = (),
    ) -> None:
        self._core = LogCore(
            storage,
            log_id,
            options=options,
            environment=environment,
            writers=writers,
            projections=projections,
        )
        self._committer = Committer(self._core, self._last)
        self._committer.set_sleep(time.sleep)
        self._applier = Applier(self._core)
        self._reader = Reader(self._core)
        self.places = Places(self._core)
        self.feed_bytes = FeedBytes(self._core, self._reader)
        self._reclaimer = Reclaimer(self._core, self._committer, self._reader)
        self._scrubber = Scrubber(self._core, self._reader)
        self._comparer = Comparer(self._core, self._applier)
        self.mender = Mender(self._core, self._committer)
        self._announcer = Announcer(self._core)
        self.freezer = Freezer(self._core, self._committer, time.sleep)
        self._loop = CommitLoop(self._core, self._committer, self._apply_when_many)
        self.begin = self._loop.begin
        """Has all that is enqueued carried out; never fails."""
        self._applying: Background | None = None
        self._waiters = Waiters(storage.path, self._core.catch_up)
        self._is_closed = self._is_forked = False

    # --- opening and closing --------------------------------------------------

    @staticmethod
    def open(
        storage: Storage,
        log_id: bytes,
        *,
        options: LogOptions,
        environment: Environment,
        writers: Writers,
        projections: Sequence[Projection] = (),
    ) -> Log:
        """Open a log, making it when the directory is empty; recover its tail.

        Guarantee: when no other process is writing, whatever a crash left is decided
        before this returns; when one is, its published end is taken over. Waits for
        no lock.

        Raises:
            StorageError: the operating system refused.
            StoreVersionError: a newer version wrote it.
        """
        with refusals(storage.path, "open"):
            log = Log(
                storage,
                log_id,
                options=options,
                environment=environment,
                writers=writers,
                projections=projections,
            )
            try:
                log._recover()
            except BaseException:
                log._core.close()
                raise
        return log

    def _recover(self) -> None:
        with uninterrupted:
            self._recover_whole()

    def _recover_whole(self) -> None:
        core = self._core
        core.wake_waiters = self._waiters.wake
        core.apply_overlay = self._applier.apply_behind
        head = core.head_file.read()
        if head is not None:
            core.segments.fallback_marker = (head.segment, head.marker)
        core.segments.refresh()
        applied = self._applier.open_catalog()
        if applied.segment:
            start = End(applied.segment, applied.position, applied.sequence)
            core.progress.advance(written=start, durable=start)
            core.segments.followed = applied.segment
            core.visible_sequence = applied.sequence
        lock = self._committer.try_lock()
        if lock is None and head is None:
            # somebody is making the log this moment
            with self._committer.locked(), core.mutex:
                prepare_tail(core, is_opening=True)
            return
        if lock is None:
            assert isinstance(head, Head)
            with core.mutex:
                core.follow_head(head)
            # no opener yet: whoever has the lock may be the first, and still looking
            return
        try:
            with core.mutex:
                prepare_tail(core, is_opening=True)
        finally:
            lock.release()

    def close(self) -> None:
        """Prove the last batch durable, apply the overlay, close; idempotent."""
        with uninterrupted:
            self._close_whole(keeps_pinned=False)

    def abandon(self, why: Callable[[], ObjStoreError]) -> None:
        """Close a log that was deleted, by whomever; idempotent.

        Guarantee: writes nothing. Every later use raises what `why` makes; only what
        is pinned stays readable, by `read_held`.
        """
        with uninterrupted:
            self._core.why_closed = why
            self._close_whole(keeps_pinned=True)

    def _close_whole(self, *, keeps_pinned: bool) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        self._waiters.close()
        if self._is_forked:
            # the threads stayed in the parent, and what they held stays held
            self._core.close()
            return
        self._loop.ask_to_stop()
        self._loop.join()
        with self._loop.alone(), ExitStack() as closing:
            closing.callback(self._core.close, keeps_pinned=keeps_pinned)
            closing.callback(self._announcer.close)
            join(self._applying)
            self._loop.refuse_queued()
            if not keeps_pinned:
                deadline = time.monotonic() + CLOSE_WAIT_S
                self._loop.close_batches(lambda: time.monotonic() < deadline)
                # the log is whole without it
                self._applier.apply_behind()

    def abandon_after_fork(self) -> None:
        """Make every later use in a forked child an error."""
        self._is_forked = True

    def _check_open(self) -> None:
        if self._is_forked:
            raise ForkedError(what=f"the log at {self._core.storage.path}")
        if self._is_closed:
            raise self._core.why_closed()

    # --- appending ------------------------------------------------------------

    def append(
        self,
        records: Sequence[NewRecord],
        *,
        expect: Mapping[bytes, int] | None = None,
        guard: Guard | None = None,
        is_visible: bool = True,
    ) -> Appended:
        """Append records atomically, blocking.

        Guarantee: after the return they are durable (as `sync` says); after an error
        other than an interruption they have no effect.

        Args:
            records: in order; none is only useful to check expectations.
            expect: subject -> its last sequence, 0 when it must have none.
            guard: called under the lock; raises to refuse.
            is_visible: False for chunks whose meta comes later.

        Raises:
            ConflictError: a subject is at another sequence.
            BusyError: another process held the lock for `lock_timeout_s`.
            PoisonedError: an earlier sync failed.
            StorageError: the operating system refused.
        """
        self._check_open()
        ticket = Ticket(records, expect or {}, guard, is_visible)
        self._loop.append(ticket)
        return ticket.result()

    def submit(self, ticket: Ticket) -> None:
        """Queue an append; `ticket.on_done` is called from another thread.

        The caller may set `is_withdrawn`; if the ticket was not taken yet it then ends
        with an error and without effect.
        """
        self.enqueue(ticket)
        self._loop.begin()

    def enqueue(self, ticket: Ticket) -> None:
        """Do what `submit` does, but wait for `begin` before it is carried out."""
        self._check_open()
        self._loop.submit(ticket)

    # --- the catalog ----------------------------------------------------------

    def _apply_when_many(self) -> None:
        core = self._core
        if core.overlay.rows < APPLY_TRIGGER_ROWS:
            return
        with core.mutex:
            # in relaxed modes all of it may wait for a sync
            if not core.overlay.has_batch(core.progress.durable.sequence):
                return
        if is_running(self._applying):
            return
        self._applying = Background(core.storage.path, self._applier.apply_behind)
        # without room for it the next commit tries again
        with suppress(ObjStoreError):
            self._applying.start()

    def apply(self) -> bool:
        """Bring the catalog up to the durable end.

        Returns:
            False when another process is applying just now.
        """
        self._check_open()
        self.catch_up()
        if self._core.options.is_relaxed and self._core.overlay.rows:
            # a reader waits for no other process and for no mended disk
            with suppress(BusyError, PoisonedError):
                self._committer.sync(lambda: False)
        return self._applier.apply()

    def require_catalog(self) -> None:
        """Apply; raise what the system refused, such as room on a full disk."""
        if not self.apply() and self._applier.refusal is not None:
            raise self._applier.refusal

    def query(
        self, sql: str, parameters: Sequence[object] = ()
    ) -> list[tuple[object, ...]]:
        """Read a projection's tables; a damaged catalog is rebuilt and read again."""
        return self._applier.guarded(
            lambda: self._core.catalog.query(sql, tuple(parameters))
        )

    def compare_catalog(self) -> Comparison:
        """Compare every row of the catalog with what the log says."""
        self.apply()
        return self._comparer.compare()

    def is_catalog_sound(self, pause: Callable[[], bool]) -> bool:
        """Check rows and sums alone, slowly: `pause` is called again and again."""
        return self._core.catalog.check(pause)

    def rebuild_catalog(self, reason: str) -> None:
        """Make the catalog anew from the log."""
        self._applier.rebuild(reason)

    @property
    def catalog(self) -> Catalog:
        """Give the catalog, for tests that compare a rebuilt one with it."""
        return self._core.catalog

    def _last(self, subject: bytes) -> int:
        core = self._core
        # before the first look: a commit behind it may make all that is found stale
        generation = core.cache.generation
        record = core.overlay.last(subject)
        if record is not None:
            return record.sequence
        cached = core.cache.get(subject)
        if cached is not None:
            return cached[0]
        sequence = self._applier.guarded(lambda: core.catalog.last(subject))
        with core.mutex:
            core.cache.fill(subject, sequence, None, generation)
        return sequence

    def last(self, subject: bytes) -> tuple[int, Record | None]:
        """Give a subject's last sequence (0 when none), and its record if at hand."""
        self._check_open()
        at_hand = self.places.last(subject)
        return (self._last(subject), None) if at_hand is None else at_hand

    def remember(self, subject: bytes, record: Record, generation: int) -> None:
        """Cache a record that was looked up elsewhere."""
        with self._core.mutex:
            self._core.cache.fill(subject, record.sequence, record, generation)

    @property
    def cache_generation(self) -> int:
        """Give what `remember` takes; read it before the look-up."""
        return self._core.cache.generation

    def subjects(
        self, start: bytes, stop: bytes | None, limit: int
    ) -> list[tuple[bytes, int]]:
        """Give subjects in `[start, stop)` with their last sequences, sorted."""
        self.apply()
        return self._applier.subjects(start, stop, limit)

    def subjects_beside(
        self, beside: Beside, start: bytes, stop: bytes | None, limit: int
    ) -> list[tuple[Any, ...]]:
        """Give `subjects` with what a projection has. See `Applier`."""
        self.apply()
        return self._applier.subjects_beside(beside, start, stop, limit)

    def snapshot(self) -> LogSnapshot:
        """Show last sequences and projections as of now until it is released."""
        self.apply()
        return LogSnapshot(*self._applier.snapshot())

    # --- reading --------------------------------------------------------------

    def catch_up(self) -> None:
        """Take in what other processes committed."""
        self._check_open()
        self._core.catch_up()

    @property
    def visible_sequence(self) -> int:
        """Give the greatest sequence that readers may see, of other processes too."""
        self.catch_up()
        return self._core.visible_sequence

    def read_run(self, first: int, count: int) -> list[Record]:
        """Read consecutive sequences, verified. See `Reader.read_run`."""
        self._check_open()
        return self._reader.read_run(first, count)

    def read_held(self, pin: SegmentPin, first: int, count: int) -> list[Record]:
        """Read what a pin holds, also when the log is deleted or closed."""
        return self._reader.read_held(pin.segments, first, count)

    def try_read_run(self, first: int, count: int) -> list[Record] | None:
        """Read from memory without waiting for the disk, else give `None`."""
        self._check_open()
        return self._reader.try_read_run(first, count)

    def feed(self, after: int, limit: int, kinds: frozenset[Kind]) -> FeedPage:
        """Give visible records of some kinds above a sequence, in log order."""
        self._check_open()
        return self._reader.feed(after, limit, kinds)

    def sequence_at(self, time_ns: int) -> int:
        """Give the last visible sequence committed at or before a time."""
        self._check_open()
        return self._reader.sequence_at(time_ns)

    # --- following ------------------------------------------------------------

    def add_waiter(self, wake: Callable[[], None]) -> int:
        """Have `wake` called once, from any thread, when the visible end has moved."""
        return self._waiters.add(wake)

    def discard_waiter(self, number: int) -> None:
        """Take a waiter back."""
        self._waiters.discard(number)

    def wait(self, after: int, timeout_s: float | None = None) -> int:
        """Block until the visible sequence is above `after` or the time is over."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            woken = Wakeup()
            number = self.add_waiter(woken.set)
            try:
                visible = self.visible_sequence
                if visible > after:
                    return visible
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    return visible
                woken.wait(left)
            finally:
                self.discard_waiter(number)

    def add_listener(
        self, listener: Listener, on_hole: Callable[[], None] = lambda: None
    ) -> None:
        """Have every shown batch handed over, in log order, under the log's mutex.

        Args:
            listener: gets the batches.
            on_hole: called in between when batches were not seen and never will be,
                because another process reclaimed them; the catalog knows of them.
        """
        self._core.listeners.append(listener)
        self._core.hole_listeners.append(on_hole)

    # --- space and health -----------------------------------------------------

    def configure(self, options: LogOptions) -> None:
        """Take other options from the next commit on."""
        with self._loop.alone():
            if options.is_relaxed != self._core.options.is_relaxed:
                self._committer.sync()
            with self._core.mutex:
                self._core.options = options
                self._core.progress.is_relaxed = options.is_relaxed
                self._core.show()

    def announce_unfinished(self, first_sequence: int | None) -> None:
        """Keep chunks from a sequence on from every process's reclaimer."""
        self._announcer.announce(first_sequence)

    def pin(self, runs: Sequence[tuple[int, int]]) -> SegmentPin:
        """Keep the segments that hold some runs.

        The caller checks afterwards that they are still needed, because they may have
        gone just before.
        """
        self._check_open()
        return SegmentPin(self._core, runs, time.sleep)

    def reclaim(self, needs: Needs, *, dry_run: bool = False) -> ReclaimResult:
        """Give back what `needs` does not name; it is asked once all is applied."""
        self._check_open()
        with uninterrupted:
            return self._reclaimer.run(needs, self.apply, dry_run=dry_run)

    def scrub(
        self, token: ScrubToken | None, stretch_bytes: int = STRETCH_BYTES
    ) -> ScrubPage:
        """Check the next stretch of stored bytes."""
        self._check_open()
        return self._scrubber.scrub(token, stretch_bytes)

    # --- facts ----------------------------------------------------------------

    @property
    def path(self) -> str:
        """Give the directory, for messages."""
        return self._core.storage.path

    @property
    def damages(self) -> list[SegmentDamage]:
        """Give what was found damaged so far."""
        return [*self._core.damages, *self._core.lost]

    @property
    def segment_count(self) -> int:
        """Give the number of segment files."""
        return len(self._core.segments)

    @property
    def progress(self) -> tuple[End, End]:
        """Give (written, durable)."""
        return self._core.progress.written, self._core.progress.durable
