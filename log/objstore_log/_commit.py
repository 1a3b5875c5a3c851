"""One commit: lock, catch up, check, number, write, sync, publish, unlock, show.

The order is the promise. Nothing is shown or acknowledged before the sync that covers
it; a batch whose write or sync failed is never retried in place.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from objstore_log._batch import (
    Durable,
    EncodedBatch,
    encode_batch,
    number_records,
)
from objstore_log._core import LogCore, Poison
from objstore_log._format import (
    SEGMENT_HEADER_BYTES,
    SEGMENT_RECORDS_MAX,
    SEGMENT_RELAXED,
)
from objstore_log._interrupts import uninterrupted
from objstore_log._overlay import CATALOG_KINDS, Applied
from objstore_log._patience import lock_timeout_s
from objstore_log._progress import End
from objstore_log._record import SUBJECT_KINDS, Appended, Record, subject_of
from objstore_log._refusals import storage_error
from objstore_log._storage import Lock
from objstore_log._takeover import STATE_POISONED, prepare_tail, publish, roll
from objstore_log._tickets import GuardTotals, Ticket, TicketQueue, tell
from objstore_log.errors import (
    BusyError,
    ConflictError,
    ObjStoreError,
    PoisonedError,
    StorageError,
)

_logger = logging.getLogger("objstore")

LOCK_NAME: Final = "lock"
LOCK_POLL_FIRST_S: Final = 0.000_05
LOCK_POLL_LAST_S: Final = 0.005
UNSYNCED_BYTES_MAX: Final = 8 * 1024 * 1024
"""Chunks of large puts are synced in pieces of this size, so that a small put that
comes behind never waits for more."""
WRITE_BACK_BYTES_MIN: Final = 64 * 1024
"""Smaller batches are left to the system: asking costs more than a small put."""


@dataclass(slots=True)
class _Batch:
    tickets: list[tuple[Ticket, int]]
    """With the first sequence of each."""
    records: list[Record]
    encoded: EncodedBatch
    is_visible: bool


class Committer:
    """Carries out commits of one log; one at a time in a process."""

    def __init__(self, core: LogCore, last: Callable[[bytes], int]) -> None:
        self._core = core
        self.last = last
        """Gives the last sequence of a subject."""
        self._sleep: Callable[[float], None] = lambda _: None
        self._blocked_since_s = math.inf
        """Since when another process has the lock; infinite while none has."""
        self.has_unclosed_batches = False
        """A real batch was written since the last empty commit record."""
        self.is_unpublished = False
        """Other processes may not see what was committed: the head was refused."""

    def set_sleep(self, sleep: Callable[[float], None]) -> None:
        """Say how to wait between two tries for the lock."""
        self._sleep = sleep

    # --- the lock -------------------------------------------------------------

    @contextmanager
    def locked(
        self, is_wanted: Callable[[], bool] = lambda: True, *, is_limited: bool = True
    ) -> Generator[None]:
        """Hold the log's lock; Ctrl-C waits until it is given back.

        Raises:
            BusyError: the caller's patience is over (`is_limited`), or nobody
                wants it any more.
        """
        with uninterrupted:
            lock = self._take_lock(is_wanted, is_limited=is_limited)
            try:
                yield
            finally:
                lock.release()

    def _commit_queued(self, queue: TicketQueue, tickets: list[Ticket]) -> None:
        """Take the lock, then the tickets, and commit them: `locked`, at less cost."""
        with uninterrupted:
            lock = self.try_lock()
            if lock is None:
                lock = self._take_lock(
                    lambda: not queue.has_any(self._gives_up), is_limited=False
                )
            try:
                self._blocked_since_s = math.inf
                tickets += queue.take()
                self._commit_locked(tickets)
            finally:
                lock.release()

    def try_lock(self) -> Lock | None:
        """Take the log's lock if nobody has it."""
        return self._core.storage.try_lock(LOCK_NAME, is_kept=True)

    def _take_lock(self, is_wanted: Callable[[], bool], *, is_limited: bool) -> Lock:
        core = self._core
        limit = lock_timeout_s(core.options.lock_timeout_s) if is_limited else None
        started = core.environment.monotonic_s()
        pause = LOCK_POLL_FIRST_S
        while True:
            lock = self.try_lock()
            if lock is not None:
                self._blocked_since_s = math.inf
                return lock
            now = core.environment.monotonic_s()
            self._blocked_since_s = min(self._blocked_since_s, now)
            waited = now - started
            timed_out = limit is not None and waited >= limit
            uninterrupted.deliver()
            if timed_out or not is_wanted():
                raise BusyError(
                    path=core.storage.path,
                    holder_pid=core.storage.lock_holder(LOCK_NAME),
                    waited_s=waited,
                )
            self._sleep(pause)
            pause = min(pause * 2, LOCK_POLL_LAST_S)

    # --- a commit -------------------------------------------------------------

    def commit(self, queue: TicketQueue) -> list[Ticket]:
        """Write what is admissible of the queued tickets as one batch.

        The queue is drained after the lock is there: what came while waiting for it
        rides along.

        Returns:
            The tickets taken, all finished, whatever happened.
        """
        tickets: list[Ticket] = []
        try:
            self.check_poison()
            self._commit_queued(queue, tickets)
        except BusyError as error:
            # the others go on waiting, in whoever leads next
            tickets = tickets or queue.take_those(self._gives_up) or queue.take()
            withdrawn = [ticket for ticket in tickets if ticket.is_withdrawn]
            _fail_all(withdrawn, _withdrawn(self._core.storage.path))
            _fail_all(tickets, error)
        except ObjStoreError as error:
            tickets = tickets or queue.take()
            _fail_all(tickets, error)
        except OSError as error:
            tickets = tickets or queue.take()
            refused = storage_error(self._core.storage.path, "append to", error)
            _fail_all(tickets, refused)
        except BaseException:
            interrupted = StorageError(
                path=self._core.storage.path,
                operation="append to",
                reason="the commit was interrupted; whether it took effect is unknown",
            )
            _fail_all(tickets, interrupted)
            tell(tickets)
            raise
        return tickets

    def _gives_up(self, ticket: Ticket) -> bool:
        """Say whether an append does not wait for another process any longer."""
        limit = ticket.lock_timeout_s
        if ticket.is_withdrawn or limit is None:
            return ticket.is_withdrawn
        since = max(ticket.queued_s, self._blocked_since_s)
        return self._core.environment.monotonic_s() - since >= limit

    def _commit_locked(self, tickets: Sequence[Ticket]) -> None:
        with self._core.mutex:
            prepare_tail(self._core)
            batch = self._number(tickets)
        if batch is None:
            return
        self._write(batch)
        for ticket, first in batch.tickets:
            ticket.succeed(
                Appended(
                    first,
                    first + len(ticket.records) - 1,
                    batch.records[0].time_ns,
                )
            )

    def check_poison(self) -> None:
        """Raise when an earlier sync of this process failed."""
        poison = self._core.poison
        if poison is not None:
            raise PoisonedError(
                path=self._core.storage.path, reason=poison.reason, errno=poison.errno
            )

    def _number(self, tickets: Sequence[Ticket]) -> _Batch | None:
        """Check expectations and guards, roll when needed, number and encode."""
        core = self._core
        length = sum(ticket.length for ticket in tickets)
        count = sum(len(ticket.records) for ticket in tickets)
        if self._must_roll(length, count):
            self.sync_active()
            roll(core)
        first = core.progress.written.sequence + 1
        admitted = self._admit(tickets, first)
        time_ns = max(core.environment.now_ns(), core.last_time_ns + 1)
        records = number_records(
            [ticket.records for ticket, _ in admitted], first, time_ns
        )
        if not records:
            for ticket, place in admitted:
                ticket.succeed(Appended(place, place - 1, core.last_time_ns))
            return None
        encoded = self._encode(records, time_ns)
        return _Batch(
            admitted,
            records,
            encoded,
            any(ticket.is_visible for ticket, _ in admitted),
        )

    def _must_roll(self, length: int, count: int) -> bool:
        core = self._core
        active = core.segments.active
        written = core.progress.written
        flags = SEGMENT_RELAXED if core.options.is_relaxed else 0
        if (active.header.flags & SEGMENT_RELAXED) != flags:
            return True
        if written.sequence + count >= active.first_sequence + SEGMENT_RECORDS_MAX:
            return True
        is_empty = written.position == SEGMENT_HEADER_BYTES
        return not is_empty and written.position + length > core.options.segment_bytes

    def _admit(
        self, tickets: Sequence[Ticket], sequence: int
    ) -> list[tuple[Ticket, int]]:
        """Give the tickets that go into the batch with their first sequences."""
        ahead: dict[bytes, int] = {}
        totals: GuardTotals = {}
        admitted: list[tuple[Ticket, int]] = []
        for ticket in tickets:
            if ticket.is_withdrawn:
                ticket.fail(_withdrawn(self._core.storage.path))
                continue
            ticket.is_taken = True
            try:
                self._check_expectations(ticket, ahead)
                if ticket.guard is not None:
                    ticket.guard(totals)
            except ObjStoreError as error:
                ticket.fail(error)
                continue
            admitted.append((ticket, sequence))
            for record in ticket.records:
                if record.kind in SUBJECT_KINDS:
                    ahead[subject_of(record.kind, record.key)] = sequence
                sequence += 1
        return admitted

    def _check_expectations(self, ticket: Ticket, ahead: Mapping[bytes, int]) -> None:
        for subject, expected in ticket.expect.items():
            actual = ahead.get(subject)
            if actual is None:
                actual = self.last(subject)
            if actual != expected:
                raise ConflictError(subject=subject, expected=expected, actual=actual)

    def _encode(self, records: list[Record], time_ns: int) -> EncodedBatch:
        core = self._core
        written, durable = core.progress.written, core.progress.durable
        last = records[-1].sequence if records else written.sequence
        return encode_batch(
            records,
            marker=core.segments.active.header.marker,
            position=written.position,
            last_sequence=last,
            time_ns=time_ns,
            writer_id=core.writers.writer_id,
            durable=Durable(durable.position, durable.sequence),
        )

    # --- writing --------------------------------------------------------------

    def _write(self, batch: _Batch) -> None:
        """Write, sync where due, publish, show."""
        core = self._core
        active = core.segments.active
        position = core.progress.written.position
        try:
            active.file.write_at(position, batch.encoded.buffers)
        except OSError:
            self._settle()
            raise
        end = position + batch.encoded.length
        unsynced = end - core.progress.durable.position
        # so that a relaxed log that ends in an empty batch is known to be complete
        must_sync = core.is_closed_tail if core.options.is_relaxed else batch.is_visible
        if must_sync or unsynced > UNSYNCED_BYTES_MAX:
            self._sync_file()
            is_durable = True
        else:
            if batch.encoded.length >= WRITE_BACK_BYTES_MIN:
                active.file.write_back(position, batch.encoded.length)
            is_durable = False
        with core.mutex:
            self._publish_batch(batch, end, is_durable=is_durable)

    def _settle(self) -> None:
        """Sync what was written before a write that was refused.

        The next batch begins a new segment, into which all is copied that is not
        synced by then: on a full disk there is no room for that.
        """
        core = self._core
        if core.progress.durable != core.progress.written:
            with core.mutex:
                self.sync_active()
                self._publish()

    def _publish_batch(self, batch: _Batch, end: int, *, is_durable: bool) -> None:
        core = self._core
        active = core.segments.active
        encoded = batch.encoded
        through = Applied(
            encoded.last_sequence, encoded.commit_checksum, active.number, end
        )
        observed = [record for record in batch.records if record.kind in CATALOG_KINDS]
        time_ns = batch.records[-1].time_ns if batch.records else core.last_time_ns
        core.observe(observed, through, time_ns, is_empty=not batch.records)
        index = active.loaded_index
        if index is not None:
            encoded.add_to(index)
        written = End(active.number, end, encoded.last_sequence)
        core.progress.advance(written=written, durable=written if is_durable else None)
        if is_durable:
            core.unsynced_writers.clear()
        else:
            core.unsynced_writers.add(core.writers.writer_id)
        self.has_unclosed_batches = bool(batch.records)
        self._publish()
        core.show()
        if not self.is_unpublished:
            core.note_published()

    def _publish(self) -> None:
        """Publish what is committed already: a failure of that is not the commit's."""
        try:
            publish(self._core)
            self.is_unpublished = False
        except OSError as error:
            # the head is a lower bound; the next holder of the lock looks above it
            self.is_unpublished = True
            _logger.warning("%s: publishing: %s", self._core.storage.path, error)

    def sync_active(self) -> None:
        """Make all that is written durable, as before every roll."""
        core = self._core
        if core.progress.durable != core.progress.written:
            self._sync_file()
            core.progress.advance(durable=core.progress.written)
            core.unsynced_writers.clear()
            core.show()

    def _sync_file(self) -> None:
        """Sync the active segment; a failure poisons the log in this process."""
        core = self._core
        try:
            core.segments.active.file.sync()
        except OSError as error:
            core.poison = Poison(error.strerror or str(error), error.errno)
            self._publish_poison()
            self.check_poison()

    def _publish_poison(self) -> None:
        """Tell the other processes; that it may fail too changes nothing for us."""
        try:
            publish(self._core, STATE_POISONED)
        except OSError as error:
            assert self._core.poison is not None
            self._core.poison.reason += f"; publishing that failed too: {error}"

    def sync(self, is_wanted: Callable[[], bool] = lambda: True) -> None:
        """Make everything written so far durable (relaxed modes, before applying)."""
        self.check_poison()
        with self.locked(is_wanted), self._core.mutex:
            prepare_tail(self._core)
            if self._core.progress.durable != self._core.progress.written:
                self.sync_active()
                self._publish()

    def end_segment(self, number: int) -> None:
        """Seal the segment that is appended to, if it still has that number."""
        self.check_poison()
        with self.locked(), self._core.mutex:
            prepare_tail(self._core)
            if self._core.segments.active.number == number:
                self.sync_active()
                roll(self._core)

    def publish_again(self) -> None:
        """Publish what could not be published when it was committed.

        Raises:
            BusyError: another process has the lock.
            OSError: it is still refused.
        """
        if self._core.poison is None:
            with self.locked(lambda: False), self._core.mutex:
                prepare_tail(self._core)
        self.is_unpublished = False

    def close_batches(self, is_wanted: Callable[[], bool]) -> None:
        """Append an empty commit record, which proves the batch before it durable."""
        self.check_poison()
        with self.locked(is_wanted):
            with self._core.mutex:
                prepare_tail(self._core)
                core = self._core
                encoded = self._encode([], max(core.last_time_ns, 0))
            self._write(_Batch([], [], encoded, is_visible=True))
            if core.options.is_relaxed:
                with core.mutex:
                    self.sync_active()
                    self._publish()


def _withdrawn(path: str) -> StorageError:
    return StorageError(
        path=path, operation="append to", reason="the append was withdrawn"
    )


def _fail_all(tickets: Sequence[Ticket], error: ObjStoreError) -> None:
    for ticket in tickets:
        ticket.fail(error)
