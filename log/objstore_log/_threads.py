"""Threads that are started when they are needed, and joined when that is safe."""

from __future__ import annotations

import threading
from typing import TypeGuard


def is_running(thread: threading.Thread | None) -> TypeGuard[threading.Thread]:
    """Say whether a thread runs; one that was made may not.

    An interrupt may have come before its start.
    """
    return thread is not None and thread.is_alive()


def join(thread: threading.Thread | None) -> None:
    """Wait until a thread has ended, unless it is the caller's own."""
    if is_running(thread) and thread is not threading.current_thread():
        thread.join()
