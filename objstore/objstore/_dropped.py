"""What the garbage collector found unfinished: given back with the next operation.

The collector may run anywhere, under any lock; so it only takes down what has to be
done, which takes none.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from weakref import finalize

from objstore._engine import PinHandle
from objstore.errors import ObjStoreError
from objstore_log import uninterrupted


class Dropped:
    """What is left to do behind handles that nobody closed."""

    def __init__(self) -> None:
        self._left: deque[Callable[[], object]] = deque()

    def add(self, give_back: Callable[[], object]) -> None:
        """Take down what to do; for finalizers, takes no lock."""
        self._left.append(give_back)

    @property
    def is_settled(self) -> bool:
        """Say whether nothing is left to do."""
        return not self._left

    def settle(self) -> None:
        """Do it; what fails was given back by something larger already."""
        while self._left:
            # Ctrl-C between the two would lose what was taken out
            with uninterrupted, suppress(ObjStoreError, OSError, IndexError):
                self._left.popleft()()

    def pin(self, pin: PinHandle) -> HeldPin:
        """Have a pin released also when it is forgotten."""
        return HeldPin(pin, self)


class HeldPin:
    """A pin that the collector releases when its holder did not."""

    def __init__(self, pin: PinHandle, dropped: Dropped) -> None:
        self._forget = finalize(self, dropped.add, pin.release)
        self._forget.atexit = False
        self._pin = pin

    @property
    def held(self) -> PinHandle:
        """Give the pin itself."""
        return self._pin

    def release(self) -> None:
        """Let go; idempotent."""
        if sys.is_finalizing():
            # a thread that stands still may hold what this would wait for
            return
        with uninterrupted:
            self._forget.detach()
            self._pin.release()
