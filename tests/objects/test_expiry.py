"""Objects whose time is over: gone at the reading moment, marked by retention."""

from datetime import timedelta
from typing import Any

import pytest
from tests.fakes.fake_engine import FakeEngine
from tests.fakes.worlds import World, on_fake

from objstore import (
    BadObjectMetaError,
    ObjectAlreadyExists,
    ObjectDeletedError,
    ObjectMeta,
    ObjectNotFoundError,
    ObjectStore,
    SealedError,
    Store,
)
from objstore._engine import DueExpiries
from objstore._expiry import PAGE_ROWS

pytestmark = pytest.mark.anyio


async def test_object_expires(bucket: ObjectStore, world: World) -> None:
    """An object is there until its time is over, then nowhere."""
    info = await bucket.put("a", b"content", ttl=10)
    assert info.mtime is not None
    assert info.mtime + timedelta(seconds=10) == info.expires

    world.advance(9)
    assert b"content" == await bucket.get("a")
    world.advance(1)
    with pytest.raises(ObjectNotFoundError) as caught:
        await bucket.get("a")
    assert not isinstance(caught.value, ObjectDeletedError)
    assert not await bucket.exists("a")
    assert [] == await bucket.list()
    assert [] == (await bucket.list_directory()).objects
    assert [] == [info async for info in bucket.iterate()]


