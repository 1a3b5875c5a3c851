"""Directories of a store whose names one sync has missed are made anew."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import suppress
from itertools import count

import pytest

from objstore.blocking import Store
from objstore_log.testing import Crashed, CrashStorage
from objstore_log.testing.crash_trace import NameChange

from .crash_world import Clock, open_store, simulated

CUTS = 12
MADE = ["logs", "00000000", "00000001"]


@pytest.fixture(autouse=True)
def alone() -> Generator[None]:
    """Open stores on the simulated disk, with no threads of their own."""
    with simulated():
        yield


def use(disk: CrashStorage, seed: int, name: str) -> Store:
    """Open the store and put into its bucket, which is made when it is missing."""
    store = open_store(disk, Clock(), seed=seed)
    if "b" not in store.object_store_names():
        store.create_object_store("b")
    store.object_store("b").put(name, b"content")
    return store


def killed_behind(directory: str) -> CrashStorage:
    """Kill a process that has just made a directory of the store."""
    for kill_at in count(2):
        disk = CrashStorage()
        disk.kill_before(kill_at)
        with suppress(Crashed):
            use(disk, 1, "a")
        last = disk.trace[-1]
        if isinstance(last, NameChange) and last.name == directory:
            return disk.kill()
    raise AssertionError


def check_later(disk: CrashStorage) -> None:
    """What was put behind a refusal is there, whatever a power cut leaves."""
    for cut in disk.disks(limit=CUTS):
        again = open_store(cut.mount(), Clock(), seed=7)
        assert again.object_store("b").get("z") == b"content", cut
        assert again.damaged == [], cut


@pytest.mark.parametrize("made", MADE)
def test_successor_of_a_refused_opener_builds_on_no_lost_directory(made: str) -> None:
    """Who made it was killed, and who came next was refused the sync of its name."""
    disk = killed_behind(made)
    disk.fail("sync_directory")
    with pytest.raises(OSError, match="Input/output"):
        use(disk, 5, "y")
    disk.heal()
    other = disk.kill()
    use(other, 6, "z")
    check_later(other)


@pytest.mark.parametrize("nth", range(1, 7))
def test_refused_sync_of_a_new_store_loses_no_directory(nth: int) -> None:
    """The same process tries again, and its next syncs are a success."""
    disk = CrashStorage()
    disk.fail("sync_directory", nth=nth)
    with pytest.raises(OSError, match="Input/output"):
        use(disk, 5, "y")
    disk.heal()
    use(disk, 6, "z")
    check_later(disk)


def test_successors_that_were_killed_leave_no_lost_directory() -> None:
    """Wherever one is killed while it makes a directory anew, the next does so, too."""
    for kill_at in range(1, 9):
        disk = killed_behind("logs")
        disk.kill_before(disk.mutation_count + kill_at)
        with pytest.raises(Crashed):
            use(disk, 5, "y")
        other = disk.kill()
        use(other, 6, "z")
        check_later(other)
