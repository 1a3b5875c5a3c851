"""Handles whose bucket, store or directory goes away, or is made again, under them."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from tests.fakes.fake_engine import FakeEngine

import objstore
from objstore import ObjectMeta, blocking
from objstore._engine import Append, Chunk, DeleteBucket, Engine, Op
from objstore._handles import Session
from objstore._schedule import RetentionSchedule
from objstore.errors import (
    BucketExistsError,
    BucketNotFoundError,
    BusyError,
    ClosedError,
    StorageError,
)
from objstore_log import FileStorage

LARGE = os.urandom(9 << 20)
"""Takes several appends, and its reader several reads."""


def recreate(store: blocking.Store) -> None:
    """Make the bucket again."""
    store.delete_object_store("b")
    store.create_object_store("b")


# --- a bucket that is made again -----------------------------------------------------


def test_writer_never_commits_into_another_bucket(store: blocking.Store) -> None:
    """Chunks that went with the old bucket are not acknowledged in the new one."""
    bucket = store.create_object_store("b")
    writer = bucket.open_writer("x")
    writer.write(LARGE)
    recreate(store)
    with pytest.raises(BucketNotFoundError):
        writer.close()
    assert bucket.list() == []


def test_small_writer_keeps_to_its_bucket(store: blocking.Store) -> None:
    """Nothing was sent yet, but the put began in the old bucket."""
    bucket = store.create_object_store("b")
    writer = bucket.open_writer("x", create=True)
    writer.write(b"1")
    recreate(store)
    bucket.put("x", b"new")
    with pytest.raises(BucketNotFoundError):
        writer.close()
    assert bucket.get("x") == b"new"


def test_writer_notices_what_another_process_made(
    store: blocking.Store, other: blocking.Store
) -> None:
    """The same holds when another process deletes and makes the bucket."""
    bucket = store.create_object_store("b")
    writer = bucket.open_writer("x")
    writer.write(LARGE)
    recreate(other)
    with pytest.raises(BucketNotFoundError):
        writer.close()
    assert bucket.list() == []


def test_logic_names_the_incarnation_on_every_engine() -> None:
    """The object logic, not the embedded engine, keeps a put in its bucket."""
    store = blocking.Store(Session(FakeEngine()), retention_interval=None)
    bucket = store.create_object_store("b")
    writer = bucket.open_writer("x")
    writer.write(LARGE)
    recreate(store)
    with pytest.raises(BucketNotFoundError):
        writer.close()
    assert bucket.list() == []


class Interposed:
    """An engine that lets something happen just before an append."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.before_append: Callable[[], None] = lambda: None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def run(self, op: Op[Any]) -> Any:
        """Carry an operation out."""
        if isinstance(op, Append):
            happening, self.before_append = self.before_append, lambda: None
            happening()
        return self._engine.run(op)


def test_change_never_puts_old_content_into_another_bucket(
    store: blocking.Store,
) -> None:
    """A name at the same sequence in the new bucket is not the name that was read."""
    plain = store.create_object_store("b")
    plain.put("x", b"old")
    engine: Any = Interposed(store._session.engine)
    session = Session(engine)
    bucket = blocking.ObjectStore(session, "b")

    def happening() -> None:
        recreate(store)
        assert plain.put("x", b"new").seq == before.seq

    before = plain.get_info("x")
    engine.before_append = happening
    with pytest.raises(BucketNotFoundError):
        bucket.update_meta("x", ObjectMeta(description="d"))
    assert (plain.get("x"), plain.get_info("x").description) == (b"new", None)


def test_handle_goes_on_with_the_new_bucket(store: blocking.Store) -> None:
    """A handle is a name: new calls are calls on what has the name now."""
    bucket = store.create_object_store("b")
    bucket.put("x", b"1")
    recreate(store)
    assert not bucket.exists("x")
    bucket.put("x", b"2")
    assert bucket.get("x") == b"2"


# --- a reader of a deleted bucket ----------------------------------------------------


@pytest.mark.parametrize("by", ["store", "other"])
@pytest.mark.parametrize("again", [False, True])
def test_reader_keeps_its_version_in_a_deleted_bucket(
    by: str, again: bool, request: pytest.FixtureRequest, store: blocking.Store
) -> None:
    """What is open stays readable to the end, and closing the reader is fine."""
    deleter: blocking.Store = request.getfixturevalue(by)
    bucket = store.create_object_store("b", segment_bytes=1 << 20)
    bucket.put("x", LARGE)
    reader = bucket.open_reader("x")
    assert reader.read(10) == LARGE[:10]
    deleter.delete_object_store("b")
    if again:
        deleter.create_object_store("b")
        bucket.put("x", b"new")
    assert reader.read() == LARGE[10:]
    reader.close()
    with pytest.raises(ClosedError):
        reader.read()


