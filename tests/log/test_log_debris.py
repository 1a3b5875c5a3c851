"""What a power cut leaves of an unfinished footer, and footers that are damaged."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from objstore_log._footer import (
    TRAILER_BYTES,
    encode_footer,
    encode_footer_body,
    encode_trailer,
)
from objstore_log._format import RECORD_HEADER_BYTES
from objstore_log._log import Log
from objstore_log._memory_storage import MemoryStorage
from objstore_log._segment import Segment
from objstore_log._storage import Storage
from objstore_log.errors import StorageError
from objstore_log.testing import Crashed, CrashStorage

from .harness import open_log, opened, put

pytestmark = pytest.mark.usefixtures("single_threaded")

SEGMENT_BYTES = 500


def _foreign_middle(data: bytes) -> bytes:
    """Stale bytes of another file between the record's header and the trailer."""
    start, end = RECORD_HEADER_BYTES + 8, len(data) - TRAILER_BYTES
    return data[:start] + b"~" * (end - start) + data[end:]


def _foreign_trailer(data: bytes) -> bytes:
    """The trailer of another segment's footer behind the own one."""
    other = encode_trailer(999_000, b"another body", 999_088)
    return data[:-TRAILER_BYTES] + other


def _half_trailer(data: bytes) -> bytes:
    """A trailer of which the magic is there alone."""
    return data[: 8 - TRAILER_BYTES] + b"~" * (TRAILER_BYTES - 8)


KINDS = [_foreign_middle, _foreign_trailer, _half_trailer]


def found(log: Log) -> list[str]:
    """Scrub all of a log; give what is damaged."""
    reasons: list[str] = []
    page = log.scrub(None)
    while True:
        reasons += [item.damage.reason for item in page.damages]
        if page.token is None:
            return reasons
        page = log.scrub(page.token)


def footer_of(segment: Segment, last_sequence: int) -> bytes:
    """Give the footer that would end a segment here."""
    end = segment.file.size()
    index = segment.index(end)
    pieces = encode_footer(segment.header, end, last_sequence, 1, index)
    return b"".join(map(bytes, pieces))


def in_log(storage: Storage, name: str) -> Storage:
    """Give the log's directory, which must have a file."""
    directory = storage.directory("log")
    assert name in directory.names()
    return directory


@pytest.mark.parametrize("spoil", KINDS)
@pytest.mark.parametrize("has_head", [True, False])
def test_debris_of_a_footer_is_no_damage(
    spoil: Callable[[bytes], bytes], *, has_head: bool
) -> None:
    """Whatever it looks like: the segment behind it says that there is none."""
    place = MemoryStorage()
    with opened(place) as log:
        put(log, "a")
        put(log, "b")
        active = log._core.segments.active
        debris = spoil(footer_of(active, 2))
        active.file.write_at(active.file.size(), [debris])
    if not has_head:
        in_log(place, "head").remove("head")

    for seed in (2, 3):
        with opened(place, seed=seed) as again:
            assert len(again._core.segments) > 1
            assert found(again) == []
            assert again.damages == []


def test_debris_of_a_footer_is_not_copied() -> None:
    """A backup would name its own copy damaged."""
    place = MemoryStorage()
    with opened(place) as log:
        put(log, "a")
        active = log._core.segments.active
        end = active.file.size()
        active.file.write_at(end, [_foreign_middle(footer_of(active, 1))])

    with opened(place, seed=2) as again:
        frozen = again.freezer.freeze()
        assert (frozen.segments[0].length, frozen.segments[0].is_sealed) == (end, False)
        frozen.release()


@pytest.mark.parametrize("spoil", KINDS)
def test_damaged_footer_is_named(spoil: Callable[[bytes], bytes]) -> None:
    """The same bytes are damage where a footer was durable."""
    place = MemoryStorage()
    with opened(place, segment_bytes=SEGMENT_BYTES) as log:
        put(log, "a", b"x" * 300)
        put(log, "b", b"x" * 300)
        sealed = next(iter(log._core.segments))
        footer = sealed.footer
        assert footer is not None
        start, size = footer.usable, sealed.file.size()
        data = spoil(sealed.file.read_at(start, size - start))
        sealed.file.write_at(start, [data])

    with opened(place, seed=2) as again:
        assert found(again) == ["footer"]
        frozen = again.freezer.freeze()
        assert (frozen.segments[0].length, frozen.segments[0].is_sealed) == (size, True)
        frozen.release()


def test_body_of_a_footer_has_a_place_of_its_own() -> None:
    """The spoilt footers above keep the record's header, as the cuts did."""
    place = MemoryStorage()
    with opened(place) as log:
        put(log, "a")
        active = log._core.segments.active
        whole = footer_of(active, 1)
        body = encode_footer_body(active.header, 1, active.index(1 << 20))

    assert len(whole) == RECORD_HEADER_BYTES + len(body) + TRAILER_BYTES
    for spoil in KINDS:
        spoilt = spoil(whole)
        assert len(spoilt) == len(whole)
        assert spoilt != whole
        assert spoilt[:RECORD_HEADER_BYTES] == whole[:RECORD_HEADER_BYTES]


def killed_behind_a_footer() -> CrashStorage:
    """Write a footer and die before it is synced; give the disk as others see it."""
    disk = CrashStorage()
    log = open_log(disk, segment_bytes=SEGMENT_BYTES).log
    put(log, "a", b"x" * 300)
    # the head says first that a segment is being made
    disk.kill_after(disk.mutation_count + 2)
    with pytest.raises(Crashed):
        put(log, "b", b"x" * 300)
    (segment,) = log._core.segments
    left = disk.kill()
    size = segment.file.size()
    assert left.directory("log").open(segment.name).size() == size
    return left


def test_footer_that_another_wrote_is_synced_before_it_is_stated() -> None:
    """A killed writer may have left it in memory alone, and a power cut takes it."""
    disk = killed_behind_a_footer()
    with opened(disk, seed=2, segment_bytes=SEGMENT_BYTES) as log:
        put(log, "c")
        assert len(log._core.segments) == 2

    for cut in disk.disks(limit=60):
        with opened(cut.mount(), seed=3, segment_bytes=SEGMENT_BYTES) as again:
            assert (found(again), again.damages) == ([], [])


def test_footer_of_another_whose_sync_failed_is_taken_back() -> None:
    """The next one must not find it whole in memory, and build on it."""
    disk = killed_behind_a_footer()
    disk.fail("sync")
    with pytest.raises(StorageError):
        open_log(disk, seed=2, segment_bytes=SEGMENT_BYTES)
    with opened(disk.process(), seed=3, segment_bytes=SEGMENT_BYTES) as log:
        put(log, "c")
        first = next(iter(log._core.segments))
        assert first.footer is None

    for cut in disk.disks(limit=60):
        with opened(cut.mount(), seed=4, segment_bytes=SEGMENT_BYTES) as again:
            assert (found(again), again.damages) == ([], [])
