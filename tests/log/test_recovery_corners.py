"""Rare turns of recovery, each brought about on purpose: every branch is taken."""

from __future__ import annotations

import pytest

from objstore_log._footer import (
    TRAILER_BYTES,
    Trailer,
    decode_footer,
    encode_footer_body,
)
from objstore_log._format import (
    COMMIT_BYTES,
    RECORD_HEADER_BYTES,
    SEGMENT_RECORDS_MAX,
    checksum,
    encode_record_header,
)
from objstore_log._log import Log
from objstore_log._record import Kind
from objstore_log._scan import Batch, BatchEnd, scan_batches
from objstore_log._segment import Segment, segment_name
from objstore_log._segments import OPEN_FILES_MAX
from objstore_log._takeover import publish_rolling
from objstore_log._writers import Writers
from objstore_log.errors import CorruptionError, StorageError
from objstore_log.testing import CrashStorage

from .harness import everything, open_log, opened, put

pytestmark = pytest.mark.usefixtures("single_threaded")

SEGMENT_BYTES = 600


def names(log: Log) -> list[str]:
    """Give the keys of all metas in order."""
    return [record.key.decode() for record in everything(log) if record.key]


def segments(log: Log) -> list[Segment]:
    """Give the segments in order."""
    return list(log._core.segments)


def overwrite(disk: CrashStorage, name: str, position: int, data: bytes) -> None:
    """Change bytes of a file of the log, as damage does."""
    disk.directory("log").open(name).write_at(position, [data])


def shortened(disk: CrashStorage, name: str, length: int) -> None:
    """Cut a file of the log short, as damage does."""
    directory = disk.directory("log")
    kept = directory.open(name).read_at(0, length)
    directory.remove(name)
    directory.open(name, create=True).write_at(0, [kept])


def filled(disk: CrashStorage, seed: int = 1) -> Log:
    """Open a log and fill three segments."""
    log = open_log(disk, seed=seed, segment_bytes=SEGMENT_BYTES).log
    for name in "abc":
        put(log, name, b"x" * 300)
    assert len(segments(log)) == 3
    return log


def test_footer_without_trailer_ends_the_whole_batches() -> None:
    """A seal that was cut short is an unfinished write, and no record is lost."""
    disk = CrashStorage()
    sealed = segments(filled(disk))[0]
    data = sealed.file.read_at(0, sealed.file.size() - TRAILER_BYTES)
    found = list(
        scan_batches(
            lambda at, length: data[at : at + length],
            256,
            len(data),
            sealed.header.marker,
        )
    )

    footer = sealed.footer
    assert footer is not None
    assert [Batch, BatchEnd] == [type(item) for item in found]
    assert BatchEnd(footer.usable, "footer") == found[-1]


def test_seal_without_trailer_is_written_again() -> None:
    """Who opens behind that cut takes the records over and goes on."""
    disk = CrashStorage()
    log = filled(disk)
    first, second, third = segments(log)
    assert first.footer is not None
    put(log, "d", b"x" * 300)
    assert second.footer is not None
    footer = third.footer
    assert footer is not None
    fourth = segments(log)[3].name
    directory = disk.kill().directory("log")
    directory.remove(fourth)
    directory.remove("head")
    shortened(disk.kill(), third.name, third.file.size() - TRAILER_BYTES)

    with opened(disk.kill(), seed=2, segment_bytes=SEGMENT_BYTES) as again:
        assert ["a", "b", "c"] == names(again)
        put(again, "e")
        assert ["a", "b", "c", "e"] == names(again)


def test_damaged_commit_ends_the_whole_batches_unverified_too() -> None:
    """Bodies of records may be left for later, that of the commit may not."""
    disk = CrashStorage()
    log = open_log(disk).log
    put(log, "a")
    active = segments(log)[0]
    size = active.file.size()
    overwrite(disk, active.name, size - COMMIT_BYTES + RECORD_HEADER_BYTES, b"\xff")
    (found,) = scan_batches(
        active.file.read_at, 256, size, active.header.marker, verify_bodies=False
    )

    assert BatchEnd(256, "commit record does not fit its batch") == found


