"""Records without an object that must outlive everything beside them."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from objstore_log._memory_storage import MemoryStorage
from objstore_log._record import Kind, NewRecord, subject_of

from .harness import chunk, meta, open_log, put

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
