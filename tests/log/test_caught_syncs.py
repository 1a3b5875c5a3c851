"""Names of segments that nobody has made durable yet, and who may build on them."""

from __future__ import annotations

import pytest

from objstore_log._log import Log
from objstore_log.errors import StorageError
from objstore_log.testing import Crashed, CrashStorage

from .harness import everything, open_log, put

pytestmark = pytest.mark.usefixtures("single_threaded")

SEGMENT_BYTES = 600


def names(log: Log) -> list[str]:
    """Give the keys of all metas in order."""
    return [record.key.decode() for record in everything(log) if record.key]


def check_every_disk(disk: CrashStorage, *wanted: str) -> None:
    """Whatever a power cut leaves now has the wanted names."""
    for cut in disk.disks(limit=20):
        again = open_log(cut.mount(), seed=5, segment_bytes=SEGMENT_BYTES)
        found = names(again.log)
        again.abandon()
        assert [name for name in wanted if name not in found] == [], cut


def killed_while_rolling(kill_at: int) -> CrashStorage | None:
    """Kill a process that makes its second segment; `None` when it got through."""
    disk = CrashStorage()
    one = open_log(disk, segment_bytes=SEGMENT_BYTES)
    put(one.log, "a", b"x" * 300)
    disk.kill_before(disk.mutation_count + kill_at)
    try:
        put(one.log, "b", b"x" * 300)
    except Crashed:
        one.abandon()
        return disk
    one.abandon()
    return None


def test_successor_builds_on_no_name_that_a_cut_may_take() -> None:
    """Wherever the maker of a segment was killed, the next append is there to stay."""
    kill_at = 1
    while (disk := killed_while_rolling(kill_at)) is not None:
        other = open_log(disk.kill(), seed=9, segment_bytes=SEGMENT_BYTES)
        # small: a segment of its own would make the name before it durable, too
        put(other.log, "z", b"")
        other.abandon()
        check_every_disk(disk, "a", "z")
        kill_at += 1
    assert kill_at > 10, "the creation was not cut at every step"


def test_name_that_could_not_be_synced_is_not_built_on() -> None:
    """Also when it could not be taken back: no later sync makes it durable."""
    disk = CrashStorage()
    one = open_log(disk, segment_bytes=SEGMENT_BYTES)
    put(one.log, "a", b"x" * 300)
    disk.fail("sync_directory")
    disk.fail("remove", sticky=True)
    with pytest.raises(StorageError):
        put(one.log, "b", b"x" * 300)
    disk.heal()
    put(one.log, "z", b"")
    one.abandon()
    check_every_disk(disk, "a", "z")


class Clock:
    """A steady clock that a test moves."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def monotonic(self) -> float:
        return self.now_s


def test_sync_in_seconds_counts_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is synced before its time, all of it with the first append behind."""
    clock = Clock()
    monkeypatch.setattr("objstore_log._commit_loop.time", clock)
    one = open_log(CrashStorage(), sync=5.0)
    put(one.log, "first")
    synced: list[bool] = []
    for now_s in (1.0, 4.9, 5.1, 6.0, 10.0, 10.2):
        clock.now_s = now_s
        put(one.log, f"at {now_s}")
        written, durable = one.log.progress
        synced.append(written == durable)
    one.abandon()
    assert synced == [False, False, True, False, False, True]
