"""Ctrl-C anywhere in an append: the log goes on, the append took effect or did not."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from objstore_log import _log
from objstore_log._core import SyncMode
from objstore_log._log import Log
from objstore_log._memory_storage import MemoryStorage
from objstore_log._record import Kind, Record

from .harness import chunk, current, everything, meta, open_log, opened, put, subject

FILES = {
    str(Path(_log.__file__).with_name(name))
    for name in (
        "_applier.py",
        "_batch.py",
        "_commit.py",
        "_core.py",
        "_head.py",
        "_overlay.py",
        "_progress.py",
        "_segment.py",
        "_segments.py",
        "_takeover.py",
    )
}
# Taking a lock and noting that it is taken are two steps of the interpreter.
NOT_HERE = {"locked", "_commit_queued", "_take_lock", "try_lock"}


pytestmark = pytest.mark.usefixtures("single_threaded")


@contextmanager
def interrupted_at(place: int) -> Generator[Callable[[], bool]]:
    """Raise KeyboardInterrupt before the line of that number, counted while running."""
    seen = 0

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal seen
        code = frame.f_code
        if code.co_filename not in FILES or code.co_name in NOT_HERE:
            return None
        if event == "line":
            seen += 1
            if seen == place:
                raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield lambda: seen >= place
    finally:
        sys.settrace(before)


def small(log: Log) -> None:
    """Append one record."""
    put(log, "a", b"interrupted")


def several(log: Log) -> None:
    """Append several records behind invisible ones."""
    log.append([chunk(b"1")], is_visible=False)
    log.append([chunk(b"interrupted"), meta("a"), meta("b")])


def rolling(log: Log) -> None:
    """Append what needs a new segment."""
    put(log, "a", b"interrupted" * 80)


def _check(log: Log, shown: list[Record]) -> None:
    records = everything(log)
    bodies = [bytes(record.body) for record in records]
    sequences = [record.sequence for record in records]
    assert sequences == sorted(set(sequences))
    assert bodies[:2] == [b"one", b"two"]
    assert bodies[-1] == b"after"
    assert len([body for body in bodies if body.startswith(b"interrupted")]) <= 1
    newest = {
        record.subject: record.sequence
        for record in records
        if record.kind == Kind.META
    }
    assert current(log) == newest
    assert {name: log.last(name)[0] for name in newest} == newest
    rows = list(log.catalog.rows())
    log.rebuild_catalog("a test")
    assert list(log.catalog.rows()) == rows
    assert {record.sequence for record in shown} >= set(newest.values())
    assert log.damages == []


def _interrupt(append: Callable[[Log], None], place: int, sync: SyncMode) -> bool:
    """Interrupt one append at a place; False when it ended before."""
    storage = MemoryStorage()
    one = open_log(storage, sync=sync, segment_bytes=1_000)
    shown: list[Record] = []
    one.log.add_listener(shown.extend)
    put(one.log, "a", b"one")
    put(one.log, "b", b"two")
    with interrupted_at(place) as is_reached, suppress(KeyboardInterrupt):
        append(one.log)
    put(one.log, "c", b"after")
    _check(one.log, shown)
    kept = everything(one.log)
    with opened(storage, seed=2, sync=sync, segment_bytes=1_000) as other:
        assert everything(other) == kept
    one.close()
    with opened(storage, seed=3, sync=sync, segment_bytes=1_000) as again:
        assert everything(again) == kept
        assert put(again, "d").first_sequence > kept[-1].sequence
    return is_reached()


def _interrupt_everywhere(
    append: Callable[[Log], None], sync: SyncMode, step: int
) -> int:
    place = 1
    while True:
        try:
            is_reached = _interrupt(append, place, sync)
        except BaseException as error:
            error.add_note(f"interrupted before line {place}")
            raise
        if not is_reached:
            return place
        place += step


@pytest.mark.parametrize("sync", ["always", "never"])
@pytest.mark.parametrize("append", [small, several, rolling])
def test_interrupt_loses_nothing(append: Callable[[Log], None], sync: SyncMode) -> None:
    """In the middle of a commit: nothing before it is lost, nothing comes twice."""
    assert _interrupt_everywhere(append, sync, 13) > 100


@pytest.mark.slow
@pytest.mark.parametrize("sync", ["always", "never"])
@pytest.mark.parametrize("append", [small, several, rolling])
def test_interrupt_anywhere_loses_nothing(
    append: Callable[[Log], None], sync: SyncMode
) -> None:
    """The same before every single line."""
    assert _interrupt_everywhere(append, sync, 1) > 100


def test_interrupt_while_waiting_for_the_lock_has_no_effect() -> None:
    """A caller that gave up does not find the append done later."""
    storage = MemoryStorage()
    with opened(storage) as log:
        put(log, "a")
        lock = storage.directory("log").try_lock("lock")
        assert lock is not None

        def interrupt(_: float) -> None:
            raise KeyboardInterrupt

        log._committer.set_sleep(interrupt)
        with pytest.raises(KeyboardInterrupt):
            put(log, "b")
        lock.release()
        put(log, "c")

        assert list(current(log)) == [subject("a"), subject("c")]
