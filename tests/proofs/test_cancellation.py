"""A cancelled call has happened or left nothing, and its cancellation ends with it.

Also what is like a cancel: handles that nobody closes, coroutines that nobody ends.
"""

from __future__ import annotations

import asyncio
import gc
import random
import threading
import time
import tracemalloc
import zipfile
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

import objstore
from objstore import ObjectStore, Store, _loop_wake, blocking
from objstore._bucket_log import BucketLog
from objstore.errors import (
    BadObjectMetaError,
    ClosedError,
    LimitExceededError,
    WrongEventLoopError,
)

OLD = b"old"
LARGE = random.Random(1).randbytes(6_000_000)
MEBIBYTE = 1024 * 1024


def inside(store: Store | blocking.Store) -> BucketLog:
    """Give the log of the bucket of these tests."""
    engine: Any = store._session.engine
    log: BucketLog = engine._store.bucket("b")
    return log


@asynccontextmanager
async def opened(folder: Path) -> AsyncGenerator[tuple[Store, ObjectStore]]:
    """Open a store with an object `a` in a bucket of small segments."""
    async with objstore.connect(str(folder / "store")) as store:
        bucket = await store.create_object_store(
            "b", segment_bytes=8 * MEBIBYTE, changes_ttl=0.001
        )
        await bucket.put("a", OLD)
        yield store, bucket


@pytest.fixture
def closed_over(tmp_path: Path) -> Iterator[tuple[blocking.Store, Any]]:
    """Give a store and its bucket, for threads."""
    with objstore.open(str(tmp_path / "store")) as store:
        yield store, store.create_object_store("b", changes_ttl=0.001)


async def idle() -> None:
    """Let everything arrive that is under way to this task."""
    for _ in range(5):
        await anyio.lowlevel.checkpoint()


async def check_whole(store: Store, bucket: ObjectStore, contents: set[bytes]) -> None:
    """Check that nothing is unfinished, nor half, nor changes any more."""
    content = await bucket.get("a")
    assert content in contents
    await anyio.sleep(0.02)
    assert {} == inside(store).unfinished
    assert content == await bucket.get("a")


def size_of(folder: Path) -> int:
    """Give the bytes that a directory takes on the disk."""
    return sum(
        path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file()
    )


# --- a cancellation stays in its scope ----------------------------------------------


async def attack_scopes(folder: Path, rounds: int) -> None:
    """Time puts out with asyncio and anyio, and look what arrives behind."""
    moments = random.Random(2)
    async with opened(folder) as (_, bucket):
        task = asyncio.current_task()
        assert task is not None
        for number in range(rounds):
            with suppress(TimeoutError):
                if number % 2:
                    async with asyncio.timeout(moments.uniform(0, 0.002)):
                        await bucket.put("x", b"1" * 1000)
                else:
                    with anyio.fail_after(moments.uniform(0, 0.002)):
                        await bucket.put("x", b"1" * 1000)
            await idle()
            assert 0 == task.cancelling()


def test_timeouts_of_asyncio_end_with_their_block(tmp_path: Path) -> None:
    """No cancellation arrives behind the block that asked for it."""
    asyncio.run(attack_scopes(tmp_path, 150))


@pytest.mark.anyio
async def test_scopes_of_anyio_end_with_their_block(tmp_path: Path) -> None:
    """No cancellation arrives behind the scope that asked for it."""
    moments = random.Random(3)
    async with opened(tmp_path) as (store, bucket):
        for _ in range(150):
            with anyio.move_on_after(moments.uniform(0, 0.002)):
                await bucket.put("x", b"1" * 1000)
            await idle()
        await check_whole(store, bucket, {OLD})


def test_an_outer_cancellation_is_not_eaten(tmp_path: Path) -> None:
    """A task that is cancelled inside a timeout ends as cancelled, not as late."""

    async def putting(bucket: ObjectStore) -> None:
        async with asyncio.timeout(0.01):
            await bucket.put("a", LARGE)

    async def main() -> None:
        async with opened(tmp_path) as (store, bucket):
            with inside(store).log._loop.alone():
                task = asyncio.create_task(putting(bucket))
                await asyncio.sleep(0.02)
                task.cancel()
                await asyncio.sleep(0.01)
            with pytest.raises(asyncio.CancelledError):
                await task
            await check_whole(store, bucket, {OLD})

    asyncio.run(main())


