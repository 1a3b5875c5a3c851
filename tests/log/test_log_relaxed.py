"""Relaxed syncing: what was seen may be lost, but no sequence is ever used again."""

from __future__ import annotations

import errno

import pytest

from objstore_log import _takeover
from objstore_log._core import LogCore
from objstore_log._format import SEGMENT_RECORDS_MAX
from objstore_log._memory_storage import MemoryStorage
from objstore_log._segment import Segment
from objstore_log.errors import HistoryRewoundError, StorageError
from objstore_log.testing import CrashStorage
from objstore_log.testing.crash_trace import Sync

from .harness import (
    EVERYTHING,
    OpenedLog,
    contents,
    everything,
    open_log,
    opened,
    put,
)

pytestmark = pytest.mark.usefixtures("single_threaded")


def syncs(disk: CrashStorage) -> int:
    """Count the syncs of segments."""
    return sum(isinstance(item, Sync) and ".seg" in item.name for item in disk.trace)


def killed_with_two_unsynced() -> CrashStorage:
    """Give the disk of a relaxed log whose process was killed behind two appends."""
    disk = CrashStorage()
    one = open_log(disk, sync="never")
    put(one.log, "a")
    put(one.log, "b")
    one.abandon()
    return disk.kill()


def test_appends_are_seen_before_they_are_durable() -> None:
    """Only the first of a segment is synced, so that an end can be told from a loss."""
    disk = CrashStorage()
    one = open_log(disk, sync="never")
    before = syncs(disk)
    for number in range(10):
        put(one.log, f"n{number}")

    assert syncs(disk) == before + 1
    assert list(contents(one.log)) == list(range(1, 11))
    assert one.log.progress[0].sequence == 10
    assert one.log.progress[1].sequence == 1


def test_clean_end_leaves_no_gap() -> None:
    """After a close the numbers go on."""
    storage = MemoryStorage()
    for seed in range(1, 4):
        with opened(storage, seed=seed, sync="never") as log:
            assert put(log, "a").first_sequence == 2 * seed - 1
            assert put(log, "b").first_sequence == 2 * seed


@pytest.mark.parametrize("appends", [1, 2, 5])
def test_unclean_end_leaves_a_gap(appends: int) -> None:
    """New sequences begin beyond all that could have been seen, killed or cut."""
    disk = CrashStorage()
    one = open_log(disk, sync="never")
    for number in range(appends):
        put(one.log, f"n{number}")
    one.abandon()
    for after in [disk.kill(), *(cut.mount() for cut in disk.disks(limit=40))]:
        with opened(after, seed=2, sync="never") as log:
            kept = everything(log)
            first = put(log, "fresh").first_sequence
            assert first > SEGMENT_RECORDS_MAX
            assert [record.sequence for record in everything(log)] == [
                *range(1, len(kept) + 1),
                first,
            ]
            assert log.damages == []


def test_unclean_end_behind_a_clean_one_leaves_a_gap() -> None:
    """An empty batch at the end does not hide that others came behind it."""
    disk = CrashStorage()
    one = open_log(disk, sync="never")
    put(one.log, "a")
    one.close()
    two = open_log(disk, seed=2, sync="never")
    put(two.log, "b")
    seen = put(two.log, "c").first_sequence
    for cut in disk.disks(limit=60):
        again = open_log(cut.mount(), seed=3, sync="never")
        assert put(again.log, "fresh").first_sequence > seen
        again.abandon()


def test_cursor_in_the_gap_is_told() -> None:
    """A place that this history never had is no empty page; those around it are."""
    disk = CrashStorage()
    one = open_log(disk, sync="never")
    for number in range(5):
        put(one.log, f"n{number}")
    *_, cut = disk.disks(limit=2)
    with opened(cut.mount(), seed=2, sync="never") as log:
        last = len(contents(log))
        assert last < 5
        for cursor in (last + 1, 5, SEGMENT_RECORDS_MAX - 1):
            with pytest.raises(HistoryRewoundError) as caught:
                log.feed(cursor, 10, EVERYTHING)
            assert caught.value.last_sequence == last
        fresh = put(log, "fresh").first_sequence
        with pytest.raises(HistoryRewoundError):
            log.feed(5, 10, EVERYTHING)
        for cursor in (last, fresh - 1):
            page = log.feed(cursor, 10, EVERYTHING)
            assert [record.sequence for record in page.records] == [fresh]


