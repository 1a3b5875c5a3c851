"""What the object logic asks for beyond the engine: sources, hashing, files, shields.

An effect is an operation that carries itself out, so that the drivers need no table.
Nothing here knows objects or buckets.
"""

from __future__ import annotations

import hashlib
import threading
from abc import abstractmethod
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Final, Protocol, TypeVar

from objstore._engine import Buffer, Engine, Op, Steps, call
from objstore._loop_wake import in_thread
from objstore.errors import StorageError
from objstore_log import start_thread, uninterrupted, value_class

T = TypeVar("T")

INLINE_HASH_BYTES_MAX = 64 * 1024
"""More than this is not hashed on an event loop: it would hold it for over 40 us."""


class Effect(Op[T]):
    """An operation that needs no engine, or wraps one that does."""

    __slots__ = ()

    @abstractmethod
    def perform(self, engine: Engine) -> T:
        """Carry it out, blocking this thread."""

    @abstractmethod
    async def aperform(self, engine: Engine) -> T:
        """Carry it out without blocking the event loop."""


class Source(Protocol):
    """Where the content of a put comes from."""

    total: int | None
    """Bytes that it will give, where they are known."""

    def read(self, size: int) -> Buffer:
        """Give exactly `size` bytes, fewer only at the end."""
        ...

    async def aread(self, size: int) -> Buffer:
        """Give exactly `size` bytes, fewer only at the end."""
        ...

    def close(self) -> None:
        """Close what the source itself opened; idempotent, never blocks for long."""
        ...


@value_class
class ReadSource(Effect[Buffer]):
    """Read the next slab of a source."""

    source: Source
    size: int

    def perform(self, engine: Engine) -> Buffer:  # noqa: ARG002 - the effect's shape
        """Read in this thread."""
        return self.source.read(self.size)

    async def aperform(self, engine: Engine) -> Buffer:  # noqa: ARG002 - the same
        """Read as the source sees fit."""
        return await self.source.aread(self.size)


@value_class
class Blocking(Effect[T]):
    """Do something that may block, such as a call to the file system."""

    work: Callable[[], T]

    def perform(self, engine: Engine) -> T:  # noqa: ARG002 - the effect's shape
        """Do it in this thread."""
        return self.work()

    async def aperform(self, engine: Engine) -> T:  # noqa: ARG002 - the same
        """Do it in a worker thread; a cancelled call waits for its end."""
        return await in_thread(self.work)


def compute(work: Callable[[], T], size: int) -> Steps[T]:
    """Hash or copy `size` bytes, off the event loop when it takes more than a hop."""
    if size <= INLINE_HASH_BYTES_MAX:
        return work()
    return (yield from call(Blocking(work)))


STALLED_S: Final = 0.5
"""Whoever has waited for a thread so long does its work."""


class HashAhead:
    """SHA-256 over slabs in their order, in another thread while they are written.

    The thread lives only while there is something to hash, so that nothing has to be
    closed and nothing survives a fork.
    """

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self._slabs: deque[Buffer] = deque()
        self._changed = threading.Condition()
        self._hashing = threading.Lock()
        self._is_working = False

    def submit(self, slab: Buffer) -> None:
        """Hash a slab behind those before it; returns at once."""
        with uninterrupted:
            with self._changed:
                self._slabs.append(slab)
                if self._is_working:
                    return
                self._is_working = True
            try:
                start_thread("a digest", self._work)
            except StorageError:
                # no room for a thread: whoever waits does its work
                self._is_working = False

    def _work(self) -> None:
        with self._hashing:
            while True:
                with self._changed:
                    if not self._slabs:
                        self._is_working = False
                        return
                    slab = self._slabs[0]
                self._digest.update(slab)
                with self._changed:
                    self._slabs.popleft()
                    self._changed.notify_all()

    def _wait_below(self, count: int) -> None:
        def is_below() -> bool:
            return len(self._slabs) < count

        with uninterrupted:
            while True:
                with self._changed:
                    self._changed.wait_for(
                        lambda: is_below() or not self._is_working, STALLED_S
                    )
                    if is_below():
                        return
                self._work()

    def hashed_below(self, count: int) -> Steps[None]:
        """Wait until fewer than `count` slabs are left to hash, off the event loop."""
        if len(self._slabs) >= count:
            yield from call(Blocking(partial(self._wait_below, count)))

    def digest(self) -> bytes:
        """Give the digest of all slabs; nothing may be left to hash."""
        assert not self._slabs
        return self._digest.digest()
