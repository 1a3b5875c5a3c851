"""Rewriting: a segment without what nobody needs, and nobody can tell the difference.

A rewritten segment is no other history: what stays has its sequence, its time and its
place in the order, for readers and watches that know it and for those that come later.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from objstore_log import _rewrite_policy as policy
from objstore_log._file_storage import FileStorage
from objstore_log._footer import footer_bytes
from objstore_log._log import Log
from objstore_log._memory_storage import MemoryStorage
from objstore_log._record import Kind, Record
from objstore_log._segment import Segment
from objstore_log._storage import Storage
from objstore_log.errors import CorruptionError, ObjStoreError, SequenceGoneError
from objstore_log.testing import CrashStorage
from objstore_log.testing.crash_trace import FaultKind

from .harness import EVERYTHING, OpenedLog, chunk, current, everything, meta, open_log
from .harness import put as put_meta
from .test_log_space import Wanted

pytestmark = pytest.mark.usefixtures("single_threaded")

SEGMENT_BYTES = 8_000
CHUNK_BYTES = 400


@pytest.fixture
def place() -> Storage:
    """Give an empty directory; what differs on a real disk is in other tests."""
    return MemoryStorage()


@pytest.fixture(params=["memory", "files"])
def each_place(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    """Give one in memory and one of the operating system."""
    if request.param == "memory":
        return MemoryStorage()
    return FileStorage(tmp_path / "store", create=True)


@pytest.fixture(autouse=True)
def _small_gains(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have segments of a few kilobytes be worth it."""
    monkeypatch.setattr(policy, "GAIN_BYTES_MIN", 1)


@dataclass
class Written:
    """A log of small objects, and what of it is needed."""

    one: OpenedLog
    names: dict[str, int] = field(default_factory=dict[str, int])
    """The sequence of each name's META; its chunk stands before it."""

    @property
    def log(self) -> Log:
        """Give the log."""
        return self.one.log

    def put(self, name: str) -> None:
        """Overwrite an object of one chunk."""
        body = f"{name} {self.log.visible_sequence}".encode().ljust(CHUNK_BYTES)
        appended = self.log.append([chunk(body), meta(name, body[:40])])
        self.names[name] = appended.last_sequence

    def wanted(self, floor: int = 1 << 62) -> Wanted:
        """Say what the objects need."""
        needed = sorted(self.names.values())
        runs = [(sequence - 1, 1) for sequence in needed]
        return Wanted(runs, metas=set(needed), floor=floor)

    def bodies(self) -> dict[int, bytes]:
        """Give every needed record's body."""
        return {
            sequence + step: bytes(self.log.read_run(sequence + step, 1)[0].body)
            for sequence in self.names.values()
            for step in (-1, 0)
        }


def written(place: Storage, count: int = 60, seed: int = 0) -> Written:
    """Fill segments with objects of which most were overwritten soon."""
    made = Written(open_log(place, seed=seed, segment_bytes=SEGMENT_BYTES))
    for number in range(count):
        # every tenth stays: its segment does not go as a whole
        made.put(f"kept {number}" if number % 10 == 0 else f"n{number % 4}")
    return made


def rewritten(log: Log) -> list[Segment]:
    """Give the segments that were rewritten."""
    return [segment for segment in log._core.segments if segment.is_rewritten]


def facts(records: Sequence[Record]) -> list[tuple[object, ...]]:
    """Give all that is told of records."""
    return [
        (item.sequence, item.time_ns, item.kind, item.key, bytes(item.body), item.nuid)
        for item in records
    ]


def rows(log: Log) -> list[tuple[object, ...]]:
    """Give the rows of a catalog made anew."""
    log.rebuild_catalog("a test")
    return list(log.catalog.rows())


def test_what_stays_is_what_it_was(each_place: Storage) -> None:
    """Sequence, time, order and content, here, for others and after an opening."""
    made = written(each_place)
    reader = open_log(each_place, seed=2, segment_bytes=SEGMENT_BYTES)
    needed = set(made.bodies())
    before = [item for item in everything(made.log) if item.sequence in needed]
    told = made.log.reclaim(made.wanted(), dry_run=True)
    sizes = {item.number: item.file.size() for item in made.log._core.segments}
    result = made.log.reclaim(made.wanted())

    found = rewritten(made.log)
    assert len(found) >= 4
    assert result == told
    assert result.contents > 30
    for segment in found:
        assert segment.file.size() < sizes[segment.number] // 2
        assert segment.file.size() == segment.header.usable + footer_bytes(
            len(segment.index(0))
        )
    reader.log.catch_up()
    again = open_log(each_place, seed=3, segment_bytes=SEGMENT_BYTES)
    for log in (made.log, reader.log, again.log):
        left = [item for item in everything(log) if item.sequence in needed]
        assert facts(left) == facts(before)
        assert log.damages == []
        assert log.scrub(None).damages == []


