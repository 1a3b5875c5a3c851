"""A power cut takes the head, which is never synced: the log alone must say enough."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

import objstore
from objstore.blocking import Store
from objstore_log import Log

KILLED = """
import os, sys, objstore
from objstore_log import _commit_loop
# a slow machine must not prove the last batch before the process is killed
_commit_loop.IDLE_COMMIT_S = 3600
store = objstore.open(sys.argv[1], retention_interval=None)
bucket = store.object_store("b")
{}
os._exit(0)
"""
FAILED_LARGE_PUT = """
def broken():
    for _ in range(9):
        yield b"x" * 600_000
    raise ZeroDivisionError
bucket.put("first", b"1")
try:
    bucket.put("large", broken())
except ZeroDivisionError:
    bucket.put("acknowledged", b"2")
    assert store.run_retention().bytes_reclaimed > 1_000_000
"""
DELETED = """
bucket.put("large", b"x" * 64_000)
bucket.delete("large")
bucket.put("acknowledged", b"2")
assert store.run_retention().bytes_reclaimed > 50_000
"""
FIVE_PUTS = """
for number in range(5):
    print(bucket.put(str(number), b"x").seq, os.path.getsize(sys.argv[2]))
sys.stdout.flush()
"""
BYSTANDER = """
import sys, objstore
store = objstore.open(sys.argv[1], retention_interval=None)
print("open", flush=True)
sys.stdin.readline()
"""


def made(folder: Path, **config: object) -> Path:
    """Make a store with an empty bucket `b`."""
    with opened(folder) as store:
        store.create_object_store("b", **config)
    return folder / "store"


def opened(folder: Path) -> Store:
    """Open the store."""
    return objstore.open(folder / "store", retention_interval=None)


def kill_behind(program: str, *arguments: Path) -> str:
    """Run a program in a process that ends without closing; give what it said."""
    call = [sys.executable, "-c", KILLED.format(program), *map(str, arguments)]
    done = subprocess.run(call, check=True, capture_output=True, text=True)
    return done.stdout


def lose_heads(place: Path) -> None:
    """Leave of the heads and catalogs what a power cut may leave of them."""
    for head in place.rglob("head"):
        head.write_bytes(b"")
    for catalog in place.rglob("catalog*"):
        catalog.unlink()


@pytest.mark.parametrize(
    ("program", "sync"), [(FAILED_LARGE_PUT, "always"), (DELETED, 3_600.0)]
)
def test_nothing_behind_a_punched_chunk_is_lost(
    tmp_path: Path, program: str, sync: str | float
) -> None:
    """A hole that retention made is never taken for the torn end of the log."""
    kill_behind(program, made(tmp_path, sync=sync))
    lose_heads(tmp_path / "store")
    with opened(tmp_path) as store:
        names = [info.name for info in store.object_store("b").list()]
        assert store.object_store("b").get("acknowledged") == b"2"

    assert "acknowledged" in names
    assert "large" not in names


@pytest.mark.parametrize("has_bystander", [False, True])
def test_no_sequence_comes_again_beside_a_bystander(
    tmp_path: Path, *, has_bystander: bool
) -> None:
    """That another process has the store open says nothing of a bucket's log."""
    place = made(tmp_path, sync="never")
    segment = max((place / "logs" / "00000001").glob("*.seg"))
    said = kill_behind(FIVE_PUTS, place, segment).split()
    shown, sizes = [int(word) for word in said[::2]], [int(word) for word in said[1::2]]
    os.truncate(segment, sizes[2])
    lose_heads(place)
    call = [sys.executable, "-c", BYSTANDER if has_bystander else "", str(place)]
    with subprocess.Popen(
        call, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as bystander:
        assert bystander.stdout is not None
        bystander.stdout.readline()
        with opened(tmp_path) as store:
            again = store.object_store("b").put("new", b"y").seq
        bystander.communicate(b"\n" if has_bystander else None)

    assert again > shown[-1]


def test_failure_behind_the_commit_is_no_failed_put(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A large put that is committed does not fail for an announcement."""
    with opened(tmp_path) as store:
        bucket = store.create_object_store("b")
        announce = Log.announce_unfinished

        def refused(log: Log, first: int | None) -> None:
            if first is None:
                raise OSError(errno.EIO, "refused")
            announce(log, first)

        monkeypatch.setattr(Log, "announce_unfinished", refused)
        info = bucket.put("large", (b"x" * 600_000 for _ in range(9)))

        assert info.size == 5_400_000
        assert [info.name for info in bucket.list()] == ["large"]
