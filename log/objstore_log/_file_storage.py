"""The storage port on POSIX files.

Locks are `flock` on an open file, never POSIX record locks: those are lost when
anything in the process closes the same file. An inherited descriptor would keep such
a lock after its owner is gone, so every descriptor is close-on-exec and a forked
child closes all of them before it runs.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import mmap
import os
import sys
import threading
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path

from objstore_log._directories import (
    make_directory,
    missing_directories,
    sync_directory,
    sync_names_above,
)
from objstore_log._plain_name import check_plain_name
from objstore_log._posix import (
    clone_blocks,
    data_bytes,
    is_unsupported,
    punch_hole,
    refuse_network_filesystem,
    start_write_back,
    sync_data,
)
from objstore_log._storage import Buffer, File

_BUFFERS_MAX = 1024
"""Buffers in one `pwritev`: the smallest IOV_MAX of the supported systems."""
_NOWAIT_BYTES_MAX = 2 << 20
"""Longer reads are not tried in the caller's thread: copying alone takes a while."""
_PID_BYTES = 20
_CLOSED = 0x7FFFFFFF
"""A descriptor that no process has: the system says EBADF, where Python refuses -1."""
_RWF_NOWAIT: int | None = getattr(os, "RWF_NOWAIT", None)

# Between opening a descriptor and registering it no fork may happen, else the child
# would own it unknowingly. Reentrant, because a finalizer may close a file anywhere.
_fork_guard = threading.RLock()
_open_files: weakref.WeakSet[PosixFile] = weakref.WeakSet()
_held_locks: set[_FileLock | _KeptLock] = set()


class _Scratch(threading.local):
    """A page-aligned buffer per thread; only the pages that are used take memory."""

    view: memoryview | None = None

    def take(self, length: int) -> memoryview:
        if self.view is None:
            self.view = memoryview(mmap.mmap(-1, _NOWAIT_BYTES_MAX))
        return self.view[:length]


_scratch = _Scratch()


