"""The feed at damaged and lost records, places by time, words that the log fills in."""

from __future__ import annotations

import os
from struct import Struct

import pytest

from objstore_log._footer import Entry
from objstore_log._log import Log
from objstore_log._record import Kind, NewRecord, Record
from objstore_log._segment import Segment
from objstore_log.errors import CorruptionError
from objstore_log.testing import CrashStorage

from .harness import (
    EVERYTHING,
    START_NS,
    FakeClock,
    OpenedLog,
    chunk,
    current,
    meta,
    open_log,
    put,
    subject,
)

pytestmark = pytest.mark.usefixtures("single_threaded")

METAS = frozenset({Kind.META})
WORD = Struct("<Q")
LAST = 12


def filled(segment_bytes: int = 1 << 20) -> OpenedLog:
    """Make a log of six batches: a chunk and a meta each."""
    one = open_log(CrashStorage(), segment_bytes=segment_bytes)
    for number in range(LAST // 2):
        one.log.append([chunk(b"%d" % number * 20), meta(f"n{number % 4}", b"body")])
    # a damaged record is damage, and no torn write, from here on
    one.log._committer.close_batches(lambda: True)
    return one


def place_of(log: Log, sequence: int) -> tuple[Segment, Entry]:
    """Give where a record stands."""
    segment = log._core.segments.locate(sequence)
    entry = log._reader.index(segment).find(sequence)
    assert entry is not None
    return segment, entry


def flip(log: Log, sequence: int, *, is_body: bool) -> None:
    """Damage a record's body or its header."""
    segment, entry = place_of(log, sequence)
    position = entry.position + (entry.length - 1 if is_body else 20)
    byte = segment.file.read_at(position, 1)[0]
    segment.file.write_at(position, [bytes([byte ^ 1])])


def again(one: OpenedLog, *, keeps_footers: bool = True) -> OpenedLog:
    """Open the log in another process, with an empty catalog."""
    if not keeps_footers:
        for segment in one.log._core.segments:
            if segment.footer is not None:
                end = segment.file.size()
                segment.file.write_at(end - 8, [b"no trail"])
    storage = one.storage
    assert isinstance(storage, CrashStorage)
    one.abandon()
    return open_log(storage.kill(), seed=2)


def walk(
    log: Log, limit: int, kinds: frozenset[Kind] = EVERYTHING
) -> tuple[list[Record], list[tuple[int, int]]]:
    """Read the whole feed; gives the records and (after, sequence) of each error."""
    records: list[Record] = []
    errors: list[tuple[int, int]] = []
    after = 0
    while after < log.visible_sequence:
        try:
            page = log.feed(after, limit, kinds)
        except CorruptionError as error:
            # one that names no place to go on ends the walk by failing its test
            errors.append((after, error.sequence or after))
            if errors[-1][1] <= after:
                break
            after = errors[-1][1]
        else:
            assert page.through > after
            assert len(page.records) <= limit
            records += page.records
            after = page.through
    return records, errors


@pytest.mark.parametrize("is_body", [True, False], ids=["body", "header"])
@pytest.mark.parametrize("segment_bytes", [700, 1 << 20])
@pytest.mark.parametrize("keeps_footers", [True, False], ids=["footers", "none"])
@pytest.mark.parametrize("lost", [[1], [2], [5, 6], [6, 7], [3, 9], [11, 12], [12]])
def test_feed_names_what_is_lost_and_gives_the_rest(
    lost: list[int], segment_bytes: int, is_body: bool, keeps_footers: bool
) -> None:
    """Each lost record lies in exactly one error's stretch, no other one does."""
    one = filled(segment_bytes)
    for sequence in lost:
        flip(one.log, sequence, is_body=is_body)
    other = again(one, keeps_footers=keeps_footers)
    for limit in (1, 3, 100):
        records, errors = walk(other.log, limit)
        found = [record.sequence for record in records]
        named = [at for after, end in errors for at in range(after + 1, end + 1)]
        assert found == [at for at in range(1, LAST + 1) if at not in lost]
        assert named == lost
        assert [bytes(one.body) for one in records if one.kind == Kind.META] == [
            b"body"
        ] * sum(at % 2 == 0 for at in found)
    other.abandon()


def test_page_ends_before_the_damage_and_the_next_raises() -> None:
    """What is whole is given first; the error says where to go on."""
    one = filled()
    flip(one.log, 6, is_body=True)
    page = one.log.feed(2, 100, EVERYTHING)
    assert ([record.sequence for record in page.records], page.through) == (
        [3, 4, 5],
        5,
    )
    for _ in range(2):
        with pytest.raises(CorruptionError) as caught:
            one.log.feed(page.through, 100, EVERYTHING)
        assert caught.value.sequence == 6
    page = one.log.feed(6, 100, EVERYTHING)
    assert [record.sequence for record in page.records] == list(range(7, LAST + 1))


def test_neighbours_that_are_lost_together_are_one_error() -> None:
    """The error's sequence is the last of them, its text names the first."""
    one = filled()
    for sequence in (5, 6, 7):
        flip(one.log, sequence, is_body=False)
    other = again(one)
    assert other.log.feed(0, 100, EVERYTHING).through == 4
    with pytest.raises(CorruptionError, match="records 5 to 7 are lost") as caught:
        other.log.feed(4, 100, EVERYTHING)

    assert caught.value.sequence == 7
    assert caught.value.segment == 1
    assert caught.value.position > 0
    other.abandon()


def test_damage_of_a_kind_not_asked_for_is_passed() -> None:
    """A chunk whose body is damaged does not stop a feed of metas."""
    one = filled()
    flip(one.log, 5, is_body=True)
    records, errors = walk(one.log, 2, METAS)

    assert [record.sequence for record in records] == list(range(2, LAST + 1, 2))
    assert errors == []


def test_error_names_the_object_where_its_key_is_whole() -> None:
    """A damaged body has a name; a chunk and a damaged header have none."""
    one = filled()
    flip(one.log, 4, is_body=True)
    flip(one.log, 5, is_body=True)
    flip(one.log, 8, is_body=False)
    names: list[str | None] = []
    for sequence in (4, 5, 8):
        with pytest.raises(CorruptionError) as caught:
            one.log.read_run(sequence, 1)
        names.append(caught.value.name)
        assert ("'n1'" in str(caught.value)) == (sequence == 4)
    assert names == ["n1", None, None]


def test_damaged_change_does_not_bring_the_state_before_it_back() -> None:
    """Its subject stays at the damaged record, with an empty body, until a new one."""
    one = filled()
    flip(one.log, 10, is_body=True)
    other = again(one)
    sequence, record = other.log.last(subject("n0"))

    assert sequence == 10
    assert record is not None
    assert (record.sequence, bytes(record.body)) == (10, b"")
    assert current(other.log) == {
        subject(name): at for name, at in (("n0", 10), ("n1", 12), ("n2", 6), ("n3", 8))
    }
    assert [found.damage.position for found in other.log.damages] == [
        place_of(other.log, 10)[1].position
    ]
    other.log.rebuild_catalog("a test")
    assert other.log.catalog.last(subject("n0")) == 10
    with pytest.raises(CorruptionError):
        other.log.read_run(10, 1)
    fresh = put(other.log, "n0", b"whole").first_sequence
    assert other.log.last(subject("n0"))[0] == fresh
    other.abandon()


def test_words_after_the_commit_become_times() -> None:
    """Each holds a duration and then the record's own time and that much more."""
    log = open_log(CrashStorage()).log
    put(log, "z")
    body = b"_" + WORD.pack(5) + WORD.pack(2) + WORD.pack(7_000) + b"_"
    new = NewRecord(Kind.META, body, key=b"a", relative=(9,), after_commit=(1, 17))
    appended = log.append([chunk(b"1"), chunk(b"2"), new, meta("b", WORD.pack(5))])
    record = log.read_run(4, 1)[0]

    assert record.time_ns == appended.time_ns > START_NS
    stored = bytes(record.body)
    assert WORD.unpack_from(stored, 1) == (appended.time_ns + 5,)
    assert WORD.unpack_from(stored, 9) == (appended.first_sequence + 2,)
    assert WORD.unpack_from(stored, 17) == (appended.time_ns + 7_000,)
    assert stored[:1] == stored[-1:] == b"_"
    assert len(stored) == len(body)
    assert new.body == body
    assert bytes(log.read_run(5, 1)[0].body) == WORD.pack(5)


def test_time_between_two_appends_is_the_earlier_one() -> None:
    """Of a batch it is the last record, whatever segment it lies in."""
    clock = FakeClock()
    log = open_log(CrashStorage(), clock=clock, segment_bytes=700).log
    times: list[int] = []
    for number in range(9):
        clock.wall_ns += 1_000_000
        times.append(log.append([chunk(os.urandom(90)), meta(f"{number}")]).time_ns)
    assert log.segment_count > 2
    assert log.sequence_at(0) == log.sequence_at(times[0] - 1) == 0
    for number, time_ns in enumerate(times, start=1):
        assert log.sequence_at(time_ns) == 2 * number
        assert log.sequence_at(time_ns + 500_000) == 2 * number
        assert log.sequence_at(time_ns - 1) == 2 * number - 2


def test_time_is_found_in_a_segment_that_is_younger_than_its_records() -> None:
    """A wall clock that is set back makes a segment's time later than theirs."""
    clock = FakeClock()
    disk = CrashStorage()
    one = open_log(disk, clock=clock, sync="never")
    first = put(one.log, "a").time_ns
    put(one.log, "b")
    one.abandon()
    clock.wall_ns += 10**12
    two = open_log(disk.kill(), seed=2, clock=clock, sync="never")
    clock.wall_ns = START_NS
    fresh = put(two.log, "c")

    assert fresh.time_ns < two.log._core.segments.active.header.created_ns
    assert two.log.sequence_at(fresh.time_ns) == fresh.first_sequence
    assert two.log.sequence_at(first) == 1
    two.abandon()


@pytest.mark.parametrize("lost", range(1, LAST + 1))
def test_damaged_header_hides_no_other_time(lost: int) -> None:
    """Every other record is found by its time."""
    one = filled()
    times = {at: one.log.read_run(at, 1)[0].time_ns for at in range(2, LAST + 1, 2)}
    flip(one.log, lost, is_body=False)
    for sequence, time_ns in times.items():
        found = one.log.sequence_at(time_ns)
        assert found == sequence - (sequence == lost)
