"""Backing a store up: what a generation is, what is copied, what is refused."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest
from tests.backups.harness_backups import (
    content_of,
    generations,
    state_at,
    state_of,
)

import objstore
from objstore import BadStoreError, BusyError, blocking
from objstore._registry import BucketEntry, Registry
from objstore_log import FileStorage


def test_generation_is_the_store_at_that_moment(
    store: blocking.Store, target: Path
) -> None:
    """A generation opens as a store and shows contents, metas, sequences, changes."""
    bucket = store.object_store("b")
    bucket.put("said", b"x", "text", metadata={"k": "v"}, headers={"A": "b"})
    bucket.add_link("link", "o01")
    bucket.delete("o02")
    bucket.rename("o03", "renamed")
    store.create_object_store("empty")
    before = state_of(store)

    report = store.backup(target)
    bucket.put("behind", b"y")

    assert before == state_at(Path(report.path))
    assert {"b", "empty"} == set(report.buckets)
    assert [] == report.damaged


@pytest.mark.anyio
async def test_asynchronous_backup_and_restore_are_the_same(
    tmp_path: Path, target: Path
) -> None:
    """The asynchronous API backs up and restores on both event loops."""
    async with objstore.connect(tmp_path / "store") as store:
        bucket = await store.create_object_store("b")
        await bucket.put("a", b"content")
        report = await store.backup(target)
    restored = await objstore.restore_backup(target, tmp_path / "new")

    assert Path(report.path).parent == target
    async with objstore.connect(restored.path, create=False) as store:
        assert b"content" == await (await store.object_store("b")).get("a")


@pytest.mark.anyio
async def test_cancelled_backup_gives_back_what_it_held(
    path: Path, target: Path
) -> None:
    """Cancelled between any two pieces it leaves no lock and no half generation."""
    async with objstore.connect(path, retention_interval=None) as store:
        for piece in range(1, 6):
            with anyio.CancelScope() as scope:
                await store.backup(target, progress=_cancelling(scope, piece))
            assert scope.cancelled_caught
            names = sorted(entry.name for entry in target.iterdir())
            assert ["BACKUPS", "BACKUPS.lock"] == names
        bucket = await store.object_store("b")
        for number in range(12):
            await bucket.delete(f"o{number:02}")
        assert (await store.run_retention()).bytes_reclaimed
        await store.backup(target)


def _cancelling(
    scope: anyio.CancelScope, piece: int
) -> Callable[[int, int | None], None]:
    calls = 0

    def tell(done: int, total: int | None) -> None:
        nonlocal calls
        calls += 1
        if calls == piece:
            scope.cancel()

    return tell


def test_store_in_memory_can_be_backed_up(target: Path) -> None:
    """What is in memory alone is in a file afterwards."""
    with objstore.open("memory:") as store:
        store.create_object_store("b").put("a", b"content")
        report = store.backup(target)

    with objstore.open(report.path, create=False) as store:
        assert b"content" == store.object_store("b").get("a")


def test_next_generation_reuses_sealed_segments(
    store: blocking.Store, target: Path
) -> None:
    """Sealed segments are not copied twice: they are one file in both generations."""
    first = store.backup(target)
    store.object_store("b").put("new", content_of(99))
    second = store.backup(target)

    assert 0 == first.bytes_reused
    assert second.bytes_reused > first.bytes_copied / 2
    assert second.bytes_copied < first.bytes_copied
    shared = [
        path
        for path in Path(second.path).rglob("*.seg")
        if path.stat().st_nlink > 1
        and path.samefile(first.path + str(path)[len(second.path) :])
    ]
    assert second.bytes_reused == sum(path.stat().st_size for path in shared)


def test_generation_is_synced_before_it_has_its_name(
    store: blocking.Store, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power cut behind the rename loses no file of a generation, and no name."""
    store.backup(target)
    synced: set[int] = set()
    missing: list[str] = []
    rename = Path.rename

    def seen(sync: Callable[[int], None]) -> Callable[[int], None]:
        def noting(descriptor: int) -> None:
            sync(descriptor)
            synced.add(os.fstat(descriptor).st_ino)

        return noting

    def renaming(path: Path, to: Path) -> Path:
        if path.name == "unfinished":
            files = [path, *path.rglob("*")]
            missing.extend(
                str(file)
                for file in files
                if file.stat().st_ino not in synced and file.stat().st_nlink != 2
            )
            synced.clear()
        return rename(path, to)

    monkeypatch.setattr(os, "fsync", seen(os.fsync))
    monkeypatch.setattr(os, "fdatasync", seen(os.fdatasync))
    monkeypatch.setattr(Path, "rename", renaming)
    store.object_store("b").put("more", b"x")
    report = store.backup(target)

    assert report.bytes_reused
    assert [] == missing
    assert target.stat().st_ino in synced


