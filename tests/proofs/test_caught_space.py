"""What stays although it looks dead, and what never passes for what was put."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from objstore import blocking
from objstore._bucket_log import BucketLog
from objstore._engine import StoredMeta
from objstore.blocking import ObjectStore, Store
from objstore.errors import CorruptionError, DigestMismatchError
from objstore_log import Log, Record
from objstore_log._places import Places

MEBIBYTE = 1 << 20
SEGMENT_BYTES = 1 << 16
BRIEF_S = 0.001
LARGE = b"x" * 60_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give a place for a store."""
    return tmp_path / "store"


def opened_anew(folder: Path) -> Store:
    """Open a store whose catalogs were lost."""
    for path in folder.glob("logs/*/catalog.sqlite*"):
        path.unlink()
    return blocking.open(folder)


def segments(folder: Path) -> list[str]:
    """Give the segment files of the first bucket."""
    return sorted(path.name for path in folder.glob("logs/00000001/*.seg"))


def test_deleted_object_does_not_come_back(folder: Path) -> None:
    """What says that it is gone stays as long as it does, though all beside it goes."""
    with blocking.open(folder) as store:
        bucket = store.create_object_store(
            "b", segment_bytes=SEGMENT_BYTES, changes_ttl=BRIEF_S
        )
        bucket.put("stays", b"1")
        bucket.put("gone", b"2")
        bucket.put("filler", LARGE)
        bucket.put("filler", LARGE)
        bucket.delete("gone")
        for _ in range(3):
            bucket.put("filler", LARGE)
        before = segments(folder)
        store.run_retention()
        assert len(segments(folder)) < len(before), "nothing was given back"
    with opened_anew(folder) as store:
        assert not store.object_store("b").exists("gone")
        assert store.object_store("b").get("stays") == b"1"


def test_content_that_begins_at_the_end_of_a_segment_stays(folder: Path) -> None:
    """The first chunk of a large object is alone in its segment."""
    content = b"".join(bytes([number]) * MEBIBYTE for number in range(6))
    with blocking.open(folder) as store:
        bucket = store.create_object_store(
            "b", segment_bytes=MEBIBYTE, chunk_size=MEBIBYTE, changes_ttl=BRIEF_S
        )
        bucket.put("large", content)
        bucket.put("last", b"")
        store.run_retention()
        assert bucket.get("large") == content


def test_name_that_changes_before_its_page_comes_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes as a change behind the current values, and not among them, too."""
    page: Callable[..., list[StoredMeta]] = BucketLog.page

    with blocking.open(folder) as store:
        bucket: ObjectStore = store.create_object_store("b")
        for name in "abc":
            bucket.put(name, b"old")

        def overtaken(log: BucketLog, *arguments: object) -> list[StoredMeta]:
            monkeypatch.setattr(BucketLog, "page", page)
            bucket.put("b", b"new")
            return page(log, *arguments)

        monkeypatch.setattr(BucketLog, "page", overtaken)
        with bucket.watch() as watch:
            found = [next(watch) for _ in range(3)]
            bucket.put("end", b"")
            found.append(next(watch))
        assert [change.name for change in found] == ["a", "c", "b", "end"]


def test_retention_believes_no_damaged_row(folder: Path) -> None:
    """A catalog that forgot most of a live content costs none of it."""
    content = b"".join(bytes([number]) * 60_000 for number in range(4))
    with blocking.open(folder) as store:
        bucket = store.create_object_store("b", chunk_size=60_000)
        bucket.put("a", content)
        # behind the put, so that the row is written
        assert bucket.status().size == len(content)
        catalog = folder / "logs/00000001/catalog.sqlite"
        with closing(sqlite3.connect(catalog, isolation_level=None)) as other:
            assert other.execute("UPDATE extents SET count = 1").rowcount == 1
        store.run_retention()
        assert bucket.get("a") == content


def test_bucket_that_the_registry_lost_keeps_its_files(folder: Path) -> None:
    """Nobody knows of it any more, and so nobody knows that it is garbage."""
    with blocking.open(folder) as store:
        store.create_object_store("b").put("a", b"the content of a")
        store.create_object_store("c")
    (registry,) = folder.glob("logs/00000000/*.seg")
    data = bytearray(registry.read_bytes())
    # from the first record to the second of the other bucket: header and bodies
    data[256 : data.index(b'"repeats"') + 64] = bytes(data.index(b'"repeats"') - 192)
    registry.write_bytes(data)
    with opened_anew(folder) as store:
        assert store.object_store_names() == ["c"]
        store.run_retention()
    (segment,) = folder.glob("logs/00000001/*.seg")
    assert b"the content of a" in segment.read_bytes()


def no_place(*_arguments: object, **_more: object) -> None:
    """Know no place, so that everything goes the long way."""


def read_instead(
    monkeypatch: pytest.MonkeyPatch, change: Callable[[Log, int], list[Record]]
) -> None:
    """Have the log read something else than what stands at a sequence."""

    def read_run(log: Log, first: int, count: int) -> list[Record]:
        assert count == 1
        return change(log, first)

    monkeypatch.setattr(Log, "read_run", read_run)
    monkeypatch.setattr(Log, "try_read_run", read_run)
    monkeypatch.setattr(Places, "of_record", no_place)


def test_range_has_no_chunk_of_another_object(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A record that is whole is not enough: it must be of this very put."""
    read = Log.read_run
    with blocking.open(folder) as store:
        bucket = store.create_object_store("b")
        bucket.put("a", b"the content of a")
        other = bucket.put("b", b"the content of b")
        read_instead(monkeypatch, lambda log, _: read(log, other.seq - 1, 1))
        assert bucket.get_range("b", start=4, length=7) == b"content"
        with pytest.raises(CorruptionError):
            bucket.get_range("a", start=4, length=7)


