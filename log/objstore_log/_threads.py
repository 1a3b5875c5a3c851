"""Threads in the background: started without hanging, and joined when that is safe.

Not `threading.Thread`: its `start` waits until the new thread has said that it runs,
and one that gets no memory for its first step never does.
"""

from __future__ import annotations

import os
import weakref
from _thread import LockType, allocate_lock, get_ident, start_new_thread
from collections.abc import Callable
from typing import Final, TypeGuard

from objstore_log._interrupts import uninterrupted
from objstore_log.errors import StorageError

LOOK_S: Final = 0.05
"""How often whoever waits for a thread looks whether it is still there."""
OPERATION: Final = "starting a thread for"


def start_thread(path: str, work: Callable[..., None], *arguments: object) -> None:
    """Start a thread that ends with the process; does not wait for its first step.

    Args:
        path: What it is for, as an error names it.
        work: What it runs.
        arguments: Its arguments; the thread alone keeps them.

    Raises:
        StorageError: the system has no room for a thread.
    """
    try:
        start_new_thread(work, arguments)
    except (RuntimeError, MemoryError) as error:
        reason = str(error) or "no memory is left"
        raise StorageError(path=path, operation=OPERATION, reason=reason) from error


class _Life:
    """Is there as long as its thread: only the thread's own arguments keep it."""


class Background:
    """A thread that runs one function.

    Guarantee: that it runs is known from the system's own hold on its arguments, so
    that one which ended before its first step is never waited for.
    """

    def __init__(self, path: str, work: Callable[[], None]) -> None:
        """Take what it runs, and what it is for, as an error names it."""
        self._path = path
        self._work = work
        self._pid = os.getpid()
        self._ident = 0
        self._life: Callable[[], _Life | None] = lambda: None
        self._is_over = False
        self._begun = allocate_lock()
        self._ended = allocate_lock()

    def start(self) -> None:
        """Start it, once.

        Raises:
            StorageError: the system has no room for it.
        """
        assert self._begun.acquire(blocking=False), "a thread is started once"
        self._ended.acquire()
        # an interrupt comes when it is known whether the thread runs
        with uninterrupted:
            self._life = self._lived()
            while not self._begun.acquire(timeout=LOOK_S):
                if not self.is_running():
                    raise StorageError(
                        path=self._path,
                        operation=OPERATION,
                        reason="it ended before its first step",
                    )

    def _lived(self) -> Callable[[], _Life | None]:
        life = _Life()
        start_thread(self._path, self._run, life)
        return weakref.ref(life)

    def _run(self, _: _Life) -> None:
        try:
            self._ident = get_ident()
            self._begun.release()
            self._work()
        finally:
            self._is_over = True
            self._ended.release()

    def is_running(self) -> bool:
        """Say whether it runs; after a fork it is the parent's."""
        is_there = not self._is_over and self._life() is not None
        return is_there and self._pid == os.getpid()

    def join(self) -> None:
        """Wait until it has ended, unless it is the caller's own."""
        if self._ident == get_ident():
            return
        while self.is_running():
            if _is_free(self._ended):
                return


def _is_free(lock: LockType) -> bool:
    """Wait a moment for a lock; it is left as it was found."""
    is_free = lock.acquire(timeout=LOOK_S)
    if is_free:
        lock.release()
    return is_free


def is_running(thread: Background | None) -> TypeGuard[Background]:
    """Say whether there is a thread and it runs."""
    return thread is not None and thread.is_running()


def join(thread: Background | None) -> None:
    """Wait until a thread has ended, unless there is none or it is the caller's own."""
    if thread is not None:
        thread.join()
