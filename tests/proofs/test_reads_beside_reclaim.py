"""Reads, lists and reports beside processes that replace content and give it back.

Whatever a reading process knows may be old: its list of segments, its end of the log,
the place of a content. It looks again, and tells of damage only where there is some.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import objstore
from objstore._bucket_log import BucketLog
from objstore._embedded import EmbeddedEngine
from objstore._handles import Session
from objstore.blocking import ObjectStore, Store
from objstore.errors import LimitExceededError, StorageError
from objstore_log import Catalog, FileStorage, Log
from objstore_log._segments import Segments

from .test_reclaim_races import _at, _engine

WORKER = Path(__file__).with_name("reclaim_worker.py")
CHUNK = 60_000
SEGMENT_BYTES = 100_000
BRIEF_S = 0.001


def content(letter: str) -> bytes:
    """Give what fills more than half a segment."""
    return letter.encode() * CHUNK


@pytest.fixture
def engines(tmp_path: Path) -> Iterator[tuple[EmbeddedEngine, EmbeddedEngine]]:
    """Give two engines as of two processes; changes in the bucket go at once."""
    engines = _engine(tmp_path / "store"), _engine(tmp_path / "store")
    Store(Session(engines[0])).create_object_store(
        "b", segment_bytes=SEGMENT_BYTES, changes_ttl=BRIEF_S, max_bytes=3 * CHUNK
    )
    yield engines
    for engine in engines:
        engine.close()


@pytest.fixture
def one(engines: tuple[EmbeddedEngine, EmbeddedEngine]) -> Store:
    """Give the store of the process that changes."""
    return Store(Session(engines[0]))


@pytest.fixture
def reading(engines: tuple[EmbeddedEngine, EmbeddedEngine]) -> ObjectStore:
    """Give the bucket of the process that reads."""
    return Store(Session(engines[1])).object_store("b")


def replace(store: Store, letters: str) -> None:
    """Overwrite `x` again and again, then give back all but the last."""
    bucket = store.object_store("b")
    for letter in letters:
        bucket.put("x", content(letter))
    time.sleep(2 * BRIEF_S)
    store.run_retention()


# --- segments that vanish -----------------------------------------------------------


def test_segments_may_vanish_while_a_process_catches_up(
    one: Store, reading: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was listed and then unlinked is passed over; the newest is read."""
    replace(one, "a")
    assert content("a") == reading.get("x")
    for letter in "bcd":
        one.object_store("b").put("x", content(letter))
    with monkeypatch.context() as beside:
        _at(beside, Segments, "refresh", 0, lambda: replace(one, "efg"))
        got = reading.get("x")

    assert content("g") == got
    assert Store(reading._session).verify().ok


