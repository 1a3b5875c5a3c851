"""Crashes of a log: every point, many disks, with no, an old and the newest catalog.

A workload runs once on the simulated disk; what it was told is noted with the number of
mutations at that moment. Then the power is cut after each mutation, the disks that may
be left are opened again, and what they hold is compared with what was told.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import pytest

from objstore_log._core import SyncMode
from objstore_log._log import Log
from objstore_log._record import Kind, Record
from objstore_log.testing import Crashed, CrashStorage, Disk
from objstore_log.testing.crash_disks import Rules

from .crash_run import (
    SEGMENT_BYTES,
    WORKLOADS,
    Content,
    Run,
    Told,
    Workload,
    abort,
    chunks,
    killed,
    poisoned,
    rolling,
    several,
    small,
    torn,
    unnamed,
)
from .harness import FakeClock, current, everything, meta, open_log, put

pytestmark = pytest.mark.usefixtures("single_threaded")


def _content(record: Record) -> Content:
    return record.kind, record.key, bytes(record.body), record.nuid


class Expected(NamedTuple):
    """What a disk of one point must and may hold."""

    acked: list[Told]
    begun: list[Told]
    seen: int


def _expected(run: Run, point: int) -> Expected:
    begun = [told for told in run.told if told.begun < point]
    acked = [told for told in run.told if told.ended <= point]
    seen = max((last for when, last in run.seen if when <= point), default=0)
    return Expected(acked, begun, seen)


def _check_records(records: list[Record], run: Run, expected: Expected) -> None:
    """Every acknowledged append is there, the others whole or not, in order."""
    left = records
    missing: Told | None = None
    for told in expected.begun:
        count = len(told.content)
        if [_content(record) for record in left[:count]] == told.content:
            assert missing is None or missing.first_sequence is None, (missing, told)
            if told.first_sequence is not None:
                assert left[0].sequence == told.first_sequence
            left = left[count:]
        else:
            missing = told if told.first_sequence is not None else missing
            is_promised = run.sync == "always" and told.is_visible
            assert not (told in expected.acked and is_promised and _was_acked(told))
    assert not left, left
    times = [record.time_ns for record in records]
    assert times == sorted(times)


def _was_acked(told: Told) -> bool:
    return told.first_sequence is not None


def _check_catalog(log: Log, records: list[Record]) -> None:
    """It says what the records say, also when it is made anew."""
    newest = {
        record.subject: record.sequence
        for record in records
        if record.kind == Kind.META
    }
    assert current(log) == newest
    for name, sequence in newest.items():
        assert log.last(name)[0] == sequence
    rows = list(log.catalog.rows())
    log.rebuild_catalog("a test")
    assert list(log.catalog.rows()) == rows


def _check(
    storage: CrashStorage, run: Run, expected: Expected, image: bytes | None
) -> None:
    """Open what a crash left and compare it with what was told."""
    one = open_log(
        storage,
        seed=99,
        sync=run.sync,
        segment_bytes=SEGMENT_BYTES,
        clock=FakeClock(run.clock.wall_ns),
        image=image,
    )
    try:
        records = everything(one.log)
        _check_records(records, run, expected)
        assert one.log.damages == []
        _check_catalog(one.log, records)
        fresh = put(one.log, "fresh")
        assert fresh.first_sequence > max(
            [expected.seen, *(record.sequence for record in records)]
        )
        after = everything(one.log)
        assert after[:-1] == records
        assert after[-1].sequence == fresh.first_sequence
    finally:
        one.abandon()


def _images(run: Run, point: int) -> Iterator[bytes | None]:
    yield None
    there = [image for image in run.images if image.point <= point]
    if there:
        yield there[-1].data
    if len(there) > 1:
        yield there[0].data


@dataclass
class Count:
    """How much a campaign looked at."""

    disks: set[bytes] = field(default_factory=set[bytes])
    opened: int = 0


def _crash_everywhere(
    run: Run, count: Count, *, limit: int, rules: Rules = "posix", seed: int = 0
) -> None:
    done: set[tuple[bytes, int, int]] = set()
    for point in range(run.storage.mutation_count + 1):
        expected = _expected(run, point)
        for disk in run.storage.disks(point, limit=limit, rules=rules, seed=seed):
            count.disks.add(disk.digest)
            for number, image in enumerate(_images(run, point)):
                key = disk.digest, len(expected.acked), number
                if key in done:
                    continue
                done.add(key)
                count.opened += 1
                try:
                    _check(disk.mount(), run, expected, image)
                except BaseException as error:
                    error.add_note(f"{disk!r}, catalog {number}, seed {seed}")
                    raise


def _campaign(
    workload: Workload,
    sync: SyncMode,
    *,
    limit: int,
    rules: Rules = "posix",
    seed: int = 0,
) -> Count:
    run = Run(CrashStorage(), sync)
    workload(run)
    run.one.abandon()
    count = Count()
    _crash_everywhere(run, count, limit=limit, rules=rules, seed=seed)
    return count


def _recover_and_crash(
    disk: Disk, run: Run, expected: Expected, count: Count, limit: int
) -> None:
    """Cut the power while what a first cut left is being opened."""
    storage = disk.mount()
    one = open_log(
        storage, seed=98, sync=run.sync, segment_bytes=SEGMENT_BYTES, clock=run.clock
    )
    shown = everything(one.log)
    one.abandon()
    last = storage.mutation_count
    for point in range(last + 1):
        for again in storage.disks(point, limit=limit):
            count.disks.add(again.digest)
            count.opened += 1
            mounted = again.mount()
            try:
                _check(mounted, run, expected, None)
                if point == last and run.sync == "always":
                    _check_kept(again.mount(), shown)
            except BaseException as error:
                error.add_note(f"{disk!r}, then {again!r}")
                raise


def _check_kept(storage: CrashStorage, shown: list[Record]) -> None:
    """What a recovered log has shown is there after the next crash too."""
    one = open_log(storage, seed=97, segment_bytes=SEGMENT_BYTES)
    try:
        assert everything(one.log)[: len(shown)] == shown
    finally:
        one.abandon()


def _kill_and_go_on(
    workload: Workload, sync: SyncMode, kill_at: int, count: Count, limit: int
) -> bool:
    """Kill the process at a mutation, go on in another one, then cut the power."""
    disk = CrashStorage()
    run = Run(disk, sync)
    disk.kill_before(disk.mutation_count + kill_at)
    try:
        workload(run)
    except Crashed:
        pass
    else:
        return False
    run.one.abandon()
    run.storage = disk.kill()
    run.open()
    kept = everything(run.log)
    _check_killed(kept, run)
    run.append([meta("z", b"goes on")])
    run.append([meta("z", b"and on" * 90)])
    run.one.abandon()
    for cut in run.storage.disks(limit=limit, seed=kill_at):
        count.disks.add(cut.digest)
        count.opened += 1
        again = open_log(cut.mount(), seed=97, sync=sync, segment_bytes=SEGMENT_BYTES)
        records = everything(again.log)
        if sync == "always":
            assert records[: len(kept)] == kept, cut
            assert [record.key for record in records[len(kept) :]] == [b"z", b"z"]
        fresh = put(again.log, "fresh").first_sequence
        assert fresh > max(last for _, last in run.seen), cut
        assert again.log.damages == []
        again.abandon()
    return True


def _check_killed(kept: list[Record], run: Run) -> None:
    """A kill alone loses nothing that was told of, synced or not."""
    _check_records(kept, run, Expected(run.told, run.told, 0))
    places = {record.sequence: record for record in kept}
    for told in run.told:
        for number, content in enumerate(told.content):
            if told.first_sequence is not None:
                assert _content(places[told.first_sequence + number]) == content


def _kill_everywhere(workload: Workload, sync: SyncMode, limit: int) -> Count:
    """Kill before every mutation behind the opening, each time from the start."""
    count = Count()
    kill_at = 1
    while _kill_and_go_on(workload, sync, kill_at, count, limit):
        kill_at += 1
    # an append alone is a write, a sync and a publication
    assert kill_at > 6, "the workload was never killed in the middle"
    return count


def _twice(workload: Workload, sync: SyncMode, *, limit: int, step: int) -> Count:
    run = Run(CrashStorage(), sync)
    workload(run)
    run.one.abandon()
    count = Count()
    done: set[tuple[bytes, int]] = set()
    for point in range(0, run.storage.mutation_count + 1, step):
        expected = _expected(run, point)
        for disk in run.storage.disks(point, limit=limit, seed=point):
            key = disk.digest, len(expected.acked)
            if key not in done:
                done.add(key)
                _recover_and_crash(disk, run, expected, count, limit)
    return count


def _say(capsys: pytest.CaptureFixture[str], count: Count) -> None:
    assert count.disks
    with capsys.disabled():
        sys.stdout.write(f" {len(count.disks)} disks, {count.opened} openings")


@pytest.mark.parametrize("sync", ["always", "never"])
@pytest.mark.parametrize("workload", WORKLOADS)
def test_crash_loses_nothing_that_was_acknowledged(
    workload: Workload, sync: SyncMode, capsys: pytest.CaptureFixture[str]
) -> None:
    """Cut anywhere, the log has what was promised, whole batches, a prefix."""
    _say(capsys, _campaign(workload, sync, limit=6))


@pytest.mark.parametrize("sync", ["always", "never"])
@pytest.mark.parametrize("workload", [chunks, killed, poisoned, torn, unnamed])
def test_crash_of_a_recovery_loses_nothing(
    workload: Workload, sync: SyncMode, capsys: pytest.CaptureFixture[str]
) -> None:
    """Cut again while the log is opened, it still has what was promised."""
    _say(capsys, _twice(workload, sync, limit=3, step=11))


@pytest.mark.parametrize("sync", ["always", "never"])
@pytest.mark.parametrize("workload", [small, rolling, chunks, torn])
def test_kill_and_a_later_crash_lose_nothing(
    workload: Workload, sync: SyncMode, capsys: pytest.CaptureFixture[str]
) -> None:
    """A successor makes durable what the killed process had not yet."""
    _say(capsys, _kill_everywhere(workload, sync, limit=5))


@pytest.mark.slow
@pytest.mark.parametrize("sync", ["always", "never"])
@pytest.mark.parametrize("workload", [small, several, rolling, chunks, abort, torn])
def test_kill_and_a_later_crash_campaign(
    workload: Workload, sync: SyncMode, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same with many more disks."""
    _say(capsys, _kill_everywhere(workload, sync, limit=15))


@pytest.mark.slow
@pytest.mark.parametrize("rules", ["posix", "ext4"])
@pytest.mark.parametrize("sync", ["always", "never"])
@pytest.mark.parametrize("workload", WORKLOADS)
def test_crash_campaign(
    workload: Workload,
    sync: SyncMode,
    rules: Rules,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The same with many more disks, and with the promises of a journal."""
    _say(capsys, _campaign(workload, sync, limit=25, rules=rules, seed=1))


@pytest.mark.slow
@pytest.mark.parametrize("sync", ["always", "never"])
@pytest.mark.parametrize("workload", WORKLOADS)
def test_crash_of_a_recovery_campaign(
    workload: Workload, sync: SyncMode, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same for crashes of recoveries."""
    _say(capsys, _twice(workload, sync, limit=4, step=4))