def test_no_file_of_the_store_is_in_a_backup(
    store: blocking.Store, target: Path
) -> None:
    """What happens to a file of the store happens to no backup."""
    store.backup(target)

    files = list(Path(store.url).rglob("*.seg"))
    assert files
    assert {1} == {path.stat().st_nlink for path in files}


def test_punched_segment_is_copied_anew_with_its_holes(
    store: blocking.Store, target: Path
) -> None:
    """What retention gave back is in earlier generations and in no later one."""
    before = state_of(store)
    first = store.backup(target)
    bucket = store.object_store("b")
    gone = [f"o{number:02}" for number in range(0, 12, 3)]
    for name in gone:
        bucket.delete(name)
    assert store.run_retention().bytes_reclaimed
    second = store.backup(target)

    files = [file.read_bytes() for file in Path(second.path).rglob("*.seg")]
    for name in gone:
        middle = content_of(int(name[1:]))[8_000:9_000]
        assert not any(middle in file for file in files)
    assert before == state_at(Path(first.path))
    assert state_of(store) == state_at(Path(second.path))


def test_retention_in_a_generation_hurts_no_other_one(
    store: blocking.Store, target: Path
) -> None:
    """A generation may be used as a store: what it shares stays as it is."""
    before = state_of(store)
    first = store.backup(target)
    for number in range(10):
        store.object_store("b").delete(f"o{number:02}")
    second = store.backup(target)
    assert second.bytes_reused

    with objstore.open(second.path, create=False) as other:
        other.run_retention()
        other.object_store("b").put("more", b"x")

    assert before == state_at(Path(first.path))


def test_only_the_newest_generations_are_kept(
    store: blocking.Store, target: Path
) -> None:
    """`keep` removes the oldest ones, and what they share stays."""
    paths = [store.backup(target, keep=2).path for _ in range(4)]

    assert paths[2:] == [str(path) for path in generations(target)]
    assert state_of(store) == state_at(Path(paths[2]))


def test_damage_is_copied_and_named(store: blocking.Store, target: Path) -> None:
    """A damaged record stops no backup: its object is named, the others are there."""
    place, victim = _damage_one(Path(store.url))

    report = store.backup(target)
    again = store.backup(target)

    assert {victim} == {damage.name for damage in report.damaged}
    assert report.damaged == again.damaged
    copy = Path(report.path) / place.relative_to(store.url)
    assert place.read_bytes() == copy.read_bytes()
    with objstore.open(report.path, create=False) as copied:
        assert {victim} == {damage.name for damage in copied.verify().damaged}
        assert content_of(11) == copied.object_store("b").get("o11")


def _damage_one(store: Path) -> tuple[Path, str]:
    """Turn a byte of the first object's content around."""
    place = min((store / "logs" / "00000001").glob("*.seg"))
    data = bytearray(place.read_bytes())
    data[data.index(content_of(0)[:64]) + 500] ^= 1
    place.write_bytes(data)
    return place, "o00"


