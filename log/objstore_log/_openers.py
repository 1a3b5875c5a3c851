"""Who has a log open: each process holds a shared lock for as long as it does.

What was written and never synced outlives a killed process and no power cut. So the
first to open a relaxed log may find less than was shown, and nobody behind it does.
"""

from __future__ import annotations

from typing import Final

from objstore_log._storage import Lock, Storage

OPENERS_NAME: Final = "openers"


class Openers:
    """This process among those that have a log open."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._lock: Lock | None = None

    @property
    def has_entered(self) -> bool:
        """Say whether this process is one of them."""
        return self._lock is not None

    def is_first(self) -> bool:
        """Say whether no process has the log open. Only under the log's lock."""
        lock = self._storage.try_lock(OPENERS_NAME)
        if lock is None:
            return False
        lock.release()
        return True

    def enter(self) -> None:
        """Be one of them; when somebody looks just now, the next call makes up."""
        if self._lock is None:
            self._lock = self._storage.try_lock(OPENERS_NAME, shared=True)

    def leave(self) -> None:
        """Be none of them any more; idempotent."""
        lock, self._lock = self._lock, None
        if lock is not None:
            lock.release()
