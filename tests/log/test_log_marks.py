"""Segments that are missing: reclaimed ones are passed over, lost ones are named."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import combinations

import pytest

from objstore_log import _takeover
from objstore_log._format import SEGMENT_BEHIND_SEAL
from objstore_log._frozen import frozen_files
from objstore_log._log import Log
from objstore_log._marks import Mark, marks_in, parse_mark_name, unmarked, widened
from objstore_log._memory_storage import MemoryStorage
from objstore_log._segment import parse_segment_name
from objstore_log._segment_copy import SegmentCopy, write_head
from objstore_log._storage import Storage
from objstore_log.errors import CorruptionError, StorageError
from objstore_log.testing import CrashStorage

from .harness import EVERYTHING, meta, open_log, opened, put
from .test_log_space import Wanted

pytestmark = pytest.mark.usefixtures("single_threaded")

SEGMENT_BYTES = 500
COUNT = 5
"""Segments, the active one too, with a record each: its sequence is its number."""


def fill(place: Storage, seed: int = 1) -> None:
    """Make as many segments."""
    with opened(place, seed=seed, segment_bytes=SEGMENT_BYTES) as log:
        for number in range(COUNT):
            put(log, f"n{number}", b"x" * 300)
        assert log.segment_count == COUNT


def reclaim(place: Storage, numbers: Collection[int], seed: int = 2) -> None:
    """Reclaim segments of a log."""
    with opened(place, seed=seed, segment_bytes=SEGMENT_BYTES) as log:
        keep = {segment.first_sequence for segment in log._core.segments}
        log.reclaim(Wanted(metas=keep - set(numbers)))
        assert not set(numbers) & {item.number for item in log._core.segments}


def lose(place: Storage, number: int) -> None:
    """Remove the file of a segment."""
    directory = place.directory("log")
    for name in directory.names():
        parsed = parse_segment_name(name)
        if parsed is not None and parsed[0] == number:
            directory.remove(name)


def named(log: Log) -> set[int]:
    """Give the segments that opening named as missing."""
    assert all(item.damage.is_missing for item in log.damages)
    return {item.segment for item in log.damages}


def watched(log: Log) -> tuple[set[int], set[int]]:
    """Follow the feed; give the sequences that came, and those that are lost."""
    found: set[int] = set()
    lost: set[int] = set()
    after = 0
    while after < log.visible_sequence:
        try:
            page = log.feed(after, 100, EVERYTHING)
        except CorruptionError as error:
            behind = error.facts["sequence"]
            assert behind > after
            lost |= set(range(after + 1, behind + 1))
            after = behind
        else:
            found |= {record.sequence for record in page.records}
            after = page.through
    return found, lost


# --- names and ranges ---------------------------------------------------------------


def test_mark_has_a_name_that_is_no_other() -> None:
    """It is read back, and names that look like it are none."""
    assert parse_mark_name(Mark(1, 0x1F).name) == Mark(1, 0x1F)
    for name in ("00000001-0000001f.gon", "00000001-000001f.gone", "1-2.gone", ""):
        assert parse_mark_name(name) is None


def marks_of(bits: int) -> Iterator[Mark]:
    """Give the runs of bits as marks, from 1 on."""
    for first, last in combinations(range(1, 8), 2):
        inside = range(first, last)
        if all(bits >> at & 1 for at in inside):
            yield Mark(first, last - 1)


@pytest.mark.parametrize("bits", range(0, 128, 2))
def test_unmarked_range_is_what_no_mark_names(bits: int) -> None:
    """For all marks on six numbers and all ranges, as sets say."""
    marks = list(marks_of(bits))
    for first, last in combinations(range(1, 8), 2):
        left = [at for at in range(first, last) if not bits >> at & 1]
        wanted = Mark(min(left), max(left)) if left else None
        assert unmarked(marks, first, last - 1) == wanted
        wide = widened(marks, Mark(first, last - 1))
        expected = bits | sum(1 << at for at in range(first, last))
        assert all(expected >> at & 1 for at in range(wide.first, wide.last + 1))
        assert not expected >> (wide.first - 1) & 1
        assert not expected >> (wide.last + 1) & 1


# --- reclaimed, lost, both ----------------------------------------------------------

CASES = [
    (gone, lost)
    for count in range(COUNT - 1)
    for gone in combinations(range(1, COUNT), count)
    for lost in range(COUNT)
    if lost not in gone
]
"""Every set of reclaimed segments, with every other that is lost; 0 for none."""


@pytest.mark.parametrize(("gone", "lost"), CASES)
def test_lost_segment_is_told_from_reclaimed_ones(
    gone: tuple[int, ...], lost: int
) -> None:
    """It is named by every opening, and a watch says what it passes over."""
    place = MemoryStorage()
    fill(place)
    for turn, number in enumerate(sorted(gone, key=lambda at: (at % 2, at))):
        # one by one, so that marks meet in every order
        reclaim(place, {number}, seed=10 + turn)
    lose(place, lost)

    for seed in (20, 21):
        with opened(place, seed=seed, segment_bytes=SEGMENT_BYTES) as log:
            assert named(log) == ({lost} if lost else set())
            found, told = watched(log)
            assert {lost} - {0} <= told
            assert found == set(range(1, COUNT + 1)) - {lost} - set(gone)


def test_neighbours_have_one_mark(place: Storage) -> None:
    """As many files as there are stretches; those that it covers go."""
    fill(place)
    for turn, numbers in enumerate([{2}, {4}, {3}, {1}]):
        reclaim(place, numbers, seed=5 + turn)

    assert marks_in(place.directory("log").names()) == [Mark(1, 4)]


def test_lost_mark_is_named() -> None:
    """It is a file of the store like others; the range that it named is told."""
    place = MemoryStorage()
    fill(place)
    reclaim(place, {2, 3})
    place.directory("log").remove(Mark(2, 3).name)

    with opened(place, seed=3) as log:
        assert [item.segment for item in log.damages] == [2]
        assert "00000002 to 00000003 are missing" in log.damages[0].damage.reason


def test_log_without_any_segment_is_named_for_ever() -> None:
    """The head says that there were some; the next opening has only the new one."""
    place = MemoryStorage()
    fill(place)
    for number in range(1, COUNT + 1):
        lose(place, number)

    for seed in (2, 3):
        with opened(place, seed=seed) as log:
            assert named(log) == {1}


def test_refused_numbers_are_not_lost() -> None:
    """A segment whose name a disk refused is no loss for whoever made it."""
    disk = CrashStorage()
    log = open_log(disk, segment_bytes=SEGMENT_BYTES).log
    put(log, "a", b"x" * 300)
    disk.fail("sync_directory")
    with pytest.raises(StorageError):
        put(log, "b", b"x" * 300)
    put(log, "c", b"x" * 300)
    log._core.segments.refresh()

    assert log.damages == []
    with opened(disk.kill(), seed=2) as again:
        assert again.damages == []


# --- crashes, races, copies, old stores ---------------------------------------------


def test_interrupted_reclaim_is_no_loss() -> None:
    """Whatever a power cut leaves at any mutation of it, nothing is called lost."""
    disk = CrashStorage()
    fill(disk)
    before = disk.mutation_count
    reclaim(disk, {2})
    reclaim(disk, {1, 3, 4}, seed=3)
    looked_at = 0
    for point in range(before, disk.mutation_count + 1):
        for cut in disk.disks(point, limit=6, seed=point):
            with opened(cut.mount(), seed=4, segment_bytes=SEGMENT_BYTES) as log:
                assert log.damages == [], cut
                found, lost = watched(log)
                assert (COUNT in found, lost) == (True, set())
                looked_at += 1
    assert looked_at > 100


def test_listing_beside_a_reclaimer_is_read_again() -> None:
    """One that is read while names change may miss a segment and its mark."""
    place = MemoryStorage()
    fill(place)
    with opened(place, seed=2, segment_bytes=SEGMENT_BYTES) as log:
        storage = log._core.storage
        whole = storage.names()
        short = [name for name in whole if not name.startswith("00000002")]
        answers = iter([short])
        storage.names = lambda: next(answers, whole)  # type: ignore[method-assign]
        log._core.segments.refresh()

        assert log.damages == []
        assert log.segment_count == COUNT


def test_copy_knows_what_was_reclaimed() -> None:
    """A backup of a log with gaps has lost nothing."""
    place, target = MemoryStorage(), MemoryStorage()
    fill(place)
    reclaim(place, {1, 3})
    frozen = frozen_files(place.directory("log"))
    directory = target.directory("log", create=True)
    for segment in frozen.segments:
        copy = SegmentCopy(frozen, segment, directory)
        list(iter(copy.step, None))
        copy.close()
    write_head(frozen, directory)

    with opened(target, seed=3) as log:
        assert log.damages == []
        assert watched(log) == ({2, 4, 5}, set())


def _no_flags(_: object) -> int:
    return 0


def test_gaps_of_before_the_marks_are_no_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    """An old store has gaps and no marks; what is reclaimed now covers them."""
    place = MemoryStorage()
    with monkeypatch.context() as patched:
        patched.setattr(_takeover, "_flags", _no_flags)
        patched.setattr(_takeover, "SEGMENT_BEHIND_SEAL", 0)
        fill(place)
    lose(place, 1)
    lose(place, 3)
    with opened(place, seed=2, segment_bytes=SEGMENT_BYTES) as log:
        assert log.damages == []
        assert not log._core.segments.active.header.flags & SEGMENT_BEHIND_SEAL
        for number in range(COUNT, COUNT + 3):
            log.append([meta(f"n{number}", b"x" * 300)])
        log.reclaim(Wanted(metas={2, 8}))

    with opened(place, seed=3, segment_bytes=SEGMENT_BYTES) as again:
        assert again.damages == []
        assert watched(again) == ({2, 8}, set())
