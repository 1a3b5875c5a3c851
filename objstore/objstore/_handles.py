"""What the classes of the public API stand on: sessions, and handles to enter.

A session is an engine that one caller opened: it knows whether it is closed and, for
the asynchronous API, to which event loop it belongs.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextlib import AbstractAsyncContextManager
from functools import wraps
from types import TracebackType
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

import anyio.lowlevel

from objstore import _drivers
from objstore._engine import Engine, Steps
from objstore.errors import ClosedError, ForkedError, WrongEventLoopError

P = ParamSpec("P")
T = TypeVar("T")


def current_loop() -> object:
    """Give what identifies the running event loop."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return anyio.lowlevel.current_token().native_token


def check_not_ending(what: str) -> None:
    """Raise when the interpreter is ending: what a finalizer calls then must not hang.

    Threads stand still from here on, whatever they hold, and none can be started.
    """
    if sys.is_finalizing():
        raise ClosedError(what=f"{what} of a process that is ending")


class Home:
    """The event loop and the process in which a handle was made."""

    def __init__(self) -> None:
        self._loop = current_loop()
        self._process = os.getpid()

    def is_left(self) -> bool:
        """Say whether another event loop runs here.

        In a forked child it does not matter: none of the parent's runs there, and
        whatever is used says that it was forked.
        """
        return self._process == os.getpid() and current_loop() is not self._loop


class Session:
    """An engine as one caller opened it; here for any thread, without event loop."""

    is_async = False
    """Whether what runs on it can await."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.is_closed = False
        self._process = os.getpid()

    @property
    def what(self) -> str:
        """Give what errors call it."""
        return f"the store {self.engine.url}"

    def check(self) -> None:
        """Raise `ClosedError` after its end."""
        if self.is_closed:
            raise ClosedError(what=self.what)

    def check_use(self) -> None:
        """Raise as `check`, and `ForkedError` in a process that may only close it."""
        self.check()
        if sys.is_finalizing():
            check_not_ending(self.what)
        if self._process != os.getpid():
            # Here, as not everything asks the engine: a writer's small pieces wait.
            raise ForkedError(what=self.what)

    def run(self, steps: Steps[T]) -> T:
        """Carry object logic out, blocking this thread."""
        self.check_use()
        return _drivers.run(self.engine, steps)

    async def arun(self, steps: Steps[T], *, is_checked: bool = True) -> T:
        """Carry object logic out; never suspends, so that `twin` can step it."""
        if is_checked:
            self.check_use()
        return _drivers.run(self.engine, steps)


class AsyncSession(Session):
    """An engine as one asynchronous caller opened it, on the running event loop."""

    is_async = True

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self._home = Home()

    def check(self) -> None:
        """Raise `ClosedError` after its end, `WrongEventLoopError` on another loop."""
        super().check()
        if self._home.is_left():
            raise WrongEventLoopError(what=self.what)

    async def arun(self, steps: Steps[T], *, is_checked: bool = True) -> T:
        """Carry object logic out; unchecked also after the session's end."""
        if is_checked:
            self.check_use()
        return await _drivers.arun(self.engine, steps)


def twin(
    method: Callable[Concatenate[Any, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[Any, P], T]:
    """Make the synchronous twin of a method, with its signature and docstring.

    On a synchronous session a method's coroutine never suspends: one step ends it.
    """

    @wraps(method)
    def call(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> T:
        coroutine = method(self, *args, **kwargs)
        try:
            coroutine.send(None)
        except StopIteration as end:
            answer: T = end.value
            return answer
        raise AssertionError(method)

    return call


A = TypeVar("A", bound=AbstractAsyncContextManager[Any])


class Handle(Generic[A]):
    """A thing that is opened by `await` or by `async with`."""

    def __init__(self, opening: Callable[[], Awaitable[A]]) -> None:
        self._opening = opening
        self._opened: A | None = None

    def __await__(self) -> Generator[Any, Any, A]:
        """Open it; the caller closes it."""
        return self._opening().__await__()

    async def __aenter__(self) -> A:
        """Open it for a block."""
        self._opened = await self._opening()
        await self._opened.__aenter__()
        return self._opened

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        """Close it."""
        assert self._opened is not None
        return await self._opened.__aexit__(kind, error, traceback)