class PosixFile:
    """One open file; positional calls only, so threads may share it."""

    def __init__(self, path: Path, name: str, flags: int) -> None:
        """Open `path`; `name` is what it is called in its directory."""
        self.name = name
        self._descriptor = _CLOSED
        self._is_locked = False
        self._can_read_nowait = _RWF_NOWAIT is not None
        with _fork_guard:
            self._descriptor = os.open(path, flags | os.O_CLOEXEC, 0o666)
            _open_files.add(self)

    def __del__(self, is_finalizing: Callable[[], bool] = sys.is_finalizing) -> None:
        """Close a file that nobody can reach any more."""
        # this module's names are gone by then, and the system closes all files
        if is_finalizing():
            return
        with contextlib.suppress(OSError):
            self.close()

    def size(self) -> int:
        return os.fstat(self._descriptor).st_size

    def read_at(self, position: int, length: int) -> bytes:
        piece = os.pread(self._descriptor, length, position)
        if len(piece) == length or not piece:
            return piece
        pieces = [piece]
        while piece and length > len(piece):
            position += len(piece)
            length -= len(piece)
            piece = os.pread(self._descriptor, length, position)
            pieces.append(piece)
        return b"".join(pieces)

    def try_read_at(self, position: int, length: int) -> bytes | None:
        if not 0 < length <= _NOWAIT_BYTES_MAX:
            return None
        target = _scratch.take(length)
        count = self.try_read_into(position, target)
        return None if count is None else bytes(target[:count])

    def try_read_into(self, position: int, target: memoryview) -> int | None:
        length = len(target)
        if not self._can_read_nowait or not 0 < length <= _NOWAIT_BYTES_MAX:
            return None
        assert _RWF_NOWAIT is not None
        try:
            count = os.preadv(self._descriptor, [target], position, _RWF_NOWAIT)
        except BlockingIOError:
            return None
        except OSError as error:
            if not is_unsupported(error):
                raise
            self._can_read_nowait = False
            return None
        # A short count is the end of the file or the first page that is not cached.
        if count < length and position + count < self.size():
            return None
        return count

    def map(self, length: int) -> mmap.mmap | None:
        # beyond the end a look at it would kill the process
        if self.size() < length:
            return None
        try:
            return mmap.mmap(self._descriptor, length, access=mmap.ACCESS_READ)
        except OSError:
            return None

    def read_into(self, position: int, target: memoryview) -> int:
        filled = os.preadv(self._descriptor, [target], position)
        if not filled:
            return 0
        while filled < len(target):
            count = os.preadv(self._descriptor, [target[filled:]], position + filled)
            if count == 0:
                break
            filled += count
        return filled

    def write_at(self, position: int, buffers: Sequence[Buffer]) -> int:
        written = 0
        for first in range(0, len(buffers), _BUFFERS_MAX):
            group = buffers[first : first + _BUFFERS_MAX]
            written += self._write_group(position + written, group)
        return written

    def _write_group(self, position: int, group: Sequence[Buffer]) -> int:
        total = sum(map(len, group))
        count = os.pwritev(self._descriptor, group, position)
        if count == total:
            return total
        # A short write is no error yet: going on gives the rest or the reason.
        rest = memoryview(b"".join(group))[count:]
        while rest:
            count = os.pwritev(self._descriptor, [rest], position + total - len(rest))
            if count == 0:
                raise OSError(errno.EIO, "the system wrote nothing", self.name)
            rest = rest[count:]
        return total

    def sync(self) -> None:
        sync_data(self._descriptor)

    def write_back(self, position: int, length: int) -> None:
        start_write_back(self._descriptor, position, length)

    def punch(self, position: int, length: int) -> bool:
        # under another name it may be the copy that somebody relies on
        if os.fstat(self._descriptor).st_nlink > 1:
            return False
        return punch_hole(self._descriptor, position, length)

    def is_of(self, found: os.stat_result) -> bool:
        """Say whether it is that file which is open."""
        return os.path.samestat(os.fstat(self._descriptor), found)

    def clone(self, source: PosixFile, length: int) -> bool:
        """Become the beginning of another file, sharing its blocks where possible.

        Returns:
            False when the file system cannot; then nothing has changed.
        """
        if not clone_blocks(source._descriptor, self._descriptor):
            return False
        os.ftruncate(self._descriptor, length)
        return True

    def forget_cached(self) -> None:
        """Have what was synced read from the disk next time; a hint."""
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(self._descriptor, 0, 0, os.POSIX_FADV_DONTNEED)

    def data_bytes(self, position: int, length: int) -> int:
        return data_bytes(self._descriptor, position, length)

    def stored_bytes(self) -> int:
        return os.fstat(self._descriptor).st_blocks * 512

    def try_lock(self, *, shared: bool) -> bool:
        kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        # Set before: a failed conversion may have freed the lock or kept it.
        self._is_locked = True
        try:
            fcntl.flock(self._descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def has_name(self) -> bool:
        """Say whether it is open and any name leads to it still."""
        if self._descriptor == _CLOSED:
            return False
        return os.fstat(self._descriptor).st_nlink > 0

    def unlock(self) -> None:
        if self._is_locked:
            self._is_locked = False
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def close(self) -> None:
        with _fork_guard:
            if self._descriptor == _CLOSED:
                return
            try:
                # Closing frees the lock only with the last copy of the descriptor,
                # and a child between fork and exec has one.
                self.unlock()
            finally:
                descriptor, self._descriptor = self._descriptor, _CLOSED
                os.close(descriptor)

    def close_in_child(self) -> None:
        """Let go of the parent's file; unlocking would free the parent's lock."""
        descriptor, self._descriptor = self._descriptor, _CLOSED
        self._is_locked = False
        if descriptor != _CLOSED:
            os.close(descriptor)


def _after_fork_in_child() -> None:
    for file in list(_open_files):
        with contextlib.suppress(OSError):
            file.close_in_child()
    _open_files.clear()
    _held_locks.clear()
    _fork_guard.release()


os.register_at_fork(
    before=_fork_guard.acquire,
    after_in_parent=_fork_guard.release,
    after_in_child=_after_fork_in_child,
)


class _KeptLock:
    """A lock on a file that stays open for the next time.

    Its text stays too, so that it is written only where another process was there.
    """

    def __init__(self, file: PosixFile, kept: dict[str, PosixFile]) -> None:
        self._file = file
        self._kept = kept
        _held_locks.add(self)
        text = _holder_text()
        try:
            if file.read_at(0, _PID_BYTES) != text:
                file.write_at(0, [text])
        except OSError:
            # as for the others: a courtesy
            return

    def release(self) -> None:
        if self not in _held_locks:
            return
        file = self._file
        try:
            file.unlock()
        finally:
            _held_locks.discard(self)
            if self._kept.setdefault(file.name, file) is not file:
                file.close()


class _FileLock:
    """A lock on a file of its own, kept alive until it is released."""

    def __init__(self, file: PosixFile, *, shared: bool) -> None:
        self._file = file
        self._states_holder = not shared
        _held_locks.add(self)
        if self._states_holder:
            self._state(_holder_text())

    def release(self) -> None:
        if self not in _held_locks:
            return
        if self._states_holder:
            self._state(b" " * _PID_BYTES)
        self._file.close()
        _held_locks.discard(self)

    def _state(self, text: bytes) -> None:
        # A full disk must not keep anybody from locking: the text is a courtesy.
        with contextlib.suppress(OSError):
            self._file.write_at(0, [text])


def _holder_text() -> bytes:
    return b"%-*d" % (_PID_BYTES, os.getpid())


class FileStorage:
    """A directory of the operating system."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        create: bool = False,
        force_network: bool = False,
        read_only: bool = False,
    ) -> None:
        """Use the directory at `path`.

        Args:
            path: the directory; made absolute, so a later chdir does not matter.
            create: make it and its parents, durably, when missing.
            force_network: take it although it is on a network file system.
            read_only: open files for reading alone, as a read-only mount asks for.

        Raises:
            NotSupportedError: it is on a network file system.
            FileNotFoundError: it is missing and `create` is false.
            NotADirectoryError: it is something else.
        """
        self._directory = Path(path).absolute()
        self._flags = os.O_RDONLY if read_only else os.O_RDWR
        self.path = str(self._directory)
        self._kept: dict[str, PosixFile] = {}
        """Free lock files that were not closed."""
        missing = missing_directories(self._directory)
        if missing and not create:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), self.path)
        if not force_network:
            existing = missing[0].parent if missing else self._directory
            refuse_network_filesystem(str(existing))
        for directory in missing:
            make_directory(directory)
        if not self._directory.is_dir():
            raise NotADirectoryError(
                errno.ENOTDIR, os.strerror(errno.ENOTDIR), self.path
            )
        if missing:
            sync_names_above(missing[0].parent)
        elif create and not any(self._directory.iterdir()):
            sync_names_above(self._directory)

    def open(self, name: str, *, create: bool = False) -> PosixFile:
        flags = self._flags | (os.O_CREAT if create else 0)
        return PosixFile(self._join(name), name, flags)

    def names(self) -> list[str]:
        return sorted(path.name for path in self._directory.iterdir())

    def directory(self, name: str, *, create: bool = False) -> FileStorage:
        path = self._join(name)
        if create:
            with contextlib.suppress(FileExistsError):
                path.mkdir()
        read_only = self._flags == os.O_RDONLY
        return FileStorage(path, force_network=True, read_only=read_only)

    def replace(self, source: str, target: str) -> None:
        self._join(source).replace(self._join(target))

    def is_named(self, file: File) -> bool:
        try:
            found = self._join(file.name).stat()
        except FileNotFoundError:
            return False
        return isinstance(file, PosixFile) and file.is_of(found)

    def remove(self, name: str) -> None:
        self._join(name).unlink()

    def remove_directory(self, name: str) -> None:
        self._join(name).rmdir()

    def sync_directory(self) -> None:
        sync_directory(self._directory)

    def try_lock(
        self, name: str, *, shared: bool = False, is_kept: bool = False
    ) -> _FileLock | _KeptLock | None:
        if is_kept:
            assert not shared
            return self._try_kept(name)
        file = self.open(name, create=True)
        try:
            if file.try_lock(shared=shared):
                return _FileLock(file, shared=shared)
        except OSError:
            file.close()
            raise
        file.close()
        return None

    def _try_kept(self, name: str) -> _KeptLock | None:
        file = self._kept.pop(name, None)
        if file is not None and not file.has_name():
            # whoever takes it by its name locks another file
            file.close()
            file = None
        if file is None:
            file = self.open(name, create=True)
        try:
            if file.try_lock(shared=False):
                return _KeptLock(file, self._kept)
        except OSError:
            file.close()
            raise
        if self._kept.setdefault(name, file) is not file:
            file.close()
        return None

    def close(self) -> None:
        while self._kept:
            with contextlib.suppress(KeyError):
                self._kept.popitem()[1].close()

    def lock_holder(self, name: str) -> int | None:
        try:
            file = self.open(name)
        except FileNotFoundError:
            return None
        try:
            if file.try_lock(shared=True):
                # the text of a lock that is kept outlasts its holding
                return None
            text = file.read_at(0, _PID_BYTES).strip()
        finally:
            file.close()
        return _living(int(text)) if text.isdigit() else None

    def database_path(self, name: str) -> str:
        return str(self._join(name))

    def _join(self, name: str) -> Path:
        check_plain_name(name)
        return self._directory / name


def _living(pid: int) -> int | None:
    """Give the pid back unless it is certain that a killed holder left it."""
    try:
        # Signal 0 is none; being forbidden to send it tells of a living process.
        with contextlib.suppress(PermissionError):
            os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return None
    return pid
