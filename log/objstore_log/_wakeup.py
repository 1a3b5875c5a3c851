"""Waking threads, by bare locks.

`threading.Event` and `Condition` take and give back a lock in Python. Ctrl-C between
two of their steps leaves it taken for good, and so would a finalizer that runs there
wait for itself. The interpreter takes or releases a bare lock in one step.
"""

from __future__ import annotations

import threading


class Wakeup:
    """Wakes the one thread that waits for it, or the next wait if none does yet."""

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    def set(self) -> None:
        """Let one wait go on; several before it count as one."""
        try:
            self._lock.release()
        except RuntimeError:
            # set already
            return

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until it is set, and take that back; False when the time is over."""
        return self._lock.acquire(timeout=-1 if timeout_s is None else timeout_s)


class Stopper:
    """Tells a thread that works in the background to end; stays set."""

    __slots__ = ("__weakref__", "_is_set", "_wakeup")

    def __init__(self) -> None:
        self._is_set = False
        self._wakeup = Wakeup()

    def set(self) -> None:
        """Have it end; wakes it."""
        self._is_set = True
        self._wakeup.set()

    def is_set(self) -> bool:
        """Say whether it is time."""
        return self._is_set

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is time, or the time-out is over; say whether it is time."""
        return self._is_set or self._wakeup.wait(timeout) or self._is_set
