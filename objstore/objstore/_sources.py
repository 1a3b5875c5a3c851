"""Every form in which the content of a put may come, as a source of slabs.

A source gives exactly what it is asked for, fewer bytes only at its end, whatever the
sizes of the pieces behind it. It holds at most one piece and one slab.
"""

from __future__ import annotations

import io
import os
import select
import stat
import time
from collections import deque
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from inspect import iscoroutinefunction
from typing import Any, BinaryIO, Protocol, TypeAlias, cast

from objstore._effects import Source
from objstore._engine import Buffer
from objstore._loop_wake import in_thread
from objstore.errors import BadObjectMetaError, StorageError


class SupportsRead(Protocol):
    """A binary file, as far as a put needs it."""

    def read(self, size: int, /) -> bytes:
        """Read at most `size` bytes; empty at the end."""
        ...


class SupportsAsyncRead(Protocol):
    """An asynchronous binary file, as far as a put needs it."""

    async def read(self, size: int, /) -> bytes:
        """Read at most `size` bytes; empty at the end."""
        ...


Data: TypeAlias = Buffer | str | os.PathLike[str] | SupportsRead | Iterable[bytes]
"""Content: bytes, text (stored as UTF-8, never a path), a path, a binary file, or an
iterable of bytes."""
AsyncData: TypeAlias = Data | SupportsAsyncRead | AsyncIterable[bytes]
"""Content as `Data`, or an asynchronous file, iterable or byte stream."""

_HINT = (
    "give bytes, a str, a pathlib.Path, a file opened in binary mode, or an iterable "
    "of bytes"
)
_END = object()
SMALL_BYTES = 4 * 1024
"""Pieces below this are copied together."""
JOINED_BYTES = 64 * 1024
PIPE_BYTES = 64 * 1024
"""What a pipe usually holds, so that one read gives no more."""
LOOK_S = 0.1
"""How often a put that waits for content looks whether it was interrupted."""


def source_of(data: AsyncData, *, is_async: bool) -> Source:
    """Make the source of a put's `data`; opens nothing yet.

    Args:
        data: What the caller gave.
        is_async: Whether the caller can await.

    Raises:
        BadObjectMetaError: it is no content.
    """
    if isinstance(data, str):
        return BufferSource(_encoded(data))
    if isinstance(data, os.PathLike):
        return PathSource(data)
    with suppress(TypeError):
        given: Any = data
        return BufferSource(given if isinstance(data, bytes) else memoryview(given))
    source = _stream_source(data)
    if isinstance(source, AwaitedSource) and not is_async:
        raise _bad(data, "can only be awaited", f"{_HINT}, or use the asynchronous API")
    return source


def _stream_source(data: Any) -> Source:
    if hasattr(data, "read"):
        return _file_source(data)
    # Neither has an order that could be meant; a mapping gives its keys alone.
    given: object = data
    if isinstance(given, Iterable) and not isinstance(given, Mapping | set | frozenset):
        pieces = iter(cast("Iterable[object]", given))
        return PulledSource(lambda _: next(pieces, _END))
    if isinstance(data, AsyncIterable):
        coming = aiter(cast("AsyncIterable[object]", data))
        return AwaitedSource(lambda _: anext(coming, _END))
    raise _bad(data, "is no content", _HINT)


def _bad(value: object, problem: str, hint: str) -> BadObjectMetaError:
    return BadObjectMetaError(field="data", value=value, problem=problem, hint=hint)


