"""Crashes of a store: every point of many workloads, many disks, any catalog.

What must hold on each of them: every name is exactly old or new, every acknowledged
change is there, no sequence comes again, everything verifies, and the catalogs that
were carried along equal those that are made from the logs alone.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from objstore.blocking import Store
from objstore.errors import PoisonedError, StorageError
from objstore_log.testing import CrashStorage
from objstore_log.testing.crash_disks import Rules
from objstore_log.testing.crash_trace import FaultKind

from .crash_workloads import (
    WORKLOADS,
    Workload,
    put_large,
    reclaim,
    relaxed,
    roll,
)
from .crash_world import START_NS, Campaign, Clock, World, open_store, simulated, sized

SHORT_OPENINGS = 250
"""About so many disks of each workload are opened in the short form, and three at each
point at least."""
LONG_OPENINGS = 500
CHOICES_MAX = 4_000
"""Of one point, in the longest form: hardly any point has more."""


@pytest.fixture(autouse=True)
def small_and_repeatable() -> Iterator[None]:
    """Use small slabs, and no thread beside the test's own."""
    with simulated():
        yield


def _ran(workload: Workload) -> World:
    world = World(CrashStorage())
    workload(world)
    return world


def _report(capsys: pytest.CaptureFixture[str], *campaigns: Campaign) -> None:
    disks = set[bytes]().union(*(campaign.digests for campaign in campaigns))
    opened = sum(campaign.opened for campaign in campaigns)
    with capsys.disabled():
        sys.stdout.write(f" {len(disks)} disks, {opened} openings")


@pytest.mark.parametrize("workload", WORKLOADS)
def test_a_crash_leaves_every_name_old_or_new(
    workload: Workload, capsys: pytest.CaptureFixture[str]
) -> None:
    """Cut anywhere, a store has what was promised and nothing by halves."""
    world = _ran(workload)
    points = world.storage.mutation_count + 1
    campaign = Campaign(max(3, SHORT_OPENINGS // points))

    campaign.cut_everywhere(world)

    assert campaign.digests
    _report(capsys, campaign)


@pytest.mark.slow
@pytest.mark.parametrize("rules", ["posix", "ext4"])
@pytest.mark.parametrize("workload", WORKLOADS)
def test_a_crash_leaves_every_name_old_or_new_on_many_disks(
    workload: Workload, rules: Rules, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same with more of the choices that a disk has."""
    world = _ran(workload)
    points = world.storage.mutation_count + 1
    campaign = Campaign(max(3, LONG_OPENINGS // points), rules=rules, seed=1)

    campaign.cut_everywhere(world)

    assert campaign.digests
    _report(capsys, campaign)


@pytest.mark.torture
@pytest.mark.timeout(0)
@pytest.mark.parametrize("rules", ["posix", "ext4"])
@pytest.mark.parametrize("workload", WORKLOADS)
def test_a_crash_leaves_every_name_old_or_new_whatever_bytes_survive(
    workload: Workload, rules: Rules, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same with every choice that a disk has, and with every catalog."""
    campaign = Campaign(CHOICES_MAX, all_catalogs=True, rules=rules, seed=2)

    campaign.cut_everywhere(_ran(workload))

    assert campaign.digests
    _report(capsys, campaign)


def _recoveries(workload: Workload, every: int, disks: int) -> Iterator[World]:
    """Give worlds that begin with what a crash left of another."""
    before = _ran(workload)
    drawing = Campaign(disks)
    for point in range(10, before.storage.mutation_count + 1, every):
        allowed = before.allowed(point)
        for disk in drawing.drawn(before.storage, point):
            found = World.after_crash(disk.mount(), before, allowed)
            shown = found.told[0].state.get("b")
            if shown is not None and not shown.sealed:
                found.put("fresh", sized(500))
                found.do(Store.run_retention)
            yield found


@pytest.mark.parametrize("workload", [put_large, roll, reclaim, relaxed])
def test_a_crash_in_a_recovery_leaves_what_the_recovery_found(
    workload: Workload, capsys: pytest.CaptureFixture[str]
) -> None:
    """Cut while a store comes back from a cut, nothing changes by that."""
    campaign = Campaign(2)

    for world in _recoveries(workload, every=21, disks=2):
        campaign.cut_everywhere(world)

    _report(capsys, campaign)


@pytest.mark.slow
@pytest.mark.parametrize("workload", WORKLOADS)
def test_a_crash_in_a_recovery_leaves_what_many_recoveries_found(
    workload: Workload, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same from more first cuts, with more second ones."""
    campaign = Campaign(3, seed=2)

    for world in _recoveries(workload, every=16, disks=3):
        campaign.cut_everywhere(world)

    _report(capsys, campaign)


def test_last_bucket_leaves_nothing_behind_a_crash() -> None:
    """Retention removes the files of a deleted bucket although there is no other."""
    disk = CrashStorage()
    store = open_store(disk, Clock(), seed=1)
    store.create_object_store("b")
    disk.fail("remove")
    store.delete_object_store("b")
    left = disk.directory("logs").names()
    again = open_store(disk.kill(), Clock(), seed=2)
    again.run_retention()

    assert ["00000000", "00000001"] == left
    assert ["00000000"] == disk.directory("logs").names()


@pytest.mark.parametrize("is_other", [False, True], ids=["its own", "another's"])
@pytest.mark.parametrize("kind", ["sync", "write"])
def test_retention_takes_nothing_of_a_put_that_failed_and_may_happen(
    kind: FaultKind, is_other: bool
) -> None:
    """Whoever takes over decides that, and the put is whole or did not happen."""
    old, new = sized(2_000), sized(2_500)
    nth, is_put = 1, False
    while not is_put:
        disk = CrashStorage()
        store = open_store(disk, Clock(), seed=1)
        bucket = store.create_object_store("b", chunk_size=300, segment_bytes=1_024)
        other = open_store(disk.process(), Clock(), seed=2)
        bucket.put("a", old)
        disk.fail(kind, nth=nth, written_part=1.0)
        try:
            bucket.put("a", new)
            is_put = True
        except StorageError:
            disk.heal()
            (other if is_other else store).run_retention()
            found = {each.object_store("b").get("a") for each in (store, other)}
            assert found <= {old, new}, f"{kind} {nth}"
            assert other.verify().ok, f"{kind} {nth}"
        nth += 1
    assert nth > 5


def test_seal_whose_sync_failed_does_not_free_the_next_segment() -> None:
    """It may be lost: then only the next segment says where the records end."""
    nth, is_put = 1, False
    while not is_put:
        disk = CrashStorage()
        store = open_store(disk, Clock(), seed=1)
        config = {"chunk_size": 300, "segment_bytes": 1_024, "changes_ttl": 0}
        bucket = store.create_object_store("b", **config)
        bucket.put("a", b"stays")
        disk.fail("sync", nth=nth)
        nth += 1
        try:
            bucket.put("b", sized(2_500))
            is_put = True
        except PoisonedError:
            continue
        except StorageError:
            pass
        disk.heal()
        for size in (2_600, 2_700):
            bucket.put("b", sized(size))
        store.run_retention()
        for cut in disk.disks(limit=30, seed=nth):
            again = open_store(cut.mount(), Clock(START_NS + 10**9), seed=2)
            assert {"a", "b"} == {info.name for info in again.object_store("b").list()}
            assert ([], []) == (again.damaged, again.verify().damaged), cut
    assert nth > 5
