"""Who carries out commits, and when: one leader at a time.

A synchronous caller commits in its own thread when nobody else does; others queue and
are carried along. An asynchronous caller queues and is called back from the committer
thread, so that a slow disk never stops an event loop.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from typing import Final

from objstore_log._commit import Committer
from objstore_log._core import LogCore
from objstore_log._interrupts import uninterrupted
from objstore_log._patience import lock_timeout_s
from objstore_log._threads import Background, is_running, join
from objstore_log._tickets import Ticket, TicketQueue, tell
from objstore_log._wakeup import Wakeup
from objstore_log.errors import BusyError, ObjStoreError, StorageError

_logger = logging.getLogger("objstore")

IDLE_COMMIT_S: Final = 0.1
"""After this long without a commit an empty commit record proves the last one."""
INTERRUPT_LOOK_S: Final = 0.1
"""How often an append that waits for another thread's commit looks for Ctrl-C."""


class CommitLoop:
    """The queue of appends, the leader's lock and the committer thread."""

    def __init__(
        self,
        core: LogCore,
        committer: Committer,
        after_commit: Callable[[], None],
    ) -> None:
        self._core = core
        self._committer = committer
        self._after_commit = after_commit
        self._queue = TicketQueue()
        self._leader = threading.Lock()
        self._work = Wakeup()
        self._starting = threading.Lock()
        self._thread: Background | None = None
        self._synced_s = time.monotonic()
        self._is_stopped = False
        self._dozes = False
        """The committer thread sleeps until it is woken, however much is unproven."""

    # --- appending ------------------------------------------------------------

    def append(self, ticket: Ticket) -> None:
        """Carry out an append, or wait until another thread has done so.

        Ctrl-C takes an append back that still waits; one that is being written is
        finished first.
        """
        with uninterrupted:
            self._append(ticket)

    def _append(self, ticket: Ticket) -> None:
        finished = threading.Lock()
        finished.acquire()
        ticket.on_done = lambda _: finished.release()
        self._enqueue(ticket)
        try:
            self._lead_or_wait(ticket, finished)
        except BaseException:
            # without effect unless a commit has it already
            ticket.is_withdrawn = True
            raise
        if self._queue:
            self._work.set()
            self._try_start_thread()
        self._start_idle_commit()

    def _lead_or_wait(self, ticket: Ticket, finished: threading.Lock) -> None:
        while not ticket.is_done:
            if not self._try_lead():
                self._work.set()
                self._try_start_thread()
                self._wait(ticket, finished)

    def _try_lead(self) -> bool:
        """Carry out one commit, unless somebody else is the leader."""
        if not self._leader.acquire(blocking=False):
            return False
        try:
            self._commit_once()
        finally:
            self._leader.release()
        return True

    def _wait(self, ticket: Ticket, finished: threading.Lock) -> None:
        """Wait for the outcome, which is known also when Ctrl-C ends the waiting."""
        try:
            while not self._is_finished(finished):
                uninterrupted.deliver()
        except BaseException:
            ticket.is_withdrawn = True
            while not self._is_finished(finished):
                pass
            raise

    def _is_finished(self, finished: threading.Lock) -> bool:
        """Wait a moment for the outcome; lead when no thread comes to do it."""
        is_finished = finished.acquire(timeout=INTERRUPT_LOOK_S)
        if not is_finished and not is_running(self._thread):
            self._try_lead()
        return is_finished

    def submit(self, ticket: Ticket) -> None:
        """Queue an append; its owner is called back from another thread.

        It waits until `begin` is called, or another append is carried out.

        Raises:
            StorageError: there is no room for that thread; nothing is queued.
        """
        with self._starting:
            # whoever stops the loop finds it in the queue, or it is refused here
            if self._is_stopped:
                raise self._core.why_closed()
            self._start_thread_once()
            self._enqueue(ticket)

    def begin(self) -> None:
        """Have what is queued carried out by the committer thread."""
        self._work.set()

    def _enqueue(self, ticket: Ticket) -> None:
        ticket.lock_timeout_s = lock_timeout_s(self._core.options.lock_timeout_s)
        ticket.queued_s = self._core.environment.monotonic_s()
        self._queue.add(ticket)

    @contextmanager
    def alone(self) -> Generator[None]:
        """Keep every commit of this process out."""
        with self._leader:
            yield

    # --- committing -----------------------------------------------------------

    def _commit_once(self) -> None:
        """Carry out one commit. The caller is the leader."""
        if self._is_stopped:
            self.refuse_queued()
        if not self._queue:
            return
        tell(self._committer.commit(self._queue))
        self._sync_when_due()
        self._after_commit()

    def _sync_when_due(self) -> None:
        """Keep the promise of `sync=<seconds>` under a constant load."""
        interval = self._core.options.sync
        if isinstance(interval, str):
            return
        now = time.monotonic()
        if now - self._synced_s >= interval:
            self._synced_s = now
            try:
                self._committer.sync()
            except (OSError, ObjStoreError) as error:
                # the appends took effect; a failed sync refuses the next ones
                _logger.warning("%s: syncing: %s", self._core.storage.path, error)

    def refuse_queued(self) -> None:
        """Fail what is queued, because the log is closed. The caller is the leader."""
        closed = self._core.why_closed()
        while self._queue:
            tickets = self._queue.take()
            for ticket in tickets:
                ticket.fail(closed)
            tell(tickets)

    def close_batches(self, is_wanted: Callable[[], bool]) -> None:
        """Prove the last batch durable. The caller is the leader.

        Args:
            is_wanted: asked while another process has the lock; False gives up, and
                whoever has the lock proves it with the next commit.
        """
        if not self._committer.has_unclosed_batches or self._core.poison is not None:
            return
        try:
            self._committer.close_batches(is_wanted)
        except BusyError:
            return
        except (OSError, ObjStoreError) as error:
            # everything acknowledged is durable already; only the proof is missing
            _logger.warning("%s: closing: %s", self._core.storage.path, error)
        self._committer.has_unclosed_batches = False

    def publish_again(self) -> None:
        """Publish what could not be published. The caller is the leader."""
        if self._committer.is_unpublished:
            # told when it was refused first; the next idle moment comes soon
            with suppress(OSError, ObjStoreError):
                self._committer.publish_again()

    # --- the thread -----------------------------------------------------------

    def _start_thread(self) -> None:
        if not is_running(self._thread):
            with self._starting:
                self._start_thread_once()

    def _start_thread_once(self) -> None:
        if not is_running(self._thread) and not self._is_stopped:
            self._thread = Background(self._core.storage.path, self._run)
            self._thread.start()

    def _try_start_thread(self) -> None:
        """Start the thread if there is room: who waits for it can do its work."""
        with suppress(StorageError):
            self._start_thread()

    def _has_idle_work(self) -> bool:
        if self._committer.is_unpublished:
            return True
        return (
            self._committer.has_unclosed_batches and self._core.options.sync != "never"
        )

    def _start_idle_commit(self) -> None:
        """Have the committer thread write the empty commit record when it is idle."""
        if self._has_idle_work():
            if not is_running(self._thread):
                self._try_start_thread()
            if self._dozes:
                self._dozes = False
                self._work.set()

    def _run(self) -> None:
        """Commit whenever there is work; prove the last batch when there is none."""
        while not self._is_stopped:
            # said before the look, so that an append behind it wakes this thread
            self._dozes = True
            has_idle_work = self._has_idle_work()
            self._dozes = not has_idle_work
            before = self._core.progress.written
            has_work = self._work.wait(IDLE_COMMIT_S if has_idle_work else None)
            if not has_work:
                if self._core.progress.written == before:
                    self._commit_idle()
                continue
            while self._queue:
                with self._leader:
                    self._commit_once()

    def _commit_idle(self) -> None:
        if not self._leader.acquire(blocking=False):
            return
        try:
            if not self._queue:
                if self._core.options.sync != "never":
                    self.close_batches(lambda: False)
                self.publish_again()
        finally:
            self._leader.release()

    def ask_to_stop(self) -> None:
        """Take no more work; wakes the thread."""
        with self._starting:
            self._is_stopped = True
        self._work.set()

    def join(self) -> None:
        """Wait until the thread has ended; call `ask_to_stop` before."""
        with self._starting:
            # none is started from here on
            thread = self._thread
        join(thread)