def test_closed_reader_gives_the_space_back(store: blocking.Store) -> None:
    """A deleted bucket's files are open only as long as somebody reads them."""
    bucket = store.create_object_store("b")
    bucket.put("x", LARGE)
    reader = bucket.open_reader("x")
    store.delete_object_store("b")
    assert any(".seg (deleted)" in link for link in open_links())
    reader.close()
    assert not any(".seg (deleted)" in link for link in open_links())


def open_links() -> list[str]:
    """Give what this process has open."""
    links: list[str] = []
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            links.append(str(descriptor.readlink()))
        except FileNotFoundError:
            continue
    return links


@pytest.mark.anyio
async def test_reader_keeps_its_version_when_awaited(tmp_path: Path) -> None:
    """The asynchronous reader does the same."""
    async with objstore.connect(tmp_path, retention_interval=None) as store:
        bucket = await store.create_object_store("b")
        await bucket.put("x", LARGE)
        async with bucket.open_reader("x") as reader:
            await store.delete_object_store("b")
            assert await reader.read() == LARGE
        with pytest.raises(BucketNotFoundError):
            await bucket.get("x")


@pytest.mark.anyio
async def test_awaited_writer_never_commits_into_another_bucket(
    tmp_path: Path,
) -> None:
    """The asynchronous writer keeps to its bucket, too."""
    async with objstore.connect(tmp_path, retention_interval=None) as store:
        bucket = await store.create_object_store("b")
        writer = await bucket.open_writer("x")
        await writer.write(LARGE)
        await store.delete_object_store("b")
        await store.create_object_store("b")
        with pytest.raises(BucketNotFoundError):
            await writer.aclose()
        assert await bucket.list() == []


# --- a bucket that another process deletes -------------------------------------------


def test_close_is_whole_when_a_bucket_was_deleted_elsewhere(
    store: blocking.Store, other: blocking.Store, tmp_path: Path
) -> None:
    """Closing raises nothing and leaves neither threads nor descriptors."""
    store.create_object_store("b").put("x", b"1")
    other.delete_object_store("b")
    other.close()
    store.close()
    place = f"{tmp_path / 'store'}/"
    assert [link for link in open_links() if link.startswith(place)] == []


def test_bucket_made_again_elsewhere_works(
    store: blocking.Store, other: blocking.Store
) -> None:
    """The old log is given up, not applied to a catalog that is gone."""
    bucket = store.create_object_store("b")
    bucket.put("x", b"1")
    recreate(other)
    other.object_store("b").put("y", b"2")
    assert [info.name for info in bucket.list()] == ["y"]


