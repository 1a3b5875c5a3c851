"""Puts that are cancelled at one certain moment, or meet one certain change."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

import objstore
from objstore import ObjectStore, Store, _loop_wake, blocking
from objstore._bucket_log import BucketLog
from objstore._embedded import EmbeddedEngine
from objstore._handles import Session
from objstore._open_stores import open_on_storage
from objstore._store_directory import StoreDirectory, system_environment
from objstore.errors import BucketNotFoundError
from objstore_log import FileStorage
from objstore_log._commit import Committer, _Batch
from objstore_log._commit_loop import CommitLoop
from objstore_log._tickets import Ticket

LARGE = b"x" * 2_000_000
WAIT_S = 20.0


def inside(store: Store | blocking.Store) -> BucketLog:
    """Give the log of the bucket of these tests."""
    engine: Any = store._session.engine
    log: BucketLog = engine._store.bucket("b")
    return log


@pytest.mark.anyio
async def test_put_that_is_cancelled_in_the_queue_does_not_happen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No commit had it, so none takes it later."""
    monkeypatch.setattr(_loop_wake, "SHIELD_S", 0.02)
    async with objstore.connect(str(tmp_path / "store")) as store:
        bucket = await store.create_object_store("b")
        with inside(store).log._loop.alone(), anyio.move_on_after(0.02):
            await bucket.put("cancelled", b"1")
        await bucket.put("next", b"2")
        assert not await bucket.exists("cancelled")


@pytest.mark.anyio
async def test_large_put_that_is_cancelled_in_its_commit_is_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It happened, and keeps retention from nothing any more."""
    reached, may_go = threading.Event(), threading.Event()
    write = Committer._write

    def slow(committer: Committer, batch: _Batch) -> None:
        if batch.is_visible and batch.tickets:
            reached.set()
            assert may_go.wait(WAIT_S)
        write(committer, batch)

    async with objstore.connect(str(tmp_path / "store")) as store:
        bucket: ObjectStore = await store.create_object_store("b")
        log = inside(store)
        monkeypatch.setattr(Committer, "_write", slow)
        async with anyio.create_task_group() as group:
            group.start_soon(bucket.put, "a", LARGE)
            with anyio.fail_after(WAIT_S):
                while not reached.is_set():
                    await anyio.sleep(0.001)
            group.cancel_scope.cancel()
            with anyio.CancelScope(shield=True):
                for _ in range(5):
                    await anyio.lowlevel.checkpoint()
            may_go.set()
        assert await bucket.get("a") == LARGE
        assert log.unfinished == {}


def leave_files(_directory: StoreDirectory, _number: int) -> None:
    """Remove nothing, as when another process still has it."""


def test_put_into_a_bucket_that_goes_meanwhile_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also while the files of the deleted bucket are still there."""

    def engine() -> EmbeddedEngine:
        storage = FileStorage(tmp_path / "store", create=True)
        return EmbeddedEngine(open_on_storage(storage, system_environment()))

    engines = engine(), engine()
    one, other = (blocking.Store(Session(opened)) for opened in engines)
    bucket = one.create_object_store("b")
    bucket.put("a", b"1")
    enqueue: Callable[[CommitLoop, Ticket], None] = CommitLoop._enqueue

    def overtaken(loop: CommitLoop, ticket: Ticket) -> None:
        monkeypatch.setattr(CommitLoop, "_enqueue", enqueue)
        other.delete_object_store("b")
        enqueue(loop, ticket)

    monkeypatch.setattr(StoreDirectory, "remove_log", leave_files)
    monkeypatch.setattr(CommitLoop, "_enqueue", overtaken)
    with pytest.raises(BucketNotFoundError):
        bucket.put("a", b"2")
    for opened in engines:
        opened.close()
