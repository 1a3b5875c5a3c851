"""How long the present caller waits for another process: each handle has its own.

Several handles share one log, so that the time cannot be an option of the log; and a
lock is taken far below the call that knows its handle.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar

_lock_timeout_s: ContextVar[float | None] = ContextVar("lock_timeout_s")


@contextmanager
def patience(lock_timeout_s: float | None) -> Generator[None]:
    """Have everything in the block wait for a lock so long; `None` is without end."""
    token = _lock_timeout_s.set(lock_timeout_s)
    try:
        yield
    finally:
        _lock_timeout_s.reset(token)


def lock_timeout_s(otherwise: float | None) -> float | None:
    """Give how long the present caller waits for a lock."""
    return _lock_timeout_s.get(otherwise)
