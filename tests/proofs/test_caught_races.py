"""Moments between two steps, and what others do in them.

Another process holds the log or the catalog, gives changes back during a look at them,
sets the clock back, or puts a copied catalog in the place of the right one.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from objstore import blocking
from objstore._embedded import EmbeddedEngine
from objstore._handles import Session
from objstore._open_stores import open_on_storage
from objstore.blocking import Store
from objstore.errors import (
    CursorExpiredError,
    CursorForeignError,
    LimitExceededError,
)
from objstore_log import Environment, FileStorage, Log
from objstore_log._commit_loop import CommitLoop
from objstore_log._tickets import Ticket

HOUR_NS = 3_600 * 1_000_000_000
BRIEF_S = 0.001
WAIT_S = 20.0


def log_of(folder: Path) -> Path:
    """Give the directory of the first bucket's log."""
    return folder / "logs" / "00000001"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give a place for a store."""
    return tmp_path / "store"


def until(is_so: Callable[[], bool]) -> None:
    """Wait for something that another thread does."""
    deadline = time.monotonic() + WAIT_S
    while not is_so():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.001)


def test_puts_of_one_batch_share_the_room(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Together they pass `max_bytes`, so that one of them is refused."""
    with blocking.open(folder) as store:
        bucket = store.create_object_store("b", max_bytes=100)
        queued: list[object] = []
        enqueue = CommitLoop._enqueue

        def noting(loop: CommitLoop, ticket: Ticket) -> None:
            enqueue(loop, ticket)
            queued.append(ticket)

        monkeypatch.setattr(CommitLoop, "_enqueue", noting)
        refused: list[str] = []

        def put(name: str) -> None:
            try:
                bucket.put(name, b"x" * 60)
            except LimitExceededError:
                refused.append(name)

        # another process has the log, so that both wait and ride in one batch
        lock = FileStorage(log_of(folder)).try_lock("lock")
        assert lock is not None
        threads = [threading.Thread(target=put, args=(name,)) for name in "ab"]
        for thread in threads:
            thread.start()
        until(lambda: len(queued) == len(threads))
        lock.release()
        for thread in threads:
            thread.join()
        assert len(refused) == 1
        assert bucket.status().size == 60


def test_changes_that_go_during_a_look_are_told(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A watch that is overtaken by retention says so, and leaves nothing out."""
    feed = Log.feed
    with blocking.open(folder) as store:
        bucket = store.create_object_store(
            "b", changes_ttl=BRIEF_S, segment_bytes=1 << 16
        )
        bucket.put("old", b"x" * 60_000)
        watch = bucket.watch(start="all")
        assert next(watch).name == "old"
        for letter in "abc":
            bucket.put("new", letter.encode() * 60_000)

        def overtaken(log: Log, *arguments: object) -> object:
            monkeypatch.setattr(Log, "feed", feed)
            bucket.put("last", b"")
            store.run_retention()
            return feed(log, *arguments)  # type: ignore[arg-type]

        monkeypatch.setattr(Log, "feed", overtaken)
        with pytest.raises(CursorExpiredError):
            next(watch)


def test_catalog_of_a_diverged_copy_is_not_taken(folder: Path, tmp_path: Path) -> None:
    """Two copies of a store went on, each for itself, to the same place."""
    copy = tmp_path / "copy"
    with blocking.open(folder) as store:
        store.create_object_store("b").put("both", b"1")
    shutil.copytree(folder, copy)
    for place, name in ((folder, "mine"), (copy, "ours")):
        with blocking.open(place) as store:
            store.object_store("b").put(name, b"2")
    for path in log_of(copy).glob("catalog.sqlite*"):
        path.unlink()
    shutil.copy(log_of(folder) / "catalog.sqlite", log_of(copy))

    with blocking.open(copy) as store:
        bucket = store.object_store("b")
        assert [info.name for info in bucket.list()] == ["both", "ours"]
        assert bucket.get("ours") == b"2"
        assert not bucket.exists("mine")


def test_put_is_seen_while_the_catalog_is_busy(folder: Path) -> None:
    """Another process applies, and hangs; what is committed is there all the same."""
    with blocking.open(folder) as store:
        bucket = store.create_object_store("b")
        bucket.put("a", b"1")
        catalog = log_of(folder) / "catalog.sqlite"
        with closing(sqlite3.connect(catalog, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            bucket.put("b", b"2")
            assert [info.name for info in bucket.list()] == ["a", "b"]
            other.execute("ROLLBACK")
        assert [info.name for info in bucket.list()] == ["a", "b"]


def test_clock_that_was_set_back_while_closed_goes_on(folder: Path) -> None:
    """No change is older than the one before it, also behind a restart."""
    now_ns = time.time_ns()

    def opened(behind_ns: int) -> Store:
        environment = Environment(
            lambda: now_ns - behind_ns, time.monotonic, os.urandom
        )
        storage = FileStorage(folder, create=True)
        return Store(Session(EmbeddedEngine(open_on_storage(storage, environment))))

    with opened(0) as store:
        before = store.create_object_store("b").put("a", b"1")
    with opened(HOUR_NS) as store:
        bucket = store.object_store("b")
        assert bucket.put("b", b"2").mtime >= before.mtime


def test_cursor_of_the_bucket_before_is_refused(folder: Path) -> None:
    """A bucket that was made again has another history, however long it is."""
    with blocking.open(folder) as store:
        with store.create_object_store("b").watch(start="all") as watch:
            store.object_store("b").put("a", b"1")
            next(watch)
            cursor = watch.cursor
        store.delete_object_store("b")
        bucket = store.create_object_store("b")
        for number in range(5):
            bucket.put("a", b"%d" % number)
        with pytest.raises(CursorForeignError), bucket.watch(after=cursor) as again:
            next(again)