def test_segment_that_only_a_size_ends_is_read_up_to_its_footer() -> None:
    """With the next segment gone and its own trailer damaged it keeps its records.

    What lay behind them may have been its own, or the missing one's: it is told.
    """
    disk = CrashStorage()
    log = filled(disk)
    first, second, _ = segments(log)
    log.close()
    after = disk.kill()
    overwrite(after, first.name, first.file.size() - TRAILER_BYTES, b"\0" * 8)
    after.directory("log").remove(second.name)

    with opened(after, seed=2, segment_bytes=SEGMENT_BYTES) as again:
        first_page = again.feed(0, 100, frozenset({Kind.META}))
        assert ["a"] == [record.key.decode() for record in first_page.records]
        with pytest.raises(CorruptionError) as caught:
            again.feed(first_page.through, 100, frozenset({Kind.META}))
        assert caught.value.sequence == 2
        behind = again.feed(2, 100, frozenset({Kind.META}))
        assert ["c"] == [record.key.decode() for record in behind.records]


def test_relaxed_log_goes_on_without_its_head() -> None:
    """The head is a hint: what this process wrote and did not sync stays in order."""
    disk = CrashStorage()
    log = open_log(disk, sync="never").log
    for name in "abc":
        put(log, name)
    assert log.progress[1].sequence < log.progress[0].sequence
    overwrite(disk, "head", 0, bytes(disk.directory("log").open("head").size()))
    put(log, "d")

    assert ["a", "b", "c", "d"] == names(log)
    assert [1, 2, 3, 4] == [record.sequence for record in everything(log)]


@pytest.mark.parametrize("has_followed", [False, True], ids=["behind", "there"])
def test_process_whose_newest_segment_goes_never_reuses_its_numbers(
    has_followed: bool,
) -> None:
    """It goes on in a new segment, behind all that the lost one may have held."""
    disk = CrashStorage()
    one = open_log(disk, seed=1, segment_bytes=SEGMENT_BYTES).log
    put(one, "a", b"x" * 300)
    other = open_log(disk.process(), seed=2, segment_bytes=SEGMENT_BYTES).log
    rolling = one if has_followed else other
    end = one.progress[0]
    last = put(rolling, "b", b"x" * 300).last_sequence
    first, second = segments(rolling)
    disk.directory("log").remove(second.name)
    size = first.file.size()
    first.file._inode.content[end.position :] = b""  # type: ignore[attr-defined]
    assert first.file.size() == end.position < size
    if has_followed:
        # somebody began to make one more, so that everybody looks again
        publish_rolling(one._core)
    appended = put(one, "c", b"x" * 300)

    assert last < appended.first_sequence
    assert segments(one)[-1].number > 2
    assert "the next segment is missing" in {
        found.damage.reason for found in one.damages
    }


def test_gap_is_left_behind_what_a_living_writer_did_not_sync() -> None:
    """Who finds no opener and a writer's unsynced batches makes them durable first."""
    disk = CrashStorage()
    one = open_log(disk, seed=1, sync="never").log
    for name in "abc":
        put(one, name)
    # as for a process that met somebody's look at the moment of its own
    one._core.openers.leave()
    other = open_log(disk.process(), seed=2, sync="never").log

    assert ["a", "b", "c"] == names(other)
    assert put(other, "d").first_sequence > SEGMENT_RECORDS_MAX
    for cut in disk.disks(limit=20):
        with opened(cut.mount(), seed=3, sync="never") as again:
            assert ["a", "b", "c"] == names(again)[:3]


def test_damaged_last_commit_is_no_clean_end() -> None:
    """A relaxed log whose last commit cannot be read leaves a gap behind it."""
    disk = CrashStorage()
    log = open_log(disk, seed=1, sync="never").log
    put(log, "a")
    last = segments(log)[-1]
    log.close()
    overwrite(disk.kill(), last.name, last.file.size() - COMMIT_BYTES + 4, b"\xff\xff")

    with opened(disk.kill(), seed=2, sync="never") as again:
        assert ["a"] == names(again)
        assert put(again, "b").first_sequence > SEGMENT_RECORDS_MAX


