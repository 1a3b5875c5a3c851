"""Writers: content piece by piece, committed at the end of the block."""

import io
import shutil
import subprocess
import sys
import tarfile
from typing import Any

import anyio
import pytest
from tests.fakes.fake_engine import FakeEngine
from tests.fakes.worlds import asynchronous, on_fake

from objstore import (
    BadObjectMetaError,
    ClosedError,
    LimitExceededError,
    ObjectAlreadyExists,
    ObjectStore,
    Store,
    blocking,
)
from objstore._handles import Session
from objstore._operations_write import LARGE_SLAB_BYTES

pytestmark = pytest.mark.anyio

LARGE = bytes(range(256)) * (3 * LARGE_SLAB_BYTES // 256) + b"tail"


@pytest.mark.parametrize("step", [1_000, 999_983, len(LARGE)])
async def test_block_commits(store: Store, step: int) -> None:
    """At the end of the block there is the object, and its info."""
    bucket = await store.create_object_store(bucket="b")
    async with bucket.open_writer("a", description="d") as writer:
        for at in range(0, len(LARGE), step):
            piece = LARGE[at : at + step]
            assert len(piece) == await writer.write(piece)
        assert len(LARGE) == writer.tell()

    assert LARGE == await bucket.get("a")
    assert await bucket.get_info("a") == writer.info
    assert "d" == (await bucket.get_info("a")).description


async def test_empty_block_commits_empty_object(bucket: ObjectStore) -> None:
    """Nothing written is an empty object."""
    async with bucket.open_writer("a"):
        pass

    assert b"" == await bucket.get("a")


@on_fake
@pytest.mark.parametrize("size", [3, len(LARGE)])
async def test_exception_aborts(store: Store, fake: FakeEngine, size: int) -> None:
    """An exception in the block leaves the old content, and nothing else."""
    bucket = await store.create_object_store(bucket="b")
    await bucket.put("a", b"old")

    async def failing() -> None:
        async with bucket.open_writer("a") as writer:
            await writer.write(LARGE[:size])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await failing()

    assert b"old" == await bucket.get("a")
    assert 1 == len(fake.buckets["b"].chunks)


async def test_close_commits_once(bucket: ObjectStore) -> None:
    """Closing an awaited writer commits, as closing a file does; again is nothing."""
    writer = await bucket.open_writer("a")
    await writer.write(b"content")
    await writer.aclose()
    info = writer.info
    await writer.aclose()

    assert b"content" == await bucket.get("a")
    assert info is not None
    assert info == writer.info
    assert writer.closed


async def test_abort_ends_writer(bucket: ObjectStore) -> None:
    """An aborted writer makes nothing, also when it is closed afterwards."""
    async with bucket.open_writer("a") as writer:
        await writer.write(b"content")
        await writer.abort()

    assert not await bucket.exists("a")
    with pytest.raises(ClosedError, match="the writer of 'a'"):
        await writer.write(b"more")


async def test_buffer_may_be_used_again(bucket: ObjectStore) -> None:
    """What was written does not change with the caller's buffer."""
    buffer = bytearray(b"first")
    async with bucket.open_writer("a") as writer:
        await writer.write(buffer)
        buffer[:] = b"other"
        await writer.write(memoryview(buffer))

    assert b"firstother" == await bucket.get("a")


async def test_text_is_refused(bucket: ObjectStore) -> None:
    """Text is no content of a writer."""
    with pytest.raises(BadObjectMetaError, match=r"text\.encode"):
        async with bucket.open_writer("a") as writer:
            await writer.write("text")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

    assert not await bucket.exists("a")


async def test_options_are_those_of_put(bucket: ObjectStore) -> None:
    """A writer refuses what a put refuses, at the end of the block."""
    await bucket.put("a", b"old")
    with pytest.raises(ObjectAlreadyExists):
        async with bucket.open_writer("a", create=True) as writer:
            await writer.write(b"new")

    assert b"old" == await bucket.get("a")


async def test_refused_piece_changes_nothing(bucket: ObjectStore) -> None:
    """After a piece that is no bytes the writer goes on with what it had."""
    async with bucket.open_writer("a") as writer:
        await writer.write(b"1")
        with pytest.raises(BadObjectMetaError):
            await writer.write("text")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        assert 1 == writer.tell()
        await writer.write(b"2")

    assert b"12" == await bucket.get("a")


# --- writers that failed ----------------------------------------------------------


FAILED_WRITE = "nothing is stored, as a write failed with LimitExceededError"


@pytest.fixture
async def small(store: Store) -> ObjectStore:
    """Give a bucket that `LARGE` does not fit into."""
    return await store.create_object_store(bucket="b", max_bytes=1_000)


async def test_failed_write_ends_writer(small: ObjectStore) -> None:
    """After a write that failed nothing is written nor committed, which is said."""
    writer = await small.open_writer("a")
    with pytest.raises(LimitExceededError):
        await writer.write(LARGE)
    with pytest.raises(ClosedError, match=FAILED_WRITE):
        await writer.write(b"1")
    for _ in range(2):
        with pytest.raises(ClosedError, match=FAILED_WRITE):
            await writer.aclose()

    assert (True, None) == (writer.closed, writer.info)
    assert not await small.exists("a")


async def test_block_with_failed_write_fails(small: ObjectStore) -> None:
    """A block does not end as if it had stored what it has not."""

    async def swallowing() -> None:
        async with small.open_writer("a") as writer:
            with pytest.raises(LimitExceededError):
                await writer.write(LARGE)

    with pytest.raises(ClosedError, match=FAILED_WRITE):
        await swallowing()


async def test_abort_settles_failed_write(small: ObjectStore) -> None:
    """Whoever aborts after a failure knows of it: the block ends well."""
    async with small.open_writer("a") as writer:
        with pytest.raises(LimitExceededError):
            await writer.write(LARGE)
        await writer.abort()

    assert not await small.exists("a")
    with pytest.raises(ClosedError, match="the writer of 'a' is closed"):
        await writer.write(b"1")


async def test_close_after_failed_close_fails(bucket: ObjectStore) -> None:
    """A commit that failed is no success the second time."""
    await bucket.put("a", b"old")
    writer = await bucket.open_writer("a", create=True)
    await writer.write(b"new")
    with pytest.raises(ObjectAlreadyExists):
        await writer.aclose()
    with pytest.raises(ClosedError, match="commit failed with ObjectAlreadyExists"):
        await writer.aclose()

    assert b"old" == await bucket.get("a")


@on_fake
@asynchronous
async def test_cancelled_write_ends_writer(store: Store, fake: FakeEngine) -> None:
    """A write that ran out of time leaves no bytes, and no block that ends well."""
    bucket = await store.create_object_store(bucket="b")

    async def late() -> None:
        async with bucket.open_writer("a") as writer:
            await writer.write(LARGE)
            with anyio.move_on_after(0):
                await writer.write(LARGE)

    with pytest.raises(ClosedError, match="a write failed with Cancelled"):
        await late()
    await store.run_retention()

    assert not await bucket.exists("a")
    assert {} == fake.buckets["b"].chunks


# --- writers as files -------------------------------------------------------------


FORKING = """
import os, objstore

with objstore.open("memory:") as store:
    bucket = store.create_object_store("b")
    with bucket.open_writer("a") as writer:
        writer.write(b"1")
        if not os.fork():
            try:
                writer.write(b"2")
            except objstore.ForkedError:
                os._exit(7)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.wait()[1]) == 7
    assert bucket.get("a") == b"1"
"""


def test_forked_process_writes_nothing() -> None:
    """A writer of the parent process says so at once, not only at its end."""
    subprocess.run([sys.executable, "-c", FORKING], check=True, timeout=60)


def test_writer_is_a_binary_file() -> None:
    """What writes to files writes to a writer: buffers, archives, copies, text."""
    bucket = blocking.Store(Session(FakeEngine())).create_object_store("b")
    writers: list[Any] = [bucket.open_writer(name) for name in "btcw"]
    with io.BufferedWriter(writers[0]) as file:
        file.write(b"1")
    with writers[1], tarfile.open(fileobj=writers[1], mode="w:gz") as target:
        target.addfile(tarfile.TarInfo("one"))
    with writers[2]:
        shutil.copyfileobj(io.BytesIO(b"2"), writers[2])
    with io.TextIOWrapper(writers[3], "utf-8") as text:
        text.write("3")

    assert [b"1", b"2", b"3"] == [bucket.get(name) for name in "bcw"]
    with tarfile.open(fileobj=io.BytesIO(bucket.get("t"))) as source:
        assert ["one"] == source.getnames()
