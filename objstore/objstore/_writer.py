"""Writing one object piece by piece, and the asynchronous writer."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Self, TypeVar

from objstore._engine import Buffer, Steps
from objstore._expiry import Scope
from objstore._handles import Session
from objstore._operations_write import Put, PutOptions, request_of
from objstore._sources import checked_piece
from objstore._types import ObjectInfo
from objstore.errors import ClosedError

T = TypeVar("T")
WRITE_FAILED = "nothing is stored, as a write failed"
COMMIT_FAILED = "its commit failed"


class Writing:
    """A put that is fed from outside, and whether and how it has ended."""

    def __init__(self, name: str, put: Put) -> None:
        self.info: ObjectInfo | None = None
        self.size = 0
        self.is_closed = False
        self.failure = ""
        """What tore it; set before that may happen, as an interrupt may come first."""
        self._name = name
        self._put = put

    def _check(self) -> Steps[None]:
        """Raise `ClosedError`, with the failure if any, once nothing can be written."""
        if self.failure:
            yield from self._end()
        if self.is_closed:
            why = f" ({self.failure})" if self.failure else ""
            raise ClosedError(what=f"the writer of {self._name!r}{why}")

    def write(self, data: Buffer) -> Steps[int]:
        """Take a piece; `failure` is the caller's to clear, who tells that it is taken.

        What is no bytes is refused, and changes nothing.
        """
        yield from self._check()
        piece = checked_piece(data)
        yield from self._try(WRITE_FAILED, self._put.feed(piece))
        self.size += len(piece)
        return len(piece)

    def commit(self) -> Steps[ObjectInfo | None]:
        """Make the object visible, unless the writer has ended; give what it made."""
        if self.failure or not self.is_closed:
            yield from self._check()
            info = yield from self._try(COMMIT_FAILED, self._put.commit())
            self.info, self.is_closed, self.failure = info, True, ""
        return self.info

    def _try(self, failure: str, steps: Steps[T]) -> Steps[T]:
        self.failure = failure
        try:
            return (yield from steps)
        except BaseException as error:
            self.failure = f"{failure} with {type(error).__name__}"
            # A generator that is closed yields no more; the next call ends it then.
            if not isinstance(error, GeneratorExit):
                yield from self._end()
            raise

    def abort(self) -> Steps[None]:
        """Leave nothing behind, unless the writer has ended; the caller's own wish."""
        yield from self._end()
        self.failure = ""

    def _end(self) -> Steps[None]:
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
    in a `write` or in the commit leaves nothing behind. A `write` that failed, was
    cancelled or interrupted has ended the writer, so that the end of the block raises,
    too, unless `abort` was called. One task at a time may use it.
    """

    async def write(self, data: bytes | bytearray | memoryview) -> int:
        """Append bytes to the content; give their number.

        Raises:
            BadObjectMetaError: `data` is not bytes; nothing was written, and the
                writer goes on.
            ClosedError: the writer has ended, or was ended by an earlier failure.
            ObjStoreError: as `ObjectStore.put`; the writer has ended then.
        """
        writing, count = self._writing, None
        try:
            with self._guard:
                count = await self._session.arun(writing.write(data))
                writing.failure = ""
                return count
        except BaseException:
            if count is not None:
                # Ctrl-C behind it: the caller cannot tell that the bytes were taken.
                writing.failure = WRITE_FAILED
            raise

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
            ClosedError: an earlier failure has ended the writer.
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