def test_second_run_finds_nothing_to_do(place: Storage) -> None:
    """What was copied is as small as it gets, and is copied again when more is dead."""
    made = written(place)
    made.log.reclaim(made.wanted())

    assert made.log.reclaim(made.wanted()) == (0, 0)
    for number in range(0, 30, 10):
        del made.names[f"kept {number}"]
        made.put(f"kept {number}")
    size = made.log.reclaim(made.wanted()).bytes
    assert size >= 3 * CHUNK_BYTES
    assert set(made.bodies()) <= {item.sequence for item in everything(made.log)}


def test_catalog_made_anew_from_copies_is_the_same(place: Storage) -> None:
    """The names' last changes are all there."""
    made = written(place)
    before, names = rows(made.log), dict(current(made.log))
    made.log.reclaim(made.wanted())

    assert rewritten(made.log)
    assert rows(made.log) == before
    assert dict(current(made.log)) == names
    assert made.log.compare_catalog().is_equal


def test_changes_above_the_floor_are_kept(place: Storage) -> None:
    """A watch that comes later sees them all, in their order; content may go."""
    made = written(place)
    feed = facts(everything(made.log, kinds=frozenset((Kind.META,))))
    made.log.reclaim(made.wanted(floor=0))

    assert rewritten(made.log)
    assert facts(everything(made.log, kinds=frozenset((Kind.META,)))) == feed
    again = open_log(place, seed=2, segment_bytes=SEGMENT_BYTES)
    assert facts(everything(again.log, kinds=frozenset((Kind.META,)))) == feed


def test_last_word_on_a_name_stays_below_the_floor(place: Storage) -> None:
    """A delete above all: an older segment may hold what it deleted."""
    made = written(place, 20)
    gone = made.log.append([meta("kept 0", b"deleted")])
    made.names["kept 0"] = gone.last_sequence
    for number in range(40):
        made.put(f"n{number % 4}")
    wanted = made.wanted()
    wanted.runs.remove((gone.last_sequence - 1, 1))
    made.log.reclaim(wanted)

    assert rewritten(made.log)
    assert made.log.last(b"\2kept 0")[0] == gone.last_sequence
    assert bytes(made.log.read_run(gone.last_sequence, 1)[0].body) == b"deleted"
    assert made.log.compare_catalog().is_equal


def test_change_that_only_one_table_calls_superseded_stays(place: Storage) -> None:
    """Two of the catalog's tables must say so before a META is left out."""
    made = written(place)
    wanted = made.wanted()
    lost = made.names["kept 10"]
    wanted.metas.discard(lost)
    made.log.reclaim(wanted)

    assert made.log.read_run(lost, 1)[0].key == b"kept 10"
    assert len(rewritten(made.log)) >= 3


@pytest.mark.parametrize("is_own", [True, False], ids=["own", "other"])
def test_pinned_segment_is_not_rewritten(place: Storage, is_own: bool) -> None:
    """Its reader goes on; its turn comes when it is released."""
    made = written(place)
    other = open_log(place, seed=2, segment_bytes=SEGMENT_BYTES)
    reader = made.log if is_own else other.log
    pin = reader.pin([(3, 1)])
    held = pin.segments[0].number
    made.log.reclaim(made.wanted())

    assert held not in [segment.number for segment in rewritten(made.log)]
    assert reader.read_held(pin, 3, 1)[0].sequence == 3
    pin.release()
    made.log.reclaim(made.wanted())
    assert held in [segment.number for segment in rewritten(made.log)]
    assert made.bodies()


def test_reader_that_pinned_a_copied_file_reads_on(each_place: Storage) -> None:
    """Whoever had the old file open before the rename keeps all that stood in it."""
    made = written(each_place)
    other = open_log(each_place, seed=2, segment_bytes=SEGMENT_BYTES)
    old = everything(other.log)
    segment = next(iter(other.log._core.segments))
    assert segment.file.size()
    segment.pins += 1
    made.log.reclaim(made.wanted())
    put_meta(made.log, "fresh")
    other.log.catch_up()

    entries = segment.index(0)
    kept = segment.read_entries([entries.entry(at) for at in range(len(entries))])
    assert facts(kept or []) == facts(old[: len(entries)])
    assert other.log._core.segments.get(segment.number) is not segment


