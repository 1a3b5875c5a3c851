"""Is the machine quiet enough for figures that count?"""

from __future__ import annotations

import os
import time
from pathlib import Path

from benchmarks.figures import Canary, percentile

APPENDS_MIN = 20
APPEND_BYTES = 4096
LASTS_S = 1.0
LOOP_STEPS = 200_000
PRESSURE = Path("/proc/pressure/cpu")


def _waited_s() -> float | None:
    """Read for how long, since the start of the machine, somebody waited."""
    if not PRESSURE.exists():
        return None
    some = PRESSURE.read_text(encoding="ascii").splitlines()[0]
    return int(some.rpartition("total=")[2]) / 1e6


def _loop_s() -> float:
    started = time.perf_counter()
    total = 0
    for step in range(LOOP_STEPS):
        total += step
    return time.perf_counter() - started


def canary(directory: Path, lasts_s: float = LASTS_S) -> Canary:
    """Watch the machine for about a second, or for as long as is said.

    The pressure is that of this second only: the averages that the system gives
    would still hold what a benchmark itself did before.
    """
    data = os.urandom(APPEND_BYTES)
    path = directory / "canary"
    flags = os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_TRUNC
    descriptor = os.open(path, flags)
    taken: list[float] = []
    waited_s, started = _waited_s(), time.perf_counter()
    try:
        while len(taken) < APPENDS_MIN or time.perf_counter() - started < lasts_s:
            at = time.perf_counter()
            os.write(descriptor, data)
            os.fdatasync(descriptor)
            taken.append(time.perf_counter() - at)
        elapsed_s, now_s = time.perf_counter() - started, _waited_s()
    finally:
        os.close(descriptor)
        path.unlink()
    pressure = 0.0
    if waited_s is not None and now_s is not None:
        pressure = (now_s - waited_s) / elapsed_s
    return Canary(percentile(taken, 0.5), percentile(taken, 0.95), pressure, _loop_s())


def quiet_canary(directory: Path, wait_s: float, lasts_s: float = LASTS_S) -> Canary:
    """Wait until the machine is quiet, or for so long; give the last look at it."""
    end = time.monotonic() + wait_s
    while True:
        os.sync()
        seen = canary(directory, lasts_s)
        if seen.is_quiet or time.monotonic() > end:
            return seen
        time.sleep(1.0)
