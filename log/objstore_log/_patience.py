"""How long the present caller waits for another process: each handle has its own.

Several handles share one log, so that the time cannot be an option of the log; and a
lock is taken far below the call that knows its handle.
"""

from __future__ import annotations

from contextvars import ContextVar

_lock_timeout_s: ContextVar[float | None] = ContextVar("lock_timeout_s")


class patience:  # noqa: N801 - used as a function is
    """Have everything in the block wait for a lock so long; `None` is without end."""

    __slots__ = ("_limit_s", "_token")

    def __init__(self, lock_timeout_s: float | None) -> None:
        self._limit_s = lock_timeout_s

    def __enter__(self) -> None:
        self._token = _lock_timeout_s.set(self._limit_s)

    def __exit__(self, *_: object) -> None:
        _lock_timeout_s.reset(self._token)


def lock_timeout_s(otherwise: float | None) -> float | None:
    """Give how long the present caller waits for a lock."""
    return _lock_timeout_s.get(otherwise)