def test_refused_segment_is_not_taken_in() -> None:
    """A name that could be neither made durable nor removed is left out for good."""
    disk = CrashStorage()
    log = open_log(disk, segment_bytes=SEGMENT_BYTES).log
    put(log, "a", b"x" * 300)
    disk.fail("sync_directory")
    disk.fail("remove")
    with pytest.raises(StorageError):
        put(log, "b", b"x" * 300)
    put(log, "c", b"x" * 300)
    log._core.segments.refresh()

    assert [1, 2] == [segment.number for segment in segments(log)]
    assert ["a", "c"] == names(log)


def test_refused_segment_does_not_come_back_in_a_power_cut() -> None:
    """The next one has its name, so that no cut can leave both."""
    disk = CrashStorage()
    log = open_log(disk, segment_bytes=SEGMENT_BYTES).log
    put(log, "a", b"x" * 300)
    disk.fail("sync_directory", sticky=True)
    for _ in range(3):
        with pytest.raises(StorageError):
            put(log, "b", b"x" * 300)
    disk.heal()
    put(log, "c", b"x" * 300)
    for cut in disk.disks(limit=200):
        assert len([name for name in cut.files() if name.endswith(".seg")]) == 2


def test_refused_number_is_taken_in_when_another_process_used_it() -> None:
    """What another process put under it is seen; only the refused file is left out."""
    disk = CrashStorage()
    one = open_log(disk, segment_bytes=SEGMENT_BYTES).log
    other = open_log(disk.process(), seed=2, segment_bytes=SEGMENT_BYTES).log
    put(one, "a", b"x" * 300)
    disk.fail("sync_directory")
    with pytest.raises(StorageError):
        put(one, "b", b"x" * 300)
    put(other, "c", b"x" * 300)

    assert ["a", "c"] == names(one)
    put(one, "d", b"x" * 300)
    assert ["a", "c", "d"] == names(one) == names(other)
    for cut in disk.disks(limit=20):
        with opened(cut.mount(), seed=3) as again:
            assert ["a", "c", "d"] == names(again)


@pytest.mark.parametrize("later", ["", "e"], ids=["newest", "not the newest"])
def test_refused_segment_is_forgotten_for_the_one_that_took_its_name(
    monkeypatch: pytest.MonkeyPatch, later: str
) -> None:
    """Who has listed it before it was taken back neither reads it nor writes there."""
    disk = CrashStorage()
    one = open_log(disk, segment_bytes=SEGMENT_BYTES).log
    other = open_log(disk.process(), seed=2, segment_bytes=SEGMENT_BYTES).log
    third = open_log(disk.process(), seed=4, segment_bytes=SEGMENT_BYTES).log
    put(one, "a", b"x" * 300)
    remove = one._core.storage.remove

    def listed_first(name: str) -> None:
        other._core.segments.refresh()
        assert other._core.segments.active.header.number == 2
        remove(name)

    monkeypatch.setattr(one._core.storage, "remove", listed_first)
    disk.fail("sync_directory")
    with pytest.raises(StorageError):
        put(one, "b", b"x" * 300)
    for name in ("c", *later):
        put(third, name, b"x" * 300)
    put(other, "d", b"x" * 10)

    assert ["a", "c", *later, "d"] == names(third) == names(other)
    for cut in disk.disks(limit=20):
        with opened(cut.mount(), seed=3) as again:
            assert ["a", "c", *later, "d"] == names(again)


def test_two_files_of_one_number_are_not_made() -> None:
    """A refused number is given again with the same name only."""
    found = open_log(CrashStorage()).log._core.segments
    found._refused[segment_name(2, 9)] = b"marker.."

    assert found.next_number(1, 9) == 2
    assert found.next_number(1, 8) == 3


def test_refused_file_that_goes_meanwhile_is_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It was listed, and another process has removed or renamed it since."""
    found = open_log(CrashStorage()).log._core.segments
    name = segment_name(2, 9)
    found._refused[name] = b"marker.."
    listed = [*found.storage.names(), name]
    monkeypatch.setattr(found.storage, "names", lambda: listed)
    found.refresh()

    assert [segment.number for segment in found] == [1]


def test_writer_id_of_a_living_engine_is_refused() -> None:
    """Two engines of one id would take each other's unfinished puts for their own."""
    disk = CrashStorage()
    Writers(disk, 7).enter()

    with pytest.raises(StorageError, match="another engine holds"):
        Writers(disk, 7).enter()