def test_copy_of_damaged_content_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Damage that no checksum sees gets no new digest in another bucket."""
    read = Log.read_run

    def damaged(log: Log, first: int) -> list[Record]:
        (record,) = read(log, first, 1)
        return [replace(record, body=bytes(record.body).upper())]

    with blocking.open(folder) as store:
        bucket = store.create_object_store("b")
        bucket.put("a", b"the content of a")
        other = store.create_object_store("c")
        read_instead(monkeypatch, damaged)
        with pytest.raises(DigestMismatchError):
            bucket.copy("a", "a", bucket="c")
        assert not other.exists("a")


def test_reader_that_is_overtaken_takes_the_newer_version(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it looked up was replaced and given back before it held it."""
    last = BucketLog.last
    with blocking.open(folder) as store:
        bucket = store.create_object_store("b", chunk_size=60_000, changes_ttl=BRIEF_S)
        bucket.put("a", b"1" * 200_000)

        def overtaken(log: BucketLog, name: str) -> StoredMeta | None:
            found = last(log, name)
            monkeypatch.setattr(BucketLog, "last", last)
            bucket.put("a", b"2" * 200_000)
            store.run_retention()
            return found

        monkeypatch.setattr(BucketLog, "last", overtaken)
        with bucket.open_reader("a") as reader:
            assert reader.read() == b"2" * 200_000


def test_look_up_believes_no_damaged_row(folder: Path) -> None:
    """A catalog that has the facts of another version is not asked for them."""
    with blocking.open(folder) as store:
        bucket = store.create_object_store("b")
        bucket.put("a", b"short")
        bucket.put("b", b"this is longer")
        bucket.status()
    with blocking.open(folder) as store:
        bucket = store.object_store("b")
        catalog = folder / "logs/00000001/catalog.sqlite"
        with closing(sqlite3.connect(catalog, isolation_level=None)) as other:
            bodies = other.execute("SELECT body FROM metas ORDER BY sequence")
            (one,), _ = bodies.fetchall()
            other.execute("UPDATE metas SET body = ? WHERE name = ?", (one, b"b"))
        assert bucket.get_info("b").size == len(b"this is longer")
        assert [info.size for info in bucket.list()] == [5, 14]


def test_verify_reads_what_no_name_needs_any_more(folder: Path) -> None:
    """Damage to an older change is told of, though every object is sound."""
    with blocking.open(folder) as store:
        bucket = store.create_object_store("b")
        bucket.put("a", b"1", description="the older description")
        bucket.put("a", b"2")
    (segment,) = folder.glob("logs/00000001/*.seg")
    data = segment.read_bytes()
    segment.write_bytes(data.replace(b"the older", b"the elder"))
    with blocking.open(folder) as store:
        assert store.object_store("b").get("a") == b"2"
        report = store.verify()
        assert [damage.bucket for damage in report.damaged] == ["b"]
        assert not report.ok


def test_status_believes_no_damaged_row(folder: Path) -> None:
    """Sums that do not hold are made anew from the log."""
    with blocking.open(folder) as store:
        bucket = store.create_object_store("b")
        bucket.put("a", b"12345")
        assert bucket.status().size == 5
        catalog = folder / "logs/00000001/catalog.sqlite"
        with closing(sqlite3.connect(catalog, isolation_level=None)) as other:
            other.execute("UPDATE object_totals SET size = 0")
        assert bucket.status().size == 5


def test_content_below_a_damaged_change_stays(folder: Path) -> None:
    """It may be the last whole version: nobody knows what the damaged change said."""
    with blocking.open(folder) as store:
        bucket = store.create_object_store("b", changes_ttl=BRIEF_S)
        bucket.put("a", LARGE)
        bucket.put("a", b"2", description="the newer description")
    (segment,) = folder.glob("logs/00000001/*.seg")
    data = segment.read_bytes()
    segment.write_bytes(data.replace(b"the newer", b"the never"))
    with opened_anew(folder) as store:
        bucket = store.object_store("b")
        with pytest.raises(CorruptionError):
            bucket.get("a")
        store.run_retention()
    assert LARGE in segment.read_bytes()
