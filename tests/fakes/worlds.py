"""The engines that the object suite runs on."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.fakes.fake_engine import FakeEngine

from objstore._embedded import EmbeddedEngine
from objstore._engine import Engine
from objstore._open_stores import open_on_storage
from objstore_log import Environment, FileStorage, MemoryStorage, Storage


@dataclass
class World:
    """An engine of a place, its clock, and what opens the place again."""

    engine: Engine
    advance: Callable[[float], None]
    """Lets the engine's clock go on by so many seconds."""
    open_again: Callable[[], Engine]
    """Opens the place after its engine was closed."""


def fake_world(_folder: Path) -> World:
    """Make a fake engine; opened again it has what it had."""
    engine = FakeEngine()

    def open_again() -> FakeEngine:
        engine.is_closed = False
        return engine

    return World(engine, engine.advance, open_again)


class SteppedClock:
    """A wall clock that goes on by itself a little, and by hand a lot."""

    def __init__(self) -> None:
        self._ahead_ns = 0

    def advance(self, seconds: float) -> None:
        """Let the clock go on."""
        self._ahead_ns += int(seconds * 1e9)

    def now_ns(self) -> int:
        """Give the time."""
        return time.time_ns() + self._ahead_ns


def embedded_world(storage: Storage) -> World:
    """Make an embedded engine on a storage port; opened again it has what it had."""
    clock = SteppedClock()
    environment = Environment(clock.now_ns, time.monotonic, os.urandom)

    def open_again() -> EmbeddedEngine:
        return EmbeddedEngine(open_on_storage(storage, environment))

    return World(open_again(), clock.advance, open_again)


def file_world(folder: Path) -> World:
    """Make an embedded engine on files."""
    return embedded_world(FileStorage(folder / "store", create=True))


def memory_world(_folder: Path) -> World:
    """Make an embedded engine in memory."""
    return embedded_world(MemoryStorage())


ENGINES: dict[str, Callable[[Path], World]] = {
    "fake": fake_world,
    "file": file_world,
    "memory": memory_world,
}
"""What makes an empty engine in an empty folder, by the engine's name."""


class Told:
    """A progress function that keeps what it was told."""

    def __init__(self) -> None:
        self.steps: list[tuple[int, int | None]] = []

    def __call__(self, done: int, total: int | None) -> None:
        self.steps.append((done, total))


on_fake = pytest.mark.parametrize("engine_name", ["fake"], indirect=True)
"""For a test that looks into the engine or makes it fail."""
asynchronous = pytest.mark.parametrize("face", ["asyncio", "trio"], indirect=True)
"""For a test of the asynchronous API alone."""
