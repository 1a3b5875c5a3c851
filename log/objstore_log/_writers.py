"""Who writes: each engine holds a lock on a file of its own for as long as it lives."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Final

from objstore_log._storage import Lock, Storage
from objstore_log.errors import StorageError

_NAME: Final = re.compile("[0-9a-f]{16}")
ENTER_TRIES: Final = 100
"""Openings of the own lock file before giving up."""


class Writers:
    """The writer locks of a store."""

    def __init__(self, storage: Storage, writer_id: int) -> None:
        self.storage = storage
        self.writer_id = writer_id
        self._lock: Lock | None = None

    def enter(self) -> None:
        """Take this engine's own lock and clear away those of the dead."""
        name = self._name(self.writer_id)
        for _ in range(ENTER_TRIES):
            lock = self.storage.try_lock(name)
            if lock is None:
                continue
            if name in self.storage.names():
                self._lock = lock
                self._clear_dead()
                return
            # another engine took the file for a dead one's before it was locked
            lock.release()
        raise StorageError(
            path=f"{self.storage.path}/{name}",
            operation="lock",
            reason="another engine holds this writer's lock",
        )

    def _name(self, writer_id: int) -> str:
        return f"{writer_id:016x}"

    def _clear_dead(self) -> None:
        for name in self.storage.names():
            if name == self._name(self.writer_id) or not _NAME.fullmatch(name):
                continue
            lock = self.storage.try_lock(name)
            if lock is not None:
                # ids are random and never taken twice, so nobody waits for this file
                with suppress(FileNotFoundError):
                    # another engine has opened this moment, and was faster
                    self.storage.remove(name)
                lock.release()

    def is_alive(self, writer_id: int) -> bool:
        """Say whether a writer's engine still runs (or is stopped, not dead)."""
        if writer_id == self.writer_id:
            return True
        name = self._name(writer_id)
        if name not in self.storage.names():
            return False
        lock = self.storage.try_lock(name)
        if lock is None:
            return True
        lock.release()
        return False

    def leave(self) -> None:
        """Give the own lock back; idempotent."""
        lock, self._lock = self._lock, None
        if lock is not None:
            try:
                self.storage.remove(self._name(self.writer_id))
            finally:
                lock.release()
