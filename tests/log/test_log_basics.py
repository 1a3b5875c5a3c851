"""A log in one process: append, read, follow, expect, guard, roll, open again."""

from __future__ import annotations

import itertools
from struct import Struct

import pytest

from objstore_log._footer import SegmentIndex
from objstore_log._record import Kind, NewRecord
from objstore_log._segment import Segment
from objstore_log._storage import Storage
from objstore_log._tickets import GuardTotals
from objstore_log.errors import (
    ClosedError,
    ConflictError,
    ForkedError,
    HistoryRewoundError,
    ObjStoreError,
    SequenceGoneError,
)

from .harness import (
    EVERYTHING,
    FakeClock,
    chunk,
    contents,
    current,
    everything,
    meta,
    open_log,
    opened,
    put,
    put_new,
    subject,
)


def test_new_log_is_empty(place: Storage) -> None:
    """Nothing is visible, nothing is listed."""
    with opened(place) as log:
        assert log.visible_sequence == 0
        assert everything(log) == []
        assert current(log) == {}
        assert log.last(subject("a")) == (0, None)
        assert log.damages == []


def test_appended_records_are_read_back(place: Storage) -> None:
    """Every field comes back, numbered in order, at one time."""
    with opened(place) as log:
        first = log.append([chunk(b"content", b"N" * 16, 7), meta("a", b"m")])
        put(log, "b")

        records = log.read_run(first.first_sequence, 2)

        assert [record.sequence for record in records] == [1, 2]
        assert [bytes(record.body) for record in records] == [b"content", b"m"]
        assert (records[0].nuid, records[0].chunk_index) == (b"N" * 16, 7)
        assert records[0].plain_length == 7
        assert records[1].key == b"a"
        assert {record.time_ns for record in records} == {first.time_ns}
        assert (first.first_sequence, first.last_sequence) == (1, 2)


def test_reading_what_is_not_there_says_so(place: Storage) -> None:
    """A sequence beyond the end is gone, not damaged."""
    with opened(place) as log:
        put(log, "a")
        with pytest.raises(SequenceGoneError):
            log.read_run(2, 1)
        with pytest.raises(SequenceGoneError):
            log.read_run(1, 2)
        with pytest.raises(SequenceGoneError):
            log.read_run(0, 1)


def test_last_is_the_newest_of_its_subject(place: Storage) -> None:
    """Each append moves its own subject only."""
    with opened(place) as log:
        put(log, "a")
        put(log, "b")
        put(log, "a")

        assert log.last(subject("a"))[0] == 3
        assert log.last(subject("b"))[0] == 2
        assert log.last(subject("c"))[0] == 0


def test_kinds_have_subjects_of_their_own(place: Storage) -> None:
    """The same key under another kind is another subject."""
    with opened(place) as log:
        put(log, "a")
        log.append([NewRecord(Kind.HOLD, b"", key=b"a")])

        assert log.last(subject("a"))[0] == 1


def test_expectation_admits_only_the_expected(place: Storage) -> None:
    """A conflict says what is there and appends nothing."""
    with opened(place) as log:
        put_new(log, "a")
        with pytest.raises(ConflictError) as caught:
            log.append([meta("b"), meta("a")], expect={subject("a"): 0})
        log.append([meta("a")], expect={subject("a"): 1})

        assert (caught.value.expected, caught.value.actual) == (0, 1)
        assert list(contents(log)) == [1, 2]
        assert log.last(subject("b"))[0] == 0


def test_append_of_nothing_checks_expectations(place: Storage) -> None:
    """It takes no sequence, writes nothing, and still refuses."""
    with opened(place) as log:
        put(log, "a")
        before = log.progress
        appended = log.append([], expect={subject("a"): 1})
        with pytest.raises(ConflictError):
            log.append([], expect={subject("a"): 0})

        assert (appended.first_sequence, appended.last_sequence) == (2, 1)
        assert log.progress == before


def test_guard_refuses_without_effect(place: Storage) -> None:
    """What a guard raises reaches its own caller, and nothing is appended."""

    def refuse(totals: GuardTotals) -> None:
        raise ObjStoreError("too much")

    with opened(place) as log:
        with pytest.raises(ObjStoreError, match="too much"):
            log.append([meta("a")], guard=refuse)
        log.append([meta("b")], guard=lambda totals: totals.update(x=1))

        assert list(current(log)) == [subject("b")]


def test_relative_words_become_sequences(place: Storage) -> None:
    """A record may name records of its own append before they have a number."""
    word = Struct("<Q")
    with opened(place) as log:
        put(log, "a")
        log.append(
            [
                chunk(b"1"),
                chunk(b"2"),
                NewRecord(Kind.META, b"__" + word.pack(1), key=b"b", relative=(2,)),
            ]
        )

        assert word.unpack_from(log.read_run(4, 1)[0].body, 2) == (3,)


