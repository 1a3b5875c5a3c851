"""Watches: a bucket's changes as something to iterate over.

Plain iterator classes that pull from the log and sleep while there is nothing: no
queue and no task of their own, so a slow or forgotten reader costs nothing.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Awaitable, Callable, Generator, Iterator
from itertools import repeat
from types import TracebackType
from typing import Any, Self, TypeAlias

import anyio
import anyio.lowlevel

from objstore._config import seconds_of
from objstore._drivers import arun, run
from objstore._engine import Engine
from objstore._handles import Home
from objstore._loop_wake import shielded
from objstore._types import Change, Duration
from objstore._watch_steps import Following, WatchOptions
from objstore.errors import ClosedError, ObjStoreError, WrongEventLoopError
from objstore_watch.errors import BadWatchError

NATS_TIMEOUT_S = 5.0
"""What NATS clients wait for an update unless told otherwise."""

_SLICE_S = 0.2
"""How long a blocked thread sleeps until it looks whether the watch was closed."""

Waits: TypeAlias = Iterator[float]
"""How long to sleep next, in seconds; raises `TimeoutError` when the time is over."""

_FOREVER: Waits = repeat(math.inf)
_FOREVER_IN_SLICES: Waits = repeat(_SLICE_S)


def _timeout_s(timeout: Duration | None) -> float | None:
    try:
        return seconds_of(timeout)
    except ValueError as error:
        raise BadWatchError(
            option="timeout",
            value=timeout,
            allowed="a timedelta or seconds from 0 on, or None for no end",
        ) from error


def _waits(
    timeout: Duration | None, now_s: Callable[[], float], slice_s: float = math.inf
) -> Waits:
    seconds = _timeout_s(timeout)
    return _left(math.inf if seconds is None else now_s() + seconds, now_s, slice_s)


def _left(end_s: float, now_s: Callable[[], float], slice_s: float) -> Waits:
    while (left_s := end_s - now_s()) > 0:
        yield min(left_s, slice_s)
    # One last look; only one, or a busy writer of unwanted changes has no end.
    yield 0.0
    message = "the watch gave nothing in that time"
    raise TimeoutError(message)


def _following(engine: Engine, bucket: str, options: WatchOptions) -> Following:
    return Following(bucket, options, store_id=engine.store_id, now_ns=engine.now_ns)


def _closed(bucket: str) -> ClosedError:
    return ClosedError(what=f"the watch of bucket {bucket!r}")


class AsyncWatch:
    """The changes of a bucket, in the order in which they were committed.

    Iterate over it, or enter it with `async with` so that its start is fixed at that
    moment; awaited, it is a NATS client's watcher.

    Guarantee:
        No change is left out and none comes twice. A cancelled `__anext__` loses
        nothing: the next one gives the change that would have come. Iteration ends
        after `aclose` or `stop`, also where another task is waiting for a change.
        Several tasks that iterate share the changes between them.

    Raises:
        CursorExpiredError: while iterating: the next changes are no longer kept.
        HistoryRewoundError: while iterating: the place is ahead of the log, or of a
            copy of the store that went another way.
        CursorForeignError: while iterating: the cursor is of another bucket, or the
            bucket was deleted and made again.
    """

    def __init__(self, engine: Engine, bucket: str, options: WatchOptions) -> None:
        self._engine = engine
        self._bucket = bucket
        self._following = _following(engine, bucket, options)
        self._lock = anyio.Lock()
        self._scopes: set[anyio.CancelScope] = set()
        self._taken: anyio.Event | None = None
        self._home = Home()
        self._failed: ObjStoreError | None = None
        self._is_closed = False

    @property
    def cursor(self) -> str | None:
        """The place just behind the last change given, to resume with `after=`.

        Resume with the same filters; one taken before `caught_up` goes on with the
        rest of the current values. `None` until the watch has begun: when it is
        entered, awaited, or first iterated.
        """
        return self._following.cursor

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Change:
        while (change := await self._next(_FOREVER)) is None:
            pass
        return change

    def __await__(self) -> Generator[Any, Any, AwaitedWatch]:
        return self._awaited().__await__()

    async def _awaited(self) -> AwaitedWatch:
        await self._begin()
        return AwaitedWatch(self, self._next_or_marker, self._bucket)

    async def __aenter__(self) -> Self:
        await self._begin()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def caught_up(self, timeout: Duration | None = None) -> None:
        """Wait until all that existed at the start of the watch was given.

        It is the iteration that gives: somebody has to iterate meanwhile, unless
        there is nothing to give.

        Args:
            timeout: How long to wait for those who iterate; 0 only looks, `None` is
                for ever. What is there to read is read first, however long it takes.

        Raises:
            ClosedError: the watch was closed before.
            TimeoutError: the time is over.
        """
        self._check_loop()
        following, waits = self._following, _waits(timeout, anyio.current_time)
        while not following.is_caught_up:
            if self._is_closed:
                raise _closed(self._bucket)
            if following.is_ready:
                self._taken = self._taken or anyio.Event()
                with anyio.move_on_after(next(waits)):
                    await self._taken.wait()
            else:
                await self._pull(waits)

    async def aclose(self) -> None:
        """End the iteration everywhere; idempotent."""
        self._is_closed = True
        for scope in self._scopes:
            scope.cancel()
        self._wake()

    async def stop(self) -> None:
        """Do what `aclose` does, under the name that NATS clients know."""
        await self.aclose()

    def _check_loop(self) -> None:
        if self._home.is_left():
            raise WrongEventLoopError(what=f"the watch of bucket {self._bucket!r}")

    async def _begin(self) -> None:
        while not self._following.has_begun:
            if self._is_closed:
                raise _closed(self._bucket)
            await self._pull(_FOREVER)

    async def _next(self, waits: Waits) -> Change | None:
        """Give the next change, or `None` for the caught-up marker."""
        await anyio.lowlevel.checkpoint_if_cancelled()
        self._check_loop()
        while not self._is_closed:
            if self._following.is_ready:
                self._wake()
                return self._following.take()
            await self._pull(waits)
        raise StopAsyncIteration

    async def _next_or_marker(self, waits: Waits) -> Change | None:
        """Give the next change; the marker too, where NATS clients expect one."""
        change = await self._next(waits)
        if change is None and not self._following.has_marker:
            return await self._next(waits)
        return change

    async def _pull(self, waits: Waits) -> None:
        """Sleep or fetch once, unless another task just fetched; `aclose` ends it.

        Fetching is one at a time; sleeping holds nobody up.
        """
        self._check_loop()
        with anyio.CancelScope() as scope:
            self._scopes.add(scope)
            try:
                if self._failed is None and self._following.is_waiting:
                    op = self._following.sleep(next(waits))
                    self._following.woken(await self._engine.arun(op))
                    return
                async with self._lock:
                    is_over = self._is_closed or self._failed is not None
                    if not is_over and self._following.is_fetching:
                        # what was fetched is kept, also when cancelled
                        await shielded(self._fetch, is_bounded=False)
                failed, self._failed = self._failed, None
                if failed is not None:
                    raise failed
            finally:
                self._scopes.discard(scope)

    async def _fetch(self) -> None:
        try:
            await arun(self._engine, self._following.step())
        except ObjStoreError as error:
            # told once: by the next call when this one was cancelled
            self._failed = error

    def _wake(self) -> None:
        """Let those who wait for something to be taken look again."""
        if self._taken is not None:
            self._taken.set()
            self._taken = None


class AwaitedWatch:
    """A watch as NATS clients know it: gives `None` once after the current values.

    With `updates_only` there are none, so `None` does not come.
    """

    def __init__(
        self,
        watch: AsyncWatch,
        update: Callable[[Waits], Awaitable[Change | None]],
        bucket: str,
    ) -> None:
        self._watch = watch
        self._update = update
        self._bucket = bucket

    @property
    def cursor(self) -> str | None:
        """The place just behind the last change given."""
        return self._watch.cursor

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Change | None:
        return await self._update(_FOREVER)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._watch.aclose()

    async def updates(self, timeout: Duration | None = NATS_TIMEOUT_S) -> Change | None:
        """Give the next change, or `None` once after the current values.

        Args:
            timeout: How long to wait for what is not there yet; 0 gives what is there
                now, `None` is for ever. What is there is read to its end, however
                long that takes.

        Raises:
            ClosedError: the watch is closed.
            TimeoutError: the time is over; nothing is lost.
        """
        try:
            return await self._update(_waits(timeout, anyio.current_time))
        except StopAsyncIteration:
            raise _closed(self._bucket) from None

    async def caught_up(self, timeout: Duration | None = None) -> None:
        """Wait until all that existed at the start of the watch was given."""
        await self._watch.caught_up(timeout)

    async def stop(self) -> None:
        """End the iteration everywhere; idempotent."""
        await self._watch.aclose()

    async def aclose(self) -> None:
        """Do what `stop` does."""
        await self._watch.aclose()


class BlockingWatch:
    """The changes of a bucket, in the order in which they were committed.

    Iterate over it, or enter it with `with` so that its start is fixed at that
    moment.

    Guarantee:
        No change is left out and none comes twice; a `next` that raised an error of
        the store loses nothing. It may be used from several threads, which share the
        changes between them. Iteration ends after `close`, within a fifth of a second
        also where another thread is waiting for a change.

    Raises:
        CursorExpiredError: while iterating: the next changes are no longer kept.
        HistoryRewoundError: while iterating: the place is ahead of the log, or of a
            copy of the store that went another way.
        CursorForeignError: while iterating: the cursor is of another bucket, or the
            bucket was deleted and made again.
    """

    def __init__(self, engine: Engine, bucket: str, options: WatchOptions) -> None:
        self._engine = engine
        self._bucket = bucket
        self._following = _following(engine, bucket, options)
        # Entered as itself, in one step of the interpreter: a condition is entered in
        # several, and Ctrl-C between them would leave it to this thread for good.
        self._lock = threading.RLock()
        self._taken = threading.Condition(self._lock)
        self._is_closed = False

    @property
    def cursor(self) -> str | None:
        """The place just behind the last change given, to resume with `after=`.

        Resume with the same filters; one taken before `caught_up` goes on with the
        rest of the current values. `None` until the watch has begun: when it is
        entered or first iterated.
        """
        return self._following.cursor

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Change:
        while (change := self._next(_FOREVER_IN_SLICES)) is None:
            pass
        return change

    def __enter__(self) -> Self:
        with self._lock:
            while not self._following.has_begun:
                if self._is_closed:
                    raise _closed(self._bucket)
                run(self._engine, self._following.step())
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def updates(self, timeout: Duration | None = NATS_TIMEOUT_S) -> Change | None:
        """Give the next change, or `None` once after the current values.

        With `updates_only` there are none, so `None` does not come.

        Args:
            timeout: How long to wait for what is not there yet; 0 gives what is there
                now, `None` is for ever. What is there is read to its end, however
                long that takes.

        Raises:
            ClosedError: the watch is closed.
            TimeoutError: the time is over; nothing is lost.
        """
        waits = _waits(timeout, time.monotonic, _SLICE_S)
        try:
            change = self._next(waits)
            if change is None and not self._following.has_marker:
                change = self._next(waits)
        except StopIteration:
            raise _closed(self._bucket) from None
        return change

    def caught_up(self, timeout: Duration | None = None) -> None:
        """Wait until all that existed at the start of the watch was given.

        It is the iteration that gives: another thread has to iterate meanwhile,
        unless there is nothing to give. One thread alone takes `updates` until it
        gives `None`.

        Args:
            timeout: How long to wait for those who iterate; 0 only looks, `None` is
                for ever. What is there to read is read first, however long it takes.

        Raises:
            ClosedError: the watch was closed before.
            TimeoutError: the time is over.
        """
        waits = _waits(timeout, time.monotonic, _SLICE_S)
        while True:
            with self._lock:
                if self._following.is_caught_up:
                    return
                if self._is_closed:
                    raise _closed(self._bucket)
                if self._following.is_ready:
                    self._taken.wait(next(waits))
                else:
                    run(self._engine, self._following.step())

    def close(self) -> None:
        """End the iteration everywhere; idempotent, does not wait for it."""
        self._is_closed = True

    def stop(self) -> None:
        """Do what `close` does, under the name that NATS clients know."""
        self.close()

    def _next(self, waits: Waits) -> Change | None:
        """Give the next change, or `None` for the caught-up marker."""
        while not self._is_closed:
            with self._lock:
                if self._following.is_ready:
                    self._taken.notify_all()
                    return self._following.take()
                if self._following.is_fetching:
                    run(self._engine, self._following.step())
                    continue
                op = self._following.sleep(next(waits))
            # asleep without the lock, which those who wait to be caught up need
            sequence = self._engine.run(op)
            with self._lock:
                self._following.woken(sequence)
        raise StopIteration