def test_a_task_group_gets_only_the_first_failure(tmp_path: Path) -> None:
    """A task group that fails ends the puts in it, and raises nothing of theirs."""

    async def fail() -> None:
        await asyncio.sleep(0.002)
        raise ZeroDivisionError

    async def putting(bucket: ObjectStore) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(3):
                group.create_task(bucket.put("a", LARGE))
            group.create_task(fail())

    async def main() -> None:
        async with opened(tmp_path) as (store, bucket):
            with pytest.raises(ExceptionGroup) as caught:
                await putting(bucket)
            assert 1 == len(caught.value.exceptions)
            await check_whole(store, bucket, {OLD, LARGE})

    asyncio.run(main())


# --- a cancelled put has happened or left nothing -----------------------------------


async def write_large(bucket: ObjectStore) -> None:
    """Write an object piece by piece."""
    async with bucket.open_writer("a") as writer:
        for at in range(0, len(LARGE), 500_000):
            await writer.write(LARGE[at : at + 500_000])


async def put_large(bucket: ObjectStore) -> None:
    """Put an object from an iterable that is pulled in threads."""
    await bucket.put(
        "a", (LARGE[at : at + 700_000] for at in range(0, 6_000_000, 700_000))
    )


async def attack_puts(folder: Path, rounds: int) -> None:
    """Cancel puts and writers natively, again and again, at random moments."""
    moments = random.Random(4)
    async with opened(folder) as (store, bucket):
        for number in range(rounds):
            work: Callable[[ObjectStore], Any] = [write_large, put_large][number % 2]
            task = asyncio.create_task(work(bucket))
            await asyncio.sleep(moments.uniform(0, 0.03))
            for _ in range(moments.randrange(1, 5)):
                task.cancel()
                await asyncio.sleep(moments.choice([0, 0.000_2, 0.002]))
            with suppress(asyncio.CancelledError):
                await task
            await check_whole(store, bucket, {OLD, LARGE})
        await bucket.put("a", OLD)
        await store.run_retention()
        assert size_of(folder) < 4 * len(LARGE)


def test_puts_that_are_cancelled_again_leave_nothing(tmp_path: Path) -> None:
    """However often it is cancelled, a put happened or its bytes come back."""
    asyncio.run(attack_puts(tmp_path, 20))


@pytest.mark.anyio
async def test_puts_in_cancelled_scopes_leave_nothing(tmp_path: Path) -> None:
    """A put whose scope ends at any moment happened or its bytes come back."""
    moments = random.Random(5)
    async with opened(tmp_path) as (store, bucket):
        for number in range(12):
            with anyio.move_on_after(moments.uniform(0, 0.03)):
                await [write_large, put_large][number % 2](bucket)
            await check_whole(store, bucket, {OLD, LARGE})


