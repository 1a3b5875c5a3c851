"""Reading content: whole, in part, into a buffer, into a file; always verified."""

from __future__ import annotations

import errno
import hashlib
import io
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import IO, TypeVar

from objstore._digest import digest_text
from objstore._document import info_of
from objstore._drivers import Together
from objstore._effects import INLINE_HASH_BYTES_MAX, Blocking, compute
from objstore._engine import Buffer, Pin, PinHandle, ReadChunks, Steps, call
from objstore._expiry import Scope
from objstore._links import Version, resolve
from objstore._names import check_object_name
from objstore._operations import existing, naming, seen
from objstore._operations_write import Progress
from objstore._ranges import SLAB_CHUNKS_MAX, Span, plan_spans, resolve_range, trim
from objstore._types import ObjectInfo
from objstore.errors import (
    CorruptionError,
    DigestMismatchError,
)
from objstore_log.errors import SequenceGoneError

T = TypeVar("T")
SLAB_BYTES = 1024 * 1024
"""What is read, hashed and handed on at a time: it stays in the processor's cache."""
HOT_RANGE_BYTES_MAX = 1024 * 1024
"""A longer range costs more to read than to look up."""
STRETCH_SLABS = 8
"""How many slabs one hop to another thread takes; a cancelled read waits for them."""
ATTEMPTS_MAX = 20
"""How often a read looks up again when its version went away between two steps."""


def get_info(scope: Scope, name: str, *, show_deleted: bool) -> Steps[ObjectInfo]:
    """Give an object or a link itself."""
    check_object_name(name)
    stored = yield from seen(scope, name)
    if not (show_deleted and stored is not None):
        stored = existing(scope, name, stored)
    return info_of(scope.bucket, stored)


def exists(scope: Scope, name: str) -> Steps[bool]:
    """Say whether there is an object or a link."""
    check_object_name(name)
    stored = yield from seen(scope, name)
    return stored is not None and not stored.is_marker


def read_version(
    scope: Scope,
    name: str,
    read: Callable[[Version], Steps[T]],
    *,
    is_pinned: bool = False,
) -> Steps[T]:
    """Read the object behind a name, all of it from one version.

    A short read goes without a pin and looks up again when its version went away.
    """
    check_object_name(name)
    attempts = 0
    while True:
        version = yield from resolve(scope, name)
        pin: PinHandle | None = None
        try:
            if is_pinned or attempts or version.stored.size > SLAB_BYTES:
                pin = yield from call(Pin(version.scope.bucket, version.stored))
                version = replace(version, pin=pin)
            return (yield from read(version))
        except SequenceGoneError:
            attempts += 1
            if attempts == ATTEMPTS_MAX:
                raise
        except CorruptionError as error:
            raise naming(error, version.stored.name) from error
        finally:
            if pin is not None:
                pin.release()


def read_span(version: Version, span: Span) -> Steps[list[Buffer]]:
    """Read a span's bytes, in pieces."""
    bucket, stored = version.scope.bucket, version.stored
    op = ReadChunks(bucket, stored, span.index, span.count, version.pin)
    return trim((yield from call(op)), span)


class Digest:
    """SHA-256 over what is read, compared at the end with what was put."""

    def __init__(self, version: Version) -> None:
        self._version = version
        self._found = hashlib.sha256()
        self.size = 0
        """Bytes that it has taken."""

    def copy(self) -> Digest:
        """Give one that goes on by itself from here."""
        twin = Digest(self._version)
        twin._found, twin.size = self._found.copy(), self.size
        return twin

    def update(self, pieces: list[Buffer]) -> None:
        """Take the next pieces."""
        for piece in pieces:
            self._found.update(piece)
            self.size += len(piece)

    def check(self) -> None:
        """Raise `DigestMismatchError` when it is not the stated one."""
        stated = self._version.document.digest
        digest = self._found.digest()
        if stated and stated != digest:
            raise DigestMismatchError(
                bucket=self._version.scope.bucket,
                name=self._version.stored.name,
                expected=digest_text(stated),
                actual=digest_text(digest),
                stored=True,
            )