def test_process_that_was_away_sees_every_change(place: Storage) -> None:
    """It had read half of a segment, which is another file by now."""
    made = written(place, 23)
    other = open_log(place, seed=2, segment_bytes=SEGMENT_BYTES)
    holes: list[int] = []
    seen: list[int] = []
    other.log.add_listener(
        lambda records: seen.extend(item.sequence for item in records),
        lambda: holes.append(len(seen)),
    )
    half = other.log.visible_sequence
    for number in range(30, 80):
        made.put(f"kept {number}" if number % 10 == 0 else f"n{number % 4}")
    made.log.reclaim(made.wanted())
    # as one does that uses many segments
    for segment in other.log._core.segments:
        segment.let_go()
    other.log.catch_up()

    number = other.log._core.segments.locate(half).number
    assert number in [segment.number for segment in rewritten(made.log)]
    assert holes
    assert {item for item in made.names.values() if item > half} <= set(seen)
    assert len(set(seen)) == len(seen)
    assert dict(current(other.log)) == dict(current(made.log))
    assert other.log.damages == []


def test_another_process_lets_go_of_what_was_replaced(each_place: Storage) -> None:
    """Else the room would not come back while it lives."""
    made = written(each_place)
    other = open_log(each_place, seed=2, segment_bytes=SEGMENT_BYTES)
    everything(other.log)
    made.log.reclaim(made.wanted())
    other.log.catch_up()

    ours = {item.number: item.header.marker for item in made.log._core.segments}
    theirs = {item.number: item.header.marker for item in other.log._core.segments}
    assert ours == theirs
    assert other.log.read_run(made.names["kept 0"], 1)[0].key == b"kept 0"


def test_read_that_points_into_the_old_file_looks_again(place: Storage) -> None:
    """An index of before names places where other records stand now, or none."""
    made = written(place)
    other = open_log(place, seed=2, segment_bytes=SEGMENT_BYTES)
    everything(other.log)
    made.log.reclaim(made.wanted())
    for segment in other.log._core.segments:
        assert segment.loaded_index is not None
        segment.let_go()
    kept = made.names["kept 20"]
    assert other.log.read_run(kept - 1, 2)[1].key == b"kept 20"
    with pytest.raises(SequenceGoneError):
        other.log.read_run(3, 1)


def test_left_out_records_are_gone_not_damaged(place: Storage) -> None:
    """A look-up says so; a feed passes over them."""
    made = written(place)
    made.log.reclaim(made.wanted())

    assert rewritten(made.log)
    with pytest.raises(SequenceGoneError):
        made.log.read_run(3, 1)
    page = made.log.feed(0, 1_000, EVERYTHING)
    assert page.through == made.log.visible_sequence


def _damage(segment: Segment, position: int) -> None:
    byte = segment.file.read_at(position, 1)
    segment.file.write_at(position, [bytes([byte[0] ^ 1])])
    segment.close()
    segment.drop_index()


def test_damaged_record_is_not_copied(place: Storage) -> None:
    """Its segment stays as it is, the damage in it, for whoever looks for it."""
    made = written(place)
    kept = made.names["kept 10"]
    segment = made.log._core.segments.locate(kept)
    entry = segment.index(0).find(kept)
    assert entry is not None
    _damage(segment, entry.position + entry.length - 1)
    made.log.reclaim(made.wanted())

    assert segment.number not in [item.number for item in rewritten(made.log)]
    assert len(rewritten(made.log)) >= 3
    with pytest.raises(CorruptionError):
        made.log.read_run(kept, 1)
    assert [kept] == [sequence for found in _scrubbed(made.log) for sequence in found]


def _scrubbed(log: Log) -> list[tuple[int, ...]]:
    found: list[tuple[int, ...]] = []
    page = log.scrub(None)
    while True:
        found += [damage.sequences for damage in page.damages]
        if page.token is None:
            return found
        page = log.scrub(page.token)


def test_damage_to_a_copy_is_told_and_mended(place: Storage) -> None:
    """Its footer is made anew, also when none of its neighbours says where it ends."""
    made = written(place)
    made.log.reclaim(made.wanted())
    segment = rewritten(made.log)[1]
    _damage(segment, segment.file.size() - 1)
    made.one.close()
    one = open_log(place, seed=5, segment_bytes=SEGMENT_BYTES)

    assert one.log.mender.heal(segment.number)
    again = one.log._core.segments.get(segment.number)
    assert again is not None
    assert again.footer is not None
    assert again.footer.last_sequence == again.header.covers_final
    assert _scrubbed(one.log) == []
    assert one.log.feed(0, 1_000, EVERYTHING).through == one.log.visible_sequence


