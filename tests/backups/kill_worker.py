"""Kills a backup or a restoring before each change of names, one after the other.

Run as a program with what to do, where, and every how many steps; every kill is a
SIGKILL in a forked child.
It ends with 0 when behind every kill everything that was there is whole.
"""

from __future__ import annotations

import os
import resource
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.backups.harness_backups import generations, state_at

import objstore
from objstore import StorageError, blocking

CHANGES = {
    *("os.rename", "os.link", "os.mkdir", "os.remove", "os.rmdir", "os.truncate"),
    "shutil.rmtree",
}
KILLS_MAX = 1_000


def killed_at(step: int, work: Callable[[], object]) -> bool:
    """Do it in a child that is killed before its change number `step`."""
    child = os.fork()
    if not child:
        _kill_at(step)
        work()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert status in {0, signal.SIGKILL}, status
    return status != 0


def _kill_at(step: int) -> None:
    seen = 0

    def look(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal seen
        is_creation = event == "open" and bool(int(str(arguments[2])) & os.O_CREAT)
        if event in CHANGES or is_creation:
            seen += 1
            if seen > step:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(look)


def bytes_of(path: Path) -> dict[str, bytes]:
    """Give every segment and fact of a generation."""
    return {
        str(file): file.read_bytes()
        for file in path.rglob("*")
        if file.suffix == ".seg" or file.name in {"BACKUP", "STORE", "head"}
    }


def names_in(path: Path) -> list[str]:
    """Give what is in a directory."""
    return sorted(entry.name for entry in path.iterdir())


def back_up(store: Path, target: Path, keep: int | None = None) -> None:
    """Open the store, back it up, close it."""
    with objstore.open(store, create=False, retention_interval=None) as opened:
        opened.backup(target, keep=keep)


def kill_backups(store: Path, target: Path, stride: int) -> int:
    """Kill a backup at every step; the generation before it stays as it was."""
    back_up(store, target)
    (first,) = generations(target)
    before = bytes_of(first)
    step = 0
    while killed_at(step, lambda: back_up(store, target)):
        step += stride
        assert step < KILLS_MAX
        assert before == bytes_of(first), step
        for later in generations(target)[1:]:
            # it has its name, so it is whole; the next kill finds none again
            assert state_at(store) == state_at(later), step
            shutil.rmtree(later)
    back_up(store, target)
    assert len(generations(target)) == 3
    assert state_at(store) == state_at(generations(target)[-1])
    return step


def kill_prunes(store: Path, target: Path, stride: int) -> int:
    """Kill the removal of old generations at every step."""
    whole = state_at(store)
    step = 0
    while True:
        while len(generations(target)) < 3:
            back_up(store, target)
        if not killed_at(step, lambda: back_up(store, target, keep=1)):
            assert len(generations(target)) == 1
            return step
        step += stride
        assert step < KILLS_MAX
        assert all(whole == state_at(path) for path in generations(target)), step


def kill_restores(store: Path, target: Path, stride: int) -> int:
    """Kill a restoring at every step: there is a whole store or none."""
    back_up(store, target)
    whole = state_at(store)
    new = target.with_name("new")
    step = 0
    while killed_at(step, lambda: blocking.restore_backup(target, new)):
        step += stride
        assert step < KILLS_MAX
        if new.exists():
            assert whole == state_at(new)
            shutil.rmtree(new)
    assert whole == state_at(new)
    leftovers = [path.name for path in target.parent.iterdir() if "rest" in path.name]
    assert not leftovers, leftovers
    return step


def fill_disk(store: Path, target: Path, stride: int) -> int:
    """Make a backup where no file can have more than 30,000 bytes."""
    back_up(store, target)
    with objstore.open(store, create=False, retention_interval=None) as opened:
        opened.object_store("b").put("new", bytes(60_000))
    (first,) = generations(target)
    before = bytes_of(first)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with objstore.open(store, create=False, retention_interval=None) as opened:
        # opens the bucket, too
        assert opened.object_store("b").exists("new")
        resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, hard))
        with pytest.raises(StorageError, match="File too large"):
            opened.backup(target)
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert names_in(target) == [first.name, "BACKUPS", "BACKUPS.lock"]
        assert before == bytes_of(first)
        opened.backup(target)
    assert state_at(store) == state_at(generations(target)[-1])
    return stride


WORK = {
    work.__name__: work
    for work in (kill_backups, kill_prunes, kill_restores, fill_disk)
}

if __name__ == "__main__":
    steps = WORK[sys.argv[1]](Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]))
    sys.stdout.write(str(steps))
