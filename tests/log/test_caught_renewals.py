"""Names that a sync of the directory has missed: no later sync makes them last."""

from __future__ import annotations

import errno
from collections.abc import Callable
from contextlib import suppress
from itertools import count

import pytest

from objstore_log._head import HEAD_NAME
from objstore_log._log import Log
from objstore_log._segment import segment_name
from objstore_log.errors import StorageError
from objstore_log.testing import Crashed, CrashStorage
from objstore_log.testing.crash_storage import CrashFile
from objstore_log.testing.crash_trace import NameChange

from .harness import OpenedLog, open_log, put
from .test_caught_syncs import SEGMENT_BYTES, killed_while_rolling, names

pytestmark = pytest.mark.usefixtures("single_threaded")

ROOT_SYNCS = 1
"""The harness syncs the directory above the log's."""
BIG = b"x" * 300
SECOND = {segment_name(2, 1), segment_name(2, 2)}


def opened_by(disk: CrashStorage, seed: int) -> OpenedLog:
    """Open the log as one more process."""
    return open_log(disk, seed=seed, segment_bytes=SEGMENT_BYTES)


def names_the_second(disk: CrashStorage) -> bool:
    """Say whether the last that happened was that the second segment got its name."""
    last = disk.trace[-1]
    return isinstance(last, NameChange) and last.name in SECOND


def killed_while_copying(kill_at: int) -> CrashStorage | None:
    """Kill a successor that copies a batch into a second segment; `None`: too late."""
    disk = CrashStorage()
    one = opened_by(disk, 1)
    # published by nobody: who comes next does not know who has written it
    disk.fail("write", nth=2)
    put(one.log, "a", b"")
    disk.heal()
    one.abandon()
    other = disk.kill()
    other.kill_before(disk.mutation_count + kill_at)
    try:
        opened_by(other, 2).abandon()
    except Crashed:
        return other
    return None


def killed_behind_the_name(
    kill: Callable[[int], CrashStorage | None],
) -> CrashStorage:
    """Kill a process that has just named its second segment, and told nobody."""
    for kill_at in count(1):
        disk = kill(kill_at)
        assert disk is not None, "it was never named"
        if names_the_second(disk):
            return disk
    raise AssertionError


MAKERS = pytest.mark.parametrize(
    "kill", [killed_while_rolling, killed_while_copying], ids=["empty", "copied"]
)


def check_later(disk: CrashStorage, *wanted: str) -> None:
    """All of it is there beside the living, and whatever a power cut leaves."""
    for place in (disk, *(cut.mount() for cut in disk.disks(limit=20))):
        again = opened_by(place.process(), 5)
        assert again.log.damages == again.log._core.lost == []
        assert names(again.log) == list(wanted), place
        again.abandon()


def end_of(log: Log) -> int:
    """Give the number of the segment that is appended to."""
    return log._core.segments.active.number


@MAKERS
@pytest.mark.parametrize("nth", [1, 2])
def test_successor_of_a_refused_opener_builds_on_no_lost_name(
    nth: int, kill: Callable[[int], CrashStorage | None]
) -> None:
    """That its sync succeeds says nothing: the refused one has taken the error."""
    disk = killed_behind_the_name(kill)
    refused = disk.kill()
    refused.fail("sync_directory", nth=ROOT_SYNCS + nth)
    with pytest.raises(OSError, match="Input/output"):
        opened_by(refused, 9)
    disk.heal()
    other = opened_by(refused.kill(), 10)
    put(other.log, "z", b"")
    other.abandon()
    check_later(disk.kill(), "a", "z")


@MAKERS
def test_killed_successors_leave_no_lost_name_to_build_on(
    kill: Callable[[int], CrashStorage | None],
) -> None:
    """Wherever one is killed while it gives the name to a copy, the next does so."""
    kill_at = 0
    while True:
        kill_at += 1
        disk = killed_behind_the_name(kill).kill()
        disk.kill_before(disk.mutation_count + kill_at)
        try:
            opened_by(disk, 9).abandon()
        except Crashed:
            other = opened_by(disk.kill(), 10)
            put(other.log, "z", b"")
            other.abandon()
            check_later(disk.kill(), "a", "z")
        else:
            break
    assert kill_at > 10, "the opening was not cut at every step"


def unpublished() -> tuple[CrashStorage, OpenedLog]:
    """Give a process that made its second segment, and could not say so."""
    disk = CrashStorage()
    one = opened_by(disk, 1)
    put(one.log, "a", BIG)
    # the footer, the state of rolling, the new segment, and its publication
    disk.fail("write", nth=4)
    with pytest.raises(StorageError):
        put(one.log, "b", BIG)
    disk.heal()
    assert end_of(one.log) == 2
    return disk, one


def test_maker_goes_on_in_a_segment_that_it_could_not_publish() -> None:
    """It knows that the name lasts, and refused heads do not leave a segment each."""
    disk, one = unpublished()
    put(one.log, "b", BIG)
    assert end_of(one.log) == 2
    one.abandon()
    check_later(disk.kill(), "a", "b")


@pytest.mark.parametrize("kill_at", range(1, 12))
def test_maker_adds_nothing_to_a_file_whose_name_went_to_a_copy(kill_at: int) -> None:
    """Who gave it to the copy may have been killed before it could tell."""
    disk, one = unpublished()
    other = disk.process()
    other.kill_before(disk.mutation_count + kill_at)
    with pytest.raises(Crashed):
        opened_by(other, 9)
    put(one.log, "b", b"")
    put(one.log, "c", b"")
    one.abandon()
    check_later(disk.kill(), "a", "b", "c")


@pytest.mark.parametrize("batches", [0, 1, 2])
def test_lost_head_costs_nothing_beside_its_writer(batches: int) -> None:
    """Who has the active segment open follows when another gives its name to a copy."""
    disk = CrashStorage()
    one = opened_by(disk, 1)
    put(one.log, "a", BIG)
    wanted = ["a", *"bc"[:batches]]
    for name in wanted[1:]:
        put(one.log, name, b"")
    head = disk.directory("log").open(HEAD_NAME)
    head.write_at(0, [bytes(256)])
    head.sync()
    other = opened_by(disk.process(), 2)
    for log, name in ((one.log, "x"), (other.log, "y"), (one.log, "z")):
        put(log, name, b"")
        wanted.append(name)
    assert names(one.log) == names(other.log) == wanted
    one.abandon()
    other.abandon()
    check_later(disk.kill(), *wanted)


@MAKERS
def test_segment_that_cannot_be_read_once_keeps_its_bytes(
    kill: Callable[[int], CrashStorage | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy would have zeros for good where the disk gives nothing this once."""
    read_at = CrashFile.read_at
    for nth in count(1):
        disk = killed_behind_the_name(kill).kill()
        reads = count(1)

        def refused(file: CrashFile, start: int, length: int) -> bytes:
            if file.name in SECOND and next(reads) == nth:  # noqa: B023 - of this turn
                raise OSError(errno.EIO, "bad sector")
            return read_at(file, start, length)

        with monkeypatch.context() as patched, suppress(OSError):
            patched.setattr(CrashFile, "read_at", refused)
            opened_by(disk, 9).abandon()
        other = opened_by(disk.kill(), 10)
        put(other.log, "z", b"")
        assert other.log.scrub(None).damages == []
        check_later(disk, "a", "z")
        other.abandon()
        if next(reads) <= nth:
            assert nth > 1, "it was never read"
            break
