"""Ctrl-C while something must not be torn apart: noted, and delivered behind it.

A signal handler that raises may raise between any two steps of the interpreter: behind
the system call that took a lock, and before anybody has noted that it is taken. No
`try` can stand in that gap, so signals wait until the gap is over (decision 0004).
Only the main thread runs signal handlers; for every other thread this does nothing.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, Final, TypeAlias

_Handler: TypeAlias = Callable[[int, FrameType | None], Any]

SIGNALS: Final = (signal.SIGALRM, signal.SIGHUP, signal.SIGTERM, signal.SIGINT)
"""Those whose handlers are known to raise; given back in this order, Ctrl-C last."""


class _Uninterrupted:
    """A context, entered as often as need be, in which no signal handler runs."""

    def __init__(self) -> None:
        self._depth = 0
        self._previous: dict[int, _Handler] = {}
        self._pending: list[int] = []

    @property
    def is_asked_to_stop(self) -> bool:
        """Say whether a signal waits: whoever waits for others gives up."""
        return bool(self._pending) and _is_main()

    def __enter__(self) -> None:
        if not _is_main():
            return
        if not self._depth:
            self._take()
        self._depth += 1

    def __exit__(self, *_: object) -> None:
        if not _is_main():
            return
        self._depth -= 1
        if not self._depth:
            self._give_back()

    def _take(self) -> None:
        self._pending.clear()
        try:
            for number in SIGNALS:
                handler = signal.getsignal(number)
                # what is not callable is the system's own: it kills, or does nothing
                if callable(handler) and handler != self._note:
                    self._previous[number] = handler
                    signal.signal(number, self._note)
        except ValueError:
            # a subinterpreter: no handler runs in it
            return
        except BaseException:
            self._give_back()
            raise

    def _note(self, number: int, _: FrameType | None) -> None:
        self._pending.append(number)

    def _give_back(self) -> None:
        try:
            for number in SIGNALS[:-1]:
                self._restore(number)
        finally:
            self._restore(SIGNALS[-1])
        pending, self._pending = self._pending, []
        for noted in pending:
            signal.raise_signal(noted)

    def _restore(self, number: int) -> None:
        if number in self._previous:
            signal.signal(number, self._previous.pop(number))


def _is_main() -> bool:
    return threading.get_ident() == threading.main_thread().ident


uninterrupted: Final = _Uninterrupted()
"""`with uninterrupted:` holds signals back; they are delivered at its end."""