def test_segment_without_a_header_is_copied_as_it_is(
    store: blocking.Store, target: Path
) -> None:
    """Damage of a segment's frame is named, and the copy reads like the source."""
    path = Path(store.url)
    store.close()
    log = path / "logs" / "00000001"
    for name in ("head", "catalog.sqlite"):
        (log / name).unlink()
    last = max(log.glob("*.seg"))
    last.write_bytes(bytes(256) + last.read_bytes()[256:])

    with objstore.open(path, create=False) as opened:
        report = opened.backup(target)

    assert {"b"} == {damage.bucket for damage in report.damaged}
    copied = Path(report.path) / last.relative_to(path)
    # but for what is void behind its end
    assert last.read_bytes().startswith(copied.read_bytes())
    with objstore.open(report.path, create=False) as copy:
        assert content_of(11) == copy.object_store("b").get("o11")


def test_copy_of_a_bucket_is_known_to_be_cut(
    store: blocking.Store, target: Path
) -> None:
    """A generation whose last segment lost its end says that it is damaged."""
    report = store.backup(target)
    last = max(Path(report.path, "logs", "00000001").glob("*.seg"))
    os.truncate(last, last.stat().st_size - 100)

    with objstore.open(report.path, create=False) as copy:
        assert not copy.verify().ok


def test_torn_ends_are_no_damage(path: Path, target: Path) -> None:
    """What a killed writer left behind the end is void, and in no backup."""
    for log in ("00000000", "00000001"):
        last = max((path / "logs" / log).glob("*.seg"))
        last.write_bytes(last.read_bytes() + b"torn" * 100)
    with objstore.open(path, create=False) as store:
        store.object_store("b").put("new", b"x")
        store.create_object_store("c")
        report = store.backup(target)
        again = store.backup(target)
        before = state_of(store)

    assert [] == report.damaged + again.damaged
    assert before == state_at(Path(report.path)) == state_at(Path(again.path))
    assert not any(b"torntorn" in it.read_bytes() for it in target.rglob("*.seg"))


@pytest.mark.parametrize(
    "place", ["store/inside", "store", "."], ids=["inside", "same", "around"]
)
def test_target_must_be_apart_from_the_store(
    store: blocking.Store, tmp_path: Path, place: str
) -> None:
    """A backup goes neither into the store nor around it."""
    with pytest.raises(BadStoreError, match="apart"):
        store.backup(tmp_path / place)


def _foreign_file(target: Path) -> None:
    target.mkdir()
    (target / "file").write_bytes(b"")


def _other_store(target: Path) -> None:
    with objstore.open("memory:") as other:
        other.backup(target)


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (_foreign_file, "holds 'file' and no backups"),
        (_other_store, "another store"),
        (Path.touch, "no directory"),
    ],
)
def test_target_with_other_things_is_refused(
    store: blocking.Store, target: Path, make: Callable[[Path], None], why: str
) -> None:
    """Nothing is written where other things are."""
    make(target)
    before = sorted(target.rglob("*"))

    with pytest.raises(BadStoreError, match=why):
        store.backup(target)
    assert before == sorted(target.rglob("*"))


def test_of_two_backups_onto_one_target_one_wins(
    store: blocking.Store, target: Path
) -> None:
    """While a backup is made another one is told who makes it."""
    store.backup(target)
    lock = FileStorage(target).try_lock("BACKUPS.lock")
    assert lock is not None

    with pytest.raises(BusyError) as caught:
        store.backup(target)
    lock.release()

    assert os.getpid() == caught.value.holder_pid
    assert 1 == len(generations(target))
    store.backup(target)


def test_failed_backup_gives_back_what_it_held(
    store: blocking.Store, target: Path
) -> None:
    """Behind an error the target can be used, and retention runs."""

    def fail(done: int, total: int | None) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.backup(target, progress=fail)

    assert ["BACKUPS", "BACKUPS.lock"] == sorted(path.name for path in target.iterdir())
    for number in range(12):
        store.object_store("b").delete(f"o{number:02}")
    assert store.run_retention().bytes_reclaimed
    store.backup(target)


