"""Ends of a log that another process left, and what is woken by what is added."""

from __future__ import annotations

import time

import pytest

from objstore_log._core import SyncMode
from objstore_log._log import Log
from objstore_log._memory_storage import MemoryStorage
from objstore_log._record import Kind
from objstore_log.errors import CorruptionError
from objstore_log.testing import CrashStorage
from objstore_log.testing.crash_trace import Operation, Sync

from .harness import EVERYTHING, chunk, everything, open_log, put
from .test_log_space import Wanted

SEGMENT_BYTES = 900
WAIT_S = 3.0


def names(log: Log) -> list[str]:
    """Give the keys of all metas in order."""
    return [record.key.decode() for record in everything(log) if record.key]


@pytest.mark.usefixtures("single_threaded")
def test_batch_that_could_not_be_published_is_not_written_over() -> None:
    """The next writer looks behind the published end, for what was acknowledged."""
    disk = CrashStorage()
    one = open_log(disk)
    other = open_log(disk.process(), seed=2)
    put(one.log, "a")
    put(other.log, "b")
    disk.fail("write", nth=2)
    assert put(one.log, "c").first_sequence == 3
    disk.heal()
    put(other.log, "d")
    put(one.log, "e")
    assert names(one.log) == names(other.log) == list("abcde")
    for log in (one, other):
        log.abandon()


@pytest.mark.parametrize("sync", ["always", "never"])
def test_batch_that_could_not_be_published_is_published_later(sync: SyncMode) -> None:
    """Others see it once the disk takes writes again, also when nobody commits."""
    disk = CrashStorage()
    one = open_log(disk, sync=sync)
    put(one.log, "a")
    other = open_log(disk.process(), seed=2, sync=sync)
    disk.fail("write", nth=2, sticky=True)
    put(one.log, "b")
    assert names(other.log) == ["a"]
    disk.heal()
    other.log.wait(1, timeout_s=WAIT_S)
    assert names(other.log) == ["a", "b"]
    one.close()
    other.close()


@pytest.mark.usefixtures("single_threaded")
def test_void_bytes_stay_void_when_the_next_segment_goes() -> None:
    """A batch behind a lost one counts at no later time, nor is the lost one damage."""
    disk = CrashStorage()
    one = open_log(disk)
    put(one.log, "a")
    for letter in (b"x", b"y"):
        one.log.append([chunk(letter * 100)], is_visible=False)
    one.abandon()
    kept = [cut for cut in disk.disks(limit=400) if has_only_the_last(cut.files())]
    assert kept, "no disk has lost the batch in the middle alone"
    for cut in kept:
        place = cut.mount()
        found = open_log(place, seed=2, segment_bytes=SEGMENT_BYTES)
        for number in range(4):
            put(found.log, "z", b"%d" % number * 800)
        before = found.log.segment_count
        found.log.reclaim(Wanted(metas={1}))
        assert found.log.segment_count < before
        found.abandon()
        again = open_log(place, seed=3, segment_bytes=SEGMENT_BYTES)
        kinds = {record.kind for record in everything(again.log)}
        assert kinds == {Kind.META}
        assert again.log.damages == []
        assert again.log.scrub(None).damages == []
        again.abandon()


def has_only_the_last(files: dict[str, bytes]) -> bool:
    """Say whether the second of three batches is lost and the third is there."""
    data = b"".join(data for name, data in files.items() if name.endswith(".seg"))
    return b"x" * 100 not in data and b"y" * 100 in data


def test_append_between_look_and_sleep_wakes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A watcher that has just found nothing new does not sleep over it."""
    one = open_log(MemoryStorage())
    look = Log.visible_sequence

    def overtaken(log: Log) -> int:
        monkeypatch.setattr(Log, "visible_sequence", look)
        seen = log.visible_sequence
        put(log, "a")
        return seen

    monkeypatch.setattr(Log, "visible_sequence", property(overtaken))
    started = time.monotonic()
    assert one.log.wait(0, timeout_s=WAIT_S) == 1
    assert time.monotonic() - started < WAIT_S
    one.close()


@pytest.mark.usefixtures("single_threaded")
def test_lost_batch_ends_the_log_and_is_no_damage() -> None:
    """What was never synced was never durable, whatever stands behind it."""
    disk = CrashStorage()
    one = open_log(disk, sync="never")
    put(one.log, "a")
    one.log._committer.sync()
    for name in "bcd":
        put(one.log, name)
    one.abandon()
    found: set[str] = set()
    for cut in disk.disks(limit=400):
        again = open_log(cut.mount(), seed=2)
        assert again.log.damages == [], cut
        found.add("".join(names(again.log)))
        again.abandon()
    assert found == {"a", "ab", "abc", "abcd"}


@pytest.mark.usefixtures("single_threaded")
def test_proof_of_the_last_batch_is_synced() -> None:
    """What says that a batch was durable is as durable as the batch."""
    disk = CrashStorage()
    one = open_log(disk)
    put(one.log, "a")
    one.log._committer.close_batches(lambda: True)
    before = disk.mutation_count
    one.close()
    assert disk.mutation_count <= before + 1, "closing has nothing left to prove"
    (last, *_) = [item for item in reversed(disk.trace[:before]) if is_of_segment(item)]
    assert isinstance(last, Sync)


def is_of_segment(item: Operation) -> bool:
    """Say whether an operation is of a segment's bytes."""
    return item.name.endswith(".seg")


@pytest.mark.usefixtures("single_threaded")
def test_file_that_ends_too_early_is_told_of_wherever_it_ends() -> None:
    """Also between two batches, where nothing that is left looks damaged."""
    place = MemoryStorage()
    one = open_log(place)
    ends: list[int] = []
    for name in "abc":
        put(one.log, name)
        ends.append(one.log.progress[0].position)
    (name,) = [name for name in one.log._core.storage.names() if name.endswith(".seg")]
    one.close()
    directory = place.directory("log")
    data = directory.open(name).read_at(0, ends[0])
    directory.remove(name)
    directory.open(name, create=True).write_at(0, [data])

    again = open_log(place, seed=2)
    assert again.log.read_run(1, 1)[0].key == b"a"
    assert [item.damage.position for item in again.log.damages] == [ends[0]]
    with pytest.raises(CorruptionError):
        again.log.feed(1, 10, EVERYTHING)
    assert put(again.log, "d").first_sequence > 3
    again.close()
