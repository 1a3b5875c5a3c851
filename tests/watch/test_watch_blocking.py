"""Watches without an event loop."""

import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from itertools import repeat
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


def test_blocking_caught_up_returns_beside_a_thread_that_iterates(
    engine: ChangesEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread that gave everything sleeps on, and holds nobody up."""
    monkeypatch.setattr("objstore._watch._FOREVER_IN_SLICES", repeat(30.0))
    for name in "abc":
        engine.commit(name)
    watch = blocking(engine)
    found: list[str] = []
    asleep = threading.Event()

    def before(op: e.Op[Any]) -> None:
        if isinstance(op, e.WaitForChange):
            asleep.set()

    def take() -> None:
        found.extend(change.name for change in watch)

    engine.before = before
    with in_thread(take):
        assert asleep.wait(5)
        with in_thread(watch.caught_up):
            pass
        watch.close()
        engine.commit("d")

    assert list("abc") == found


def test_blocking_timeout_of_0_gives_what_is_there(engine: ChangesEngine) -> None:
    """Without waiting for more, from the first call on."""
    engine.commit("a")
    watch = blocking(engine)
    with pytest.raises(TimeoutError):
        watch.caught_up(timeout=0)
    first = [shown(watch.updates(0)), shown(watch.updates(timeout=0))]
    watch.caught_up(timeout=0)
    with pytest.raises(TimeoutError):
        watch.updates(0)
    engine.commit("b")
    engine.commit("c")
    second = [shown(watch.updates(0)), shown(watch.updates(0.000_001))]
    with pytest.raises(TimeoutError):
        watch.updates(0)

    assert [("a", 2), None] == first
    assert [("b", 4), ("c", 6)] == second


@pytest.mark.usefixtures("small_pages")
def test_blocking_timeout_of_0_finds_what_lies_pages_away(
    engine: ChangesEngine,
) -> None:
    """Nothing that the reader does not want hides what is there."""
    for number in range(9):
        engine.commit(f"{number}")
    engine.commit("x")

    watch = blocking(engine, prefix="x", start="all")
    assert ("x", 20) == shown(watch.updates(0))


def test_blocking_timeout_ends_beside_a_busy_writer(engine: ChangesEngine) -> None:
    """Changes that the reader does not want, without an end, are no reason to stay."""
    watch = blocking(engine, prefix="x", start="new")
    watch.caught_up()

    def write(op: e.Op[Any]) -> None:
        if isinstance(op, e.WaitForChange):
            engine.commit("a")

    def wait(timeout: float) -> None:
        with pytest.raises(TimeoutError):
            watch.updates(timeout)

    engine.before = write
    for timeout in (0, 0.02):
        with in_thread(partial(wait, timeout)):
            pass


def test_blocking_updates_work_beside_a_thread_that_sleeps(
    engine: ChangesEngine,
) -> None:
    """Who sleeps on the watch keeps nobody from looking."""
    watch = blocking(engine, start="new")
    watch.caught_up()
    found: list[tuple[str, int] | None] = []
    asleep = threading.Event()

    def before(op: e.Op[Any]) -> None:
        if isinstance(op, e.WaitForChange):
            asleep.set()

    engine.before = before
    with in_thread(lambda: found.append(shown(watch.updates(30)))):
        assert asleep.wait(5)
        with pytest.raises(TimeoutError):
            watch.updates(0)
        engine.commit("a")
        engine.commit("b")
        found.append(shown(watch.updates(0)))

    assert {("a", 2), ("b", 4)} == set(found)


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
