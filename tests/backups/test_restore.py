"""Making a store from a backup."""

import shutil
from pathlib import Path

import pytest
from tests.backups.harness_backups import (
    content_of,
    generations,
    state_at,
    state_of,
)

import objstore
from objstore import (
    BadStoreError,
    BusyError,
    HistoryRewoundError,
    StoreNotFoundError,
    blocking,
)
from objstore_log import FileStorage


@pytest.fixture
def new(tmp_path: Path) -> Path:
    """Give where the new store is to be."""
    return tmp_path / "new"


def test_restored_store_is_what_was_backed_up(
    store: blocking.Store, target: Path, new: Path
) -> None:
    """Contents, metas, sequences and changes are those of the backup."""
    bucket = store.object_store("b")
    bucket.put("said", b"x", "text", metadata={"k": "v"}, ttl=3600)
    bucket.delete("o05")
    store.create_object_store("empty", description="of nothing")
    before = state_of(store)
    made = store.backup(target)

    report = blocking.restore_backup(target, new)

    assert before == state_at(new)
    assert made.buckets == report.buckets
    assert (str(new), []) == (report.path, report.damaged)
    assert report.bytes_copied == made.bytes_copied


def test_older_generation_can_be_named(
    store: blocking.Store, target: Path, new: Path, tmp_path: Path
) -> None:
    """The newest generation is restored unless another one is named."""
    older = Path(store.backup(target).path)
    before = state_of(store)
    store.object_store("b").delete("o00")
    store.backup(target)

    blocking.restore_backup(target, new, generation=older.name)
    blocking.restore_backup(older, tmp_path / "other")

    assert before == state_at(new) == state_at(tmp_path / "other")


def test_backup_is_only_read(store: blocking.Store, target: Path, new: Path) -> None:
    """Restoring changes nothing in a backup, and shares nothing with it."""
    store.backup(target)
    before = {path: path.stat() for path in target.rglob("*")}

    blocking.restore_backup(target, new)

    after = {path: path.stat() for path in target.rglob("*")}
    assert {path: (it.st_mtime_ns, it.st_nlink) for path, it in before.items()} == {
        path: (it.st_mtime_ns, it.st_nlink) for path, it in after.items()
    }


def test_cursor_behind_the_backup_is_told(
    store: blocking.Store, target: Path, new: Path
) -> None:
    """A cursor of what is lost never stands among other changes, however many come."""
    bucket = store.object_store("b")
    kept = bucket.watch(start="all")
    last = bucket.get_info("o11").seq
    while next(kept).seq < last:
        pass
    store.backup(target)
    bucket.put("lost", b"x")
    at_backup = kept.cursor
    lost = bucket.watch(after=at_backup)
    assert "lost" == next(lost).name
    blocking.restore_backup(target, new)

    with objstore.open(new, create=False) as restored:
        bucket = restored.object_store("b")
        for _ in range(2):
            with pytest.raises(HistoryRewoundError):
                next(bucket.watch(after=lost.cursor))
            # as many as were lost, and more
            bucket.put("other", b"y")
            bucket.put("more", b"y")
        names = [next(bucket.watch(after=at_backup)).name]
    assert ["other"] == names


def test_restored_store_goes_on(store: blocking.Store, target: Path, new: Path) -> None:
    """It takes puts, retention and backups of its own, onto the same target, too."""
    store.backup(target)
    blocking.restore_backup(target, new)

    with objstore.open(new, create=False) as restored:
        bucket = restored.object_store("b")
        bucket.put("next", b"x")
        for number in range(11):
            bucket.delete(f"o{number:02}")
        restored.run_retention()
        restored.create_object_store("c").put("a", b"y")
        report = restored.backup(target)
    assert state_at(new) == state_at(Path(report.path))


def test_damage_in_a_backup_costs_its_object_alone(
    store: blocking.Store, target: Path, new: Path
) -> None:
    """A damaged backup is restored as far as it goes, and its damage is named."""
    report = store.backup(target)
    place = min(Path(report.path, "logs", "00000001").glob("*.seg"))
    data = bytearray(place.read_bytes())
    data[data.index(content_of(0)[:64]) + 500] ^= 1
    place.write_bytes(data)

    restored = blocking.restore_backup(target, new)

    assert {"o00"} == {damage.name for damage in restored.damaged}
    with objstore.open(new, create=False) as opened:
        assert content_of(1) == opened.object_store("b").get("o01")


def test_bucket_without_its_log_is_named(
    store: blocking.Store, target: Path, new: Path
) -> None:
    """A log that somebody took out of a backup is missed."""
    report = store.backup(target)
    shutil.rmtree(Path(report.path) / "logs" / "00000001")

    restored = blocking.restore_backup(target, new)

    assert {"b"} == {damage.bucket for damage in restored.damaged}


def test_place_must_be_free(store: blocking.Store, target: Path, new: Path) -> None:
    """Nothing is restored over anything; an empty directory is free."""
    store.backup(target)
    new.mkdir()
    (new / "file").touch()

    with pytest.raises(BadStoreError, match="not empty"):
        blocking.restore_backup(target, new)
    assert [new / "file"] == list(new.iterdir())
    (new / "file").unlink()
    blocking.restore_backup(target, new)
    assert state_of(store) == state_at(new)


def test_place_must_be_apart_from_the_backup(
    store: blocking.Store, target: Path
) -> None:
    """No store is made inside a generation."""
    path = store.backup(target).path

    with pytest.raises(BadStoreError, match="apart"):
        blocking.restore_backup(target, Path(path) / "new")


def test_what_is_no_backup_is_refused(tmp_path: Path, new: Path) -> None:
    """Where there is no generation, nothing is made."""
    for place in (tmp_path, tmp_path / "missing"):
        with pytest.raises(StoreNotFoundError, match="no backup"):
            blocking.restore_backup(place, new)
    assert not new.exists()


def test_of_two_restorings_to_one_place_one_wins(
    store: blocking.Store, target: Path, new: Path
) -> None:
    """While one restores to a place another one is told so."""
    store.backup(target)
    beside = FileStorage(new.with_name(".new.restoring"), create=True)
    lock = beside.try_lock("BACKUPS.lock")
    assert lock is not None

    with pytest.raises(BusyError):
        blocking.restore_backup(target, new)
    lock.release()
    blocking.restore_backup(target, new)
    assert 1 == len(generations(target))


def test_interrupted_restoring_leaves_nothing(
    store: blocking.Store, target: Path, new: Path
) -> None:
    """Behind an error there is no store, and no space is lost."""
    store.backup(target)

    def fail(done: int, total: int | None) -> None:
        raise KeyboardInterrupt

    before = sorted(new.parent.iterdir())
    with pytest.raises(KeyboardInterrupt):
        blocking.restore_backup(target, new, progress=fail)
    assert before == sorted(new.parent.iterdir())
