"""Buckets: create, bind, update, delete, describe; and verify."""

import threading
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.fake_engine import FakeEngine
from tests.fakes.worlds import Told, World, on_fake

import objstore
from objstore import (
    BadBucketError,
    BucketExistsError,
    BucketNotFoundError,
    Capability,
    NotSupportedError,
    ObjectStore,
    ObjectStoreConfig,
    Store,
    _drivers,
    _operations_bucket,
    blocking,
)
from objstore._config import check_update
from objstore._embedded import EmbeddedEngine
from objstore._handles import Session
from objstore._open_stores import open_on_storage
from objstore._store_directory import system_environment
from objstore_log import FileStorage

pytestmark = pytest.mark.anyio

DATA = b"some content of several chunks"


async def test_create_takes_config_or_fields(store: Store) -> None:
    """A bucket is made from a configuration, from fields, or from its name."""
    config = ObjectStoreConfig(bucket="one", description="d", ttl=timedelta(days=1))
    one = await store.create_object_store(config=config)
    await store.create_object_store(bucket="two", max_bytes=1_000)
    await store.create_object_store("three")
    status = await one.status()

    assert ["one", "three", "two"] == await store.object_store_names()
    assert ("one", "d", timedelta(days=1), -1) == (
        status.bucket,
        status.description,
        status.ttl,
        status.max_bytes,
    )


async def test_create_again_is_fine(store: Store) -> None:
    """The same configuration again gives the bucket with what is in it."""
    first = await store.create_object_store(bucket="b", ttl=60)
    await first.put("a", b"1")
    again = await store.create_object_store(bucket="b", ttl=timedelta(minutes=1))

    assert b"1" == await again.get("a")


async def test_create_with_other_configuration(store: Store) -> None:
    """Another configuration is an error that names what differs."""
    await store.create_object_store(bucket="b", ttl=60)
    with pytest.raises(BucketExistsError) as caught:
        await store.create_object_store(bucket="b", description="d")

    assert {"ttl", "description"} == set(caught.value.differing)


async def test_replicas_need_jetstream(store: Store, world: World) -> None:
    """An engine without replicas says which one has them."""
    assert Capability.REPLICAS not in world.engine.capabilities
    with pytest.raises(NotSupportedError, match=r"replicas=3.*JetStream"):
        await store.create_object_store(bucket="b", replicas=3)

    assert [] == await store.object_store_names()


