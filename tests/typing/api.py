"""The public API as its consumers use it, for the type checkers; nothing runs it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import assert_type

import objstore
from objstore import (
    AwaitedWatch,
    BackupReport,
    Capability,
    Change,
    Damage,
    Listing,
    ObjectInfo,
    ObjectLink,
    ObjectMeta,
    ObjectStoreStatus,
    Repair,
    RetentionReport,
    TreeReport,
    VerifyReport,
    blocking,
)


async def use_store() -> None:
    """Use every call of the asynchronous store."""
    assert_type(
        await objstore.connect("./data", sync=timedelta(seconds=1)), objstore.Store
    )
    async with objstore.connect(
        Path("data"), create=False, lock_timeout=1.5, scrub_rate=1 << 20
    ) as store:
        assert_type(store, objstore.Store)
        assert_type(store.jetstream(), objstore.Store)
        assert_type(store.url, str)
        assert_type(store.capabilities, frozenset[Capability])
        assert_type(store.damaged, list[Damage])
        assert_type(store.metrics(), dict[str, int])
        config = objstore.ObjectStoreConfig(bucket="b", ttl=timedelta(hours=1))
        made = await store.create_object_store(config=config)
        assert_type(made, objstore.ObjectStore)
        found = await store.object_store("b", create=True)
        assert_type(found, objstore.ObjectStore)
        changed = await store.update_object_store("b", max_bytes=7)
        assert_type(changed, objstore.ObjectStore)
        assert_type(await store.delete_object_store("b"), bool)
        assert_type(await store.object_store_names(), list[str])
        assert_type(await store.run_retention(dry_run=True), RetentionReport)
        report = await store.verify(repair=True, dry_run=True, progress=print)
        assert_type(report, VerifyReport)
        assert_type(report.repaired, list[Repair])
        backup = await store.backup(Path("backups"), keep=7, progress=print)
        assert_type(backup, BackupReport)
    restored = await objstore.restore_backup("backups", "new", generation="1")
    assert_type(restored, BackupReport)


async def pieces() -> AsyncIterator[bytes]:
    """Give content."""
    yield b"piece"


async def use_writes(os: objstore.ObjectStore) -> None:
    """Use every asynchronous call that changes objects."""
    info = await os.put("n", b"data", "text", "n.txt", {"A": "b"}, ttl=7, if_match=1)
    assert_type(info, ObjectInfo)
    assert_type(await os.put("n", pieces(), ObjectMeta(), create=True), ObjectInfo)
    assert_type(
        await os.put(
            name="n",
            data=b"data",
            description="text",
            filename="n.txt",
            headers={"A": "b"},
            meta=ObjectMeta(metadata={"k": "v"}),
            metadata={"k": "v"},
            content_type="text/plain",
            chunk_size=7,
            ttl=timedelta(hours=1),
            expected_digest="00",
            progress=print,
        ),
        ObjectInfo,
    )
    assert_type(await os.upload("n", Path("n"), expected_digest=b""), ObjectInfo)
    assert_type(await os.open_writer("n"), objstore.ObjectWriter)
    async with os.open_writer("n", chunk_size=7) as writer:
        assert_type(writer, objstore.ObjectWriter)
        assert_type(await writer.write(b"x"), int)
        assert_type(writer.info, ObjectInfo | None)
    assert_type(await os.delete("n", if_match=7, missing_ok=True), bool)
    assert_type(await os.update_meta("n", ObjectMeta(name="m")), ObjectInfo)
    link = objstore.ObjectMetaOptions(link=ObjectLink("b", "n"))
    assert_type(await os.update_meta("l", ObjectMeta(options=link)), ObjectInfo)
    assert_type(await os.rename("n", "m", overwrite=True), ObjectInfo)
    assert_type(await os.copy("n", "m", bucket="c", overwrite=False), ObjectInfo)
    assert_type(await os.add_link("l", info), ObjectInfo)
    assert_type(await os.add_link("l", ObjectLink("b", "n")), ObjectInfo)
    assert_type(await os.add_bucket_link("l", "c"), ObjectInfo)
    assert_type(await os.seal(), bool)


async def use_reads(os: objstore.ObjectStore) -> None:
    """Use every asynchronous call that reads."""
    assert_type(await os.get("n", verify=False), bytes)
    assert_type(await os.get_range("n", start=-7, length=3), bytes)
    assert_type(await os.get_range("n", end=7), bytes)
    assert_type(await os.get_into("n", bytearray(7)), int)
    assert_type(await os.open("n"), objstore.ObjectReader)
    async with os.open_reader("n") as reader:
        assert_type(reader, objstore.ObjectReader)
        assert_type(reader.info, ObjectInfo)
        assert_type(await reader.read(7), bytes)
        assert_type(await reader.readinto(bytearray(7)), int)
        assert_type(reader.seek(0), int)
        assert_type(reader.tell(), int)
        async for chunk in reader:
            assert_type(chunk, bytes)
    assert_type(await os.download("n", "n.txt", progress=print), ObjectInfo)
    assert_type(await os.get_info("n", show_deleted=True), ObjectInfo)
    assert_type(await os.exists("n"), bool)
    assert_type(await os.list("a/", start_after="b", limit=7), list[ObjectInfo])
    assert_type(await os.list(prefix="a/", show_deleted=True), list[ObjectInfo])
    async for found in os.iterate(prefix="a/", start_after="b", show_deleted=True):
        assert_type(found, ObjectInfo)
    listing = await os.list_directory(
        prefix="a/", delimiter="/", start_after="b", limit=7
    )
    assert_type(listing, Listing)
    assert_type(await os.status(), ObjectStoreStatus)
    assert_type(await os.verify(prefix="a/", repair=True, progress=print), VerifyReport)
    assert_type(await os.export_tree(Path("tree"), "a/", dry_run=True), TreeReport)
    assert_type(await os.import_tree("tree", "a/", progress=print), TreeReport)
    assert_type(os.bucket, str)


async def use_watch(os: objstore.ObjectStore, since: datetime) -> None:
    """Use an asynchronous watch in each of its forms."""
    async for change in os.watch("a/", kinds={"put"}, on_gap="snapshot"):
        assert_type(change, Change)
        assert_type(change.seq, int)
    async with os.watch(start=since, ignore_deletes=True) as watch:
        assert_type(watch, objstore.Watch)
        assert_type(watch.cursor, str | None)
        await watch.caught_up()
        await watch.stop()
    async for change in os.watch(prefix="a/", after=watch.cursor):
        assert_type(change, Change)
    assert_type(await os.watch(include_history=True), AwaitedWatch)
    watcher = await os.watch(updates_only=True)
    assert_type(watcher, AwaitedWatch)
    assert_type(await watcher.updates(timeout=1), Change | None)


def use_blocking_store() -> None:
    """Use every call of the synchronous store."""
    with objstore.open("memory:", retention_interval=None, scrub_rate=None) as store:
        assert_type(store, blocking.Store)
        assert_type(store.jetstream(), blocking.Store)
        assert_type(store.damaged, list[Damage])
        assert_type(store.create_object_store(bucket="b"), blocking.ObjectStore)
        assert_type(store.object_store("b"), blocking.ObjectStore)
        assert_type(store.update_object_store("b", ttl=7), blocking.ObjectStore)
        assert_type(store.delete_object_store("b"), bool)
        assert_type(store.object_store_names(), list[str])
        assert_type(store.run_retention(), RetentionReport)
        assert_type(store.verify(), VerifyReport)
        assert_type(store.backup("backups"), BackupReport)
    assert_type(blocking.restore_backup("backups", Path("new")), BackupReport)


def use_blocking_writes(os: blocking.ObjectStore) -> None:
    """Use every synchronous call that changes objects."""
    assert_type(os.put("n", [b"a", b"b"], chunk_size=7), ObjectInfo)
    assert_type(os.upload("n", "n.txt", ttl=timedelta(1)), ObjectInfo)
    with os.open_writer("n") as writer:
        assert_type(writer, blocking.ObjectWriter)
        assert_type(writer.write(b"x"), int)
    assert_type(os.delete("n"), bool)
    assert_type(os.update_meta("n", ObjectMeta()), ObjectInfo)
    assert_type(os.rename("n", "m"), ObjectInfo)
    assert_type(os.copy("n", "m"), ObjectInfo)
    assert_type(os.add_link("l", "n"), ObjectInfo)
    assert_type(os.add_bucket_link("l", "c"), ObjectInfo)
    assert_type(os.seal(), bool)


def use_blocking_reads(os: blocking.ObjectStore) -> None:
    """Use every synchronous call that reads or follows."""
    assert_type(os.get("n"), bytes)
    assert_type(os.get_range("n", end=7), bytes)
    assert_type(os.get_into("n", memoryview(bytearray(7))), int)
    with os.open_reader("n") as reader:
        assert_type(reader, blocking.ObjectReader)
        assert_type(reader.read(), bytes)
        assert_type(list(reader), list[bytes])
    assert_type(os.download("n", "n.txt"), ObjectInfo)
    assert_type(os.get_info("n"), ObjectInfo)
    assert_type(os.exists("n"), bool)
    assert_type(os.list(), list[ObjectInfo])
    assert_type(os.iterate(), Iterator[ObjectInfo])
    assert_type(os.list_directory(delimiter="."), Listing)
    assert_type(os.status(), ObjectStoreStatus)
    assert_type(os.verify(), VerifyReport)
    assert_type(os.export_tree("tree"), TreeReport)
    assert_type(os.import_tree("tree"), TreeReport)
    with os.watch(after="cursor") as watch:
        assert_type(watch, blocking.Watch)
        assert_type(next(watch), Change)
        assert_type(watch.updates(timeout=1), Change | None)