def test_segments_may_vanish_while_a_process_verifies(
    one: Store, reading: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A segment that is unlinked before its turn comes is not damaged."""
    for letter in "abcd":
        one.object_store("b").put("x", content(letter))
    reading.list()
    with monkeypatch.context() as beside:
        _at(beside, Log, "scrub", 0, lambda: replace(one, "efg"))
        report = reading.verify()

    assert (True, []) == (report.ok, report.damaged)


def test_catalog_may_be_ahead_of_a_process_that_verifies(
    one: Store, reading: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What another process has applied meanwhile is looked for in the log first."""
    bucket = one.object_store("b")
    bucket.put("x", content("a"))
    reading.list()

    def go_on() -> None:
        bucket.put("x", content("b"))
        bucket.list()

    with monkeypatch.context() as beside:
        # of the registry's catalog, then of the bucket's
        _at(beside, Catalog, "check", 1, go_on)
        report = Store(reading._session).verify()

    assert [] == report.damaged


def test_failed_look_leaves_nothing_behind(
    one: Store, reading: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A read that the system refuses is a StorageError, the next one is up to date."""
    replace(one, "a")
    reading.get("x")
    replace(one, "bcd")

    def refuse(_: FileStorage) -> list[str]:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as broken:
        broken.setattr(FileStorage, "names", refuse)
        with pytest.raises(StorageError, match="Input/output error"):
            reading.get("x")

    assert content("d") == reading.get("x")


def test_reclaiming_may_begin_with_an_old_list_of_segments(
    one: Store, reading: ObjectStore
) -> None:
    """What another process has unlinked since is not looked for."""
    for letter in "abcd":
        one.object_store("b").put("x", content(letter))
    reading.list()
    replace(one, "")
    report = Store(reading._session).run_retention()

    assert report.removed == 0
    assert content("d") == reading.get("x")


def test_size_counts_what_was_reclaimed_unseen(
    one: Store, reading: ObjectStore
) -> None:
    """`max_bytes` holds in a process that never saw some of the changes."""
    bucket = one.object_store("b")
    for name in "yz":
        bucket.put(name, content(name))
    reading.list()
    for name in "yz":
        for letter in "abc":
            bucket.put(name, content(letter)[:100])
    bucket.put("x", content("x"))
    replace(one, "v")
    bucket.delete("y")
    bucket.put("x", content("w"))
    size = one.object_store("b").status().size

    with pytest.raises(LimitExceededError) as refused:
        reading.put("new", content("n") * 3)
    assert size == refused.value.size


# --- content that goes --------------------------------------------------------------


def test_content_may_go_between_look_up_and_read(
    one: Store, reading: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A get gives the old content, or looks again and gives the new."""
    replace(one, "a")
    with monkeypatch.context() as beside:
        _at(beside, BucketLog, "last", 0, lambda: replace(one, "bcd"))
        got = reading.get("x")

    assert got in (content("a"), content("d"))


def test_pin_waits_for_a_reclaimer_at_its_segment(
    one: Store, reading: ObjectStore, tmp_path: Path
) -> None:
    """A reader is protected although a reclaimer was at its segment just then."""
    replace(one, "a")
    # so that the segment stays and the content in it becomes a hole
    one.object_store("b").put("kept", b"")
    logs = next((tmp_path / "store" / "logs").iterdir())
    storage = FileStorage(logs)
    files = [storage.open(name) for name in storage.names() if name.endswith(".seg")]
    assert all(file.try_lock(shared=False) for file in files)

    def let_go() -> None:
        for file in files:
            file.close()

    timer = threading.Timer(0.1, let_go)
    timer.start()
    with reading.open_reader("x") as reader:
        timer.join()
        replace(one, "bcd")
        got = reader.read()

    assert content("a") == got


# --- lists --------------------------------------------------------------------------


@pytest.mark.parametrize("is_reclaimed", [False, True])
@pytest.mark.parametrize(("old", "new"), [("a", "z"), ("z", "a")])
def test_list_beside_a_rename_has_one_of_the_names(
    one: Store,
    reading: ObjectStore,
    monkeypatch: pytest.MonkeyPatch,
    old: str,
    new: str,
    *,
    is_reclaimed: bool,
) -> None:
    """Never both and never none, although the old name's meta is superseded."""
    bucket = one.object_store("b")
    bucket.put(old, b"1")

    def rename() -> None:
        bucket.rename(old, new)
        if is_reclaimed:
            replace(one, "bcd")

    with monkeypatch.context() as beside:
        _at(beside, Log, "subjects", 0, rename)
        names = [info.name for info in reading.list()]

    assert len({old, new} & set(names)) == 1


def test_short_list_passes_over_many_markers_in_few_looks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The limit does not say how many rows a look takes."""
    looks: list[int] = []
    page = BucketLog.page

    def counted(
        bucket: BucketLog, prefix: str, after: str | None, limit: int, as_of: int | None
    ) -> object:
        looks.append(limit)
        return page(bucket, prefix, after, limit, as_of)

    with objstore.open("memory:", retention_interval=None) as store:
        bucket = store.create_object_store("b")
        for number in range(450):
            bucket.put(f"{number:04}", b"")
            bucket.delete(f"{number:04}")
        bucket.put("z1", b"")
        bucket.put("z2", b"")
        monkeypatch.setattr(BucketLog, "page", counted)
        names = [info.name for info in bucket.list(limit=1)]

    assert names == ["z1"]
    assert len(looks) <= 3


# --- the report ---------------------------------------------------------------------


def stored_bytes(place: Path) -> int:
    """Give what the segments take on the disk."""
    return sum(path.stat().st_blocks * 512 for path in place.rglob("*.seg"))


def filled(place: Path) -> None:
    """Make a store with much that is dead, in dead segments and beside live content."""
    with objstore.open(place, retention_interval=None) as store:
        bucket = store.create_object_store(
            "b", segment_bytes=1 << 20, changes_ttl=BRIEF_S
        )
        for number in range(6):
            bucket.put("x", os.urandom(300_000))
            bucket.put(f"kept{number % 4}", os.urandom(5_000))
            bucket.put("small", os.urandom(9_000))
        bucket.put("y", os.urandom(700_000))
        bucket.put("y", b"")
        bucket.put("due", os.urandom(100_000), ttl=0.02)
    time.sleep(0.05)


def test_run_gives_back_what_was_told_and_only_once(tmp_path: Path) -> None:
    """The plan, the run and the disk agree; what was told is not told again."""
    place = tmp_path / "store"
    filled(place)
    with objstore.open(place, retention_interval=None) as store:
        planned = store.run_retention(dry_run=True)
        before = stored_bytes(place)
        done = store.run_retention()
        given = before - stored_bytes(place)
        assert done.bytes_reclaimed > 1_500_000
        assert done.removed > 5
        assert abs(given - done.bytes_reclaimed) < 50_000
        facts = planned.expired, planned.removed, planned.bytes_reclaimed
        assert facts == (done.expired, done.removed, done.bytes_reclaimed)
    with objstore.open(place, retention_interval=None) as store:
        planned = store.run_retention(dry_run=True)
        again = store.run_retention()

    assert (again.removed, again.bytes_reclaimed) == (0, 0)
    assert (planned.removed, planned.bytes_reclaimed) == (0, 0)


def test_unlinked_segment_does_not_give_back_its_holes(tmp_path: Path) -> None:
    """Chunks that were punched before do not count when their segment goes."""
    with objstore.open(tmp_path / "store", retention_interval=None) as store:
        bucket = store.create_object_store(
            "b", segment_bytes=1 << 20, changes_ttl=BRIEF_S
        )
        bucket.put("x", os.urandom(400_000))
        bucket.put("kept", os.urandom(300_000))
        bucket.put("x", os.urandom(400_000))
        time.sleep(2 * BRIEF_S)
        first = store.run_retention()
        bucket.put("kept", b"")
        time.sleep(2 * BRIEF_S)
        second = store.run_retention()

    assert (first.removed, second.removed) == (1, 1)
    assert first.bytes_reclaimed > 380_000
    assert 280_000 < second.bytes_reclaimed < 340_000


def test_plan_leaves_out_what_a_reader_holds(tmp_path: Path) -> None:
    """A run could not give it back either."""
    with objstore.open(tmp_path / "store", retention_interval=None) as store:
        bucket = store.create_object_store("b")
        bucket.put("x", content("x"))
        with bucket.open_reader("x"):
            bucket.delete("x")
            held = store.run_retention(dry_run=True)
        free = store.run_retention(dry_run=True)

    assert (held.removed, free.removed) == (0, 1)


# --- processes ----------------------------------------------------------------------


def test_readers_in_other_processes_see_no_damage(tmp_path: Path) -> None:
    """Every read beside a process that replaces and reclaims gives whole content."""
    place = tmp_path / "store"
    with objstore.open(place, retention_interval=None) as store:
        store.create_object_store("b", segment_bytes=1 << 20, changes_ttl=0.02)
    call = [sys.executable, str(WORKER), str(place)]
    stop = tmp_path / "stop"
    programs = ["replace", "get", "get_range", "look"]
    workers = [
        subprocess.Popen([*call, program], stdout=subprocess.PIPE)
        for program in programs
    ]
    time.sleep(3)
    stop.touch()
    told = [json.loads(worker.communicate(timeout=30)[0]) for worker in workers]

    assert [[] for _ in programs] == [failures for _, failures in told]
    assert all(rounds for rounds, _ in told)
