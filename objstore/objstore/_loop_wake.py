"""Threads and event loops: waking tasks from other threads, and outlasting cancels.

asyncio cancels a task as often as anybody likes, through every scope of anyio. What
has to be finished is therefore never the cancelled task's own: a thread or a task of
its own does it, and the cancelled one waits for that, then lets the cancellation that
came first go on. No request to cancel is made, counted or taken back here, so that
those who count them (`asyncio.timeout`, task groups) count right.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from threading import Lock
from typing import Any, Final, TypeVar
from weakref import WeakKeyDictionary, ref

import anyio
import anyio.lowlevel
import anyio.to_thread
from anyio import CapacityLimiter

T = TypeVar("T")
SHIELD_S: Final = 10.0
"""How long a cancelled call may take to clean up behind itself."""


class LoopWaker:
    """Between one event loop and the threads that work for it, many things at a time.

    Each thread that is woken takes the interpreter from the one that wakes it. So
    events are set by one call into the loop behind the last of them, and work is begun
    behind the last task that had some.
    """

    def __init__(
        self, schedule: Callable[[Callable[[], None]], Any], *, is_asyncio: bool
    ) -> None:
        self._schedule = schedule
        self._is_asyncio = is_asyncio
        self._lock = Lock()
        self._pending: list[anyio.Event] = []
        self._is_due = False
        """The loop is going to set what is pending."""
        self._begins: dict[Callable[[], None], None] = {}

    def set(self, event: anyio.Event) -> None:
        """Set an event from any thread."""
        self.add(event)
        self.flush()

    def add(self, event: anyio.Event) -> None:
        """Have an event set with the next `flush`."""
        with self._lock:
            self._pending.append(event)

    def flush(self) -> None:
        """Have what was added set by the loop; from any thread."""
        with self._lock:
            if self._is_due or not self._pending:
                return
            self._is_due = True
        try:
            self._schedule(self._set_pending)
        except RuntimeError:
            # the loop has ended, and with it everybody who waited there
            with self._lock:
                self._pending.clear()
                self._is_due = False

    def begin(self, work: Callable[[], None]) -> None:
        """Call something once the tasks that are ready have run; only in the loop."""
        self._begins[work] = None
        if len(self._begins) > 1:
            return
        if self._is_asyncio:
            asyncio.get_running_loop().call_soon(self._begin_all)
        else:
            self._schedule(self._begin_all)

    def _begin_all(self) -> None:
        begins, self._begins = self._begins, {}
        for work in begins:
            work()

    def _set_pending(self) -> None:
        with self._lock:
            pending, self._pending = self._pending, []
            self._is_due = False
        for event in pending:
            event.set()


def _schedule(loop: ref[Any], work: Callable[[], None]) -> None:
    """Run something on an event loop from any thread; keeps no loop alive."""
    native = loop()
    if native is None:
        raise RuntimeError("the event loop is gone")
    schedule = getattr(native, "call_soon_threadsafe", None) or native.run_sync_soon
    schedule(work)


_wakers: WeakKeyDictionary[Any, LoopWaker] = WeakKeyDictionary()


def current_waker() -> LoopWaker:
    """Give the waker of the running event loop (asyncio or trio)."""
    native: Any = anyio.lowlevel.current_token().native_token
    waker = _wakers.get(native)
    if waker is None:
        is_asyncio = isinstance(native, asyncio.AbstractEventLoop)
        waker = LoopWaker(partial(_schedule, ref(native)), is_asyncio=is_asyncio)
        _wakers[native] = waker
    return waker


async def outlast(
    done: anyio.Event, *, is_bounded: bool = True
) -> BaseException | None:
    """Wait for an event, for `SHIELD_S` if bounded, however often it is cancelled.

    Returns:
        The first cancellation that came meanwhile; the caller has to raise it.
    """
    cancelled = anyio.get_cancelled_exc_class()
    first: BaseException | None = None
    limit_s = SHIELD_S if is_bounded else None
    with anyio.move_on_after(limit_s, shield=True) as scope:
        while not done.is_set() and not scope.cancel_called:
            try:
                await done.wait()
            except cancelled as error:
                if not scope.cancel_called:
                    first = first or error
    return first


async def in_thread(work: Callable[[], T], limiter: CapacityLimiter | None = None) -> T:
    """Do something in a worker thread; a cancelled call waits for its end.

    Guarantee: cancelled before the thread took it, it is never done.
    """
    waker, ended, claim = current_waker(), anyio.Event(), Lock()
    is_over = is_left = False

    def run() -> T:
        nonlocal is_over
        if not claim.acquire(blocking=False):
            raise asyncio.CancelledError
        try:
            return work()
        finally:
            is_over = True
            if is_left:
                waker.set(ended)

    try:
        return await anyio.to_thread.run_sync(run, limiter=limiter)
    except anyio.get_cancelled_exc_class():
        if not claim.acquire(blocking=False):
            # said before the look, so that one of the two sides sees the other
            is_left = True
            if not is_over:
                await outlast(ended)
        raise


_tasks: set[asyncio.Task[Any]] = set()
"""Nobody else may hold those that took longer than their shield."""


async def shielded(
    work: Callable[[], Coroutine[Any, Any, T]], *, is_bounded: bool = True
) -> T:
    """Await something to its end, then let a cancellation go on that came meanwhile.

    Raises:
        TimeoutError: bounded, and it takes longer than `SHIELD_S`; on asyncio it goes
            on then.
    """
    native: Any = anyio.lowlevel.current_token().native_token
    if not isinstance(native, asyncio.AbstractEventLoop):
        with anyio.fail_after(SHIELD_S if is_bounded else None, shield=True):
            return await work()
    done = anyio.Event()
    task = native.create_task(work())
    _tasks.add(task)
    task.add_done_callback(partial(_end, done))
    cancelled = await outlast(done, is_bounded=is_bounded)
    if cancelled is not None:
        raise cancelled
    if not task.done():
        raise TimeoutError
    return task.result()


def _end(done: anyio.Event, task: asyncio.Task[Any]) -> None:
    _tasks.discard(task)
    if not task.cancelled():
        # looked at, so that asyncio does not report one that nobody waits for
        task.exception()
    done.set()
