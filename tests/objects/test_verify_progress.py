"""What `verify` tells while it goes on: never more than the whole, in the end all."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

import pytest
from tests.fakes.worlds import Told

import objstore
from objstore import ObjectStore, Store

pytestmark = pytest.mark.anyio

SIZE = 3_000
Fill: TypeAlias = Callable[[ObjectStore], Awaitable[object]]


async def nothing(bucket: ObjectStore) -> None:
    """Leave it empty."""


async def one_object(bucket: ObjectStore) -> None:
    """Put one."""
    await bucket.put("a", bytes(SIZE))


async def many_segments(bucket: ObjectStore) -> None:
    """Put more than a segment holds."""
    for number in range(12):
        await bucket.put(f"many/{number}", bytes(SIZE))


async def overwritten(bucket: ObjectStore) -> None:
    """Put again and again under one name: dead records stay in the log."""
    for number in range(12):
        await bucket.put("over", bytes([number]) * SIZE)


async def deleted(bucket: ObjectStore) -> None:
    """Leave records alone of what was there."""
    await many_segments(bucket)
    for number in range(12):
        await bucket.delete(f"many/{number}")


async def expired(bucket: ObjectStore) -> None:
    """Let content end that the figures of the bucket still have."""
    await bucket.put("short", bytes(SIZE), ttl=1e-6)


async def shared(bucket: ObjectStore) -> None:
    """Have names without content of their own."""
    await bucket.put("a", bytes(SIZE))
    await bucket.copy("a", "copy")
    await bucket.add_link("link", "a")
    await bucket.rename("copy", "renamed")


FILLS = [nothing, one_object, many_segments, overwritten, deleted, expired, shared]


def check(told: Told, whole: int) -> None:
    """Check that it grew up to the whole, and was never more than all."""
    done = [step[0] for step in told.steps]
    assert sorted(done) == done
    assert all(total is None or step <= total for step, total in told.steps)
    assert told.steps[-1] == (whole, whole)


async def filled(store: Store, name: str, fill: Fill) -> ObjectStore:
    """Make a bucket with small chunks in small segments, and fill it."""
    bucket = await store.create_object_store(
        bucket=name, chunk_size=500, segment_bytes=8_192
    )
    await fill(bucket)
    return bucket


@pytest.mark.parametrize("fill", FILLS)
async def test_progress_of_bucket_ends_with_all(store: Store, fill: Fill) -> None:
    """What is done is never above the total, and in the end it is the total."""
    bucket = await filled(store, "b", fill)
    told = Told()

    report = await bucket.verify(progress=told)

    assert report.ok
    check(told, report.bytes)


async def test_progress_of_store_ends_with_all(store: Store) -> None:
    """The same for all buckets together."""
    for number, fill in enumerate(FILLS):
        await filled(store, f"b{number}", fill)
    told = Told()

    report = await store.verify(progress=told)

    assert report.ok
    check(told, report.bytes)


async def test_progress_of_empty_store_is_told(store: Store) -> None:
    """Where there is nothing to do, that is told once."""
    told = Told()

    await store.verify(progress=told)

    assert told.steps == [(0, 0)]


async def test_progress_of_prefix_has_a_total_in_the_end(store: Store) -> None:
    """How much lies behind a prefix is known when all of it was read."""
    bucket = await filled(store, "b", many_segments)
    told = Told()

    report = await bucket.verify("many/1", progress=told)

    assert report.bytes == 3 * SIZE
    assert {total for _, total in told.steps[:-1]} == {None}
    check(told, report.bytes)


def test_progress_counts_what_comes_meanwhile() -> None:
    """Objects that are put during the check make the total larger, not wrong."""
    with objstore.open("memory:") as store:
        bucket = store.create_object_store(bucket="b", chunk_size=500)
        bucket.put("a", bytes(SIZE))
        told = Told()

        def tell(done: int, total: int | None) -> None:
            if not told.steps:
                bucket.put("late", bytes(100 * SIZE))
            told(done, total)

        report = store.verify(progress=tell)

    assert report.bytes > 100 * SIZE
    check(told, report.bytes)
