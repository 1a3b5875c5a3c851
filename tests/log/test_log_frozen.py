"""Holding a log still: what belongs to the moment, who waits, and parted histories."""

from __future__ import annotations

import pytest

from objstore_log import frozen_files
from objstore_log._memory_storage import MemoryStorage
from objstore_log._segment_copy import SegmentCopy, write_head
from objstore_log._storage import Storage
from objstore_log.errors import (
    BusyError,
    ClosedError,
    HistoryRewoundError,
    SequenceGoneError,
    StorageError,
)

from .harness import EVERYTHING, LOG_ID, contents, open_log, opened, put

pytestmark = pytest.mark.usefixtures("single_threaded")


def test_what_is_not_durable_is_not_in_the_moment() -> None:
    """While nobody can sync for the copy, it ends at the durable end."""
    storage = MemoryStorage()
    with opened(storage, sync="never") as one:
        for number in range(5):
            put(one, f"n{number}")
        written, durable = one.progress
        lock = storage.directory("log").try_lock("lock")
        assert lock is not None
        held = one.freezer.freeze()
        lock.release()
        held.release()
        later = one.freezer.freeze()
        later.release()

    assert durable.position < written.position
    assert (durable.position, durable.sequence) == (held.length, held.sequence)
    assert (written.position, written.sequence) == (later.length, later.sequence)


def test_reclaimer_lock_is_waited_for() -> None:
    """Who comes while another one holds it waits, and gives up in the end."""
    with opened(MemoryStorage(), lock_timeout_s=0.01) as one:
        held = one.freezer.freeze()
        with pytest.raises(BusyError):
            one.freezer.freeze()
        held.release()
        held.release()
        one.freezer.freeze().release()


def test_closed_log_cannot_be_held() -> None:
    """A handle that was closed says so."""
    made = open_log(MemoryStorage())
    made.close()

    with pytest.raises(ClosedError):
        made.log.freezer.freeze()


def _copy(source: Storage, target: Storage) -> None:
    frozen = frozen_files(source)
    for segment in frozen.segments:
        copy = SegmentCopy(frozen, segment, target)
        list(iter(copy.step, None))
        copy.close()
    write_head(frozen, target)


def test_copy_is_the_log() -> None:
    """What is copied, sealed segments and the last one, opens as the same log."""
    source, target = MemoryStorage(), MemoryStorage()
    with opened(source, segment_bytes=2_000) as one:
        for number in range(20):
            put(one, f"n{number}")
        before = contents(one)
    _copy(source.directory("log"), target.directory("log", create=True))

    with opened(target) as copied:
        assert before == contents(copied)
        assert copied._core.log_id == LOG_ID


def test_copy_that_reads_differently_is_refused() -> None:
    """A disk that gives back other bytes than were written is found out."""
    source, target = MemoryStorage(), MemoryStorage()
    with opened(source) as one:
        put(one, "n")
    frozen = frozen_files(source.directory("log"))
    (segment,) = frozen.segments
    copy = SegmentCopy(frozen, segment, target)
    assert copy.step() == segment.length
    target.open(segment.name).write_at(300, [b"\xff\xff"])

    with pytest.raises(StorageError, match="reads differently"):
        list(iter(copy.step, None))
    copy.close()


def test_segment_of_a_deleted_log_is_told() -> None:
    """A log that is removed while it is held says which sequence is gone."""
    storage = MemoryStorage()
    with opened(storage) as one:
        put(one, "n")
        held = one.freezer.freeze()
    (segment,) = held.segments
    storage.directory("log").remove(segment.name)

    with pytest.raises(SequenceGoneError):
        held.open(segment)


@pytest.mark.parametrize("sync", ["always", "never"])
def test_gap_parts_two_histories(sync: str) -> None:
    """Places in it are told, on both sides of it all goes on, also when reopened."""
    storage = MemoryStorage()
    with opened(storage, sync="always" if sync == "always" else "never") as one:
        put(one, "before")
        last = one.visible_sequence
        one.freezer.leave_gap(1 << 40)
        appended = put(one, "behind")
    with opened(storage, seed=1) as again:
        assert appended.first_sequence == last + (1 << 40) + 1
        assert len(contents(again)) == 2
        for place in (last + 1, last + 1000, last + (1 << 40) - 1):
            with pytest.raises(HistoryRewoundError):
                again.feed(place, 10, EVERYTHING)
        page = again.feed(last, 10, EVERYTHING)
        assert [record.key for record in page.records] == [b"behind"]
