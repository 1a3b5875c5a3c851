"""Reading one version piece by piece: the place in it, and the asynchronous reader."""

from __future__ import annotations

import io
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from typing import Self

from objstore._effects import compute
from objstore._engine import Buffer, Pin, PinHandle, Steps, call
from objstore._expiry import Scope
from objstore._handles import Session
from objstore._links import Version
from objstore._operations import naming
from objstore._operations_read import (
    SLAB_BYTES,
    Digest,
    Gathered,
    read_span,
    read_version,
)
from objstore._ranges import slab_bytes, span_at
from objstore._types import ObjectInfo
from objstore.errors import ClosedError, CorruptionError


class Place:
    """A pinned version, a place in it, and the chunks around that place.

    It reads ahead by a slab once reads follow each other, else only what is asked for.
    A reading from the first byte to the last one checks the digest before it hands
    the last bytes out.
    """

    def __init__(self, version: Version, pin: PinHandle) -> None:
        self.info = version.info
        self.offset = 0
        self.is_closed = False
        self._version = version
        self._pin = pin
        self._chunks: list[Buffer] = []
        self._start = 0
        self._end = 0
        self._digest = Digest(version)
        self._hashed = 0

    def check(self) -> None:
        """Raise `ClosedError` after `close`."""
        if self.is_closed:
            raise ClosedError(what=f"the reader of {self.info.name!r}")

    def close(self) -> None:
        """Let go of the version."""
        self.is_closed = True
        self._chunks = []
        self._pin.release()

    def seek(self, offset: int, whence: int) -> int:
        """Go to a place, also behind the end, where nothing is read."""
        self.check()
        bases = {io.SEEK_SET: 0, io.SEEK_CUR: self.offset, io.SEEK_END: self.info.size}
        if whence not in bases:
            message = f"whence is {whence}; give 0, 1 or 2"
            raise ValueError(message)
        place = bases[whence] + offset
        if place < 0:
            message = f"the place {place} is before the beginning of the object"
            raise ValueError(message)
        self.offset = place
        return place

    def _load(self, wanted: int) -> Steps[None]:
        """Have the chunks at the place, if not all that are wanted."""
        if self._start <= self.offset < self._end:
            return
        stored = self._version.stored
        follows = self.offset == self._end and self.offset > 0
        limit = SLAB_BYTES if follows else min(wanted, SLAB_BYTES)
        start = self.offset - self.offset % stored.chunk_bytes
        reach = limit + self.offset - start
        end = start + slab_bytes(stored.chunk_bytes, reach + stored.chunk_bytes - 1)
        end = min(end, stored.size)
        span = span_at(start, end - start, chunk_bytes=stored.chunk_bytes)
        try:
            chunks = yield from read_span(self._version, span)
        except CorruptionError as error:
            raise naming(error, stored.name) from error
        if self._hashed == start:
            yield from compute(partial(self._digest.update, chunks), span.size)
            if end == stored.size:
                self._digest.check()
            self._hashed = end
        self._chunks, self._start, self._end = chunks, start, end

    def take(self, size: int, *, whole_chunk: bool = False) -> Steps[Buffer]:
        """Give bytes from the place on without copying, at most to the chunk's end."""
        self.check()
        if size <= 0 or self.offset >= self.info.size:
            return b""
        yield from self._load(size)
        chunk_bytes = self._version.stored.chunk_bytes
        index, skipped = divmod(self.offset - self._start, chunk_bytes)
        chunk = self._chunks[index]
        count = len(chunk) - skipped if whole_chunk else size
        piece: Buffer = chunk
        if skipped or count < len(chunk):
            piece = memoryview(chunk)[skipped : skipped + count]
        self.offset += len(piece)
        return piece

    def read(self, size: int | None) -> Steps[bytes]:
        """Give so many bytes, fewer only at the end; all of the rest if negative."""
        self.check()
        rest = max(self.info.size - self.offset, 0)
        missing = rest if size is None or size < 0 else min(size, rest)
        gathered = Gathered(missing)
        while missing:
            piece = yield from self.take(missing)
            gathered.take([piece])
            missing -= len(piece)
        return gathered.result()

    def readinto(self, buffer: object) -> Steps[int]:
        """Fill a buffer as far as there are bytes; give their number."""
        self.check()
        target = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        done = 0
        while done < len(target):
            piece = yield from self.take(len(target) - done)
            if not piece:
                break
            target[done : done + len(piece)] = piece
            done += len(piece)
        return done

    def next_chunk(self) -> Steps[bytes]:
        """Give the rest of the chunk at the place; empty at the end."""
        return bytes((yield from self.take(SLAB_BYTES, whole_chunk=True)))


def open_place(scope: Scope, name: str) -> Steps[Place]:
    """Pin the version behind a name."""

    def read(version: Version) -> Steps[Place]:
        # A pin of its own: the one around this call ends with it.
        pin = yield from call(Pin(version.scope.bucket, version.stored))
        return Place(replace(version, pin=pin), pin)

    return (yield from read_version(scope, name, read))


class ReaderBase:
    """What both readers share: all that does not block."""

    def __init__(
        self, session: Session, place: Place, guard: AbstractContextManager[object]
    ) -> None:
        self._session = session
        self._place = place
        self._guard = guard

    @property
    def info(self) -> ObjectInfo:
        """The version that it reads."""
        return self._place.info

    @property
    def closed(self) -> bool:
        """Whether it is closed."""
        return self._place.is_closed

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place, counted as in files; give it.

        Raises:
            ValueError: it is before the beginning.
            ClosedError: the reader is closed.
        """
        with self._guard:
            return self._place.seek(offset, whence)

    def tell(self) -> int:
        """Give the current place."""
        return self.seek(0, io.SEEK_CUR)

    def readable(self) -> bool:
        """Say yes."""
        return True

    def seekable(self) -> bool:
        """Say yes."""
        return True

    def writable(self) -> bool:
        """Say no."""
        return False


class ObjectReader(ReaderBase):
    """Reads one version of an object, whatever happens to its name meanwhile.

    Guarantee: every byte has passed its chunk's checksum. A reading from the first
    byte to the last one also checks the digest, before it gives the last bytes.
    One task at a time may use it.
    """

    async def read(self, n: int | None = -1) -> bytes:
        """Read bytes from the current place on.

        Args:
            n: How many; negative or `None` for all that are left.

        Returns:
            Exactly `n` bytes, fewer only at the end.

        Raises:
            CorruptionError: a chunk is damaged.
            DigestMismatchError: the content is not what was put.
            ClosedError: the reader or its store is closed.
        """
        with self._guard:
            return await self._session.arun(self._place.read(n))

    async def readinto(self, buffer: bytearray | memoryview) -> int:
        """Read into a writable buffer; give the number of bytes.

        Raises:
            ObjStoreError: as `read`.
        """
        with self._guard:
            return await self._session.arun(self._place.readinto(buffer))

    async def read_chunk(self) -> bytes:
        """Read what the current place leaves of its chunk; empty at the end.

        Raises:
            ObjStoreError: as `read`.
        """
        with self._guard:
            return await self._session.arun(self._place.next_chunk())

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        """Give the next chunk, or what the place leaves of it."""
        chunk = await self.read_chunk()
        if not chunk:
            raise StopAsyncIteration
        return chunk

    async def aclose(self) -> None:
        """Let go of the version; idempotent."""
        self._place.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exit_info: object) -> None:
        await self.aclose()
