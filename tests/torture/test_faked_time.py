"""The system's own wall clock is set, under a process and between two of them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

LIBRARY = next(
    (path for path in Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")), None
)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(LIBRARY is None, reason="libfaketime not found; apt: faketime"),
]

INSIDE = """
import pathlib, sys, time, objstore

def set_clock(offset):
    pathlib.Path(sys.argv[2]).write_text(offset)

true_s = time.time()
with objstore.open(sys.argv[1], retention_interval=None) as store:
    bucket = store.object_store("b", create=True)
    for number, offset in enumerate(["+0", "+30d", "-30d", "+2h", "-2h", "+400d"]):
        set_clock(offset)
        bucket.put(f"mortal/{number}", b"1", ttl=86_400)
        bucket.put("same", str(number).encode())
        report = store.run_retention()
        assert (report.expired, report.removed) == (0, 0), report
        if offset == "+30d":
            assert time.time() > true_s + 29 * 86_400, "the clock is not faked"
            assert not bucket.exists("mortal/0")
    set_clock("+0")
    assert len(bucket.list("mortal/")) == 6
    assert bucket.get("same") == b"5"
    with bucket.watch(start="all") as watch:
        seen = [next(watch) for _ in range(12)]
    times = [change.mtime for change in seen]
    assert times == sorted(times)
"""
BETWEEN = """
import sys, objstore

with objstore.open(sys.argv[1], retention_interval=None) as store:
    bucket = store.object_store("b", create=True)
    newest = max((info.mtime for info in bucket.list()), default=None)
    info = bucket.put(f"put/{sys.argv[3]}", sys.argv[3].encode())
    assert newest is None or info.mtime >= newest
    for old in bucket.list("put/"):
        assert bucket.get(old.name) == old.name[4:].encode()
    assert store.verify().ok
"""


def run_faked(program: str, place: Path, offset: str, number: int = 0) -> None:
    """Run a program whose wall clock is set by a file, the steady one is not."""
    control = place.with_name("clock")
    control.write_text(offset)
    fake = {
        "LD_PRELOAD": str(LIBRARY),
        "FAKETIME_TIMESTAMP_FILE": str(control),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "NO_FAKE_STAT": "1",
    }
    command = [sys.executable, "-c", program, str(place), str(control), str(number)]
    done = subprocess.run(
        command,
        env=os.environ | fake,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_clock_that_is_set_under_a_process_purges_nothing(tmp_path: Path) -> None:
    """It hides, and shows again; times of changes never go back."""
    run_faked(INSIDE, tmp_path / "store", "+0")


def test_clock_that_is_set_between_processes_loses_nothing(tmp_path: Path) -> None:
    """Whatever the clock of the next one says, it goes on behind the last change."""
    for number, offset in enumerate(["+0", "-400d", "+30d", "-1h", "+0"]):
        run_faked(BETWEEN, tmp_path / "store", offset, number)
