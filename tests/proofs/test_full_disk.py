"""A full disk: nothing is lost, and what gives space back works on it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import anyio
import pytest

import objstore
from objstore._config import Sync
from objstore._reserve import RESERVE_BYTES, RESERVE_NAME, Reserve
from objstore.blocking import ObjectStore, Store
from objstore.errors import StorageError

DISK_BYTES = 24 * 1024 * 1024
OBJECT_BYTES = 200_000


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Give a small disk of its own."""
    place = tmp_path / "disk"
    place.mkdir()
    mounting = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(place)]
    if subprocess.run(mounting, check=False, capture_output=True).returncode:
        pytest.skip("a file system can only be mounted by root")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


@pytest.fixture
def store(disk: Path) -> Iterator[Store]:
    """Give a store on the small disk."""
    with opened(disk) as made:
        made.create_object_store("b", changes_ttl=0.001, segment_bytes=1 << 20)
        yield made


def opened(disk: Path) -> Store:
    """Open the store."""
    return objstore.open(disk / "store", retention_interval=None)


def fill(bucket: ObjectStore) -> dict[str, bytes]:
    """Put objects until none fits; give those that were acknowledged."""
    kept: dict[str, bytes] = {}
    for size in (OBJECT_BYTES, 300):
        with pytest.raises(StorageError, match="No space left"):
            _fill_with(bucket, size, kept)
    return kept


def _fill_with(bucket: ObjectStore, size: int, kept: dict[str, bytes]) -> None:
    while True:
        name, content = f"{len(kept):05}", os.urandom(size)
        bucket.put(name, content)
        kept[name] = content


def check(store: Store, kept: dict[str, bytes]) -> None:
    """Check that exactly these objects are there, and whole."""
    bucket = store.object_store("b")
    assert list(kept) == [info.name for info in bucket.list()]
    assert all(bucket.get(name) == content for name, content in kept.items())


def clear(store: Store, kept: dict[str, bytes]) -> None:
    """Delete half of the objects, and let retention give their bytes back."""
    for name in list(kept)[::2]:
        store.object_store("b").delete(name)
        del kept[name]
    assert store.run_retention().bytes_reclaimed > OBJECT_BYTES


def test_full_disk_is_cleared_and_serves_again(store: Store) -> None:
    """Deletes and retention work on it, puts work behind them, nothing is lost."""
    kept = fill(store.object_store("b"))
    check(store, kept)
    clear(store, kept)
    check(store, kept)
    store.object_store("b").put("z", b"z" * OBJECT_BYTES)

    check(store, {**kept, "z": b"z" * OBJECT_BYTES})
    assert store.verify().ok


@pytest.mark.parametrize("sync", [60.0, "never"])
def test_relaxed_store_is_cleared_on_a_full_disk(disk: Path, sync: Sync) -> None:
    """What it has not synced yet takes no part of the reserve."""
    place = disk / "store"
    with objstore.open(place, sync=sync, retention_interval=None) as store:
        bucket = store.create_object_store("b", changes_ttl=0.001)
        kept = fill(bucket)
        clear(store, kept)
        bucket.put("z", b"z" * OBJECT_BYTES)
        check(store, {**kept, "z": b"z" * OBJECT_BYTES})


def test_store_opens_on_a_full_disk(store: Store, disk: Path) -> None:
    """A process that opens it there reads everything and clears it."""
    kept = fill(store.object_store("b"))
    store.close()
    with opened(disk) as again:
        check(again, kept)
        clear(again, kept)
        check(again, kept)


def keeps_it(_reserve: Reserve, _error: OSError) -> bool:
    """Give nothing back."""
    return False


def test_status_of_a_full_disk_is_true(store: Store) -> None:
    """It counts what is there, although the catalog lagged behind."""
    kept = fill(store.object_store("b"))
    status = store.object_store("b").status()

    assert (len(kept), sum(map(len, kept.values()))) == (status.count, status.size)


