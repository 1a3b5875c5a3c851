"""Puts that are under way: from where on chunks may still get their meta.

Each process that has such puts says so in a file of its own; when the process has died,
its announcement counts no more.
"""

from __future__ import annotations

import re
from contextlib import suppress
from struct import Struct
from typing import Final

from objstore_log._core import LogCore
from objstore_log._storage import File

UNFINISHED_PREFIX: Final = "unfinished-"
_UNFINISHED: Final = re.compile(UNFINISHED_PREFIX + "([0-9a-f]{16})")
_BOUND: Final = Struct("<Q")


class Announcer:
    """Tells other processes from where on this one has unfinished puts."""

    def __init__(self, core: LogCore) -> None:
        self._core = core
        self._name = f"{UNFINISHED_PREFIX}{core.writers.writer_id:016x}"
        self._file: File | None = None

    def announce(self, first_sequence: int | None) -> None:
        """Say that chunks from a sequence on may still get a meta (`None`: none)."""
        if self._file is None:
            if first_sequence is None:
                return
            self._file = self._core.storage.open(self._name, create=True)
        self._file.write_at(0, [_BOUND.pack(first_sequence or 0)])

    def close(self) -> None:
        """Take the announcement back."""
        if self._file is not None:
            self._file.close()
            self._file = None
            # missing when the whole log was deleted meanwhile
            with suppress(FileNotFoundError):
                self._core.storage.remove(self._name)


def unfinished(core: LogCore) -> tuple[int | None, list[str]]:
    """Look at all announcements.

    Returns:
        The lowest sequence that an unfinished put of a living process may have, and
        the names of what dead processes announced.
    """
    bounds: list[int] = []
    dead: list[str] = []
    for name in core.storage.names():
        found = _UNFINISHED.fullmatch(name)
        if found is None:
            continue
        writer_id = int(found[1], 16)
        if not core.writers.is_alive(writer_id):
            dead.append(name)
            continue
        try:
            file = core.storage.open(name)
        except FileNotFoundError:
            # its process has ended all its puts and closed the log just now
            continue
        try:
            data = file.read_at(0, _BOUND.size)
        finally:
            file.close()
        value = _BOUND.unpack(data)[0] if len(data) == _BOUND.size else 1
        if value:
            bounds.append(value)
    return min(bounds, default=None), dead
