"""The storage port in memory: nothing survives the process, all else is the same."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Literal, TypeAlias

from objstore_log._plain_name import check_plain_name
from objstore_log._storage import Buffer, File

_BLOCK_BYTES = 4096


class Inode:
    """The bytes and the locks of one file, whatever names it has."""

    def __init__(self) -> None:
        """Make an empty file."""
        self.content = bytearray()
        self.holes: set[int] = set()
        self.holder_pid: int | None = None
        self._locks: dict[object, bool] = {}

    def copy(self) -> Inode:
        """Copy what a disk keeps, which locks are not."""
        inode = Inode()
        inode.content[:] = self.content
        inode.holes.update(self.holes)
        return inode

    def write(self, position: int, data: Buffer) -> None:
        """Put bytes; a gap behind the end reads as zeros and takes no space."""
        size, end = len(self.content), position + len(data)
        if not len(data):
            return
        if position > size:
            self.content.extend(bytes(position - size))
            self._mark_hole(size, position)
        self.content[position:end] = data
        self.holes.difference_update(
            range(position // _BLOCK_BYTES, -(-end // _BLOCK_BYTES))
        )

    def punch(self, position: int, length: int) -> None:
        """Zero a range and free its whole blocks; the length stays."""
        end = min(position + length, len(self.content))
        if end > position:
            self.content[position:end] = bytes(end - position)
            self._mark_hole(position, end)

    def data_bytes(self, position: int, length: int) -> int:
        """Count the bytes of a range outside holes."""
        end = min(position + length, len(self.content))
        return sum(
            min(start + _BLOCK_BYTES, end) - max(start, position)
            for start in range(position - position % _BLOCK_BYTES, end, _BLOCK_BYTES)
            if start // _BLOCK_BYTES not in self.holes
        )

    def stored_bytes(self) -> int:
        """Count blocks, holes left out."""
        return (-(-len(self.content) // _BLOCK_BYTES) - len(self.holes)) * _BLOCK_BYTES

    def try_lock(self, owner: object, *, shared: bool) -> bool:
        """Lock as flock does: a failed conversion has lost the old lock."""
        self._locks.pop(owner, None)
        others = self._locks.values()
        if not all(others) if shared else bool(others):
            return False
        self._locks[owner] = shared
        return True

    def unlock(self, owner: object) -> None:
        """Free the owner's lock if there is one."""
        self._locks.pop(owner, None)
        if not self._locks:
            self.holder_pid = None

    def _mark_hole(self, position: int, end: int) -> None:
        self.holes.update(range(-(-position // _BLOCK_BYTES), end // _BLOCK_BYTES))


class Directory:
    """The names in one directory."""

    def __init__(self) -> None:
        """Make an empty directory."""
        self.entries: dict[str, Node] = {}

    def change(self, name: str, node: Node | None, source: str | None = None) -> None:
        """Create or replace (`node`) or remove (`None`) a name, and drop `source`."""
        if source is not None:
            self.entries.pop(source, None)
        if node is None:
            self.entries.pop(name, None)
        else:
            self.entries[name] = node


Node: TypeAlias = Inode | Directory
NameChangeKind: TypeAlias = Literal["create", "replace", "remove"]
Guard: TypeAlias = AbstractContextManager[bool]


def system_error(code: int, name: str) -> OSError:
    """Make the error that the operating system would raise."""
    return OSError(code, os.strerror(code), name)


class MemoryFile:
    """One open file of a `MemoryStorage`."""

    def __init__(self, name: str, inode: Inode, guard: Guard) -> None:
        """Open `inode`; `guard` is the lock of the whole tree."""
        self.name = name
        self._inode = inode
        self._guard = guard
        self._is_open = True

    def size(self) -> int:
        with self._guard:
            self._check(0, 0)
            return len(self._inode.content)

    def read_at(self, position: int, length: int) -> bytes:
        with self._guard:
            self._check(position, length)
            with memoryview(self._inode.content) as view:
                return bytes(view[position : position + length])

    def try_read_at(self, position: int, length: int) -> bytes | None:
        return self.read_at(position, length)

    def map(self, length: int) -> None:
        del length

    def read_into(self, position: int, target: memoryview) -> int:
        piece = self.read_at(position, len(target))
        target[: len(piece)] = piece
        return len(piece)

    def try_read_into(self, position: int, target: memoryview) -> int | None:
        return self.read_into(position, target)

    def write_at(self, position: int, buffers: Sequence[Buffer]) -> int:
        with self._guard:
            self._check(position, 0)
            written = 0
            for buffer in buffers:
                self._inode.write(position + written, buffer)
                written += len(buffer)
            return written

    def sync(self) -> None:
        self._check(0, 0)

    def write_back(self, position: int, length: int) -> None:
        self._check(position, length)

    def punch(self, position: int, length: int) -> bool:
        with self._guard:
            self._check(position, length)
            self._inode.punch(position, length)
            return True

    def data_bytes(self, position: int, length: int) -> int:
        with self._guard:
            self._check(position, length)
            return self._inode.data_bytes(position, length)

    def stored_bytes(self) -> int:
        with self._guard:
            self._check(0, 0)
            return self._inode.stored_bytes()

    def is_of(self, node: Node | None) -> bool:
        """Say whether it is that file which is open."""
        return node is self._inode

    def try_lock(self, *, shared: bool) -> bool:
        with self._guard:
            self._check(0, 0)
            return self._inode.try_lock(self, shared=shared)

    def unlock(self) -> None:
        with self._guard:
            self._inode.unlock(self)

    def close(self) -> None:
        with self._guard:
            self._is_open = False
            self._inode.unlock(self)

    def _check(self, position: int, length: int) -> None:
        if not self._is_open:
            raise system_error(errno.EBADF, self.name)
        if position < 0 or length < 0:
            raise system_error(errno.EINVAL, self.name)


class MemoryLock:
    """A held lock; for an exclusive one the inode knows the process."""

    def __init__(self, file: MemoryFile, inode: Inode, *, shared: bool) -> None:
        """Take over a file that is locked already."""
        self._file = file
        inode.holder_pid = None if shared else os.getpid()

    def release(self) -> None:
        self._file.close()


class MemoryStorage:
    """A directory in memory, shared by the threads of one process."""

    def __init__(
        self,
        path: str = ":memory:",
        *,
        tree: Directory | None = None,
        guard: Guard | None = None,
    ) -> None:
        """Make an empty directory, or a view of one in an existing tree."""
        self.path = path
        self._directory = Directory() if tree is None else tree
        self._guard: Guard = threading.RLock() if guard is None else guard

    def open(self, name: str, *, create: bool = False) -> MemoryFile:
        with self._guard:
            node = self._find(name, Inode if create else None)
            if isinstance(node, Directory):
                raise system_error(errno.EISDIR, name)
            return self._file(name, node)

    def names(self) -> list[str]:
        with self._guard:
            return sorted(self._directory.entries)

    def directory(self, name: str, *, create: bool = False) -> MemoryStorage:
        with self._guard:
            node = self._find(name, Directory if create else None)
            if isinstance(node, Inode):
                raise system_error(errno.ENOTDIR, name)
            return self._view(f"{self.path}/{name}", node)

    def replace(self, source: str, target: str) -> None:
        with self._guard:
            node = self._find(source)
            check_plain_name(target)
            replaced = self._directory.entries.get(target)
            if isinstance(node, Directory) or isinstance(replaced, Directory):
                raise system_error(errno.EISDIR, target)
            self._change("replace", target, node, source)

    def is_named(self, file: File) -> bool:
        with self._guard:
            node = self._directory.entries.get(file.name)
            return isinstance(file, MemoryFile) and file.is_of(node)

    def remove(self, name: str) -> None:
        with self._guard:
            if isinstance(self._find(name), Directory):
                raise system_error(errno.EISDIR, name)
            self._change("remove", name, None)

    def remove_directory(self, name: str) -> None:
        with self._guard:
            node = self._find(name)
            if isinstance(node, Inode):
                raise system_error(errno.ENOTDIR, name)
            if node.entries:
                raise system_error(errno.ENOTEMPTY, name)
            self._change("remove", name, None)

    def sync_directory(self) -> None:
        """Do nothing: no crash takes a name and leaves the process."""

    def try_lock(
        self,
        name: str,
        *,
        shared: bool = False,
        is_kept: bool = False,  # noqa: ARG002 - a file in memory costs nothing to open
    ) -> MemoryLock | None:
        with self._guard:
            file = self.open(name, create=True)
            node = self._directory.entries[name]
            assert isinstance(node, Inode)
            if file.try_lock(shared=shared):
                return MemoryLock(file, node, shared=shared)
            file.close()
            return None

    def lock_holder(self, name: str) -> int | None:
        with self._guard:
            check_plain_name(name)
            node = self._directory.entries.get(name)
            return node.holder_pid if isinstance(node, Inode) else None

    def close(self) -> None:
        """Do nothing: it keeps no lock file."""

    def database_path(self, name: str) -> str:
        check_plain_name(name)
        return ":memory:"

    def _find(self, name: str, make: type[Node] | None = None) -> Node:
        check_plain_name(name)
        node = self._directory.entries.get(name)
        if node is not None:
            return node
        if make is None:
            raise system_error(errno.ENOENT, name)
        made = make()
        self._change("create", name, made)
        return made

    def _change(
        self,
        kind: NameChangeKind,
        name: str,
        node: Node | None,
        source: str | None = None,
    ) -> None:
        del kind
        self._directory.change(name, node, source)

    def _file(self, name: str, inode: Inode) -> MemoryFile:
        return MemoryFile(name, inode, self._guard)

    def _view(self, path: str, directory: Directory) -> MemoryStorage:
        return MemoryStorage(path, tree=directory, guard=self._guard)
