"""Cancelling a call at each of its suspensions, one after the other."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any

import anyio

POINTS_MAX = 2_000


class _Cancelling(Awaitable[Any]):
    """Awaits something, and has it cancelled at the suspension of that number."""

    def __init__(
        self,
        work: Coroutine[Any, Any, Any],
        number: int,
        cancel: Callable[[], object],
    ) -> None:
        self._work = work
        self._number = number
        self._cancel = cancel
        self.is_cancelled = False

    def __await__(self) -> Generator[Any, Any, Any]:
        inner = self._work.__await__()
        advance: Callable[[Any], Any] = inner.send
        value: Any = None
        for place in range(POINTS_MAX):
            try:
                yielded = advance(value)
            except StopIteration as end:
                return end.value
            if place == self._number:
                self.is_cancelled = True
                self._cancel()
            try:
                value, advance = (yield yielded), inner.send
            except BaseException as error:  # noqa: BLE001 - it is the work's, too
                value, advance = error, inner.throw
        message = f"more than {POINTS_MAX} suspensions"
        raise AssertionError(message)


async def cancelled_at(
    number: int, work: Callable[[], Coroutine[Any, Any, Any]]
) -> bool:
    """Do something, and cancel it natively at a suspension.

    Returns:
        Whether it came so far.

    Raises:
        AssertionError: asyncio's cancellation did not come out of it. With trio a call
            may come back that does not suspend again.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        with anyio.CancelScope() as scope:
            awaited = _Cancelling(work(), number, scope.cancel)
            await awaited
        return scope.cancel_called
    task = asyncio.create_task(_in_task(number, work))
    await asyncio.wait([task])
    if task.cancelled():
        return True
    assert not task.result(), f"the cancellation at suspension {number} got lost"
    return False


async def _in_task(number: int, work: Callable[[], Coroutine[Any, Any, Any]]) -> bool:
    task = asyncio.current_task()
    assert task is not None
    awaited = _Cancelling(work(), number, task.cancel)
    await awaited
    return awaited.is_cancelled
