"""Whatever is cancelled at any of its await points has happened or left nothing."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from tests.torture.cancel_points import cancelled_at

import objstore
from objstore import ObjectMeta, ObjectStore, Store, _operations_write
from objstore.errors import BucketNotFoundError, ObjectNotFoundError

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

SLAB_BYTES = 20_000
LARGE_BYTES = 70_000
NAMES = 12


def content_of(number: int, size: int = LARGE_BYTES) -> bytes:
    """Give content that tells which attempt put it."""
    return f"{number:08d}".encode() * (size // 8)


class Victim:
    """A store that is worked on, and what its object `a` may hold by now."""

    def __init__(self, store: Store, bucket: ObjectStore) -> None:
        """Take an open store."""
        self.store = store
        self.bucket = bucket
        self.number = 0
        self.possible = {b""}

    async def begin(self) -> None:
        """Make the next attempt the only one that is undecided."""
        self.number += 1
        try:
            self.possible = {await self.bucket.get("a")}
        except ObjectNotFoundError:
            self.possible = {b""}

    def new(self, size: int = LARGE_BYTES) -> bytes:
        """Give content that may be there from now on."""
        content = content_of(self.number, size)
        self.possible.add(content)
        return content

    async def check(self) -> None:
        """Check that the object is one of those, and stays it, and all goes on."""
        found = await self._content()
        assert found in self.possible
        engine: Any = self.store._session.engine
        assert engine._store.bucket("b").unfinished == {}
        await self.bucket.put("probe", f"{self.number}".encode())
        assert await self.bucket.get("probe") == f"{self.number}".encode()
        assert found == await self._content()

    async def _content(self) -> bytes:
        try:
            return await self.bucket.get("a")
        except ObjectNotFoundError:
            return b""


# --- what is cancelled ----------------------------------------------------------------


async def put(victim: Victim) -> None:
    """Put in one append."""
    await victim.bucket.put("a", victim.new(80))


async def put_large(victim: Victim) -> None:
    """Put in several, from what is awaited."""
    content = victim.new()

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(content), 9_000):
            await anyio.sleep(0)
            yield content[start : start + 9_000]

    await victim.bucket.put("a", pieces())


async def put_from_thread(victim: Victim) -> None:
    """Put in several, from what is pulled in a thread."""
    content = victim.new()
    pieces = (content[at : at + 9_000] for at in range(0, len(content), 9_000))
    await victim.bucket.put("a", pieces)


async def write(victim: Victim) -> None:
    """Write piece by piece."""
    content = victim.new()
    async with victim.bucket.open_writer("a") as writer:
        for start in range(0, len(content), 9_000):
            await writer.write(content[start : start + 9_000])


async def change_names(victim: Victim) -> None:
    """Describe, copy, rename, delete."""
    bucket = victim.bucket
    await bucket.put("c", b"c")
    await bucket.update_meta("c", ObjectMeta(description="said"))
    await bucket.copy("c", "d")
    await bucket.rename("d", "e", overwrite=True)
    await bucket.delete("e")


async def read(victim: Victim) -> None:
    """Get, and read piece by piece."""
    whole = await victim.bucket.get("a") if await victim.bucket.exists("a") else b""
    assert whole in victim.possible
    if whole:
        async with victim.bucket.open_reader("a") as reader:
            pieces = [await reader.read(30_000) for _ in range(4)]
        assert b"".join(pieces) == whole


async def look(victim: Victim) -> None:
    """List, walk, look at one."""
    listed = [info.name for info in await victim.bucket.list("n/")]
    walked = [info.name async for info in victim.bucket.iterate("n/")]
    assert listed == walked
    assert len(listed) == NAMES
    assert (await victim.bucket.get_info("n/00")).size == 1


async def watch(victim: Victim) -> None:
    """Give current values, then wait for a change."""
    async with victim.bucket.watch(prefix="n/") as changes:
        for number in range(NAMES):
            assert (await anext(changes)).name == f"n/{number:02d}"
        await victim.bucket.put("n/00", b"2")
        assert (await anext(changes)).name == "n/00"


async def retain(victim: Victim) -> None:
    """Give back what is dead."""
    await victim.store.run_retention()


async def check_all(victim: Victim) -> None:
    """Verify everything."""
    assert (await victim.store.verify()).ok


async def make_bucket(victim: Victim) -> None:
    """Make a bucket, use it, delete it."""
    bucket = await victim.store.object_store("other", create=True)
    await bucket.put("x", b"1")
    await victim.store.delete_object_store("other")


async def open_again(victim: Victim) -> None:
    """Open the same directory, put, close."""
    async with objstore.connect(victim.store.url, retention_interval=None) as store:
        bucket = await store.object_store("b")
        await bucket.put("a", victim.new(80))


WORKS: list[Callable[[Victim], Coroutine[Any, Any, None]]] = [
    *(put, put_large, put_from_thread, write, change_names, read, look, watch),
    *(retain, check_all, make_bucket, open_again),
]


@asynccontextmanager
async def opened(folder: Path) -> AsyncGenerator[Victim]:
    """Open a store with a bucket of small segments."""
    place = str(folder / "store")
    async with objstore.connect(place, retention_interval=None) as store:
        bucket = await store.create_object_store("b", segment_bytes=100_000)
        await bucket.put("a", content_of(0))
        for number in range(NAMES):
            await bucket.put(f"n/{number:02d}", b"1")
        yield Victim(store, bucket)


@pytest.mark.parametrize("work", WORKS)
async def test_call_is_cancelled_at_each_await_point(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    work: Callable[[Victim], Coroutine[Any, Any, None]],
) -> None:
    """It has happened or left nothing; the next calls work; no lock is kept."""
    monkeypatch.setattr(_operations_write, "SLAB_BYTES", SLAB_BYTES)
    monkeypatch.setattr(_operations_write, "LARGE_SLAB_BYTES", SLAB_BYTES)
    async with opened(tmp_path) as victim:
        number, came_so_far = 0, True
        while came_so_far:
            await victim.begin()
            came_so_far = await cancelled_at(number, lambda: work(victim))
            await victim.check()
            number += 1
        assert number > 1
        await work(victim)
        await victim.check()
        assert (await victim.store.verify()).ok
    with objstore.open(tmp_path / "store", lock_timeout=5) as store:
        store.object_store("b").put("behind", b"1")
        with pytest.raises(BucketNotFoundError):
            store.delete_object_store("other")
