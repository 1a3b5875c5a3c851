"""Repair: what can be saved is saved, nothing is lost by it, the rest stays named."""

from __future__ import annotations

import errno
import json
import logging
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from objstore import (
    ObjectMeta,
    Repair,
    VerifyReport,
    blocking,
)
from objstore.blocking import ObjectStore, Store
from objstore.errors import CorruptionError
from objstore_log import FileStorage
from objstore_log import _catalog_schema as schema
from objstore_log._storage import File
from objstore_log.testing import CrashStorage
from objstore_log.testing.crash_storage import Crashed

from .crash_world import CrashStore, Images
from .flip_store import (
    Known,
    Original,
    Place,
    Seen,
    build,
    flipped,
    look_at,
    make_small_and_repeatable,
    open_flipped,
)

STRIDE = 701
LONG_STRIDE = 149
"""Of two flips in a row."""
KILL_STRIDE = 7
NOWHERE = Place((), "")
"""Where nothing is flipped."""
CHUNK = 1_000


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use small slabs, and no thread beside the test's own."""
    make_small_and_repeatable(monkeypatch)
    monkeypatch.setattr(logging.getLogger("objstore"), "disabled", True)


@pytest.fixture(scope="module")
def original() -> Original:
    """Give a store with every kind of record, as it was before."""
    with pytest.MonkeyPatch.context() as patch:
        make_small_and_repeatable(patch)
        return build()


# --- whatever is damaged ----------------------------------------------------------


def check_repair(store: CrashStore, known: Known) -> VerifyReport:
    """Repair: what could be read still is; the rest is named, or has an older version.

    A second repair saves nothing again.
    """
    before = look_at(store, known)
    done = store.verify(repair=True)
    check_seen(before, look_at(store, known), done)
    again = store.verify(repair=True)
    assert {item.action for item in again.repaired} <= {"lost"}, again.repaired
    assert again.damaged == done.damaged
    assert store.verify().damaged == done.damaged
    return done


def check_seen(before: Seen, after: Seen, done: VerifyReport) -> None:
    """No name is lost by a repair, and what is lost is named."""
    restored = {
        (item.bucket, item.name) for item in done.repaired if item.action == "restored"
    }
    assert after.lost <= before.lost
    assert after.stale - before.stale <= restored
    named = {(damage.bucket, damage.name) for damage in done.damaged}
    assert after.lost <= named, "a loss that nobody reports"
    assert done.ok == (not done.damaged)


def repair_each(original: Original, stride: int, *, has_catalog: bool) -> set[str]:
    """Flip a byte, repair, look; give the kinds of what was done."""
    actions: set[str] = set()
    images: Images = original.images if has_catalog else {}
    for place, content in original.files.items():
        for position in range(7, len(content), stride):
            storage = flipped(original, place, position, 0xFF)
            try:
                store = open_flipped(storage, images)
                done = check_repair(store, original.known)
                seen = look_at(store, original.known)
                store.close()
                again = open_flipped(storage, {})
                assert look_at(again, original.known) == seen
                again.close()
            except BaseException as error:
                error.add_note(f"{place}, byte {position}")
                raise
            actions |= {item.action for item in done.repaired}
    return actions


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("has_catalog", [True, False])
def test_repair_costs_nothing_that_could_be_read(
    original: Original, *, has_catalog: bool
) -> None:
    """After any flipped byte, also when the catalogs are lost before it or behind."""
    actions = repair_each(original, STRIDE, has_catalog=has_catalog)

    assert {"healed", "quarantined"} <= actions
    assert not has_catalog or "salvaged" in actions


@pytest.mark.slow
@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("has_catalog", [True, False])
def test_no_repair_costs_anything_that_could_be_read(
    original: Original, *, has_catalog: bool
) -> None:
    """The same, for many more bytes."""
    assert repair_each(original, LONG_STRIDE, has_catalog=has_catalog)


def stretches(original: Original) -> Iterator[tuple[Place, bytes | None]]:
    """Give what is left of each segment of a bucket: a part, a part less, nothing."""
    for place, content in original.files.items():
        if not place.name.endswith(".seg") or place.directory[-1] == "00000000":
            continue
        third = len(content) // 3
        yield place, content[:third]
        yield place, content[:third] + bytes(1_500) + content[third + 1_500 :]
        yield place, None