async def test_status_counts_the_expired_a_page_at_a_time(
    bucket: ObjectStore, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its memory does not grow with their number, and none is counted twice."""
    monkeypatch.setattr("objstore._operations_bucket.PAGE_ROWS", 3)
    pages: list[int] = []
    perform = DueExpiries.__init__

    def noting(self: DueExpiries, bucket: str, time_ns: int, *rest: Any) -> None:
        pages.append(rest[0])
        perform(self, bucket, time_ns, *rest)

    for number in range(7):
        await bucket.put(f"due-{number}", b"12", ttl=10)
    await bucket.put("kept", b"1")
    world.advance(11)
    monkeypatch.setattr(DueExpiries, "__init__", noting)
    status = await bucket.status()

    assert (1, 1) == (status.count, status.size)
    assert [3, 3, 3] == pages


@pytest.mark.parametrize("is_marked", [False, True])
async def test_expired_object_is_the_same_before_and_after_its_mark(
    store: Store, bucket: ObjectStore, world: World, is_marked: bool
) -> None:
    """Whether retention has run makes no difference to readers."""
    await bucket.put("a", b"content", "d", ttl=10)
    world.advance(11)
    if is_marked:
        await store.run_retention()
    shown = await bucket.get_info("a", show_deleted=True)
    status = await bucket.status()

    assert ("a", "d", True, 0, "", None) == (
        shown.name,
        shown.description,
        shown.deleted,
        shown.size,
        shown.digest,
        shown.expires,
    )
    assert ["a"] == [info.name for info in await bucket.list(show_deleted=True)]
    assert (0, 0) == (status.count, status.size)
    with pytest.raises(ObjectNotFoundError):
        await bucket.get_info("a")
    with pytest.raises(ObjectNotFoundError):
        await bucket.delete("a")
    with pytest.raises(ObjectNotFoundError):
        await bucket.rename("a", "z")


async def test_bucket_ttl_is_the_default(store: Store, world: World) -> None:
    """A bucket's ttl holds for puts without their own; 0 is for ever."""
    bucket = await store.create_object_store(bucket="b", ttl=timedelta(seconds=10))
    await bucket.put("bucket's", b"")
    await bucket.put("shorter", b"", ttl=5)
    await bucket.put("longer", b"", meta=ObjectMeta(ttl=15))
    await bucket.put("ever", b"", ttl=0)
    world.advance(6)
    assert ["bucket's", "ever", "longer"] == [i.name for i in await bucket.list()]
    world.advance(6)
    assert ["ever", "longer"] == [i.name for i in await bucket.list()]
    world.advance(6)
    assert ["ever"] == [i.name for i in await bucket.list()]


async def test_update_and_rename_keep_age(bucket: ObjectStore, world: World) -> None:
    """A new description or name does not make an object younger."""
    first = await bucket.put("a", b"content", ttl=10)
    world.advance(6)
    updated = await bucket.update_meta("a", ObjectMeta(description="d"))
    renamed = await bucket.rename("a", "z")

    assert (first.expires, first.expires) == (updated.expires, renamed.expires)
    world.advance(5)
    assert not await bucket.exists("z")


async def test_copy_starts_anew(bucket: ObjectStore, world: World) -> None:
    """A copy lives as long as its source did, counted from the copy."""
    await bucket.put("a", b"content", ttl=10)
    world.advance(6)
    await bucket.copy("a", "z")
    world.advance(6)

    assert ["z"] == [info.name for info in await bucket.list()]
    assert b"content" == await bucket.get("z")


async def test_copy_of_what_stays_stays(store: Store, world: World) -> None:
    """A copy of an object that is for ever is so, too, whatever the bucket's ttl."""
    bucket = await store.create_object_store(bucket="b", ttl=10)
    await bucket.put("a", b"content", ttl=0)
    await bucket.add_link("link", "a")
    copied = await bucket.copy("a", "z")
    followed = await bucket.copy("link", "y")
    world.advance(11)

    assert (None, None) == (copied.expires, followed.expires)
    assert ["a", "y", "z"] == [info.name for info in await bucket.list()]


async def test_update_sets_expiry(bucket: ObjectStore, world: World) -> None:
    """A ttl in `update_meta` counts from the content's commit; 0 ends it."""
    first = await bucket.put("a", b"content", ttl=10)
    world.advance(6)
    longer = await bucket.update_meta("a", ObjectMeta(ttl=20))
    ever = await bucket.update_meta("a", ObjectMeta(ttl=0))

    assert first.mtime is not None
    assert first.mtime + timedelta(seconds=20) == longer.expires
    assert ever.expires is None


@on_fake
async def test_put_over_expired_marks_it_first(store: Store, fake: FakeEngine) -> None:
    """A put over an expired object commits its expiry in the same append."""
    bucket = await store.create_object_store(bucket="b")
    await bucket.put("a", b"old", ttl=10)
    fake.advance(11)
    await bucket.put("a", b"new", create=True)
    changes = [change.change for change in fake.buckets["b"].feed]

    assert ["put", "expire", "put"] == changes
    assert b"new" == await bucket.get("a")


@on_fake
async def test_names_of_expired_objects_are_free(
    store: Store, fake: FakeEngine
) -> None:
    """Rename, copy and links take the name of an expired object."""
    bucket = await store.create_object_store(bucket="b")
    for name in ("renamed", "copied", "linked", "updated"):
        await bucket.put(name, b"old", ttl=10)
    fake.advance(11)
    await bucket.put("a", b"new")
    await bucket.copy("a", "copied", overwrite=False)
    await bucket.add_link("linked", "a")
    await bucket.rename("a", "renamed")
    await bucket.update_meta("renamed", ObjectMeta(name="updated"))

    assert b"new" == await bucket.get("updated")
    assert b"new" == await bucket.get("copied")
    with pytest.raises(ObjectAlreadyExists):
        await bucket.rename("copied", "updated")


async def test_links_expire(store: Store, world: World) -> None:
    """A link has the ttl of its bucket."""
    bucket = await store.create_object_store(bucket="b", ttl=10)
    await bucket.put("a", b"content", ttl=0)
    await bucket.add_link("link", "a")
    world.advance(11)

    assert ["a"] == [info.name for info in await bucket.list()]


@pytest.mark.parametrize("ttl", [-1, "soon", timedelta(days=100_000)])
async def test_bad_ttl_is_refused(bucket: ObjectStore, ttl: float) -> None:
    """A ttl that is no duration, negative or too long is refused."""
    with pytest.raises(BadObjectMetaError, match="ttl"):
        await bucket.put("a", b"", ttl=ttl)


# --- retention --------------------------------------------------------------------


@on_fake
async def test_retention_marks_and_reclaims(store: Store, fake: FakeEngine) -> None:
    """A run marks what is due, page by page, and gives its bytes back."""
    bucket = await store.create_object_store(bucket="b")
    count = PAGE_ROWS + 5
    for number in range(count):
        await bucket.put(f"{number}", b"12345", ttl=10)
    await bucket.put("kept", b"12345")
    fake.advance(11)
    planned = await store.run_retention(dry_run=True)
    done = await store.run_retention()
    again = await store.run_retention()

    assert (count, True) == (planned.expired, planned.dry_run)
    assert (count, count, 5 * count) == (
        done.expired,
        done.removed,
        done.bytes_reclaimed,
    )
    assert (0, 0) == (again.expired, again.bytes_reclaimed)
    assert ["kept"] == [info.name for info in await bucket.list()]


@on_fake
async def test_retention_leaves_what_was_put_anew(
    store: Store, fake: FakeEngine
) -> None:
    """An object that is put again while retention runs is not marked."""
    bucket = await store.create_object_store(bucket="b")
    await bucket.put("a", b"old", ttl=10)
    await bucket.put("z", b"old", ttl=10)
    fake.advance(11)
    seen = 0

    def before(op: object) -> None:
        nonlocal seen
        seen += type(op).__name__ == "DueExpiries"
        if type(op).__name__ == "Append" and seen == 1:
            seen += 1
            kept = fake.buckets["b"]
            kept.sequence += 1
            kept.names["a"] = kept.names["a"]._replace(
                sequence=kept.sequence, expires_ns=None
            )

    fake.before = before
    report = await store.run_retention()

    assert 1 == report.expired
    assert ["a"] == [info.name for info in await bucket.list()]


# --- seal -------------------------------------------------------------------------


async def test_sealed_bucket_refuses_changes(bucket: ObjectStore) -> None:
    """A sealed bucket is read and not changed; sealing again is fine."""
    await bucket.put("a", b"content")
    assert await bucket.seal()
    assert await bucket.seal()

    assert (await bucket.status()).sealed
    assert b"content" == await bucket.get("a")
    for change in (
        bucket.put("a", b"new"),
        bucket.put("z", bytes(3_000_000)),
        bucket.delete("a"),
        bucket.rename("a", "z"),
        bucket.copy("a", "z"),
        bucket.update_meta("a", ObjectMeta(description="d")),
        bucket.add_link("link", "a"),
    ):
        with pytest.raises(SealedError, match="'b'"):
            await change


async def test_sealed_bucket_keeps_what_was_not_due(
    store: Store, bucket: ObjectStore, world: World
) -> None:
    """What had expired is gone with the seal; everything else stays for good."""
    await bucket.put("gone", b"1", ttl=10)
    await bucket.put("kept", b"2", ttl=20)
    world.advance(11)
    await bucket.seal()
    world.advance(100)
    report = await store.run_retention()

    assert 0 == report.expired
    assert ["kept"] == [info.name for info in await bucket.list()]
    assert b"2" == await bucket.get("kept")
    assert 1 == (await bucket.status()).count
    with pytest.raises(ObjectNotFoundError):
        await bucket.get("gone")
    with pytest.raises(SealedError):
        await bucket.delete("kept")


async def test_watch_of_sealed_bucket_has_what_stays(
    bucket: ObjectStore, world: World
) -> None:
    """What was not due at the seal is among the current values for good."""
    await bucket.put("a", b"1", ttl=10)
    await bucket.put("z", b"2")
    await bucket.seal()
    world.advance(11)
    seen: list[str] = []
    async for change in bucket.watch():
        seen.append(change.name)
        if change.name == "z":
            break

    assert ["a", "z"] == seen
