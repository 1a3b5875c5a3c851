"""Waking tasks of an event loop from other threads, once per loop and batch."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from threading import Lock
from typing import Any
from weakref import WeakKeyDictionary

import anyio
import anyio.lowlevel


class LoopWaker:
    """Sets events of one event loop; many at a time cost one call into the loop."""

    def __init__(self, schedule: Callable[[Callable[[], None]], Any]) -> None:
        self._schedule = schedule
        self._lock = Lock()
        self._pending: list[anyio.Event] = []

    def set(self, event: anyio.Event) -> None:
        """Set an event from any thread."""
        with self._lock:
            self._pending.append(event)
            if len(self._pending) > 1:
                return
        try:
            self._schedule(self._set_pending)
        except RuntimeError:
            # the loop has ended, and with it everybody who waited there
            with self._lock:
                self._pending.clear()

    def _set_pending(self) -> None:
        with self._lock:
            pending, self._pending = self._pending, []
        for event in pending:
            event.set()


_wakers: WeakKeyDictionary[Any, LoopWaker] = WeakKeyDictionary()


def current_waker() -> LoopWaker:
    """Give the waker of the running event loop (asyncio or trio)."""
    native: Any = anyio.lowlevel.current_token().native_token
    waker = _wakers.get(native)
    if waker is None:
        schedule = getattr(native, "call_soon_threadsafe", None)
        waker = LoopWaker(schedule or native.run_sync_soon)
        _wakers[native] = waker
    return waker


def redeliver_cancellation() -> None:
    """Have a cancellation that was caught here arrive at the task's next wait.

    On trio and in anyio's scopes it comes by itself; a task that was cancelled by
    asyncio alone has to be told again, with the count of requests unchanged.
    """
    native: Any = anyio.lowlevel.current_token().native_token
    if hasattr(native, "call_soon_threadsafe"):
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            task.uncancel()
            task.cancel()