def consume(
    version: Version,
    take: Callable[[list[Buffer]], object],
    *,
    verify: bool = True,
    blocks: bool = False,
    progress: Progress | None = None,
) -> Steps[None]:
    """Read a whole content and hand it on in slabs of pieces.

    Args:
        version: What to read.
        take: Gets the pieces of each slab.
        verify: Whether the digest is checked.
        blocks: Whether `take` may block.
        progress: Called per slab.
    """
    stored = version.stored
    digest = Digest(version) if verify else None

    def work(pieces: list[Buffer]) -> None:
        if digest is not None:
            digest.update(pieces)
        take(pieces)

    def take_all(spans: Sequence[Span]) -> Steps[None]:
        for span in spans:
            work((yield from read_span(version, span)))

    spans = plan_spans(0, stored.size, chunk_bytes=stored.chunk_bytes, limit=SLAB_BYTES)
    is_inline = stored.size <= INLINE_HASH_BYTES_MAX and not blocks
    at_a_time = 1 if is_inline or progress is not None else STRETCH_SLABS
    while stretch := tuple(islice(spans, at_a_time)):
        steps = take_all(stretch)
        yield from steps if is_inline else call(Together(steps))
        if progress is not None:
            progress(stretch[-1].offset + stretch[-1].size, stored.size)
    if digest is not None and stored.size:
        digest.check()


def joined(pieces: list[Buffer]) -> bytes:
    """Make one `bytes`; a piece that is one already is not copied."""
    if len(pieces) == 1:
        return bytes(pieces[0])
    return b"".join(pieces)


class Gathered:
    """Pieces on their way to one `bytes`, never twice in memory when they are many."""

    def __init__(self, size: int) -> None:
        self._pieces: list[Buffer] = []
        self._file: io.BytesIO | None = io.BytesIO() if size > SLAB_BYTES else None

    def take(self, pieces: list[Buffer]) -> None:
        """Take the next pieces."""
        if self._file is None and len(self._pieces) + len(pieces) > SLAB_CHUNKS_MAX:
            # tiny ones: each costs more than its bytes
            self._file = io.BytesIO(b"".join(self._pieces))
            self._file.seek(0, io.SEEK_END)
            self._pieces = []
        if self._file is None:
            self._pieces.extend(pieces)
        else:
            self._file.writelines(pieces)

    def result(self) -> bytes:
        """Give all of them; a large result is the file's own memory, not a copy."""
        if self._file is None:
            return joined(self._pieces)
        return self._file.getvalue()


def get_at_hand(scope: Scope, name: str, *, wait: bool) -> bytes | None:
    """Give a content of one slab at most, verified, if the engine has it at hand.

    `None` says nothing of the object: `get` gives it, or says what is wrong.
    """
    if type(name) is not str:
        return None
    return scope.engine.peek(scope.bucket, name, wait=wait)


def get(scope: Scope, name: str, *, verify: bool) -> Steps[bytes]:
    """Give the whole content behind a name."""

    def read(version: Version) -> Steps[bytes]:
        stored = version.stored
        is_slab = INLINE_HASH_BYTES_MAX < stored.size <= SLAB_BYTES
        if verify and is_slab and not stored.expires_ns:
            # A thread may wait for the disk and hash, which a look on a loop may not.
            look = partial(get_at_hand, version.scope, stored.name, wait=True)
            found = yield from call(Blocking(look))
            if found is not None:
                return found
        gathered = Gathered(stored.size)
        yield from consume(version, gathered.take, verify=verify)
        return gathered.result()

    return (yield from read_version(scope, name, read))


def range_at_hand(
    scope: Scope,
    name: str,
    *,
    start: int,
    end: int | None,
    length: int | None,
    wait: bool,
) -> bytes | None:
    """Give some bytes of a content, verified, if the engine has them at hand.

    `None` says nothing of the object: `get_range` gives them, or says what is wrong.
    """
    size = length
    if type(end) is int and length is None and type(start) is int:
        size = end - start
    if type(name) is not str or type(start) is not int or type(size) is not int:
        return None
    if (end is not None and length is not None) or start < 0:
        return None
    if not 0 < size <= HOT_RANGE_BYTES_MAX:
        return None
    return scope.engine.peek_range(scope.bucket, name, start, size, wait=wait)


