"""Space kept back on the disk, so that a full one can still be cleared.

Deleting and retention need room themselves: for their records, and for the catalog that
says what is dead. The reserve is a file of a store's directory that nobody reads. It is
given back when something that gives space back finds the disk full, and kept again when
there is room.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeVar

T = TypeVar("T")
RESERVE_NAME: Final = "RESERVE"
RESERVE_BYTES: Final = 2 * 1024 * 1024
"""Enough for a new segment's begin, its records and some pages of a catalog."""
RESERVE_PART: Final = 16
"""On a small disk, at most this part of what is free is kept."""
RESERVE_BYTES_MIN: Final = 64 * 1024
"""Below it a reserve helps nobody."""
_FULL: Final = {errno.ENOSPC, errno.EDQUOT}


class Reserve:
    """The reserve of one store, shared by all processes that have it open."""

    def __init__(self, path: str | None) -> None:
        """Prepare; no I/O.

        Args:
            path: The store's directory; `None` where no disk can be full.
        """
        self._directory = path
        self._path = Path(path or "", RESERVE_NAME)

    def keep(self) -> None:
        """Take the space unless it is taken; a disk without room is no error."""
        if self._directory is None or self._path.exists():
            return
        try:
            size = _size_for(_free_bytes(self._directory))
            if size:
                _allocate(self._path, size)
        except OSError:
            self._release()

    def clearing(self, work: Callable[[], T]) -> T:
        """Do what gives space back, on a full disk with the space that was kept."""
        try:
            return work()
        except OSError as error:
            if not self.is_given_for(error):
                raise
        return work()

    def is_given_for(self, error: OSError) -> bool:
        """Give the space back if that is what was missing; say whether to try again."""
        if error.errno not in _FULL:
            return False
        # Who finds it given by another one tries again as well.
        self._release()
        return True

    def _release(self) -> None:
        if self._directory is not None:
            with suppress(OSError):
                self._path.unlink()


def _free_bytes(directory: str) -> int:
    found = os.statvfs(directory)
    return found.f_bavail * found.f_frsize


def _size_for(free_bytes: int) -> int:
    size = min(RESERVE_BYTES, free_bytes // RESERVE_PART)
    return size if size >= RESERVE_BYTES_MIN else 0


def _allocate(path: Path, size: int) -> None:
    with suppress(FileExistsError), path.open("xb") as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)
        else:
            file.write(bytes(size))
