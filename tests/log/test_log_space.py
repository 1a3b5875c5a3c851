"""Giving space back: only what nobody needs, never what a reader holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from objstore_log._memory_storage import MemoryStorage
from objstore_log._storage import Storage
from objstore_log.errors import SequenceGoneError

from .harness import EVERYTHING, OpenedLog, chunk, contents, meta, open_log, put

pytestmark = pytest.mark.usefixtures("single_threaded")

LARGE = 40_000


@dataclass
class Wanted:
    """What a test says that is needed."""

    runs: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    metas: set[int] = field(default_factory=set[int])
    floor: int = 1 << 62
    replaced: frozenset[bytes] = frozenset()

    def live_runs(self, first: int, last: int) -> Sequence[tuple[int, int]]:
        return [run for run in self.runs if run[0] <= last and sum(run) > first]

    def has_current(self, first: int, last: int) -> bool:
        return bool(self.current(first, last))

    def current(self, first: int, last: int) -> set[int]:
        return {sequence for sequence in self.metas if first <= sequence <= last}


def filled(place: Storage, seed: int = 0) -> OpenedLog:
    """Make four segments with a chunk and a meta in each, and an active one."""
    one = open_log(place, seed=seed, segment_bytes=LARGE)
    for number in range(4):
        one.log.append([chunk(b"%d" % number * LARGE), meta(f"n{number}")])
    put(one.log, "active")
    assert one.log.segment_count == 5
    return one


def body(number: int) -> bytes:
    """Give the content of a segment's chunk."""
    return b"%d" % number * LARGE


def test_segment_that_went_unseen_is_no_loss(place: Storage) -> None:
    """Whoever read the one before it when it was the last one does not miss it."""
    one = open_log(place, segment_bytes=LARGE)
    put(one.log, "first")
    reader = open_log(place, seed=2)
    assert reader.log.feed(0, 10, EVERYTHING).through == 1
    one.log.append([chunk(body(0))])
    reader.log.catch_up()
    one.log.append([chunk(body(1)), meta("behind it")])

    assert one.log.reclaim(Wanted([(3, 1)], {1, 4})).contents == 1
    assert one.log.segment_count == 2
    page = reader.log.feed(1, 10, EVERYTHING)
    assert [record.sequence for record in page.records] == [3, 4]
    assert reader.log.scrub(None).damages == []


def test_dead_segments_are_unlinked_and_the_others_read(place: Storage) -> None:
    """What is needed stays as it is, here and at the next opening."""
    one = filled(place)
    result = one.log.reclaim(Wanted([(3, 1)], {8}))

    assert result.contents == 3
    # two segments whole, and of a chunk the whole blocks
    assert 2 * LARGE + LARGE // 2 < result.bytes < 3 * LARGE
    assert one.log.segment_count == 3
    for sequence in (1, 2, 5):
        with pytest.raises(SequenceGoneError):
            one.log.read_run(sequence, 1)
    one.close()
    again = open_log(place, seed=2, segment_bytes=LARGE)
    assert bytes(again.log.read_run(3, 1)[0].body) == body(1)
    assert [again.log.read_run(at, 1)[0].key for at in (4, 8)] == [b"n1", b"n3"]
    assert again.log.damages == []
    assert put(again.log, "fresh").first_sequence == 10
    again.close()


def test_dry_run_takes_nothing(place: Storage) -> None:
    """It tells what would go."""
    one = filled(place)
    told = one.log.reclaim(Wanted(), dry_run=True)

    assert told.contents == 4
    assert len(contents(one.log)) == 9
    assert one.log.reclaim(Wanted()) == told
    one.close()


@pytest.mark.parametrize("is_own", [True, False], ids=["own", "other"])
def test_pinned_segment_stays_until_it_is_released(
    place: Storage, is_own: bool
) -> None:
    """Whichever engine's reader holds it, neither unlinked nor punched."""
    one = filled(place)
    other = open_log(place, seed=2, segment_bytes=LARGE)
    reader = one if is_own else other
    pin = reader.log.pin([(3, 1)])
    second = reader.log.pin([(3, 1)])
    one.log.reclaim(Wanted())

    assert bytes(reader.log.read_run(3, 1)[0].body) == body(1)
    with pytest.raises(SequenceGoneError):
        one.log.read_run(1, 1)
    second.release()
    assert one.log.reclaim(Wanted(metas={4})).contents == 0
    assert bytes(reader.log.read_run(3, 1)[0].body) == body(1)
    pin.release()
    pin.release()
    assert one.log.reclaim(Wanted()).contents == 1
    with pytest.raises(SequenceGoneError):
        one.log.read_run(3, 1)
    one.close()
    other.close()


def test_unfinished_put_of_another_engine_is_left_alone(place: Storage) -> None:
    """From where it says on nothing goes, until its engine has closed."""
    one = filled(place)
    other = open_log(place, seed=2, segment_bytes=LARGE)
    other.log.announce_unfinished(5)

    assert one.log.reclaim(Wanted()).contents == 2
    assert bytes(one.log.read_run(5, 1)[0].body) == body(2)
    other.close()
    assert one.log.reclaim(Wanted()).contents == 2
    one.close()


def test_engine_that_closes_beside_a_reclaim_disturbs_it_not(
    place: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its announcement may go between the look at it and its removal."""
    one = filled(place)
    other = open_log(place, seed=9)
    other.log.announce_unfinished(5)
    is_alive = one.log._core.writers.is_alive

    def closing(writer_id: int) -> bool:
        other.close()
        return is_alive(writer_id)

    monkeypatch.setattr(one.log._core.writers, "is_alive", closing)

    assert one.log.reclaim(Wanted()).contents == 4


def test_announcement_of_a_dead_engine_counts_no_more(place: Storage) -> None:
    """It cannot finish its put."""
    one = filled(place)
    other = open_log(place, seed=2, segment_bytes=LARGE)
    other.log.announce_unfinished(1)
    assert one.log.reclaim(Wanted()).contents == 0
    other.abandon()

    assert one.log.reclaim(Wanted()).contents == 4
    one.close()


def test_changes_above_the_floor_stay(place: Storage) -> None:
    """A segment with a change that is still to be told of is kept."""
    one = filled(place)
    one.log.reclaim(Wanted(floor=4))

    assert one.log.segment_count == 3
    assert [one.log.read_run(at, 1)[0].key for at in (6, 8)] == [b"n2", b"n3"]
    one.close()


def test_punched_chunk_leaves_its_neighbours(place: Storage) -> None:
    """A dead body becomes a hole; that is no damage, also after a new opening."""
    one = open_log(place)
    for number in range(3):
        one.log.append([chunk(body(number)), meta(f"n{number}")])
    wanted = Wanted([(1, 1), (5, 1)], {2, 4, 6})
    result = one.log.reclaim(wanted)

    if isinstance(place, MemoryStorage):
        # a real file system may know no holes
        assert result.contents == 1
    one.close()
    again = open_log(place, seed=2)
    assert bytes(again.log.read_run(1, 1)[0].body) == body(0)
    assert bytes(again.log.read_run(5, 2)[0].body) == body(2)
    assert [again.log.read_run(at, 1)[0].key for at in (2, 4)] == [b"n0", b"n1"]
    assert again.log.damages == []
    again.close()
