"""Waiting for a log to grow: threads, event loops, a poller for other processes."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Final

from objstore_log._threads import Background, is_running, join
from objstore_log._wakeup import Stopper, Wakeup
from objstore_log.errors import ObjStoreError

_logger = logging.getLogger("objstore")

POLL_FIRST_S: Final = 0.000_5
POLL_LAST_S: Final = 0.008
"""Other processes' commits are seen after this at the latest, while anyone waits."""
POLL_GROWTH: Final = 1.25
POLLER_IDLE_S: Final = 5.0
"""The poller ends when nobody has waited for this long."""


class Waiters:
    """Who waits for visible records of one log.

    A waiter is a callback that is called once, from any thread, when the visible
    sequence has moved; it must not block.
    """

    def __init__(self, path: str, look: Callable[[], None]) -> None:
        self._path = path
        self._look = look
        """Looks for other processes' commits; shows them if there are any."""
        self._lock = threading.Lock()
        self._waiting: dict[int, Callable[[], None]] = {}
        self._next = 0
        self._poller: Background | None = None
        self._wanted = Wakeup()
        self._closed = Stopper()

    def add(self, wake: Callable[[], None]) -> int:
        """Have `wake` called at the next growth; gives what `discard` takes.

        Raises:
            StorageError: there is no room for the poller; `wake` is not called.
        """
        with self._lock:
            if not is_running(self._poller) and not self._closed.is_set():
                self._poller = Background(self._path, self._poll)
                self._poller.start()
            self._next += 1
            self._waiting[self._next] = wake
            number = self._next
        self._wanted.set()
        return number

    def discard(self, number: int) -> None:
        """Take a waiter back."""
        with self._lock:
            self._waiting.pop(number, None)

    def wake(self) -> None:
        """Call everybody who waits."""
        if not self._waiting:
            return
        with self._lock:
            waiting, self._waiting = self._waiting, {}
        for callback in waiting.values():
            callback()

    def _poll(self) -> None:
        pause = POLL_FIRST_S
        while not self._closed.is_set():
            if not self._waiting:
                if not self._wanted.wait(POLLER_IDLE_S):
                    with self._lock:
                        if not self._waiting:
                            self._poller = None
                            return
                pause = POLL_FIRST_S
                continue
            before = self._next
            try:
                self._look()
            except (OSError, ObjStoreError) as error:
                # whoever reads gets it in the call; those who wait are told of growth
                _logger.debug("looking for other processes' commits: %s", error)
            pause = min(pause * POLL_GROWTH, POLL_LAST_S)
            if self._next != before:
                pause = POLL_FIRST_S
            self._closed.wait(pause)

    def close(self) -> None:
        """Wake everybody for the last time and end the poller."""
        self._closed.set()
        self._wanted.set()
        self.wake()
        join(self._poller)
