"""One face for every store that is measured, and what its acknowledgement means."""

from __future__ import annotations

import shutil
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias

from benchmarks.machine import installed

Calls: TypeAlias = Sequence[tuple[str, bytes | None]]
"""Names with what is put under them; with `None`, what is there is got."""


class Peer(Protocol):
    """An open store."""

    def run(self, calls: Calls, tasks: int = 1) -> None:
        """Make calls, so many at a time, each as the store's own callers do it."""
        ...

    def stream(self, name: str) -> None:
        """Read an object piece by piece and keep nothing, if the store can."""
        ...

    def delete(self, names: Iterable[str]) -> None:
        """Remove objects, one call after another."""
        ...

    def list_names(self, prefix: str = "") -> int:
        """List objects as fully as the store can; give their number."""
        ...

    def cpu_s(self) -> float:
        """Give what every process of it was busy since it was opened."""
        ...

    def server_bytes(self) -> int:
        """Give the most memory that another process of it took."""
        ...

    def close(self) -> None:
        """Close."""
        ...


@dataclass(frozen=True, slots=True)
class Adapter:
    """A peer in one of its settings."""

    name: str
    durability: str
    """What is on the disk when a put is acknowledged, and by which setting."""
    open: Callable[[Path], Peer]
    """Opens or makes a store in a folder."""
    packages: Sequence[str] = ()
    program: str | None = None
    """A program that has to be found."""
    is_ours: bool = False
    problem: Callable[[], str | None] | None = None
    """Finds what else keeps it from running."""

    def missing(self) -> str | None:
        """Say why it cannot take part."""
        for package in self.packages:
            if installed(package) is None:
                return f"{package} is not installed"
        if self.program is not None and shutil.which(self.program) is None:
            return f"{self.program} is not found"
        return None if self.problem is None else self.problem()


class BlockingPeer(ABC):
    """What peers with plain function calls have in common."""

    @abstractmethod
    def put(self, name: str, data: bytes) -> object:
        """Store an object."""

    @abstractmethod
    def get(self, name: str) -> object:
        """Read a whole object."""

    @abstractmethod
    def delete_one(self, name: str) -> object:
        """Remove an object."""

    def run(self, calls: Calls, tasks: int = 1) -> None:
        """Make calls in this thread, or in so many threads."""
        if tasks == 1:
            self._work(calls)
            return
        with ThreadPoolExecutor(tasks) as pool:
            shares = [calls[task::tasks] for task in range(tasks)]
            for _ in pool.map(self._work, shares):
                pass

    def _work(self, calls: Calls) -> None:
        put, get = self.put, self.get
        for name, data in calls:
            if data is None:
                get(name)
            else:
                put(name, data)

    def stream(self, name: str) -> None:
        """Read it whole: there is no other way."""
        self.get(name)

    def delete(self, names: Iterable[str]) -> None:
        """Remove objects."""
        for name in names:
            self.delete_one(name)

    @abstractmethod
    def list_names(self, prefix: str = "") -> int:
        """List objects."""

    def cpu_s(self) -> float:
        """Give the time of this process, which is all that there is."""
        return time.process_time()

    def server_bytes(self) -> int:
        """Have no other process."""
        return 0

    @abstractmethod
    def close(self) -> None:
        """Close."""
