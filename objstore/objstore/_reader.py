"""Reading one version piece by piece: the place in it, and the asynchronous reader."""

from __future__ import annotations

import io
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Self, TypeVar

from objstore._drivers import Together
from objstore._effects import INLINE_HASH_BYTES_MAX
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
from objstore._ranges import Span, slab_bytes, span_at, whole
from objstore._types import ObjectInfo
from objstore.errors import ClosedError, CorruptionError

T = TypeVar("T", bound=bytes | int)


class Place:
    """A pinned version, a place in it, and the chunks around that place.

    Reading does not move it: who hands the bytes out does.
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
        # What changes is one value each, so that no interrupt can tear it apart.
        self._loaded: tuple[int, int, list[Buffer]] = (0, 0, [])
        self._digest = Digest(version)

    def check(self) -> None:
        """Raise `ClosedError` after `close`."""
        if self.is_closed:
            raise ClosedError(what=f"the reader of {self.info.name!r}")

    def close(self) -> None:
        """Let go of the version."""
        self.is_closed = True
        self._loaded = (0, 0, [])
        self._pin.release()

    def seek(self, offset: int, whence: int) -> int:
        """Go to a place, also behind the end, where nothing is read."""
        self.check()
        offset = whole("offset", offset)
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

    def _load(self, offset: int, wanted: int) -> Steps[tuple[int, list[Buffer]]]:
        """Give the chunks around an offset, if not all that are wanted, and theirs."""
        start, end, chunks = self._loaded
        if start <= offset < end:
            return start, chunks
        stored = self._version.stored
        follows = offset == end and offset > 0
        limit = SLAB_BYTES if follows else min(wanted, SLAB_BYTES)
        start = offset - offset % stored.chunk_bytes
        reach = limit + offset - start
        end = start + slab_bytes(stored.chunk_bytes, reach + stored.chunk_bytes - 1)
        end = min(end, stored.size)
        span = span_at(start, end - start, chunk_bytes=stored.chunk_bytes)
        steps = self._read(span)
        goes_on = start <= self._digest.size < end
        if goes_on and span.size > INLINE_HASH_BYTES_MAX:
            chunks, digest = yield from call(Together(steps))
        else:
            chunks, digest = yield from steps
        self._digest = digest
        self._loaded = (start, end, chunks)
        return start, chunks

    def _read(self, span: Span) -> Steps[tuple[list[Buffer], Digest]]:
        """Read chunks; give the digest that has taken them if they follow its own."""
        stored = self._version.stored
        try:
            chunks = yield from read_span(self._version, span)
        except CorruptionError as error:
            raise naming(error, stored.name) from error
        start, end = span.offset, span.offset + span.size
        if not start <= self._digest.size < end:
            return chunks, self._digest
        # A copy: of an interrupted reading it has taken everything or nothing.
        digest = self._digest.copy()
        digest.update(chunks[(digest.size - start) // stored.chunk_bytes :])
        if end == stored.size:
            digest.check()
        return chunks, digest

    def _piece(self, offset: int, size: int, *, to_end: bool = False) -> Steps[Buffer]:
        """Give bytes at an offset without copying, at most to the chunk's end."""
        self.check()
        if size <= 0 or offset >= self.info.size:
            return b""
        start, chunks = yield from self._load(offset, size)
        index, skipped = divmod(offset - start, self._version.stored.chunk_bytes)
        chunk = chunks[index]
        count = len(chunk) - skipped if to_end else size
        if skipped or count < len(chunk):
            return memoryview(chunk)[skipped : skipped + count]
        return chunk

    def read(self, size: int | None) -> Steps[bytes]:
        """Give so many bytes, fewer only at the end; all of the rest if negative."""
        self.check()
        size = -1 if size is None else whole("n", size)
        offset, rest = self.offset, max(self.info.size - self.offset, 0)
        end = offset + (rest if size < 0 else min(size, rest))
        gathered = Gathered(end - offset)
        while offset < end:
            piece = yield from self._piece(offset, end - offset)
            gathered.take([piece])
            offset += len(piece)
        return gathered.result()

    def readinto(self, buffer: object) -> Steps[int]:
        """Fill a buffer as far as there are bytes; give their number."""
        self.check()
        done = 0
        with memoryview(buffer).cast("B") as target:  # type: ignore[arg-type]
            while done < len(target):
                piece = yield from self._piece(self.offset + done, len(target) - done)
                if not piece:
                    break
                target[done : done + len(piece)] = piece
                done += len(piece)
        return done

    def next_chunk(self) -> Steps[bytes]:
        """Give the rest of the chunk at the place; empty at the end."""
        return bytes((yield from self._piece(self.offset, SLAB_BYTES, to_end=True)))


def open_place(scope: Scope, name: str) -> Steps[Place]:
    """Pin the version behind a name."""

    def read(version: Version) -> Steps[Place]:
        # A pin of its own: the one around this call ends with it.
        pin = yield from call(Pin(version.scope.bucket, version.stored))
        return Place(replace(version, pin=pin), pin)

    return (yield from read_version(scope, name, read))


class ReaderBase:
    """What both readers share."""

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

    async def _hand_out(self, steps: Steps[T]) -> T:
        place, before, count = self._place, 0, 0
        try:
            with self._guard:
                before = place.offset
                given = await self._session.arun(steps)
                count = len(given) if isinstance(given, bytes) else given
                place.offset = before + count
                return given
        except BaseException:
            # Ctrl-C behind the move: the caller does not get what was read.
            if count and place.offset == before + count:
                place.offset = before
            raise

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place, counted as in files; give it.

        Raises:
            ValueError: it is before the beginning, or no whole number.
            ClosedError: the reader is closed.
        """
        with self._guard:
            return self._place.seek(offset, whence)

    def tell(self) -> int:
        """Give the current place."""
        return self.seek(0, io.SEEK_CUR)

    def flush(self) -> None:
        """Do nothing; `io.BufferedReader` asks for it at its end."""

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
    A reading that fails, is cancelled or interrupted has not moved the place.
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
            BadObjectMetaError: `n` is no whole number.
        """
        return await self._hand_out(self._place.read(n))

    async def readinto(self, buffer: bytearray | memoryview) -> int:
        """Read into a writable buffer; give the number of bytes.

        Raises:
            ObjStoreError: as `read`.
        """
        return await self._hand_out(self._place.readinto(buffer))

    async def read_chunk(self) -> bytes:
        """Read what the current place leaves of its chunk; empty at the end.

        Raises:
            ObjStoreError: as `read`.
        """
        return await self._hand_out(self._place.next_chunk())

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
        self._place.check()
        return self

    async def __aexit__(self, *exit_info: object) -> None:
        await self.aclose()
