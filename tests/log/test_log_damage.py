"""Damage at rest: named, skipped, never spread, never a reason to drop the rest."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from functools import cache

import pytest

from objstore_log._format import COMMIT_BYTES, SEGMENT_HEADER_BYTES
from objstore_log._head_slot import HEAD_BYTES, decode_head, encode_head_slot
from objstore_log._log import Log
from objstore_log._record import Record
from objstore_log.errors import CorruptionError, SequenceGoneError
from objstore_log.testing import CrashStorage

from .harness import EVERYTHING, chunk, meta, open_log, put

pytestmark = pytest.mark.usefixtures("single_threaded")


@cache
def sample(segment_bytes: int = 1 << 20) -> dict[str, bytes]:
    """Give the files of a small log that was closed."""
    disk = CrashStorage()
    one = open_log(disk, segment_bytes=segment_bytes)
    for number in range(4):
        one.log.append([chunk(b"%d" % number * 20), meta(f"n{number}", b"body")])
    one.close()
    files = next(disk.disks(limit=1)).files()
    return {path: data for path, data in files.items() if "writers" not in path}


def disk_with(files: dict[str, bytes]) -> CrashStorage:
    """Make a disk of files."""
    storage = CrashStorage()
    directory = storage.directory("log", create=True)
    for path, data in files.items():
        directory.open(path.removeprefix("log/"), create=True).write_at(0, [data])
    return storage


def segments_of(files: dict[str, bytes]) -> list[str]:
    """Give the names of the segments in order."""
    return sorted(path for path in files if path.endswith(".seg"))


def survivors(log: Log) -> dict[int, Record]:
    """Read every sequence by itself; those that are damaged are left out."""
    found: dict[int, Record] = {}
    for sequence in range(1, 20):
        with suppress(CorruptionError, SequenceGoneError):
            found[sequence] = log.read_run(sequence, 1)[0]
    return found


def _check_damaged(files: dict[str, bytes], *, victims_max: int, fresh: int) -> None:
    one = open_log(disk_with(files), seed=5)
    try:
        found = survivors(one.log)
        assert len(found) >= 8 - victims_max
        for sequence, record in found.items():
            number = (sequence - 1) // 2
            expected = b"body" if sequence % 2 == 0 else b"%d" % number * 20
            assert bytes(record.body) == expected
        assert put(one.log, "fresh").first_sequence >= fresh
        again = survivors(one.log)
        assert {key: again[key] for key in found} == found
    finally:
        one.abandon()


@pytest.mark.parametrize("has_head", [True, False], ids=["head", "no-head"])
def test_every_flipped_byte_costs_one_record_at_most(has_head: bool) -> None:
    """All other records are read, and the numbers go on."""
    files = sample().copy()
    if not has_head:
        del files["log/head"]
    (name,) = segments_of(files)
    for place in range(0, len(files[name]), 7):
        data = bytearray(files[name])
        data[place] ^= 1 << (place % 8)
        try:
            _check_damaged(files | {name: bytes(data)}, victims_max=1, fresh=9)
        except BaseException as error:
            error.add_note(f"byte {place} of {len(data)}")
            raise


def test_every_flipped_byte_of_sealed_segments_costs_one_record_at_most() -> None:
    """Also where footers, and the usable lengths in the next headers, are hit."""
    files = sample(700)
    for name in segments_of(files):
        for place in range(0, len(files[name]), 11):
            data = bytearray(files[name])
            data[place] ^= 1 << (place % 8)
            try:
                _check_damaged(files | {name: bytes(data)}, victims_max=1, fresh=9)
            except BaseException as error:
                error.add_note(f"{name}, byte {place} of {len(data)}")
                raise


def test_every_flipped_byte_of_the_head_costs_nothing() -> None:
    """The head is only a hint."""
    files = sample()
    for place in range(0, len(files["log/head"]), 3):
        data = bytearray(files["log/head"])
        data[place] ^= 1
        _check_damaged(files | {"log/head": bytes(data)}, victims_max=0, fresh=9)


def test_head_of_another_log_is_no_head() -> None:
    """A block that was never written may hold one: whole, newer and about others."""
    files = sample()
    head = decode_head(files["log/head"])
    assert head is not None
    foreign = head._replace(
        log_id=b"F" * 16,
        generation=head.generation + 1,
        segment=head.segment + 4,
        written_sequence=1_000,
        poison=1,
    )
    for place in (0, HEAD_BYTES // 2):
        data = bytearray(files["log/head"])
        data[place : place + HEAD_BYTES // 2] = encode_head_slot(foreign)
        one = open_log(disk_with(files | {"log/head": bytes(data)}), seed=5)
        assert one.log.damages == []
        assert put(one.log, "fresh").first_sequence == 9
        assert one.log._core.segments.active.number <= 2
        one.abandon()


@cache
def _ends() -> Mapping[int, int]:
    """Give where each record of the sample ends."""
    one = open_log(disk_with(sample()), seed=5)
    index = one.log._reader.index(one.log._core.segments.active)
    entries = [index.entry(place) for place in range(len(index))]
    one.abandon()
    return {entry.sequence: entry.position + entry.length for entry in entries}


@pytest.mark.parametrize("has_head", [True, False], ids=["head", "no-head"])
def test_every_truncation_keeps_what_is_left(has_head: bool) -> None:
    """A file that lost its end gives the rest; with a head no number comes again."""
    files = sample().copy()
    if not has_head:
        # nothing says that more was there: only whole batches count
        del files["log/head"]
    (name,) = segments_of(files)
    behind = 0 if has_head else COMMIT_BYTES
    for size in range(SEGMENT_HEADER_BYTES, len(files[name]), 13):
        whole = [number for number, end in _ends().items() if end + behind <= size]
        kept = len(whole) if has_head else len(whole) // 2 * 2
        try:
            _check_damaged(
                files | {name: files[name][:size]},
                victims_max=8 - kept,
                fresh=9 if has_head else kept + 1,
            )
        except BaseException as error:
            error.add_note(f"cut to {size}")
            raise


def test_truncation_below_the_durable_end_is_reported() -> None:
    """That acknowledged bytes are missing is damage, not a torn write."""
    files = sample()
    (name,) = segments_of(files)
    one = open_log(disk_with(files | {name: files[name][:-200]}), seed=5)

    assert one.log.damages
    one.abandon()


def test_damage_below_the_durable_point_is_reported_with_its_place() -> None:
    """The segment, the position and the record are named."""
    files = sample()
    (name,) = segments_of(files)
    end = _ends()[3]
    data = bytearray(files[name])
    data[end - 1] ^= 1
    one = open_log(disk_with(files | {name: bytes(data)}), seed=5)

    with pytest.raises(CorruptionError) as caught:
        one.log.read_run(3, 1)
    assert (caught.value.sequence, caught.value.segment) == (3, 1)
    assert one.log.feed(0, 10, EVERYTHING).through == 2
    with pytest.raises(CorruptionError) as caught:
        one.log.feed(2, 10, EVERYTHING)
    assert caught.value.sequence == 3
    behind = one.log.feed(3, 10, EVERYTHING)
    assert [record.sequence for record in behind.records] == [4, 5, 6, 7, 8]
    one.abandon()


def test_one_damaged_sector_of_a_header_costs_nothing() -> None:
    """Footer or head know what both copies of a segment's header said."""
    files = sample(700)
    for name in segments_of(files):
        data = bytes(SEGMENT_HEADER_BYTES) + files[name][SEGMENT_HEADER_BYTES:]
        try:
            _check_damaged(files | {name: data}, victims_max=0, fresh=9)
        except BaseException as error:
            error.add_note(name)
            raise