@pytest.mark.usefixtures("quiet")
def test_repair_costs_nothing_after_larger_losses(original: Original) -> None:
    """A segment is cut, zeroed in its middle, or missing."""
    for place, left in stretches(original):
        files = dict(original.files)
        if left is None:
            del files[place]
        else:
            files[place] = left
        storage = flipped(replace(original, files=files), NOWHERE, 0, 0)
        try:
            store = open_flipped(storage, original.images)
            check_repair(store, original.known)
            store.close()
        except BaseException as error:
            error.add_note(f"{place}, {len(left or b'')} bytes left")
            raise


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("part", [b"a copy", b"seal"])
def test_killed_repair_is_run_again(original: Original, part: bytes) -> None:
    """At every few steps: nothing is worse than before, and it ends as it would."""
    damaged = _damaged_at(original, part)
    whole = _crash_storage(original, damaged)
    store = open_flipped(whole, original.images)
    before, start = look_at(store, original.known), whole.mutation_count
    store.verify(repair=True)
    expected, end = look_at(store, original.known), whole.mutation_count
    assert end > start
    for mutation in range(start + 1, end + 1, KILL_STRIDE):
        storage = _crash_storage(original, damaged)
        store = open_flipped(storage, original.images)
        look_at(store, original.known)
        storage.kill_after(mutation)
        with pytest.raises(Crashed):
            store.verify(repair=True)
        left = open_flipped(storage.kill(), original.images)
        seen = look_at(left, original.known)
        assert seen.lost <= before.lost, mutation
        check_repair(left, original.known)
        assert look_at(left, original.known) == expected, mutation


def _damaged_at(original: Original, part: bytes) -> dict[Place, bytes]:
    """Flip the byte behind some bytes of a log."""
    place, content = next(
        (place, content)
        for place, content in original.files.items()
        if place.directory[:1] == ("logs",)
        and place.directory != ("logs", "00000000")
        and part in content
    )
    data = bytearray(content)
    data[content.index(part)] ^= 0xFF
    # and one of the copies of its header
    data[3] ^= 0xFF
    return {place: bytes(data)}


def _crash_storage(original: Original, damaged: dict[Place, bytes]) -> CrashStorage:
    root = CrashStorage()
    for place, content in {**original.files, **damaged}.items():
        directory: CrashStorage = root
        for name in place.directory:
            following = directory.directory(name, create=True)
            directory.sync_directory()
            directory = following
        file = directory.open(place.name, create=True)
        file.write_at(0, [content])
        file.sync()
        file.close()
        directory.sync_directory()
    return root


# --- what a repair does -----------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give a place for a store."""
    return tmp_path / "store"


def flip(folder: Path, part: bytes, log: int = 1) -> None:
    """Flip the last byte of a part of a log, wherever it stands."""
    for segment in folder.glob(f"logs/{log:08x}/*.seg"):
        data = bytearray(segment.read_bytes())
        if part in data:
            data[data.index(part) + len(part) - 1] ^= 0xFF
            segment.write_bytes(data)
            return
    raise AssertionError(part)


def filled(folder: Path, fill: Callable[[ObjectStore], object]) -> None:
    """Make a store, fill its bucket, close it."""
    with blocking.open(folder, retention_interval=None) as store:
        bucket = store.object_store("b", create=True)
        fill(bucket)
        bucket.status()


def repaired(folder: Path) -> tuple[VerifyReport, dict[str, Repair]]:
    """Repair a store as it said it would; give what was done by its kind."""
    with blocking.open(folder, retention_interval=None) as store:
        planned = store.verify(dry_run=True)
        report = store.verify(repair=True)
        assert [(item.action, item.name, item.seq) for item in planned.repaired] == [
            (item.action, item.name, item.seq) for item in report.repaired
        ]
        return report, {item.action: item for item in report.repaired}


@pytest.fixture
def opened(folder: Path) -> Iterator[Callable[[], Store]]:
    """Give what opens the store without its catalogs."""
    stores: list[Store] = []

    def opening() -> Store:
        for path in folder.glob("logs/*/catalog.sqlite*"):
            path.unlink()
        stores.append(blocking.open(folder, retention_interval=None))
        return stores[-1]

    yield opening
    for store in stores:
        store.close()


def test_change_that_the_catalog_has_is_written_again(
    folder: Path, opened: Callable[[], Store]
) -> None:
    """The log has damaged it; behind the repair the catalog may go."""

    filled(folder, lambda bucket: bucket.put("a", b"content", description="of a"))
    flip(folder, b"of a")
    report, done = repaired(folder)

    assert report.ok
    assert (done["salvaged"].name, done["salvaged"].seq) == ("a", 2)
    info = opened().object_store("b").get_info("a")
    assert info.description == "of a"
    assert opened().object_store("b").get("a") == b"content"