def test_gap_is_kept_by_every_process_and_at_reopening() -> None:
    """Numbers behind the gap go on, for whoever opens the log."""
    disk = killed_with_two_unsynced()
    first = open_log(disk, seed=2, sync="never")
    second = open_log(disk.process(), seed=3, sync="never")
    low = put(second.log, "c").first_sequence
    assert put(first.log, "d").first_sequence == low + 1
    assert contents(first.log).keys() == contents(second.log).keys()
    first.close()
    second.close()
    with opened(disk, seed=4, sync="never") as log:
        assert put(log, "e").first_sequence == low + 2
        assert list(contents(log)) == [1, 2, low, low + 1, low + 2]


def test_opening_beside_a_living_writer_leaves_no_gap() -> None:
    """What a living process wrote is in the page cache and not lost."""
    storage = MemoryStorage()
    with opened(storage, seed=1, sync="never") as one:
        put(one, "a")
        put(one, "b")
        with opened(storage, seed=2, sync="never") as other:
            assert put(other, "c").first_sequence == 3
            assert put(one, "d").first_sequence == 4


def test_who_opens_beside_the_first_hides_no_unclean_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is nobody that has the log open while the first one is still looking."""
    after = killed_with_two_unsynced()
    beside: list[OpenedLog] = []
    judge = _takeover._ends_cleanly

    def open_beside(core: LogCore, active: Segment, position: int) -> bool:
        if not beside:
            beside.append(open_log(after.process(), seed=3, sync="never"))
        return judge(core, active, position)

    monkeypatch.setattr(_takeover, "_ends_cleanly", open_beside)
    with opened(after, seed=2, sync="never") as log:
        first = put(log, "c").first_sequence
        assert first > SEGMENT_RECORDS_MAX
        assert put(beside[0].log, "d").first_sequence == first + 1
        beside[0].close()


def test_who_could_not_look_when_it_opened_looks_before_it_appends() -> None:
    """The one that held the lock may have died before it had left the gap."""
    after = killed_with_two_unsynced()
    lock = after.directory("log").try_lock("lock")
    assert lock is not None
    with opened(after.process(), seed=2, sync="never") as log:
        lock.release()
        assert put(log, "c").first_sequence > SEGMENT_RECORDS_MAX


def test_opening_an_unclean_log_again_and_again_ends_in_peace() -> None:
    """A gap is left once, not at every opening."""
    disk = killed_with_two_unsynced()
    counts: list[int] = []
    for seed in range(2, 7):
        with opened(disk, seed=seed, sync="never") as log:
            counts.append(log.segment_count)
    assert counts[1:] == [counts[0]] * 4


def test_strict_log_that_was_relaxed_leaves_the_gap_too() -> None:
    """The segment says how it was written, whatever the log is opened as."""
    disk = CrashStorage()
    one = open_log(disk, sync="never")
    put(one.log, "a")
    seen = put(one.log, "b").first_sequence
    for cut in disk.disks(limit=20):
        again = open_log(cut.mount(), seed=3, sync="always")
        assert put(again.log, "fresh").first_sequence > seen
        again.abandon()


def test_catalog_never_runs_ahead_of_the_disk() -> None:
    """Applying syncs first, so no row is about a record that a cut can take."""
    disk = CrashStorage()
    one = open_log(disk, sync="never")
    for number in range(4):
        put(one.log, f"n{number}")
    before = syncs(disk)
    one.log.apply()

    assert syncs(disk) == before + 1
    assert one.log.catalog.applied().sequence == 4
    put(one.log, "late")
    assert one.log.catalog.applied().sequence == 4
    assert one.log._applier.apply()
    assert one.log.catalog.applied().sequence == 4


def test_sync_in_seconds_syncs_when_it_is_due() -> None:
    """Under a constant load each append behind the time syncs all before it."""
    disk = CrashStorage()
    one = open_log(disk, sync=0.0)
    for number in range(3):
        put(one.log, f"n{number}")
        assert one.log.progress[0] == one.log.progress[1]


def test_refused_write_leaves_nothing_to_copy() -> None:
    """What was written before is synced, so that a full disk needs no room for it."""
    disk = CrashStorage()
    one = open_log(disk, sync="never")
    for name in ("a", "b", "c"):
        put(one.log, name)
    disk.fail("write", code=errno.ENOSPC, written_part=0.5)
    with pytest.raises(StorageError):
        put(one.log, "refused")
    durable = one.log.progress[1].sequence
    put(one.log, "d")

    assert durable == 3
    assert one.log._core.segments.active.first_sequence == 4
    assert list(contents(one.log)) == [1, 2, 3, 4]
