"""Recovery where the disk refuses, or what names a segment is gone."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest

from objstore_log._file_storage import FileStorage
from objstore_log._format import SEGMENT_HEADER_BYTES
from objstore_log._head import HeadFile
from objstore_log._log import Log
from objstore_log._memory_storage import MemoryStorage
from objstore_log._scan import find_record_of_any, past_refusals
from objstore_log._seal import write_footer
from objstore_log._segment import Segment
from objstore_log._segments import _last_before, log_id_in

from .harness import LOG_ID, everything, open_log, put

pytestmark = pytest.mark.usefixtures("single_threaded")


def filled(place: Any) -> Log:
    """Give a log of three segments with a record each."""
    log = open_log(place, segment_bytes=600).log
    for name in "abc":
        put(log, name, b"x" * 300)
    return log


class BadSector:
    """A file of which one byte cannot be read."""

    def __init__(self, file: Any, position: int) -> None:
        self._file = file
        self._position = position

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def read_at(self, position: int, length: int) -> bytes:
        if position <= self._position < position + length:
            raise OSError(errno.EIO, "bad sector")
        data: bytes = self._file.read_at(position, length)
        return data


def test_only_a_bad_sector_is_passed_over() -> None:
    """Any other refusal is the caller's: the disk may give it the next time."""

    def refuse(position: int, length: int) -> bytes:
        raise OSError(errno.ESTALE, f"{position} {length}")

    with pytest.raises(OSError, match="7 9"):
        past_refusals(refuse)(7, 9)


def test_segment_with_a_bad_sector_is_not_sealed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its footer would say for good that there is nothing there."""
    active = filled(MemoryStorage())._core.segments.active
    size = active.file.size()
    active.drop_index()
    bad = BadSector(active.file, SEGMENT_HEADER_BYTES + 200)
    monkeypatch.setattr(active, "_file", bad)

    with pytest.raises(OSError, match="hides records"):
        write_footer(active, size, 3, 0, size)
    assert active.file.size() == size


@pytest.mark.parametrize("damaged", [0, 1])
def test_records_tell_the_marker_of_a_segment_without_header(damaged: int) -> None:
    """The first whole one does."""
    storage = MemoryStorage()
    log = open_log(storage).log
    for name in "ab":
        put(log, name)
    active = log._core.segments.active
    data = bytearray(active.file.read_at(0, active.file.size()))
    data[:SEGMENT_HEADER_BYTES] = bytes(SEGMENT_HEADER_BYTES)
    if damaged:
        data[SEGMENT_HEADER_BYTES + 40] ^= 1

    found = find_record_of_any(lambda at, count: bytes(data[at : at + count]), 4_096)

    assert found is not None
    marker, header = found
    assert marker == active.header.marker
    assert (header.position > SEGMENT_HEADER_BYTES) == bool(damaged)


def test_bytes_without_records_tell_no_marker() -> None:
    """Nothing is made up."""
    zeros = bytes(100_000)
    found = find_record_of_any(lambda at, count: zeros[at : at + count], len(zeros))
    assert found is None


def test_log_id_is_what_any_segment_states() -> None:
    """Other files and damaged headers are passed over."""
    storage = MemoryStorage()
    assert log_id_in(storage) is None
    filled(storage)
    directory = storage.directory("log")
    assert log_id_in(directory) == LOG_ID
    for name in directory.names():
        if name.endswith(".seg"):
            directory.open(name).write_at(0, [bytes(SEGMENT_HEADER_BYTES)])
    assert log_id_in(directory) is None


def test_segment_that_went_tells_nothing_of_its_predecessor() -> None:
    """Whoever needs it is told that it is missing."""
    gone = Segment(MemoryStorage(), LOG_ID, 7, 70)
    assert _last_before(gone) is None


def test_listings_that_never_agree_call_nothing_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is looked at while others reclaim all the time is judged later."""
    log = filled(MemoryStorage())
    segments = log._core.segments
    whole = segments.storage.names()
    shown = {"first": True}

    def names() -> list[str]:
        shown["first"] = not shown["first"]
        less = [name for name in whole if not name.startswith("00000002")]
        return [*less, "other"] if shown["first"] else less

    monkeypatch.setattr(segments.storage, "names", names)
    segments.refresh()
    assert segments.lost == []

    monkeypatch.undo()
    segments.refresh()
    assert [record.key for record in everything(log)] == [b"a", b"b", b"c"]


def test_log_that_is_removed_while_it_is_made_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its last segment is a file that is not there, as for every other reader."""
    log = filled(MemoryStorage())
    segments = log._core.segments
    monkeypatch.setattr(segments.storage, "names", list)
    segments.refresh()

    with pytest.raises(FileNotFoundError):
        _ = segments.active


def test_segment_that_is_marked_is_marked_once() -> None:
    """A reclaimer that was killed behind its mark is followed by another."""
    segments = filled(MemoryStorage())._core.segments
    first = next(iter(segments))
    segments.mark(first)
    before = segments.storage.names()

    assert segments.mark(first) == []
    assert segments.storage.names() == before


def test_map_that_another_thread_closes_is_not_looked_at(tmp_path: Path) -> None:
    """The file is read instead; if that is closed, too, it says so."""
    log = open_log(FileStorage(tmp_path)).log
    put(log, "a")
    head: HeadFile = log._core.head_file
    assert head._map is not None
    head._map.close()

    assert not head.changed()
    head.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        head.changed()