def test_retention_takes_nothing_while_it_is_copied(
    store: blocking.Store, target: Path
) -> None:
    """What is in the backup's moment stays until it is copied."""
    before = state_of(store)
    reclaimed: list[int] = []

    def delete_all(done: int, total: int | None) -> None:
        if not reclaimed:
            for number in range(12):
                store.object_store("b").delete(f"o{number:02}")
            reclaimed.append(store.run_retention().bytes_reclaimed)

    report = store.backup(target, progress=delete_all)

    assert [0] == reclaimed
    assert before == state_at(Path(report.path))
    assert store.run_retention().bytes_reclaimed


def test_bucket_deleted_meanwhile_is_left_out(
    store: blocking.Store, target: Path
) -> None:
    """No bucket of a backup lacks its log: one that went away is in it nowhere."""
    second = store.create_object_store("second", segment_bytes=SEGMENTS_OF_ONE)
    for number in range(4):
        second.put(f"o{number}", content_of(number))
    is_deleted = False

    def delete(done: int, total: int | None) -> None:
        nonlocal is_deleted
        if not is_deleted:
            is_deleted = store.delete_object_store("second")
            store.create_object_store("third").put("a", b"x")

    report = store.backup(target, progress=delete)

    assert {"b", "third"} == set(report.buckets)
    assert state_of(store) == state_at(Path(report.path))


def test_bucket_deleted_behind_its_copy_is_left_out(
    store: blocking.Store, target: Path
) -> None:
    """When the registry is looked at again, what was copied may be gone by then."""
    for name in ("copied", "late"):
        bucket = store.create_object_store(name, segment_bytes=SEGMENTS_OF_ONE)
        for number in range(4):
            bucket.put(f"o{number}", content_of(number))
    segments = len(list(Path(store.url).rglob("*.seg")))
    calls = 0

    def delete(done: int, total: int | None) -> None:
        nonlocal calls
        calls += 1
        # of the last bucket the first segments are copied, the last ones are not
        if calls == segments - 3:
            store.delete_object_store("late")
            store.delete_object_store("copied")

    report = store.backup(target, progress=delete)

    assert {"b"} == set(report.buckets)
    assert {"00000000", "00000001"} == {
        path.name for path in Path(report.path, "logs").iterdir()
    }


def test_bucket_made_while_the_registry_is_held_is_in_none_or_both(
    store: blocking.Store, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a backup says that it has is what its registry says."""
    entries = Registry.entries
    is_made = False

    def entries_a_moment_later(registry: Registry) -> list[BucketEntry]:
        nonlocal is_made
        if not is_made:
            is_made = True
            store.create_object_store("made")
        return entries(registry)

    monkeypatch.setattr(Registry, "entries", entries_a_moment_later)
    report = store.backup(target)

    with objstore.open(report.path, create=False) as copy:
        assert set(copy.object_store_names()) == set(report.buckets)


SEGMENTS_OF_ONE = 16 * 1024


def test_lost_generation_costs_nothing_but_copying(
    store: blocking.Store, target: Path
) -> None:
    """What somebody removed or damaged of the newest generation is copied anew."""
    first = store.backup(target)
    shutil.rmtree(Path(first.path) / "logs" / "00000001")
    second = store.backup(target)
    manifest = Path(second.path) / "BACKUP"
    manifest.write_bytes(manifest.read_bytes()[:-9])
    third = store.backup(target)

    assert (0, 0) == (second.bytes_reused, third.bytes_reused)
    assert state_of(store) == state_at(Path(third.path))


def test_progress_ends_with_all_bytes(store: blocking.Store, target: Path) -> None:
    """What is told grows, is never more than the total, and ends with it."""
    told: list[tuple[int, int | None]] = []

    def tell(done: int, total: int | None) -> None:
        told.append((done, total))

    report = store.backup(target, progress=tell)

    assert told == sorted(told, key=lambda now: now[0])
    assert (report.bytes_copied, report.bytes_copied) == told[-1]


@pytest.mark.parametrize("keep", [0, -1])
def test_keep_is_one_at_least(store: blocking.Store, target: Path, keep: int) -> None:
    """No backup removes itself."""
    with pytest.raises(BadStoreError, match="keep"):
        store.backup(target, keep=keep)