def test_verify_of_a_full_disk_needs_no_room(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It reads what is there, though nobody can say beforehand how much that is."""
    monkeypatch.setattr(Reserve, "is_given_for", keeps_it)
    kept = fill(store.object_store("b"))
    report = store.verify()

    assert (True, len(kept)) == (report.ok, report.objects)


def test_bucket_that_cannot_be_opened_is_not_made(
    store: Store, disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It leaves no name behind that retention and verify would stumble over."""
    monkeypatch.setattr(Reserve, "is_given_for", keeps_it)
    kept = fill(store.object_store("b"))
    with pytest.raises(StorageError):
        store.create_object_store("c")
    monkeypatch.undo()

    assert ["b"] == store.object_store_names()
    clear(store, kept)
    assert store.verify().ok


@pytest.mark.anyio
async def test_awaited_deletes_clear_a_full_disk(store: Store, disk: Path) -> None:
    """The same awaited, where deletes go another way."""
    kept = fill(store.object_store("b"))
    async with objstore.connect(str(disk / "store")) as awaited:
        bucket = await awaited.object_store("b")
        async with anyio.create_task_group() as tasks:
            for name in list(kept)[::2]:
                tasks.start_soon(bucket.delete, name)
        assert (await awaited.run_retention()).bytes_reclaimed > OBJECT_BYTES
        await bucket.put("z", b"z" * OBJECT_BYTES)


def test_failed_put_gives_its_bytes_back(store: Store, disk: Path) -> None:
    """A put that is larger than the disk fills it for no longer than it fails."""
    bucket = store.object_store("b")
    with pytest.raises(StorageError, match="No space left"):
        bucket.put("large", (os.urandom(1 << 20) for _ in range(64)))
    store.run_retention()

    assert [] == bucket.list()
    bucket.put("half", os.urandom(DISK_BYTES // 2))
    used = os.statvfs(disk)
    assert (used.f_blocks - used.f_bfree) * used.f_frsize < DISK_BYTES * 0.75


def test_reserve_is_kept_again_when_there_is_room(store: Store, disk: Path) -> None:
    """What was given back on a full disk is taken again by the next retention."""
    reserve = disk / "store" / RESERVE_NAME
    before = reserve.stat().st_blocks
    kept = fill(store.object_store("b"))
    assert before == reserve.stat().st_blocks
    store.object_store("b").delete(next(iter(kept)))
    assert 0 < reserve.stat().st_blocks < before
    del kept[next(iter(kept))]
    clear(store, kept)

    assert reserve.stat().st_blocks > before * 0.9


def try_again(bucket: ObjectStore, size: int) -> None:
    """Put as one does who does not look at errors."""
    for _ in range(3):
        with suppress(StorageError):
            bucket.put(f"again-{size}", bytes(size))


def test_puts_that_do_not_fit_leave_the_reserve(store: Store, disk: Path) -> None:
    """Neither their aborts nor the deletes between them hand it to the next put."""
    bucket = store.object_store("b")
    kept = fill(bucket)
    for name in list(kept)[:6]:
        try_again(bucket, OBJECT_BYTES)
        try_again(bucket, 4 << 20)
        bucket.delete(name)
        del kept[name]
    store.close()
    with opened(disk) as again:
        check(again, kept)
        clear(again, kept)
        check(again, kept)


@pytest.mark.parametrize(
    ("free", "expected"), [(1 << 40, RESERVE_BYTES), (16 << 20, 1 << 20), (1 << 19, 0)]
)
def test_reserve_is_a_small_part_of_a_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, expected: int
) -> None:
    """On a small disk it is smaller, on a tiny one there is none."""

    def free_bytes(_directory: str) -> int:
        return free

    monkeypatch.setattr("objstore._reserve._free_bytes", free_bytes)
    Reserve(str(tmp_path)).keep()

    sizes = [path.stat().st_size for path in tmp_path.iterdir()]
    assert sizes == ([expected] if expected else [])


def test_lagging_catalog_is_told_once(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A full disk does not fill the log of the program with each look-up."""
    monkeypatch.setattr(Reserve, "is_given_for", keeps_it)
    bucket = store.object_store("b")
    fill(bucket)
    for _ in range(10):
        bucket.list()

    told = [text for text in caplog.messages if "not brought up" in text]
    assert len(told) == 1