def test_writer_lock_that_was_cleared_away_is_taken_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Another engine may remove the file between its making and its locking."""
    disk = CrashStorage()
    looks: list[int] = []
    listed = CrashStorage.names

    def look(storage: CrashStorage) -> list[str]:
        looks.append(1)
        return listed(storage) if len(looks) > 1 else []

    monkeypatch.setattr(CrashStorage, "names", look)
    writers = Writers(disk, 7)
    writers.enter()

    assert writers.is_alive(7)
    assert Writers(disk, 8).is_alive(7)


@pytest.mark.parametrize("what", ["prefix", "header", "entries"])
def test_footer_whose_parts_do_not_fit_is_none(what: str) -> None:
    """A checksum alone makes no footer: its parts must be what they say."""
    disk = CrashStorage()
    log = filled(disk)
    sealed = segments(log)[0]
    footer = sealed.footer
    assert footer is not None
    body = encode_footer_body(sealed.header, footer.last_sequence, footer.entries)
    broken = {
        "prefix": body[:20],
        "header": b"\xff" * 8 + body[8:],
        "entries": body[:-1],
    }[what]

    def decoded(data: bytes) -> object:
        return decode_footer(Trailer(footer.usable, 0, len(data), checksum(data)), data)

    assert decoded(body) is not None
    assert decoded(broken) is None


@pytest.mark.parametrize(
    ("kind", "batch_index", "body", "reason"),
    [
        (Kind.META, 3, b"", "record of another batch"),
        (Kind.COMMIT, 0, b"short", "commit record does not fit its batch"),
    ],
)
def test_valid_record_that_fits_no_batch_ends_them(
    kind: Kind, batch_index: int, body: bytes, reason: str
) -> None:
    """Its own checksums are not enough: it must be the next one of its batch."""
    marker = b"\xf7mark\x00er"
    header, _ = encode_record_header(
        marker,
        0,
        kind,
        b"",
        len(body),
        checksum(body),
        sequence=1,
        time_ns=1,
        batch_index=batch_index,
    )
    data = header + body
    found = list(
        scan_batches(lambda at, length: data[at : at + length], 0, len(data), marker)
    )

    assert [BatchEnd(0, reason)] == found


def test_segment_whose_successor_is_gone_ends_at_its_footer() -> None:
    """A seal says where the records end, also when nothing comes behind it."""
    disk = CrashStorage()
    log = filled(disk)
    _, second, third = segments(log)
    disk.directory("log").remove(third.name)
    log._core.segments.refresh()
    footer = second.footer

    assert footer is not None
    assert footer.usable == log._core.segments.usable(second) < second.file.size()
    assert log._core.segments.get(third.number) is None


def test_pinned_segments_stay_open_whatever_is_let_go() -> None:
    """A reader's file is closed with its pin: its name may be gone by then."""
    disk = CrashStorage()
    log = open_log(disk, segment_bytes=SEGMENT_BYTES).log
    for number in range(OPEN_FILES_MAX + 4):
        put(log, f"n{number}", b"x" * 300)
    first, second, third, *_ = segments(log)
    for segment in (first, second):
        segment.pins += 1
    for number in range(1, OPEN_FILES_MAX + 4):
        log.read_run(number, 1)
    assert first._file is not None
    assert third._file is None

    log._core.segments.forget(first)
    log._core.segments.close(keeps_pinned=True)
    assert first._file is not None
    assert second._file is not None
    assert segments(log)[-1]._file is None


def test_seal_whose_sync_failed_is_taken_back() -> None:
    """A power cut may take it, so nobody is to read it meanwhile."""
    disk = CrashStorage()
    log = open_log(disk, segment_bytes=SEGMENT_BYTES).log
    put(log, "a", b"x" * 300)
    disk.fail("sync")
    with pytest.raises(StorageError):
        put(log, "b", b"x" * 300)
    assert segments(log)[0].footer is None
    put(log, "c", b"x" * 300)

    assert ["a", "c"] == names(log)
    for cut in disk.disks(limit=40):
        with opened(cut.mount(), seed=2, segment_bytes=SEGMENT_BYTES) as again:
            assert (["a", "c"], []) == (names(again), again.damages)
