"""Space kept back on the disk, so that a full one can still be cleared.

Deleting and retention need room themselves: for their records, and for the catalog that
says what is dead. The reserve is a file of a store's directory that nobody reads. It is
given back when something that gives space back finds the disk full, and kept again when
there is room.
"""

from __future__ import annotations

import errno
import logging
import os
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
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
CLEARING_TRIES: Final = 3
"""Another process may take the space again between two of them."""
_FULL: Final = {errno.ENOSPC, errno.EDQUOT}

_logger = logging.getLogger("objstore")


class Loan:
    """What one operation may do with the reserve."""

    def __init__(self, reserve: Reserve) -> None:
        self.is_given = False
        self._reserve = reserve

    def is_given_for(self, error: OSError) -> bool:
        """Give the space back if that is what was missing; say whether to try again."""
        if not self.is_given:
            self._reserve.begin_loan()
            self.is_given = True
        return self._reserve.is_given_for(error)


class Reserve:
    """The reserve of one store, shared by all processes that have it open."""

    def __init__(self, path: str | None) -> None:
        """Prepare; no I/O.

        Args:
            path: The store's directory; `None` where no disk can be full.
        """
        self._directory = path
        self._path = Path(path or "", RESERVE_NAME)
        self._given_bytes = 0
        """What was kept when it was last given back."""
        self._is_told = False
        self._loans = 0
        self._lock = threading.Lock()

    def keep(self) -> None:
        """Take the space unless it is taken; a disk without room is no error."""
        held = self._held_bytes()
        if self._directory is None or held >= RESERVE_BYTES:
            return
        with suppress(OSError):
            wanted = _size_for(_free_bytes(self._directory) + held)
            self._take(wanted)
            self._is_told = self._held_bytes() < wanted

    def clearing(self, work: Callable[[], T]) -> T:
        """Do what gives space back, on a full disk with the space that was kept."""
        with self.lending() as loan:
            for _ in range(CLEARING_TRIES - 1):
                try:
                    return work()
                except OSError as error:
                    if not loan.is_given_for(error):
                        raise
            return work()

    @contextmanager
    def lending(self) -> Generator[Loan]:
        """Give space back inside the block when that helps.

        What is left of it is taken again behind the last of such blocks, before a put
        gets it.
        """
        loan = Loan(self)
        try:
            yield loan
        finally:
            if loan.is_given:
                self.end_loan()

    def begin_loan(self) -> None:
        """Take nothing again until as many loans have ended."""
        with self._lock:
            self._loans += 1

    def end_loan(self) -> None:
        """Take what is left again behind the last loan."""
        with self._lock, suppress(OSError):
            self._loans -= 1
            if not self._loans and self._directory is not None:
                left = _free_bytes(self._directory) + self._held_bytes()
                self._take(min(self._given_bytes, left))

    def is_given_for(self, error: OSError) -> bool:
        """Give the space back if that is what was missing; say whether to try again."""
        if error.errno not in _FULL:
            return False
        # Who finds it given by another one tries again as well.
        self._release()
        return True

    def _held_bytes(self) -> int:
        try:
            return self._path.stat().st_size
        except OSError:
            return 0

    def _take(self, size: int) -> None:
        """Make it that large unless it is; all of that or as it was."""
        held = self._held_bytes()
        if size <= held or size < RESERVE_BYTES_MIN:
            return
        try:
            _allocate(self._path, size)
        except OSError:
            if held:
                os.truncate(self._path, held)
            else:
                self._path.unlink()

    def _release(self) -> None:
        held = self._held_bytes()
        if self._directory is None or not held:
            return
        self._given_bytes = held
        with suppress(OSError):
            self._path.unlink()
        if not self._is_told:
            self._is_told = True
            _logger.warning(
                "%s: the disk is full; what gives space back uses the reserve",
                self._directory,
            )


def _free_bytes(directory: str) -> int:
    found = os.statvfs(directory)
    return found.f_bavail * found.f_frsize


def _size_for(free_bytes: int) -> int:
    size = min(RESERVE_BYTES, free_bytes // RESERVE_PART)
    return size if size >= RESERVE_BYTES_MIN else 0


def _allocate(path: Path, size: int) -> None:
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+b") as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)
        else:
            file.write(bytes(size - file.seek(0, os.SEEK_END)))