def _encoded(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        problem = f"has a surrogate at index {error.start}"
        raise _bad(text[:100], problem, "give text that UTF-8 can hold") from None


def checked_piece(piece: object) -> bytes:
    """Give a piece of content as immutable bytes."""
    if isinstance(piece, bytes):
        return piece
    if isinstance(piece, bytearray | memoryview):
        return bytes(cast("Buffer", piece))
    if isinstance(piece, str):
        hint = "open the file in binary mode, or yield bytes: text.encode()"
        raise _bad(piece[:100], "came as a piece of the content and is str", hint)
    problem = f"came as a piece of the content and is {type(piece).__name__}"
    raise _bad(piece, problem, "every piece has to be bytes")


class BufferSource:
    """Bytes that are in memory already."""

    def __init__(self, data: bytes | memoryview) -> None:
        if isinstance(data, memoryview):
            # A buffer of another shape has no order of bytes to slice.
            data = data.cast("B") if data.c_contiguous else data.tobytes()
        self._data = data
        self._offset = 0
        self.total: int | None = len(data)

    def read(self, size: int) -> Buffer:
        """Give a slab: the caller's own bytes, or a copy of what may still change."""
        first, self._offset = self._offset, self._offset + size
        data = self._data
        if isinstance(data, memoryview):
            return bytes(data[first : self._offset])
        if first == 0 and len(data) <= size:
            return data
        return memoryview(data)[first : self._offset]

    async def aread(self, size: int) -> Buffer:
        """Give a slab."""
        return self.read(size)

    def close(self) -> None:
        """Let go of the caller's buffer, which cannot be resized before."""
        if isinstance(self._data, memoryview):
            self._data.release()


class Pieces:
    """Pieces of any size in, slabs of the wanted size out."""

    def __init__(self) -> None:
        self._pieces: deque[memoryview] = deque()
        self._small = bytearray()
        """Small pieces behind the others, joined: each costs its bytes alone."""
        self.size = 0
        """Bytes that it holds."""

    def add(self, piece: Buffer) -> None:
        """Take a piece that nobody changes any more."""
        self.size += len(piece)
        if len(piece) < SMALL_BYTES:
            self._small += piece
            if len(self._small) < JOINED_BYTES:
                return
        self._join()
        if len(piece) >= SMALL_BYTES:
            self._pieces.append(memoryview(piece))

    def _join(self) -> None:
        if self._small:
            self._pieces.append(memoryview(self._small))
            self._small = bytearray()

    def take(self, size: int) -> Buffer:
        """Give so many bytes, or all that there are; one piece is not copied."""
        self._join()
        taken: list[memoryview] = []
        missing = min(size, self.size)
        self.size -= missing
        while missing:
            piece = self._pieces.popleft()
            if len(piece) > missing:
                self._pieces.appendleft(piece[missing:])
                piece = piece[:missing]
            taken.append(piece)
            missing -= len(piece)
        return taken[0] if len(taken) == 1 else b"".join(taken)


class PulledSource:
    """Pieces from a function that may block, such as a file's `read`."""

    def __init__(
        self,
        pull: Callable[[int], object],
        *,
        has_come: Callable[[], bool] | None = None,
        total: int | None = None,
        name: object = None,
        blocks: bool = True,
    ) -> None:
        self._pull = pull
        self._has_come = has_come
        """Waits a moment until a pull does not block; says whether it is so."""
        self._name = name
        self._blocks = blocks
        self._pieces = Pieces()
        self._taken = 0
        self.total: int | None = total

    def read(self, size: int) -> Buffer:
        """Gather a slab.

        Raises:
            StorageError: the file ended before the size that it had at first.
        """
        while (slab := self.gather(size)) is None:
            # Ctrl-C is heard in between.
            continue
        return slab

    def gather(self, size: int) -> Buffer | None:
        """Pull for a moment; give the slab unless more of it is to come."""
        end_s = time.monotonic() + LOOK_S
        while self._pieces.size < size:
            if self._has_come is not None and not self._has_come():
                return None
            piece = self._pull(size - self._pieces.size)
            if piece is _END:
                self._check_end()
                break
            held = self._pieces.size
            self._pieces.add(checked_piece(piece))
            self._taken += self._pieces.size - held
            if self._pieces.size < size and time.monotonic() >= end_s:
                return None
        return self._pieces.take(size)

    def _check_end(self) -> None:
        if self.total is not None and self._taken < self.total:
            reason = f"it ended after {self._taken} of {self.total} bytes"
            raise StorageError(path=str(self._name), operation="read", reason=reason)

    async def aread(self, size: int) -> Buffer:
        """Gather a slab in a worker thread, which is left soon when it is cancelled."""
        if not self._blocks:
            return self.read(size)
        while (slab := await in_thread(partial(self.gather, size))) is None:
            continue
        return slab

    def close(self) -> None:
        """Leave what the caller opened to the caller."""


class AwaitedSource:
    """Pieces from a function that has to be awaited."""

    def __init__(self, pull: Callable[[int], Awaitable[object]]) -> None:
        self._pull = pull
        self._pieces = Pieces()
        self.total: int | None = None

    def read(self, size: int) -> Buffer:
        """Be never called: `source_of` gives no such source to synchronous callers."""
        raise AssertionError(size)

    async def aread(self, size: int) -> Buffer:
        """Gather a slab."""
        while self._pieces.size < size:
            piece = await self._pull(size - self._pieces.size)
            if piece is _END:
                break
            self._pieces.add(checked_piece(piece))
        return self._pieces.take(size)

    def close(self) -> None:
        """Leave what the caller opened to the caller."""


def _file_source(file: Any) -> Source:
    """Read a file from where it stands; it gives empty bytes at its end."""
    if iscoroutinefunction(file.read):

        async def apull(size: int) -> object:
            return _piece_of(await file.read(size))

        return AwaitedSource(apull)
    return _pulled_file(file)


def _pulled_file(file: Any) -> PulledSource:
    raw = _raw_of(file)
    is_stream = raw is not None and not _is_regular(raw)
    read = partial(_read_some, file) if is_stream and file is not raw else file.read
    return PulledSource(
        lambda size: _piece_of(read(size)),
        has_come=partial(_has_come, file) if is_stream else None,
        total=_rest_of(file),
        name=getattr(file, "name", file),
        blocks=not isinstance(file, io.BytesIO),
    )


def _piece_of(read: object) -> object:
    """Tell the end of a file from what is no bytes, such as `None` or text."""
    return _END if read == b"" else read


def _raw_of(file: Any) -> io.FileIO | None:
    """Give what a file reads from, where that is the system's own file."""
    # Only of a plain file: one that unpacks has another size than what it gives.
    is_buffered = type(file) in (io.BufferedReader, io.BufferedRandom)
    raw: object = file.raw if is_buffered else file
    return raw if isinstance(raw, io.FileIO) else None


def _is_regular(raw: io.FileIO) -> bool:
    return stat.S_ISREG(os.fstat(raw.fileno()).st_mode)


def _has_come(file: Any) -> bool:
    """Wait a moment for a pipe, a socket or a terminal to have something, or to end.

    What a buffer holds already waits, too; that is no matter, as a put needs the end.
    """
    poll = select.poll()
    poll.register(file.fileno(), select.POLLIN)
    return bool(poll.poll(LOOK_S * 1_000))


def _read_some(file: Any, size: int) -> bytes | None:
    """Read what one call of the system gives.

    A loop inside of one call of Python's hears no Ctrl-C between two of the system's.
    """
    piece: bytes = file.read1(min(size, PIPE_BYTES))
    if not piece and not os.get_blocking(file.fileno()):
        # That there is nothing yet looks to `read1` like an end, not so to `read`.
        read: bytes | None = file.read(size)
        return read
    return piece


def _rest_of(file: Any) -> int | None:
    """Give the bytes that are left in a file, where it can tell."""
    if isinstance(file, io.BytesIO):
        return max(file.getbuffer().nbytes - file.tell(), 0)
    raw = _raw_of(file)
    if raw is not None and _is_regular(raw):
        return max(os.fstat(raw.fileno()).st_size - int(file.tell()), 0)
    return None


class PathSource:
    """A file by its path; opened at the first read, closed by the put."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = os.fspath(path)
        self._file: BinaryIO | None = None
        self._source: PulledSource | None = None
        self.total: int | None = None

    def _opened(self) -> PulledSource:
        if self._source is None:
            self._file = open(self._path, "rb", buffering=0)  # noqa: PTH123, SIM115 - `close` closes it
            self._source = _pulled_file(self._file)
            self.total = self._source.total
        return self._source

    def read(self, size: int) -> Buffer:
        """Read a slab.

        Raises:
            OSError: the file cannot be opened or read.
            StorageError: it ended before the size that it had when it was opened.
        """
        return self._opened().read(size)

    async def aread(self, size: int) -> Buffer:
        """Read a slab in a worker thread, which is left soon when it is cancelled."""
        while (slab := await in_thread(lambda: self._opened().gather(size))) is None:
            continue
        return slab

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