def test_end_that_only_the_catalog_has_is_written_again(
    folder: Path, opened: Callable[[], Store]
) -> None:
    """One damaged stretch took the last change and the commit behind it."""

    def fill(bucket: ObjectStore) -> None:
        bucket.put("a", b"content")
        bucket.update_meta("a", ObjectMeta(description="of a"))

    filled(folder, fill)
    (segment,) = folder.glob("logs/00000001/*.seg")
    data = bytearray(segment.read_bytes())
    start = data.index(b"of a")
    data[start:] = bytes(len(data) - start)
    segment.write_bytes(data)
    with blocking.open(folder) as store:
        assert store.object_store("b").get_info("a").description == "of a"
    report, done = repaired(folder)

    assert report.ok
    assert done["salvaged"].name == "a"
    assert opened().object_store("b").get_info("a").description == "of a"


def test_deletion_that_the_catalog_has_is_written_again(
    folder: Path, opened: Callable[[], Store]
) -> None:
    """What was deleted does not come back with the rebuilt catalog."""

    def fill(bucket: ObjectStore) -> None:
        bucket.put("a", b"content")
        bucket.delete("a")

    filled(folder, fill)
    flip(folder, b'"deleted":true')
    report, _ = repaired(folder)

    assert report.ok
    assert not opened().object_store("b").exists("a")


def test_older_version_takes_the_place_of_a_damaged_one(folder: Path) -> None:
    """The newest that is whole; the report says which."""

    def fill(bucket: ObjectStore) -> None:
        for content in (b"oldest", b"older one", b"the newest"):
            bucket.put("a", content)

    filled(folder, fill)
    flip(folder, b"the newest")
    report, done = repaired(folder)

    assert report.ok
    assert done["restored"].detail == "the version of sequence 4 is back"
    with blocking.open(folder) as store:
        assert store.object_store("b").get("a") == b"older one"
        assert store.object_store("b").status().size == len(b"older one")


def test_what_was_deleted_is_not_restored(folder: Path) -> None:
    """A version before a deletion is none to go back to."""

    def fill(bucket: ObjectStore) -> None:
        bucket.put("a", b"before")
        bucket.delete("a")
        bucket.put("a", b"behind")

    filled(folder, fill)
    flip(folder, b"behind")
    report, done = repaired(folder)

    assert not report.ok
    assert "restored" not in done
    assert done["lost"].name == "a"


def test_sealed_bucket_is_not_changed(folder: Path) -> None:
    """What is left is saved, no older version comes back, and the report says so."""

    def fill(bucket: ObjectStore) -> None:
        bucket.put("a", b"before")
        bucket.put("a", b"behind")
        bucket.seal()

    filled(folder, fill)
    flip(folder, b"behind")
    report, done = repaired(folder)

    assert [damage.name for damage in report.damaged] == ["a"]
    assert "sealed" in done["lost"].detail
    assert done["quarantined"].path is not None


def test_seal_is_said_again(folder: Path, opened: Callable[[], Store]) -> None:
    """A bucket does not open up because what sealed it is damaged."""
    filled(folder, lambda bucket: bucket.seal())
    (segment,) = folder.glob("logs/00000001/*.seg")
    data = bytearray(segment.read_bytes())
    # the header of its only record
    data[256 + 70] ^= 0xFF
    segment.write_bytes(data)
    _, done = repaired(folder)

    assert "salvaged" in done
    assert opened().object_store("b").status().sealed


def test_whole_chunks_are_saved_at_their_offsets(folder: Path) -> None:
    """And the description says what is missing, with the document."""
    content = b"".join(bytes([65 + at]) * CHUNK for at in range(5))

    def fill(bucket: ObjectStore) -> None:
        bucket.put("a", content, chunk_size=CHUNK, description="five chunks")

    filled(folder, fill)
    flip(folder, b"C" * CHUNK)
    report, _ = repaired(folder)

    assert [damage.name for damage in report.damaged] == ["a"]
    (described,) = folder.glob("quarantine/00000001/version-*.json")
    document = json.loads(described.read_text())
    assert document["document"]["description"] == "five chunks"
    missing = document["missing"]
    assert [(part["offset"], part["length"]) for part in missing] == [(2_000, CHUNK)]
    saved = (folder / document["content"]).read_bytes()
    assert saved == content.replace(b"C", b"\0")
    (raw,) = folder.glob("quarantine/00000001/record-*.bytes")
    assert b"C" * (CHUNK - 1) in raw.read_bytes()