@pytest.mark.parametrize(
    "record",
    [
        NewRecord(Kind.COMMIT, b""),
        NewRecord(Kind.FOOTER, b""),
        NewRecord(Kind.META, b"", key=b"k" * 1025),
        NewRecord(Kind.CHUNK, bytes((16 << 20) + 1)),
        NewRecord(Kind.CHUNK, b"", nuid=b"short"),
        NewRecord(Kind.CHUNK, b"", chunk_index=1 << 32),
        NewRecord(Kind.CHUNK, b"", plain_length=-1),
    ],
    ids=["commit", "footer", "key", "body", "nuid", "index", "plain"],
)
def test_record_that_the_format_cannot_hold_is_refused(
    place: Storage, record: NewRecord
) -> None:
    """It is refused before anything is written, and the log goes on."""
    with opened(place) as log:
        with pytest.raises(ValueError, match=r"."):
            log.append([record])
        assert put(log, "a").first_sequence == 1


def test_longest_record_is_read_back(place: Storage) -> None:
    """The limits themselves are allowed."""
    body = bytes(range(256)) * (16 << 12)
    with opened(place, segment_bytes=1000) as log:
        log.append([NewRecord(Kind.META, body, key=b"k" * 1024)])
        put(log, "a")
        assert log.read_run(1, 1)[0].body == body
    with opened(place, seed=2) as log:
        assert log.read_run(1, 1)[0].body == body
        assert log.damages == []


def test_feed_is_paged_in_order(place: Storage) -> None:
    """Pages join without a gap and without an overlap, whatever their size."""
    with opened(place, segment_bytes=700) as log:
        for number in range(25):
            put(log, f"n{number % 5}")
        for limit in (1, 3, 100):
            after, found = 0, list[int]()
            while after < log.visible_sequence:
                page = log.feed(after, limit, EVERYTHING)
                assert len(page.records) <= limit
                found += [record.sequence for record in page.records]
                after = page.through
            assert found == list(range(1, 26))


def test_feed_gives_only_the_kinds_asked_for(place: Storage) -> None:
    """What is left out still moves the place on."""
    with opened(place) as log:
        log.append([chunk(b"1"), meta("a"), chunk(b"2")])

        page = log.feed(0, 10, frozenset({Kind.META}))

        assert [record.sequence for record in page.records] == [2]
        assert page.through == 3


def test_feed_beyond_the_end_says_so(place: Storage) -> None:
    """A cursor of another history is no empty page."""
    with opened(place) as log:
        put(log, "a")
        assert log.feed(1, 10, EVERYTHING).records == []
        with pytest.raises(HistoryRewoundError):
            log.feed(2, 10, EVERYTHING)


@pytest.mark.parametrize("segment_bytes", [300, 700, 1_500, 1 << 20])
def test_reopened_log_is_the_same(place: Storage, segment_bytes: int) -> None:
    """Records, subjects and the catalog's rows are as before, in every segment size."""
    with opened(place, segment_bytes=segment_bytes) as log:
        for number in range(30):
            log.append([chunk(bytes([number]) * number), meta(f"n{number % 7}")])
        before = contents(log), current(log), list(log.catalog.rows())
        segments = log.segment_count
    for seed in (2, 3):
        with opened(place, seed=seed, segment_bytes=segment_bytes) as log:
            assert (contents(log), current(log), list(log.catalog.rows())) == before
            assert log.segment_count - segments <= seed - 2
            assert log.damages == []
            next_sequence = 61 + seed - 2
            assert put(log, "next").first_sequence == next_sequence
            before = contents(log), current(log), list(log.catalog.rows())
            segments = log.segment_count


def test_rolled_segments_hold_a_few_records_each(place: Storage) -> None:
    """Tiny segments roll, and a record larger than one gets a segment of its own."""
    with opened(place, segment_bytes=600) as log:
        for number in range(6):
            put(log, f"n{number}", b"x" * 100)
        put(log, "large", b"y" * 5_000)
        put(log, "small")

        assert log.segment_count == 8
        assert list(contents(log)) == list(range(1, 9))