def get_range(
    scope: Scope, name: str, *, start: int, end: int | None, length: int | None
) -> Steps[bytes]:
    """Give some bytes of the content behind a name."""

    def read(version: Version) -> Steps[bytes]:
        stored = version.stored
        offset, size = resolve_range(
            scope.bucket, name, size=stored.size, start=start, end=end, length=length
        )
        gathered = Gathered(size)
        for span in plan_spans(
            offset, size, chunk_bytes=stored.chunk_bytes, limit=SLAB_BYTES
        ):
            pieces = yield from read_span(version, span)
            yield from compute(partial(gathered.take, pieces), span.size)
        return gathered.result()

    return (yield from read_version(scope, name, read))


def get_into(scope: Scope, name: str, buffer: object) -> Steps[int]:
    """Write the whole content behind a name into a buffer; give its size."""
    target = memoryview(buffer).cast("B")  # type: ignore[arg-type]
    if target.readonly:
        message = "the buffer is read-only; give a bytearray or another writable one"
        raise ValueError(message)

    def read(version: Version) -> Steps[int]:
        size = version.stored.size
        if len(target) < size:
            message = (
                f"the buffer has {len(target)} bytes and object {name!r} has {size}; "
                "give a larger one"
            )
            raise ValueError(message)
        offset = 0

        def take(pieces: list[Buffer]) -> None:
            nonlocal offset
            for piece in pieces:
                target[offset : offset + len(piece)] = piece
                offset += len(piece)

        yield from consume(version, take)
        return size

    return (yield from read_version(scope, name, read))


def download(
    scope: Scope, name: str, path: str | os.PathLike[str], *, progress: Progress | None
) -> Steps[ObjectInfo]:
    """Write the content behind a name to a file, which appears whole or not at all."""
    # Of a link, what it points to is replaced.
    target = yield from call(Blocking(lambda: os.path.realpath(os.fspath(path))))
    unique = f".objstore-{scope.engine.new_nuid().hex()}.part"
    temporary = os.path.join(os.path.dirname(target), unique)  # noqa: PTH118, PTH120 - the same

    def read(version: Version) -> Steps[ObjectInfo]:
        file: IO[bytes] | None = None
        try:
            file = yield from call(Blocking(partial(_create, temporary, target)))
            yield from consume(version, file.writelines, blocks=True, progress=progress)
            yield from call(Blocking(partial(_finish, file, temporary, target)))
        except BaseException:
            # At once and not through the driver, which may be cancelled: it is short.
            if file is not None:
                file.close()
            with suppress(FileNotFoundError):
                os.unlink(temporary)  # noqa: PTH108 - as the other calls here
            raise
        return version.info

    return (yield from read_version(scope, name, read))


def _create(temporary: str, target: str) -> IO[bytes]:
    if os.path.isdir(target):  # noqa: PTH112 - as the other calls here
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), target)
    if os.path.exists(target) and not os.path.isfile(target):  # noqa: PTH110, PTH113 - the same
        problem = "Not a file, and would be replaced by one; write into it yourself"
        raise FileExistsError(errno.EEXIST, problem, target)
    try:
        return open(temporary, "xb")  # noqa: PTH123 - closed by `download`
    except OSError as error:
        # The caller knows only the name that the file is to have in the end.
        error.filename = target
        raise


def _finish(file: IO[bytes], temporary: str, target: str) -> None:
    """Make the file durable under its name."""
    file.flush()
    os.fsync(file.fileno())
    file.close()
    os.replace(temporary, target)  # noqa: PTH105 - as the other calls here
    folder = os.open(os.path.dirname(target), os.O_RDONLY)  # noqa: PTH120 - the same
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