def test_second_repair_saves_nothing_again(folder: Path) -> None:
    """Until it is put again, a damaged name is named and raises."""
    filled(folder, lambda bucket: bucket.put("a", b"content"))
    flip(folder, b"content")
    repaired(folder)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("quarantine/*/*")}
    report, done = repaired(folder)

    assert before
    assert set(done) == {"lost"}
    assert [damage.name for damage in report.damaged] == ["a"]
    after = {path: path.stat().st_mtime_ns for path in folder.rglob("quarantine/*/*")}
    assert after == before
    with blocking.open(folder) as store:
        bucket = store.object_store("b")
        with pytest.raises(CorruptionError):
            bucket.get("a")
        bucket.put("a", b"new")
        assert store.verify().ok


def test_every_name_that_shares_a_content_is_named(folder: Path) -> None:
    """With the sequence of each, and the place."""

    def fill(bucket: ObjectStore) -> None:
        bucket.put("a", b"content")
        bucket.copy("a", "b")
        bucket.rename("a", "c")

    filled(folder, fill)
    flip(folder, b"content")
    with blocking.open(folder) as store:
        report = store.verify()
        infos = store.object_store("b").list()

    assert [(item.name, item.seq) for item in report.damaged] == [
        (info.name, info.seq) for info in infos
    ]
    assert {(item.segment, item.position) for item in report.damaged} == {(1, 256)}


@pytest.mark.parametrize("position", [5, 130, -5, -70])
def test_structure_of_segments_is_healed(folder: Path, position: int) -> None:
    """Copies of a header, a footer and its trailer; every byte between them stays."""

    def fill(bucket: ObjectStore) -> None:
        for number in range(4):
            bucket.put(f"{number}", bytes([number]) * 30_000)

    with blocking.open(folder, retention_interval=None) as store:
        fill(store.create_object_store("b", segment_bytes=65_536))
    segment = min(folder.glob("logs/00000001/*.seg"))
    whole = segment.read_bytes()
    data = bytearray(whole)
    data[position] ^= 0xFF
    segment.write_bytes(data)
    report, done = repaired(folder)

    assert report.ok
    assert "healed" in done
    assert segment.read_bytes() == whole


def test_segment_that_is_appended_to_is_ended_and_healed(folder: Path) -> None:
    """It is not written to in place."""
    filled(folder, lambda bucket: bucket.put("a", b"content"))
    (segment,) = folder.glob("logs/00000001/*.seg")
    data = bytearray(segment.read_bytes())
    data[5] ^= 0xFF
    segment.write_bytes(data)
    report, done = repaired(folder)

    assert report.ok
    assert "healed" in done
    assert len(list(folder.glob("logs/00000001/*.seg"))) == 2
    with blocking.open(folder) as store:
        assert store.object_store("b").get("a") == b"content"


def test_registry_is_checked_and_said_again(
    folder: Path, opened: Callable[[], Store]
) -> None:
    """One of the two records of a bucket is damaged, then the other one may be."""
    filled(folder, lambda bucket: bucket.put("a", b"content"))
    flip(folder, b'"repeats"', log=0)
    with blocking.open(folder, retention_interval=None) as store:
        (damage,) = store.verify().damaged
        assert (damage.bucket, damage.name) == ("b", None)
        assert damage.reason.startswith("in the registry: ")
    report, done = repaired(folder)

    assert report.ok
    assert "salvaged" in done
    flip(folder, b'{"number"', log=0)
    assert opened().object_store("b").get("a") == b"content"


def test_catalog_that_differs_silently_is_named(folder: Path) -> None:
    """Every row and every sum of it holds, and it is still not what the log says."""

    def fill(bucket: ObjectStore) -> None:
        bucket.put("a", b"older")
        bucket.put("a", b"newer")

    filled(folder, fill)
    with blocking.open(folder, retention_interval=None) as store:
        _forge(folder / "logs/00000001/catalog.sqlite", b"\x02a", 4, 2)
        report = store.object_store("b").verify()
        assert {(item.name, item.seq) for item in report.damaged} >= {("a", 4)}
        done = store.verify(repair=True)
        assert done.ok
        assert "rebuilt" in {item.action for item in done.repaired}
        assert store.verify().ok


