"""Ctrl-C while something must not be torn apart: noted, and delivered behind it.

A signal handler that raises may raise between any two steps of the interpreter: behind
the system call that took a lock, and before anybody has noted that it is taken. No
`try` can stand in that gap, so signals wait until the gap is over (decision 0004).
Only the main thread runs signal handlers; for every other thread this does nothing.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from threading import get_ident
from types import FrameType
from typing import Any, Final, NamedTuple, TypeAlias

_Handler: TypeAlias = Callable[[int, FrameType | None], Any]

# Those behind the functions of `signal`, which make enums of all that they give: every
# synchronous put swaps handlers twice.
_native: Final = sys.modules["_signal"]
_get: Final[Callable[[int], Any]] = _native.getsignal
_set: Final[Callable[[int, Any], Any]] = _native.signal
SIGNALS: Final = tuple(
    int(number)
    for number in (signal.SIGALRM, signal.SIGHUP, signal.SIGTERM, signal.SIGINT)
)
"""Those whose handlers are known to raise; given back in this order, Ctrl-C last."""


class _Noted(NamedTuple):
    """A signal that waits."""

    handler: _Handler
    number: int
    frame: FrameType | None


class _Uninterrupted:
    """A context, entered as often as need be, in which no signal handler runs."""

    def __init__(self) -> None:
        self._depth = 0
        self._previous: dict[int, _Handler] = {}
        self._pending: list[_Noted] = []
        self._main = threading.main_thread().ident
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._begin_anew)

    def __enter__(self) -> None:
        if get_ident() != self._main:
            return
        if not self._depth:
            self._take()
        self._depth += 1

    def __exit__(self, *_: object) -> None:
        if get_ident() != self._main or not self._depth:
            return
        self._depth -= 1
        if not self._depth:
            self._give_back()

    def deliver(self) -> None:
        """Run the handlers of the signals that wait: for whoever waits inside.

        Raises what they raise. Only where an exception tears nothing apart.
        """
        if get_ident() != self._main or not self._pending:
            return
        noted = self._pending.pop(0)
        try:
            noted.handler(noted.number, noted.frame)
        finally:
            # each one has its turn, whatever those before it raise
            self.deliver()

    def _take(self) -> None:
        self._pending.clear()
        try:
            for number in SIGNALS:
                handler = _get(number)
                # what is not callable is the system's own: it kills, or does nothing
                if callable(handler) and handler != self._note:
                    self._previous[number] = handler
                    _set(number, self._note)
        except ValueError:
            # a subinterpreter: no handler runs in it
            return
        except BaseException:
            self._give_back()
            raise

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._pending.append(_Noted(self._previous[number], number, frame))

    def _give_back(self) -> None:
        try:
            for number in list(self._previous):
                if number != SIGNALS[-1]:
                    self._restore(number)
        finally:
            self._restore(SIGNALS[-1])
        self.deliver()

    def _restore(self, number: int) -> None:
        if number in self._previous:
            _set(number, self._previous[number])
            # behind it: a signal that comes in between is noted with its handler
            del self._previous[number]

    def _begin_anew(self) -> None:
        """Forget, in a forked child, the section that another thread was in."""
        # the thread that forked is the child's main one
        self._main = threading.main_thread().ident
        for number in list(self._previous):
            self._restore(number)
        self._depth = 0
        self._pending.clear()


uninterrupted: Final = _Uninterrupted()
"""`with uninterrupted:` holds signals back; they are delivered at its end."""