def test_late_opening_makes_no_deleted_bucket(
    store: blocking.Store, other: blocking.Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bucket deleted between its look-up and its opening takes no put."""
    store.create_object_store("b")
    embedded: Any = other._session.engine
    shared = embedded._store
    opening = shared._open_bucket

    def late(entry: object) -> object:
        store.delete_object_store("b")
        return opening(entry)

    monkeypatch.setattr(shared, "_open_bucket", late)
    chunk = Chunk(bytes(16), 0, b"1")
    with pytest.raises(BucketNotFoundError):
        embedded.run(Append("b", (chunk,), visible=False))


# --- several handles on a directory --------------------------------------------------


@pytest.mark.anyio
async def test_watch_ends_with_its_store_though_others_are_open(
    tmp_path: Path,
) -> None:
    """A waiting watcher is woken by the end of its own handle."""
    async with objstore.connect(tmp_path, retention_interval=None) as kept:
        await kept.create_object_store("b")
        ending = await objstore.connect(tmp_path, retention_interval=None)
        bucket = await ending.object_store("b")
        async with anyio.create_task_group() as tasks:

            async def watching() -> None:
                with pytest.raises(ClosedError):
                    await anext(bucket.watch(updates_only=True))

            tasks.start_soon(watching)
            await anyio.sleep(0.1)
            with anyio.fail_after(2):
                await ending.aclose()
        assert await kept.object_store_names() == ["b"]


@pytest.mark.anyio
async def test_watch_ends_with_its_bucket(tmp_path: Path) -> None:
    """A waiting watcher is told that its bucket was deleted."""
    async with objstore.connect(tmp_path, retention_interval=None) as store:
        bucket = await store.create_object_store("b")
        with anyio.fail_after(5):
            async with anyio.create_task_group() as tasks:

                async def watching() -> None:
                    with pytest.raises(BucketNotFoundError):
                        await anext(bucket.watch(updates_only=True))

                tasks.start_soon(watching)
                await anyio.sleep(0.1)
                await store.delete_object_store("b")


def log_lock(path: Path) -> Any:
    """Take the lock of the bucket's log as another process does."""
    held = FileStorage(path / "logs" / "00000001").try_lock("lock")
    assert held is not None
    return held


def test_lock_timeout_is_the_handles_own(tmp_path: Path) -> None:
    """A second handle waits for as long as it said, the first for as long as needed."""
    patient = objstore.open(tmp_path, retention_interval=None)
    hasty = objstore.open(tmp_path, retention_interval=None, lock_timeout=0.3)
    with patient, hasty:
        patient.create_object_store("b")
        held = log_lock(tmp_path)
        done: list[int] = []
        bucket = patient.object_store("b")
        waiting = threading.Thread(
            target=lambda: done.append(bucket.put("p", b"1").size)
        )
        waiting.start()
        time.sleep(0.05)
        started = time.monotonic()
        with pytest.raises(BusyError):
            hasty.object_store("b").put("h", b"1")
        assert 0.25 < time.monotonic() - started < 1.5
        assert done == []
        held.release()
        waiting.join()
        assert [info.name for info in bucket.list()] == ["p"]


def test_hasty_leader_leaves_the_patient_waiting(tmp_path: Path) -> None:
    """Who gives up first takes nobody along, whoever of them was leading."""
    hasty = objstore.open(tmp_path, retention_interval=None, lock_timeout=0.2)
    patient = objstore.open(tmp_path, retention_interval=None)
    with patient, hasty:
        bucket = patient.create_object_store("b")
        held = log_lock(tmp_path)
        failed: list[BaseException] = []

        def leading() -> None:
            try:
                hasty.object_store("b").put("h", b"1")
            except BusyError as error:
                failed.append(error)

        threads = [
            threading.Thread(target=leading),
            threading.Thread(target=lambda: bucket.put("p", b"1")),
        ]
        for thread in threads:
            thread.start()
            time.sleep(0.05)
        threads[0].join(2)
        assert len(failed) == 1
        held.release()
        threads[1].join()
        assert [info.name for info in bucket.list()] == ["p"]


@pytest.mark.anyio
async def test_lock_timeout_holds_for_awaited_puts(tmp_path: Path) -> None:
    """The time of the asynchronous handle reaches the committer thread."""
    async with (
        objstore.connect(tmp_path, retention_interval=None) as patient,
        objstore.connect(tmp_path, retention_interval=None, lock_timeout=0.3) as hasty,
    ):
        await patient.create_object_store("b")
        bucket = await hasty.object_store("b")
        held = log_lock(tmp_path)
        with anyio.fail_after(2), pytest.raises(BusyError):
            await bucket.put("h", b"1")
        held.release()
        assert (await bucket.put("h", b"1")).size == 1


def test_reader_closes_after_another_handle_deleted_its_bucket(
    tmp_path: Path, store: blocking.Store
) -> None:
    """Letting a pin go needs no file that is gone."""
    bucket = store.create_object_store("b")
    bucket.put("x", LARGE)
    reader = bucket.open_reader("x")
    with objstore.open(tmp_path / "store") as second:
        second.delete_object_store("b")
    reader.close()


def test_bucket_in_memory_hides_none_in_files(
    store: blocking.Store, other: blocking.Store
) -> None:
    """Two buckets of one name are an error, and deleting the one in memory ends it."""
    store.create_object_store("m", storage="memory").put("x", b"1")
    other.create_object_store("m").put("y", b"2")
    for attempt in (store.object_store, store.create_object_store):
        with pytest.raises(BucketExistsError, match="storage"):
            attempt("m")
    assert store.run_retention().expired == 0
    assert store.delete_object_store("m")
    assert [info.name for info in store.object_store("m").list()] == ["y"]


# --- a directory that goes away ------------------------------------------------------


def test_removed_directory_is_a_storage_error(
    store: blocking.Store, tmp_path: Path
) -> None:
    """Calls and closing raise the public error; closing again is fine."""
    bucket = store.create_object_store("b")
    bucket.put("x", b"1")
    shutil.rmtree(tmp_path / "store")
    with pytest.raises(StorageError):
        bucket.put("y", b"2")
    with pytest.raises(StorageError):
        store.close()
    store.close()
    place = f"{tmp_path / 'store'}/"
    assert [link for link in open_links() if link.startswith(place)] == []


def test_download_names_the_file_that_was_asked_for(
    store: blocking.Store, tmp_path: Path
) -> None:
    """A missing folder is reported with the target, not with a temporary file."""
    bucket = store.create_object_store("b")
    bucket.put("x", b"1")
    target = tmp_path / "missing" / "x"
    with pytest.raises(FileNotFoundError) as raised:
        bucket.download("x", target)
    assert raised.value.filename == str(target)


def test_engine_explains_only_what_it_knows(store: blocking.Store) -> None:
    """An operation on a bucket that never was keeps its own error."""
    with pytest.raises(BucketNotFoundError):
        store._session.engine.run(DeleteBucket("none"))


def test_interrupted_close_is_closed_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C in the middle of it leaves a store that can still be closed."""
    store = objstore.open(tmp_path / "store", retention_interval=None)

    def interrupted(_schedule: RetentionSchedule) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as once:
        once.setattr(RetentionSchedule, "stop", interrupted)
        with pytest.raises(KeyboardInterrupt):
            store.close()
    assert list((tmp_path / "store" / "writers").iterdir())
    store.close()

    assert [] == list((tmp_path / "store" / "writers").iterdir())