def test_lost_record_of_a_copy_is_told_of(place: Storage) -> None:
    """With no footer a gap beside damage may be a loss, and any other is none."""
    made = written(place)
    made.log.reclaim(made.wanted())
    segment = rewritten(made.log)[0]
    entry = segment.index(0).entry(1)
    segment.file.write_at(entry.position, [bytes(80)])
    _damage(segment, segment.file.size() - 1)
    made.one.close()
    one = open_log(place, seed=5, segment_bytes=SEGMENT_BYTES)

    told: list[int] = []
    after = 0
    while after < one.log.visible_sequence:
        try:
            after = one.log.feed(after, 1_000, EVERYTHING).through
        except CorruptionError as error:
            after = error.sequence or one.log.visible_sequence
            told.append(after)
    assert len(told) == 1
    assert told[0] >= entry.sequence


def test_scrub_that_stood_in_the_old_file_goes_on(place: Storage) -> None:
    """Its place may be inside of a record now."""
    made = written(place)
    pages = [made.log.scrub(None, 2_000)]
    while pages[-1].token is not None:
        pages.append(made.log.scrub(pages[-1].token, 2_000))
    made.log.reclaim(made.wanted())
    for page in pages:
        if page.token is not None:
            assert made.log.scrub(page.token, 2_000).damages == []


def test_catalog_of_before_is_made_anew(place: Storage) -> None:
    """A power cut may bring one back whose last commit stands in no file any more."""
    crash = CrashStorage()
    made = written(crash, 30)
    made.log.apply()
    image = made.log.catalog.serialize()
    for number in range(30, 60):
        made.put(f"kept {number}" if number % 10 == 0 else f"n{number % 4}")
    before = rows(made.log)
    made.log.reclaim(made.wanted())
    again = open_log(crash, seed=2, segment_bytes=SEGMENT_BYTES, image=image)

    assert again.log.compare_catalog().is_equal
    again.log.apply()
    assert list(again.log.catalog.rows()) == before


def test_segment_that_a_catalog_ends_in_is_left(place: Storage) -> None:
    """Else every opening would make the catalog anew."""
    made = written(place)
    made.log._committer.end_segment(made.log._core.segments.active.number)
    last = list(made.log._core.segments)[-2].number
    made.log.reclaim(made.wanted())
    assert last not in [segment.number for segment in rewritten(made.log)]


def test_what_is_above_the_limit_is_left(place: Storage) -> None:
    """An unfinished put may need chunks that no META names yet."""
    made = written(place)
    other = open_log(place, seed=2, segment_bytes=SEGMENT_BYTES)
    other.log.announce_unfinished(20)
    made.log.reclaim(made.wanted())

    assert all(segment.header.covers_final < 20 for segment in rewritten(made.log))
    other.close()
    made.log.reclaim(made.wanted())
    assert len(rewritten(made.log)) >= 4


@pytest.mark.parametrize(
    ("call", "error"),
    [
        ("open", errno.ENOSPC),
        ("write", errno.ENOSPC),
        ("sync", errno.EIO),
        ("replace", errno.ENOSPC),
        ("sync_directory", errno.EIO),
    ],
)
def test_refused_copy_loses_nothing(call: FaultKind, error: int) -> None:
    """Whichever call is refused, what was needed is there, and the next run goes on."""
    for nth in range(1, 30, 3):
        crash = CrashStorage()
        made = written(crash, 30)
        before = made.bodies()
        crash.fail(call, nth=nth, code=error)
        with suppress(ObjStoreError, OSError):
            made.log.reclaim(made.wanted())
        crash.heal()
        again = open_log(crash.kill(), seed=7, segment_bytes=SEGMENT_BYTES)
        made.one = again

        assert made.bodies() == before
        made.log.reclaim(made.wanted())
        assert made.bodies() == before
        assert made.log.scrub(None).damages == []
        assert not [name for name in again.log._core.storage.names() if "tmp" in name]
        again.abandon()


def test_rest_of_a_killed_copy_is_swept_away(place: Storage) -> None:
    """It means nothing and takes room; the next segment's is left alone."""
    made = written(place)
    storage = made.log._core.storage
    first = next(iter(made.log._core.segments)).name.replace(".seg", ".tmp")
    coming = "ffffffff-00000000000000ff.tmp"
    for name in (first, coming):
        storage.open(name, create=True).close()
    made.log.reclaim(Wanted(metas=set(made.names.values())))

    assert coming in storage.names()
    assert first not in storage.names()
