"""Watches without an event loop."""

import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import pytest

from objstore import _engine as e
from objstore._types import Change
from objstore.errors import ClosedError

from .changes_engine import ChangesEngine, blocking, shown


@contextmanager
def in_thread(work: Callable[[], object]) -> Generator[None]:
    """Run something beside the block, and see it end."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    yield
    thread.join(5)
    assert not thread.is_alive()


def test_blocking_watch_gives_values_then_changes(engine: ChangesEngine) -> None:
    """The twin gives the same, and wakes for a change of another thread."""
    engine.commit("b")
    engine.commit("a")
    with blocking(engine) as watch:
        first = [shown(next(watch)), shown(next(watch))]
        with in_thread(lambda: engine.commit("c")):
            second = shown(next(watch))
        cursor = watch.cursor
    engine.commit("d")

    assert [("a", 4), ("b", 2)] == first
    assert ("c", 6) == second
    assert ("d", 8) == shown(next(blocking(engine, after=cursor)))


def test_blocking_watch_ends_when_it_is_closed(engine: ChangesEngine) -> None:
    """Also in a thread that waits for a change."""
    watch = blocking(engine)
    found: list[Change] = []
    waiting = threading.Event()

    def before(op: e.Op[Any]) -> None:
        if isinstance(op, e.WaitForChange):
            waiting.set()

    engine.before = before
    with in_thread(lambda: found.extend(watch)):
        assert waiting.wait(5)
        watch.stop()

    assert [] == found


def test_closed_blocking_watch_is_an_error_elsewhere(engine: ChangesEngine) -> None:
    """What cannot end quietly says that the watch is closed."""
    watch = blocking(engine)
    watch.close()

    with pytest.raises(ClosedError):
        watch.updates()
    with pytest.raises(ClosedError):
        watch.caught_up()
    with pytest.raises(ClosedError), watch:
        pass


def test_blocking_updates_give_none_once(engine: ChangesEngine) -> None:
    """One thread alone reads the current values up to `None`."""
    engine.commit("a")
    watch = blocking(engine)
    found = [shown(watch.updates()), shown(watch.updates())]
    with pytest.raises(TimeoutError):
        watch.updates(timeout=0.05)
    engine.commit("b")

    assert [("a", 2), None] == found
    assert ("b", 4) == shown(watch.updates(timeout=1))
    engine.commit("c")
    with blocking(engine, start="new") as fresh:
        engine.commit("d")
        assert ("d", 8) == shown(fresh.updates())


def test_blocking_caught_up_waits_for_the_reader(engine: ChangesEngine) -> None:
    """It returns when another thread took the last current value."""
    blocking(engine).caught_up()
    engine.commit("a")
    watch = blocking(engine)
    with pytest.raises(TimeoutError):
        watch.caught_up(timeout=0.05)

    with in_thread(watch.caught_up):
        assert ("a", 2) == shown(next(watch))


def test_interrupted_sleep_of_a_blocking_watch_loses_nothing(
    engine: ChangesEngine,
) -> None:
    """Ctrl-C while nothing comes leaves the watch as it was."""
    watch = blocking(engine)
    watch.caught_up()

    def interrupt(_op: e.Op[Any]) -> None:
        engine.before = lambda _op: None
        raise KeyboardInterrupt

    engine.before = interrupt
    with pytest.raises(KeyboardInterrupt):
        next(watch)
    engine.commit("a")

    assert ("a", 2) == shown(next(watch))
