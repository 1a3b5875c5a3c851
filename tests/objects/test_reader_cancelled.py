"""A reading that was cancelled or interrupted has not happened: the next one is right.

What interrupts here is an exception at a chosen step, as Ctrl-C and cancels raise it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from itertools import count
from typing import Any

import anyio
import pytest
from tests.fakes.fake_engine import FakeEngine
from tests.fakes.worlds import asynchronous, on_fake

from objstore import DigestMismatchError, ObjectStore, Store
from objstore._engine import Buffer, Chunk, ReadChunks
from objstore._operations_read import SLAB_BYTES, Digest

pytestmark = pytest.mark.anyio

LARGE = bytes(range(256)) * (3 * SLAB_BYTES // 256) + b"tail"
CHUNK_BYTES = 65_536


class Interrupted(BaseException):
    """What Ctrl-C would raise, which test runners take for their own."""


@pytest.fixture
async def large(store: Store) -> ObjectStore:
    """Give a bucket with an object `a` of four slabs."""
    bucket = await store.create_object_store(bucket="b", chunk_size=CHUNK_BYTES)
    await bucket.put("a", LARGE)
    return bucket


@pytest.fixture
def interrupt_hashing(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Give what interrupts the reader behind its hashing, the so-manieth time."""

    def interrupt(at: int) -> None:
        times = count()

        update = Digest.update

        def hashing(digest: Digest, pieces: list[Buffer]) -> None:
            update(digest, pieces)
            if next(times) == at:
                raise Interrupted

        monkeypatch.setattr(Digest, "update", hashing)

    return interrupt


def interrupt_reading(fake: FakeEngine, at: int) -> None:
    """Interrupt instead of reading chunks, the so-manieth time from now on."""
    times = count()

    def before(op: object) -> None:
        if isinstance(op, ReadChunks) and next(times) == at:
            raise Interrupted

    fake.before = before


async def read_all(reader: Any) -> bytes:
    """Read to the end, trying again what was interrupted."""
    pieces: list[bytes] = []
    while True:
        try:
            piece = await reader.read_chunk()
        except Interrupted:
            continue
        if not piece:
            return b"".join(pieces)
        pieces.append(piece)


@on_fake
@pytest.mark.parametrize("at", range(4))
async def test_interrupted_hashing_is_done_once(
    large: ObjectStore, interrupt_hashing: Callable[[int], None], at: int
) -> None:
    """Content that was hashed before an interrupt is not hashed twice: no mismatch."""
    interrupt_hashing(at)
    async with large.open_reader("a") as reader:
        assert LARGE == await read_all(reader)


async def by_read(reader: Any) -> bytes:
    """Read all but a few bytes at once."""
    data: bytes = await reader.read(len(LARGE) - 10)
    return data


async def by_readinto(reader: Any) -> bytes:
    """Read all but a few bytes into a buffer."""
    buffer = bytearray(len(LARGE) - 10)
    return bytes(buffer[: await reader.readinto(buffer)])


READS = [by_read, by_readinto]


@on_fake
@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize("at", range(3))
async def test_interrupted_read_moves_nothing(
    large: ObjectStore,
    fake: FakeEngine,
    read: Callable[[Any], Awaitable[bytes]],
    at: int,
) -> None:
    """The place is what it was, and the next read gives what this one was to give."""
    async with large.open_reader("a") as reader:
        start = await reader.read(5)
        interrupt_reading(fake, at)
        with pytest.raises(Interrupted):
            await read(reader)

        assert 5 == reader.tell()
        assert LARGE == start + await read(reader) + await reader.read()


@on_fake
@pytest.mark.parametrize("at", range(3))
async def test_interrupted_reading_checks_the_digest(
    large: ObjectStore, fake: FakeEngine, at: int
) -> None:
    """Also with an interrupt a reading to the end finds that the content is another."""
    chunks = fake.buckets["b"].chunks
    sequence = (await large.get_info("a")).seq - 1
    last = chunks[sequence]
    chunks[sequence] = Chunk(last.nuid, last.index, b"\xff" * len(last.data))
    async with large.open_reader("a") as reader:
        interrupt_reading(fake, at)
        with pytest.raises(Interrupted):
            await reader.read()
        for _ in range(2):
            with pytest.raises(DigestMismatchError):
                await reader.read()


@on_fake
async def test_buffer_of_an_interrupted_read_is_free(
    large: ObjectStore, fake: FakeEngine
) -> None:
    """A buffer can be resized while the error of its reading is held."""
    buffer = bytearray(len(LARGE))
    async with large.open_reader("a") as reader:
        interrupt_reading(fake, 1)
        with pytest.raises(Interrupted) as caught:
            await reader.readinto(buffer)
        buffer += b"1"

    assert caught.value is not None


@asynchronous
async def test_cancelled_reads_lose_nothing(large: ObjectStore) -> None:
    """Reads that run out of time again and again give everything in the end."""
    pieces = [b""]
    async with large.open_reader("a") as reader:
        for tries in count():
            before = reader.tell()
            with anyio.move_on_after(tries * 0.000_1):
                pieces.append(await reader.read(2 * SLAB_BYTES))
            assert before + len(pieces[-1]) == reader.tell() or before == reader.tell()
            if before == len(LARGE):
                break

    assert LARGE == b"".join(pieces)