@pytest.mark.anyio
async def test_an_append_that_outlasts_the_shield_is_settled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call that cannot wait longer leaves the rest to the committing thread."""
    monkeypatch.setattr(_loop_wake, "SHIELD_S", 0.05)
    async with opened(tmp_path) as (store, bucket):
        log = inside(store)
        async with bucket.open_writer("a") as writer:
            await writer.write(LARGE)
            with log.log._loop.alone():
                started_s = time.monotonic()
                with anyio.move_on_after(0.05):
                    await writer.write(LARGE)
                assert time.monotonic() - started_s < 2
            await anyio.sleep(0.1)
            assert {} == log.unfinished
            await writer.abort()
        await check_whole(store, bucket, {OLD})


def test_a_put_that_is_never_ended_leaves_nothing(tmp_path: Path) -> None:
    """A coroutine that is closed in the middle gives its chunks back some time."""

    async def main() -> None:
        async with opened(tmp_path) as (store, bucket):
            log = inside(store)
            writer = await bucket.open_writer("a")
            await writer.write(LARGE)
            writing = writer.write(LARGE)
            with log.log._loop.alone():
                writing.send(None)
                writing.close()
            assert log.unfinished
            del writer, writing
            gc.collect()
            await bucket.exists("a")
            await check_whole(store, bucket, {OLD})

    asyncio.run(main())


def test_a_thread_is_waited_for_however_often_it_is_cancelled() -> None:
    """A cancelled call does not return while its thread still works."""
    ended = threading.Event()
    begun = threading.Event()

    def work() -> None:
        begun.set()
        time.sleep(0.05)
        ended.set()

    async def main() -> None:
        task = asyncio.create_task(_loop_wake.in_thread(work))
        while not begun.is_set():
            await asyncio.sleep(0.001)
        for _ in range(5):
            task.cancel()
            await asyncio.sleep(0.002)
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ended.is_set()

    asyncio.run(main())


@pytest.mark.anyio
async def test_a_watch_keeps_what_it_fetched_for_cancelled_calls(
    tmp_path: Path,
) -> None:
    """Calls that get no time at all come forward, and no change is left out."""
    async with opened(tmp_path) as (_, bucket):
        for number in range(300):
            await bucket.put(f"n{number}", b"")
        seen: list[str] = []
        async with bucket.watch(start="all", prefix="n") as watch:
            for _ in range(3000):
                with anyio.move_on_after(0.000_1):
                    seen.append((await anext(watch)).name)
                if len(seen) == 300:
                    break
        assert [f"n{number}" for number in range(300)] == seen


# --- handles that nobody closed -----------------------------------------------------


def test_a_forgotten_reader_holds_nothing(closed_over: Any) -> None:
    """A reader that was dropped gives its version back with the next operation."""
    store, bucket = closed_over
    bucket.put("a", LARGE)
    bucket.open_reader("a").read(10)
    bucket.put("a", OLD)
    gc.collect()

    assert store.run_retention().bytes_reclaimed >= 0.9 * len(LARGE)


def test_a_forgotten_writer_holds_nothing(closed_over: Any) -> None:
    """A writer that was dropped gives its chunks back with the next operation."""
    store, bucket = closed_over
    writer = bucket.open_writer("a")
    for _ in range(3):
        writer.write(LARGE)
    del writer
    gc.collect()
    bucket.put("b", OLD)
    bucket.put("c", OLD)

    assert store.run_retention().bytes_reclaimed >= 2 * len(LARGE)
    assert {} == inside(store).unfinished


# --- writers ------------------------------------------------------------------------


def test_a_write_of_text_is_refused_alone(closed_over: Any) -> None:
    """What is no bytes is not written, and ends nothing."""
    _, bucket = closed_over
    writer = bucket.open_writer("a")
    writer.write(b"1")
    with pytest.raises(BadObjectMetaError):
        writer.write("text")
    writer.write(b"2")
    writer.close()

    assert b"12" == bucket.get("a")
    with pytest.raises(ClosedError):
        writer.write(b"3")


def test_a_zip_file_can_be_written(closed_over: Any) -> None:
    """A writer is as much of a file as `zipfile` needs."""
    _, bucket = closed_over
    with bucket.open_writer("a.zip") as writer, zipfile.ZipFile(writer, "w") as target:
        target.writestr("one", "1")

    with bucket.open_reader("a.zip") as reader, zipfile.ZipFile(reader) as source:
        assert b"1" == source.read("one")


def test_a_failed_put_lets_go_of_the_callers_buffer(closed_over: Any) -> None:
    """A buffer can be resized while the error of its put is still held."""
    store, _ = closed_over
    small = store.create_object_store("small", max_bytes=10)
    data = bytearray(100)
    with pytest.raises(LimitExceededError) as caught:
        small.put("a", data)
    data += b"1"

    assert 101 == len(data)
    assert caught.value is not None


def test_a_watch_belongs_to_its_event_loop(tmp_path: Path) -> None:
    """A watch that is iterated on another event loop says so."""
    store = asyncio.run(_watch_of(tmp_path))

    with pytest.raises(WrongEventLoopError):
        asyncio.run(anext(store))


async def _watch_of(folder: Path) -> Any:
    async with opened(folder) as (_, bucket):
        return bucket.watch()


# --- memory -------------------------------------------------------------------------


def peak_of(work: Callable[[], object]) -> int:
    """Give the greatest number of bytes that something held at a time."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_tiny_pieces_cost_their_bytes(closed_over: Any) -> None:
    """One mebibyte of single bytes is put in a few mebibytes."""
    _, bucket = closed_over
    pieces = (b"z" for _ in range(MEBIBYTE))

    assert peak_of(lambda: bucket.put("a", pieces)) < 16 * MEBIBYTE
    assert MEBIBYTE == bucket.get_info("a").size


def test_tiny_writes_cost_their_bytes(closed_over: Any) -> None:
    """Two mebibytes of writes of 20 bytes take a few mebibytes."""
    _, bucket = closed_over

    def work() -> None:
        with bucket.open_writer("a") as writer:
            for _ in range(100_000):
                writer.write(b"z" * 20)

    assert peak_of(work) < 16 * MEBIBYTE
    assert 2_000_000 == bucket.get_info("a").size


def test_tiny_chunks_are_bounded(closed_over: Any) -> None:
    """Content of many chunks is put and read a few thousand of them at a time."""
    _, bucket = closed_over
    data = bytes(20_000)

    assert peak_of(lambda: bucket.put("a", data, chunk_size=1)) < 16 * MEBIBYTE
    assert peak_of(lambda: bucket.get("a")) < 16 * MEBIBYTE
    assert data == bucket.get("a")
