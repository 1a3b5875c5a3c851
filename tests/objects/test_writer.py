"""Writers: content piece by piece, committed at the end of the block."""

import pytest
from tests.fakes.fake_engine import FakeEngine
from tests.fakes.worlds import on_fake

from objstore import (
    BadObjectMetaError,
    ClosedError,
    LimitExceededError,
    ObjectAlreadyExists,
    ObjectStore,
    Store,
)
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


async def test_failed_write_ends_writer(store: Store) -> None:
    """After a write that failed nothing is committed, even by the close."""
    bucket = await store.create_object_store(bucket="b", max_bytes=1_000)
    writer = await bucket.open_writer("a")
    with pytest.raises(LimitExceededError):
        await writer.write(LARGE)
    await writer.aclose()

    assert not await bucket.exists("a")