def _forge(path: Path, subject: bytes, old: int, new: int) -> None:
    """Have a catalog say another sequence of a subject, with all its checksums."""
    with closing(schema.connect(str(path), 1.0)) as db:
        state = schema.read_state(db, str(path))
        checksum = schema.row_checksum(subject, new)
        change = checksum - schema.row_checksum(subject, old)
        db.execute("BEGIN IMMEDIATE")
        db.execute(
            "UPDATE subjects SET sequence = ?, checksum = ? WHERE subject = ?",
            (new, checksum, subject),
        )
        total = (state.subject_sum + change) & schema.MASK
        schema.write_state(db, replace(state, subject_sum=total))
        db.execute("COMMIT")


def test_bad_sector_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it hit is named and saved as far as it can be read, and all else is read."""

    def fill(bucket: ObjectStore) -> None:
        bucket.put("a", bytes(100_000), chunk_size=10_000)
        bucket.put("b", b"content")

    filled(folder, fill)
    bad = range(40_960, 45_056)
    read_at = FileStorage.open

    def opening(storage: FileStorage, name: str, *, create: bool = False) -> File:
        file = read_at(storage, name, create=create)
        if "00000000" in storage.path:
            return file
        found: Any = _Bad(file, bad)
        return cast("File", found)

    monkeypatch.setattr(FileStorage, "open", opening)
    report, done = repaired(folder)

    assert [(item.name, item.position) for item in report.damaged] == [("a", 40_608)]
    assert done["lost"].name == "a"
    with blocking.open(folder) as store:
        assert store.object_store("b").get("b") == b"content"
        with pytest.raises(CorruptionError):
            store.object_store("b").get("a")


class _Bad:
    """A file with a bad sector."""

    def __init__(self, file: File, bad: range) -> None:
        self._file = file
        self._bad = bad

    def read_at(self, position: int, length: int) -> bytes:
        """Read, or fail as a disk does."""
        if position < self._bad.stop and self._bad.start < position + length:
            raise OSError(errno.EIO, "Input/output error")
        return self._file.read_at(position, length)

    def try_read_at(self, position: int, length: int) -> bytes | None:
        """Leave it to the other one."""
        return None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def test_retention_keeps_what_it_could_not_read(folder: Path) -> None:
    """A segment with a stretch that nobody can read is not given back as dead."""
    with blocking.open(folder, retention_interval=None) as store:
        bucket = store.create_object_store("b", segment_bytes=65_536, changes_ttl=0.001)
        for number in range(6):
            bucket.put("a", bytes([number]) * 30_000)
    segment = min(folder.glob("logs/00000001/*.seg"))
    data = bytearray(segment.read_bytes())
    data[-5] ^= 0xFF
    data[260] ^= 0xFF
    segment.write_bytes(data)
    with blocking.open(folder, retention_interval=None) as store:
        store.run_retention()
    assert segment.exists()


def test_footer_that_would_hide_a_loss_is_not_made(folder: Path) -> None:
    """It says which records there are: without those that are lost it would lie."""
    with blocking.open(folder, retention_interval=None) as store:
        bucket = store.create_object_store("b", segment_bytes=65_536)
        for number in range(4):
            bucket.put(f"{number}", bytes([number]) * 30_000)
    segment = min(folder.glob("logs/00000001/*.seg"))
    data = bytearray(segment.read_bytes())
    data[-5] ^= 0xFF
    data[260] ^= 0xFF
    segment.write_bytes(data)
    report, done = repaired(folder)

    assert "healed" not in done
    assert {item.name for item in report.damaged} >= {"0", None}


def test_segment_without_any_header_hides_nothing_else(folder: Path) -> None:
    """What it held is named, what the others hold is checked and read."""
    with blocking.open(folder, retention_interval=None) as store:
        bucket = store.create_object_store("b", segment_bytes=65_536)
        for number in range(4):
            bucket.put(f"{number}", bytes([number]) * 30_000)
    segments = sorted(folder.glob("logs/00000001/*.seg"))
    segments[0].write_bytes(segments[0].read_bytes()[:50])
    with blocking.open(folder) as store:
        report = store.verify()
        bucket = store.object_store("b")
        assert {item.name for item in report.damaged} >= {"0", "1"}
        assert bucket.get("3") == b"\3" * 30_000


def test_log_that_the_registry_lost_is_named(folder: Path) -> None:
    """Nobody knows any more which bucket it was; its files are all there."""
    filled(folder, lambda bucket: bucket.put("a", b"content"))
    for path in folder.glob("logs/00000000/*"):
        path.unlink()
    with blocking.open(folder) as store:
        (damage,) = store.verify().damaged

    assert (
        damage.reason == "in the registry: log 00000001 is of no bucket that it knows"
    )
