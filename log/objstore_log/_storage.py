"""The storage port: everything that the log asks of an operating system.

A `Storage` is one flat directory; a log has one, the store has one above them.
All of recovery, committing and reclaiming runs on this protocol, so it runs unchanged
on files, in memory and on the crash simulator.

What an implementation must keep (the POSIX floor, nothing more):
- Bytes written are durable after `File.sync`; a new, replaced or removed name is
  durable after `Storage.sync_directory`. Before that a crash may keep any part.
- `replace` is atomic: the target is the old or the new file, never a mix.
- A lock dies with the process that holds it.
Every method raises `OSError` and nothing else; the log turns it into `StorageError`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeAlias

Buffer: TypeAlias = bytes | bytearray | memoryview
"""Bytes that are read, and not kept behind the call unless it says so."""


class Lock(Protocol):
    """An advisory lock that is held until `release` or the death of the process."""

    def release(self) -> None:
        """Free the lock; a second call does nothing."""
        ...


class Mapped(Protocol):
    """Bytes of a file that are read like memory; they change as the file does."""

    def __getitem__(self, part: slice, /) -> bytes:
        """Copy a part."""
        ...

    def close(self) -> None:
        """Let go; a second call does nothing."""
        ...


class File(Protocol):
    """One open file. Positions are bytes from its start."""

    name: str
    """Its name in its directory."""

    def size(self) -> int:
        """Give the length in bytes."""
        ...

    def read_at(self, position: int, length: int) -> bytes:
        """Read `length` bytes; shorter only where the file ends."""
        ...

    def try_read_at(self, position: int, length: int) -> bytes | None:
        """Read like `read_at` if that needs no waiting for the disk, else `None`."""
        ...

    def map(self, length: int) -> Mapped | None:
        """Show the file's first bytes, as whoever writes them leaves them.

        Returns:
            `None` when the file is shorter, or cannot be mapped: then read it.
        """
        ...

    def read_into(self, position: int, target: memoryview) -> int:
        """Fill `target`; give the bytes read, fewer only where the file ends."""
        ...

    def try_read_into(self, position: int, target: memoryview) -> int | None:
        """Fill like `read_into` if that needs no waiting for the disk, else `None`."""
        ...

    def write_at(self, position: int, buffers: Sequence[Buffer]) -> int:
        """Write buffers one behind the other; give the bytes written (all of them).

        Raises:
            OSError: nothing, a part or all of it may have been written.
        """
        ...

    def sync(self) -> None:
        """Make all written bytes and the file's length durable."""
        ...

    def write_back(self, position: int, length: int) -> None:
        """Start writing that range to the disk early; a hint, promises nothing."""
        ...

    def punch(self, position: int, length: int) -> bool:
        """Give that range's space back, it reads as zeros; `False` if unsupported."""
        ...

    def data_bytes(self, position: int, length: int) -> int:
        """Count the bytes of a range that lie in no hole."""
        ...

    def stored_bytes(self) -> int:
        """Give the bytes that the file takes on the disk, holes left out."""
        ...

    def try_lock(self, *, shared: bool) -> bool:
        """Lock this file's inode for this open file without waiting."""
        ...

    def unlock(self) -> None:
        """Free what `try_lock` took."""
        ...

    def close(self) -> None:
        """Close it, without syncing; a second call does nothing."""
        ...


class Storage(Protocol):
    """One flat directory of files."""

    path: str
    """What to call it in messages."""

    def open(self, name: str, *, create: bool = False) -> File:
        """Open for reading and writing; `create` makes it when it is missing.

        Raises:
            FileNotFoundError: it is missing and `create` is false.
        """
        ...

    def names(self) -> list[str]:
        """List the names of the files and directories in it, sorted."""
        ...

    def directory(self, name: str, *, create: bool = False) -> Storage:
        """Give a directory inside it; `create` makes it when it is missing.

        Raises:
            FileNotFoundError: it is missing and `create` is false.
        """
        ...

    def replace(self, source: str, target: str) -> None:
        """Rename a file atomically over whatever the target was."""
        ...

    def is_named(self, file: File) -> bool:
        """Say whether the name of an open file of this directory still means it."""
        ...

    def remove(self, name: str) -> None:
        """Remove a file; open handles keep reading it."""
        ...

    def remove_directory(self, name: str) -> None:
        """Remove an empty directory."""
        ...

    def sync_directory(self) -> None:
        """Make creations, replacements and removals in it durable."""
        ...

    def try_lock(
        self, name: str, *, shared: bool = False, is_kept: bool = False
    ) -> Lock | None:
        """Lock the file of that name, made when missing; `None` if it is held.

        Two locks of one process exclude each other too.

        Args:
            name: The file's name.
            shared: Beside others that are shared.
            is_kept: It is taken often: its file stays open until `close`.
        """
        ...

    def lock_holder(self, name: str) -> int | None:
        """Give the process id that the holder of an exclusive lock wrote into it."""
        ...

    def close(self) -> None:
        """Close the lock files that are kept and free; they are opened again."""
        ...

    def database_path(self, name: str) -> str:
        """Give what `sqlite3.connect` takes for a database of that name here."""
        ...