def test_sealed_footer_is_used_when_the_log_is_opened(
    place: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading a sealed segment needs no scan."""
    with opened(place, segment_bytes=600) as log:
        for number in range(20):
            put(log, f"n{number}", b"x" * 100)
    scanned: list[int] = []
    scan_index = Segment._scan_index

    def noted(segment: Segment, usable: int) -> SegmentIndex:
        scanned.append(segment.number)
        return scan_index(segment, usable)

    monkeypatch.setattr(Segment, "_scan_index", noted)
    with opened(place, seed=2, segment_bytes=600) as log:
        assert list(contents(log)) == list(range(1, 21))
        assert set(scanned) == {log.segment_count}


def test_times_never_go_back(place: Storage) -> None:
    """A wall clock that is set back moves no time back, not even at reopening."""
    clock = FakeClock()
    times: list[int] = []
    for seed in range(4):
        with opened(place, seed=seed, clock=clock) as log:
            times += [put(log, "a").time_ns, put(log, "b").time_ns]
            clock.wall_ns -= 3_600_000_000_000
            times.append(put(log, "c").time_ns)

    assert times == sorted(set(times))


def test_sequence_at_a_time(place: Storage) -> None:
    """The last record at or before a time is found, in every segment."""
    with opened(place, segment_bytes=600) as log:
        times = [put(log, f"n{number}", b"x" * 100).time_ns for number in range(12)]

        assert log.sequence_at(times[0] - 1) == 0
        for number, time_ns in enumerate(times, start=1):
            assert log.sequence_at(time_ns) == number
            assert log.sequence_at(time_ns + 1) == number


def test_subjects_are_listed_by_range_and_page(place: Storage) -> None:
    """Sorted, half-open, at most as many as asked for, applied or not."""
    with opened(place) as log:
        for name in ("b", "a", "d", "c", "a"):
            put(log, name)
        names = [subject(name) for name in "abcd"]

        assert log.subjects(b"", None, 10) == list(
            zip(names, [5, 1, 4, 3], strict=True)
        )
        assert [name for name, _ in log.subjects(names[1], names[3], 10)] == names[1:3]
        assert [name for name, _ in log.subjects(b"", None, 2)] == names[:2]


def test_try_read_gives_the_record_or_none(place: Storage) -> None:
    """It never raises and never gives another record."""
    with opened(place) as log:
        put(log, "a", b"here")

        found = log.try_read_run(1, 1)

        assert found is None or bytes(found[0].body) == b"here"
        assert log.try_read_run(2, 1) is None


def test_closed_log_refuses_everything(place: Storage) -> None:
    """Every call says that it is closed; closing again is fine."""
    one = open_log(place)
    put(one.log, "a")
    one.close()
    one.close()
    for call in (
        lambda: put(one.log, "b"),
        lambda: one.log.read_run(1, 1),
        lambda: one.log.last(subject("a")),
        lambda: one.log.feed(0, 1, EVERYTHING),
        lambda: one.log.visible_sequence,
        lambda: one.log.wait(1, 0),
        lambda: one.log.subjects(b"", None, 1),
    ):
        with pytest.raises(ClosedError):
            call()


def test_abandoned_log_says_that_it_was_forked(place: Storage) -> None:
    """In the child of a fork every call is an error, closing is not."""
    one = open_log(place)
    put(one.log, "a")
    one.log.abandon_after_fork()
    for call in (
        lambda: put(one.log, "b"),
        lambda: one.log.read_run(1, 1),
        lambda: one.log.feed(0, 1, EVERYTHING),
    ):
        with pytest.raises(ForkedError):
            call()
    one.log.close()


def test_two_engines_share_one_log(place: Storage) -> None:
    """What one commits the other sees, across rolled segments, conflicts included."""
    first = open_log(place, seed=1, segment_bytes=900)
    second = open_log(place, seed=2, segment_bytes=900)
    logs = [first.log, second.log]
    for number in range(40):
        log = logs[(number // 3) % 2]
        put(log, f"n{number % 9}", bytes([number]))
    for one, other in itertools.permutations(logs):
        fresh = f"fresh{id(one)}"
        put_new(one, fresh)
        with pytest.raises(ConflictError):
            put_new(other, fresh)

    assert contents(logs[0]) == contents(logs[1])
    assert current(logs[0]) == current(logs[1])
    assert len(contents(logs[0])) == 42
    assert [log.damages for log in logs] == [[], []]
    first.close()
    put(second.log, "after")
    second.close()
    with opened(place, seed=3, segment_bytes=900) as log:
        assert len(contents(log)) == 43
        assert log.damages == []


def test_no_segment_holds_more_sequences_than_its_range(
    place: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A segment is rolled before its sequences leave [first, first + the maximum)."""
    monkeypatch.setattr("objstore_log._commit.SEGMENT_RECORDS_MAX", 10)
    with opened(place) as log:
        for _ in range(12):
            log.append([chunk(b"1"), chunk(b"2"), meta("a")])

        firsts = [segment.first_sequence for segment in log._core.segments]
        assert all(second - first <= 10 for first, second in itertools.pairwise(firsts))
        assert list(contents(log)) == list(range(1, 37))
