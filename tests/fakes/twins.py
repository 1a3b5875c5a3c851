"""The synchronous API behind an asynchronous face, so that one suite serves both."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Generator
from typing import Any

from objstore import blocking

HANDLES = (
    blocking.Store,
    blocking.ObjectStore,
    blocking.ObjectReader,
    blocking.ObjectWriter,
)
IMMEDIATE = {
    "jetstream",
    "readable",
    "seek",
    "seekable",
    "tell",
    "writable",
}
"""Methods that are not awaited in the asynchronous API either."""


def awaited(value: object) -> Any:
    """Give a handle its asynchronous face; anything else stays what it is."""
    return Awaited(value) if isinstance(value, HANDLES) else value


class Awaited:
    """A synchronous handle whose calls are awaited, entered and iterated."""

    def __init__(self, twin: Any) -> None:
        self.twin = twin

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.twin, "close" if name == "aclose" else name)
        if not callable(value):
            return value

        def call(*args: Any, **options: Any) -> Any:
            if name in IMMEDIATE:
                return awaited(value(*args, **options))
            return _Call(lambda: value(*args, **options))

        return call

    async def __aenter__(self) -> Any:
        self.twin.__enter__()
        return self

    async def __aexit__(self, *exit_info: object) -> Any:
        return self.twin.__exit__(*exit_info)

    def __aiter__(self) -> AsyncIterator[Any]:
        return _iterate(self.twin)


class _Call:
    """A call that is made when it is awaited, entered or iterated."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._entered: Any = None

    def __await__(self) -> Generator[Any, Any, Any]:
        yield from ()
        return awaited(self._make())

    async def __aenter__(self) -> Any:
        self._entered = awaited(self._make())
        return await self._entered.__aenter__()

    async def __aexit__(self, *exit_info: object) -> Any:
        return await self._entered.__aexit__(*exit_info)

    def __aiter__(self) -> AsyncIterator[Any]:
        return _iterate(self._make())


async def _iterate(values: Any) -> AsyncIterator[Any]:
    for value in values:
        yield value