async def test_update_keeps_what_another_has_changed_meanwhile(
    store: Store, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two callers that change a field each, at the same time, none loses its own."""
    bucket = await store.create_object_store(bucket="b")
    others = [{"description": "d"}]

    def check_slowly(existing: ObjectStoreConfig, wanted: ObjectStoreConfig) -> None:
        check_update(existing, wanted)
        if others:
            fields = others.pop()
            steps = _operations_bucket.update_bucket(world.engine, "b", fields)
            _drivers.run(world.engine, steps)

    monkeypatch.setattr(_operations_bucket, "check_update", check_slowly)
    await store.update_object_store("b", max_bytes=1_000)
    status = await bucket.status()

    assert ("d", 1_000) == (status.description, status.max_bytes)


def test_updates_of_a_bucket_in_memory_keep_each_other(tmp_path: Path) -> None:
    """What the registry checks for buckets in files holds for those in memory."""
    with objstore.open(tmp_path, retention_interval=None) as opened:
        bucket = opened.create_object_store("b", storage="memory")

        def change(field: str) -> None:
            for number in range(20):
                opened.update_object_store("b", **{field: number + 1})

        threads = [
            threading.Thread(target=change, args=(field,))
            for field in ("max_bytes", "ttl")
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert (20, timedelta(seconds=20)) == (
            bucket.status().max_bytes,
            bucket.status().ttl,
        )


def test_bucket_in_memory_and_in_files_says_how_to_go_on(tmp_path: Path) -> None:
    """Its hint is not to do again what has just failed, and following it works."""
    with objstore.open(tmp_path / "store", retention_interval=None) as opened:
        opened.create_object_store("b", storage="memory")
        storage = FileStorage(tmp_path / "store")
        engine = EmbeddedEngine(open_on_storage(storage, system_environment()))
        with blocking.Store(Session(engine)) as other:
            other.create_object_store("b").put("a", b"in files")
        for call in (
            opened.object_store,
            opened.create_object_store,
            partial(opened.create_object_store, storage="memory"),
            partial(opened.update_object_store, ttl=1),
        ):
            with pytest.raises(BucketExistsError) as caught:
                call("b")
            said = str(caught.value)
            assert "in memory and another one in files" in said
            assert "delete_object_store('b') here gives up the one in memory" in said
            assert "open it with" not in said
        opened.delete_object_store("b")

        assert b"in files" == opened.object_store("b").get("a")


async def test_bind_needs_bucket(store: Store) -> None:
    """A bucket that is not there is an error that says how to make it."""
    with pytest.raises(BucketNotFoundError, match="create_object_store"):
        await store.object_store("b")
    with pytest.raises(BadBucketError):
        await store.object_store("b c")


async def test_bind_creates_when_asked(store: Store) -> None:
    """With `create` a bucket is made when there is none."""
    first = await store.object_store("b", create=True)
    await first.put("a", b"1")
    again = await store.object_store("b", create=True)

    assert b"1" == await again.get("a")


async def test_update_changes_named_fields(store: Store) -> None:
    """Fields that are not named stay as they are; objects stay."""
    bucket = await store.create_object_store(bucket="b", ttl=60, description="old")
    await bucket.put("a", b"1")
    updated = await store.update_object_store(bucket="b", description="new")
    status = await updated.status()

    assert ("new", timedelta(seconds=60)) == (status.description, status.ttl)
    assert b"1" == await bucket.get("a")


async def test_update_takes_whole_configuration(store: Store) -> None:
    """A configuration replaces all fields."""
    await store.create_object_store(bucket="b", ttl=60)
    await store.update_object_store(ObjectStoreConfig(bucket="b", max_bytes=1_000))
    status = await (await store.object_store("b")).status()

    assert (None, 1_000) == (status.ttl, status.max_bytes)


async def test_update_reaches_open_handles(store: Store) -> None:
    """A handle works with the bucket's configuration as it is."""
    bucket = await store.create_object_store(bucket="b")
    await store.update_object_store("b", chunk_size=4)

    assert 3 == (await bucket.put("a", b"123456789")).chunks


async def test_update_refuses(store: Store) -> None:
    """A missing bucket, none at all, and another storage are refused."""
    with pytest.raises(BucketNotFoundError):
        await store.update_object_store(bucket="b", ttl=1)
    with pytest.raises(BadBucketError):
        await store.update_object_store(ttl=1)
    await store.create_object_store(bucket="b")
    with pytest.raises(BadBucketError, match="storage"):
        await store.update_object_store(bucket="b", storage="memory")


async def test_delete_bucket(store: Store) -> None:
    """A deleted bucket is gone; made again it is empty."""
    bucket = await store.create_object_store(bucket="b")
    await bucket.put("a", b"1")

    assert await store.delete_object_store("b")
    assert [] == await store.object_store_names()
    for call in (bucket.get("a"), bucket.put("a", b"1"), bucket.status()):
        with pytest.raises(BucketNotFoundError):
            await call
    with pytest.raises(BucketNotFoundError):
        await store.delete_object_store("b")
    again = await store.create_object_store(bucket="b")
    assert [] == await again.list()


async def test_status_counts_live_content(bucket: ObjectStore) -> None:
    """Size and count are those of live objects; links count without size."""
    await bucket.put("a", b"12345")
    await bucket.put("a", b"123")
    await bucket.put("z", b"1")
    await bucket.delete("z")
    await bucket.add_link("link", "a")
    status = await bucket.status()

    assert (2, 3, False, "file") == (
        status.count,
        status.size,
        status.sealed,
        status.storage,
    )


async def test_memory_bucket_says_so(store: Store) -> None:
    """A bucket in memory is backed by memory, whatever the store is."""
    bucket = await store.create_object_store(bucket="b", storage="memory")

    assert "memory" == (await bucket.status()).backing_store


# --- verify -----------------------------------------------------------------------


async def test_verify_of_sound_store(store: Store) -> None:
    """A store without damage is fine, and all of it was read."""
    for name in ("b", "c"):
        bucket = await store.create_object_store(bucket=name, chunk_size=8)
        await bucket.put("a", DATA)
        await bucket.copy("a", "z")
        await bucket.add_link("link", "a")
    told = Told()
    report = await store.verify(progress=told)

    assert (True, 6, []) == (report.ok, report.objects, report.damaged)
    assert report.bytes >= 4 * len(DATA)
    assert sorted(told.steps) == told.steps
    assert report.bytes == told.steps[-1][0]


@on_fake
async def test_verify_names_all_that_share_damage(
    store: Store, fake: FakeEngine
) -> None:
    """One damaged chunk is reported once for every name that shares it."""
    bucket = await store.create_object_store(bucket="b", chunk_size=8)
    info = await bucket.put("a", DATA)
    await bucket.put("fine", DATA)
    await bucket.copy("a", "z")
    fake.buckets["b"].damaged.add(info.seq - 1)
    report = await bucket.verify()

    assert not report.ok
    assert ["a", "z"] == [damage.name for damage in report.damaged]
    assert {("b", "checksum mismatch", info.seq - 1)} == {
        (damage.bucket, damage.reason, damage.position) for damage in report.damaged
    }


@on_fake
async def test_verify_reports_damage_without_name(
    store: Store, fake: FakeEngine
) -> None:
    """Damage in what no object needs any more is reported without a name."""
    bucket = await store.create_object_store(bucket="b", chunk_size=8)
    info = await bucket.put("a", DATA)
    await bucket.delete("a")
    fake.buckets["b"].damaged.add(info.seq - 1)
    report = await bucket.verify()

    assert [(None, info.seq - 1)] == [(d.name, d.seq) for d in report.damaged]


@on_fake
@pytest.mark.parametrize("kind", ["changed", "missing"])
async def test_verify_finds_what_checksums_do_not(
    store: Store, fake: FakeEngine, kind: str
) -> None:
    """Content that is other than was put, or missing, is found by its digest."""
    bucket = await store.create_object_store(bucket="b", chunk_size=8)
    info = await bucket.put("a", DATA)
    chunks = fake.buckets["b"].chunks
    if kind == "missing":
        del chunks[info.seq - 1]
    else:
        chunk: Any = chunks[info.seq - 1]
        chunks[info.seq - 1] = type(chunk)(chunk.nuid, chunk.index, b"x" * 6)
    report = await store.verify(repair=True)
    reasons = {"missing": "its content is missing", "changed": "has the digest"}

    assert ["a"] == [damage.name for damage in report.damaged]
    assert reasons[kind] in report.damaged[0].reason


@on_fake
async def test_verify_of_prefix(store: Store, fake: FakeEngine) -> None:
    """With a prefix only the contents of those names are checked."""
    bucket = await store.create_object_store(bucket="b", chunk_size=8)
    info = await bucket.put("a/1", DATA)
    await bucket.put("b/1", DATA)
    fake.buckets["b"].damaged.add(info.seq - 1)

    assert (await bucket.verify("b/")).ok
    assert ["a/1"] == [d.name for d in (await bucket.verify("a/")).damaged]


@on_fake
async def test_verify_passes_over_what_went_meanwhile(
    store: Store, fake: FakeEngine
) -> None:
    """An object that is deleted and reclaimed while it is checked is no damage."""
    bucket = await store.create_object_store(bucket="b", chunk_size=8)
    await bucket.put("a", DATA)

    def before(op: Any) -> None:
        if type(op).__name__ == "Pin":
            stored = fake.buckets["b"].names.pop("a")
            assert stored == op.meta
            fake.buckets["b"].chunks.clear()

    fake.before = before

    assert (await bucket.verify()).ok


async def test_damaged_of_sound_store(store: Store, bucket: ObjectStore) -> None:
    """Opening a sound store found nothing."""
    await bucket.put("a", DATA)

    assert [] == store.damaged
