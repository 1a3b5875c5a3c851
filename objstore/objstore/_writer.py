"""Writing one object piece by piece, and the asynchronous writer."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Self

from objstore._engine import Buffer, Steps
from objstore._expiry import Scope
from objstore._handles import Session
from objstore._operations_write import Put, PutOptions, request_of
from objstore._sources import checked_piece
from objstore._types import ObjectInfo
from objstore.errors import ClosedError


class Writing:
    """A put that is fed from outside, and whether it has ended."""

    def __init__(self, name: str, put: Put) -> None:
        self.info: ObjectInfo | None = None
        self.size = 0
        self.is_closed = False
        self._name = name
        self._put = put

    def write(self, data: Buffer) -> Steps[int]:
        """Take a piece; after a failure nothing can be written or committed."""
        if self.is_closed:
            raise ClosedError(what=f"the writer of {self._name!r}")
        try:
            piece = checked_piece(data)
            yield from self._put.feed(piece)
        except BaseException:
            yield from self.abort()
            raise
        self.size += len(piece)
        return len(piece)

    def commit(self) -> Steps[ObjectInfo | None]:
        """Make the object visible, unless the writer has ended; give what it made."""
        if self.is_closed:
            return self.info
        try:
            self.info = yield from self._put.commit()
        except BaseException:
            yield from self.abort()
            raise
        self.is_closed = True
        return self.info

    def abort(self) -> Steps[None]:
        """Leave nothing behind, unless the writer has ended."""
        if not self.is_closed:
            self.is_closed = True
            yield from self._put.abandon()


def open_writing(scope: Scope, name: str, options: PutOptions) -> Steps[Writing]:
    """Begin a put."""
    request = yield from request_of(scope, name, options)
    return Writing(name, Put(scope, request))


class WriterBase:
    """What both writers share: all that does not block."""

    def __init__(
        self, session: Session, writing: Writing, guard: AbstractContextManager[object]
    ) -> None:
        self._session = session
        self._writing = writing
        self._guard = guard

    @property
    def info(self) -> ObjectInfo | None:
        """The object that was made; `None` before the commit and after an abort."""
        return self._writing.info

    @property
    def closed(self) -> bool:
        """Whether it was committed or aborted."""
        return self._writing.is_closed

    def tell(self) -> int:
        """Give the number of bytes that were written."""
        return self._writing.size

    def readable(self) -> bool:
        """Say no."""
        return False

    def seekable(self) -> bool:
        """Say no."""
        return False

    def writable(self) -> bool:
        """Say yes."""
        return True


class ObjectWriter(WriterBase):
    """Writes one object, which appears whole at the end of the block, or not at all.

    Guarantee: the name keeps what it had until the commit. An exception in the block,
    in a `write` or in the commit leaves nothing behind. One task at a time may use it.
    """

    async def write(self, data: bytes | bytearray | memoryview) -> int:
        """Append bytes to the content; give their number.

        Raises:
            BadObjectMetaError: `data` is not bytes.
            ObjStoreError: as `ObjectStore.put`; the writer is aborted then.
        """
        with self._guard:
            return await self._session.arun(self._writing.write(data))

    async def flush(self) -> None:
        """Do nothing: before the commit nothing can be seen, whatever is flushed."""
        with self._guard:
            pass

    async def abort(self) -> None:
        """End without making an object; idempotent."""
        with self._guard:
            await self._session.arun(self._writing.abort(), is_checked=False)

    async def aclose(self) -> None:
        """Commit what was written, as closing a file does; idempotent.

        Raises:
            ObjStoreError: as `ObjectStore.put`; nothing was made then.
        """
        with self._guard:
            await self._session.arun(self._writing.commit())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, *exit_info: object
    ) -> None:
        """Commit; after an exception abort."""
        if kind is None:
            await self.aclose()
        else:
            await self.abort()