def test_missing_last_segment_leaves_its_numbers_unused() -> None:
    """The head still knows them."""
    files = sample(700).copy()
    del files[segments_of(files)[-1]]
    head = decode_head(files["log/head"])
    assert head is not None
    one = open_log(disk_with(files), seed=5)

    assert one.log.damages
    assert put(one.log, "fresh").first_sequence == head.written_sequence + 1
    assert len(segments_of(files)) + 1 == one.log.segment_count
    one.abandon()


def test_missing_segments_leave_their_numbers_unused() -> None:
    """Even when all of them are gone."""
    files = {"log/head": sample()["log/head"]}
    one = open_log(disk_with(files), seed=5)

    assert one.log.damages
    assert put(one.log, "fresh").first_sequence == 9
    one.abandon()


def test_damaged_catalog_row_is_rebuilt() -> None:
    """A catalog that lies is noticed and made anew, nobody else does."""
    one = open_log(disk_with(sample()), seed=5)
    one.log.apply()
    one.log._core.cache.clear()
    db = one.log.catalog._file.writer.opened()
    db.execute("UPDATE subjects SET sequence = 77")

    assert one.log.last(b"\x02n1")[0] == 4
    assert dict(one.log.subjects(b"", None, 10))[b"\x02n3"] == 8
    one.abandon()
