"""Records without an object that must outlive everything beside them."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from objstore_log._memory_storage import MemoryStorage
from objstore_log._record import Kind, NewRecord, subject_of
from objstore_log.errors import StorageError
from objstore_log.testing import CrashStorage

from .harness import chunk, everything, meta, open_log, put

pytestmark = pytest.mark.usefixtures("single_threaded")

LARGE = 40_000


class Nothing:
    """Needs nothing of the objects in a log."""

    floor = 1 << 62
    replaced: frozenset[bytes] = frozenset()

    def live_runs(self, first: int, last: int) -> Sequence[tuple[int, int]]:
        """Give none."""
        del first, last
        return []

    def has_current(self, first: int, last: int) -> bool:
        """Say no."""
        del first, last
        return False

    def current(self, first: int, last: int) -> set[int]:
        """Give none."""
        del first, last
        return set()


def test_seal_that_nobody_synced_is_synced_before_the_next_segment() -> None:
    """Its writer was refused, or died, behind the write: no power cut may take it."""
    disk = CrashStorage()
    one = open_log(disk, segment_bytes=900)
    put(one.log, "a", b"x" * 300)
    disk.fail("write", nth=2, written_part=1.0)
    with pytest.raises(StorageError):
        put(one.log, "b", b"x" * 300)
    put(one.log, "c", b"x" * 300)
    for cut in disk.disks(limit=100):
        again = open_log(cut.mount(), seed=2)
        first = next(iter(again.log._core.segments))
        assert first.footer is not None
        again.abandon()


def test_found_seal_that_could_not_be_synced_is_taken_back() -> None:
    """A later sync says nothing of it; the next segment says where it ends."""
    disk = CrashStorage()
    one = open_log(disk, segment_bytes=900)
    put(one.log, "a", b"x" * 300)
    disk.fail("write", nth=2, written_part=1.0)
    disk.fail("sync", nth=1)
    for name in "bc":
        with pytest.raises(StorageError):
            put(one.log, name, b"x" * 300)
    disk.heal()
    put(one.log, "d", b"x" * 300)
    first, second = one.log._core.segments
    assert first.footer is None
    assert second.header.previous_usable == one.log._core.segments.usable(first)
    for cut in disk.disks(limit=100):
        again = open_log(cut.mount(), seed=2)
        assert ["a", "d"] == [record.key.decode() for record in everything(again.log)]
        assert again.log.scrub(None).damages == []
        again.abandon()


@pytest.mark.parametrize("kind", [Kind.SEAL, Kind.FLOOR])
def test_last_word_on_a_bucket_outlives_its_segment(kind: Kind) -> None:
    """A seal or a floor that nothing has replaced is there for the next catalog."""
    place = MemoryStorage()
    one = open_log(place, segment_bytes=LARGE)
    one.log.append([chunk(b"1" * LARGE)])
    said = one.log.append([NewRecord(kind, bytes(16)), chunk(b"2" * LARGE)])
    for number in range(2):
        one.log.append([chunk(b"3" * LARGE), meta(f"n{number}")])
    put(one.log, "active")
    one.log.reclaim(Nothing())
    assert one.log.segment_count == 2
    one.close()

    # a catalog in memory goes with its engine
    again = open_log(place, seed=2, segment_bytes=LARGE)
    assert again.log.last(subject_of(kind, b""))[0] == said.first_sequence
    again.close()
