"""Is the machine quiet enough for figures that count?"""

from __future__ import annotations

import os
import time
from pathlib import Path

from benchmarks.figures import Canary, percentile

APPENDS_MIN = 20
APPEND_BYTES = 4096
LASTS_S = 1.5
LOOP_STEPS = 200_000
PRESSURE, STAT = Path("/proc/pressure/cpu"), Path("/proc/stat")
TICKS = os.sysconf("SC_CLK_TCK")


def _waited_s() -> float:
    """Read for how long, since the start of the machine, somebody waited."""
    if not PRESSURE.exists():
        return 0.0
    some = PRESSURE.read_text(encoding="ascii").splitlines()[0]
    return int(some.rpartition("total=")[2]) / 1e6


def _used_s() -> float:
    """Read how long, since then, all processors were busy, or somebody else's."""
    if not STAT.exists():
        return 0.0
    fields = STAT.read_text(encoding="ascii").splitlines()[0].split()[1:]
    user, nice, system, _, _, interrupt, soft, stolen = map(int, fields[:8])
    return (user + nice + system + interrupt + soft + stolen) / TICKS


def _others(lasts_s: float) -> tuple[float, float]:
    """Do nothing for a while: what is waited for and used then is by others.

    A canary's own appends make 5 % of pressure on two processors, because the
    system's threads that complete them have to wait for the canary.
    """
    waited_s, used_s, started = _waited_s(), _used_s(), time.perf_counter()
    time.sleep(lasts_s)
    elapsed_s = time.perf_counter() - started
    pressure = (_waited_s() - waited_s) / elapsed_s
    busy = (_used_s() - used_s) / elapsed_s / (os.cpu_count() or 1)
    return pressure, min(1.0, busy)


def _loop_s() -> float:
    started = time.perf_counter()
    total = 0
    for step in range(LOOP_STEPS):
        total += step
    return time.perf_counter() - started


def canary(directory: Path, lasts_s: float = LASTS_S) -> Canary:
    """Watch the machine, half of the time idle and half of it by appends.

    The pressure is that of this moment only: the averages that the system gives
    would still hold what a benchmark itself did before.
    """
    pressure, busy = _others(lasts_s / 2)
    data = os.urandom(APPEND_BYTES)
    path = directory / "canary"
    flags = os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_TRUNC
    descriptor = os.open(path, flags)
    taken: list[float] = []
    started = time.perf_counter()
    try:
        while len(taken) < APPENDS_MIN or time.perf_counter() - started < lasts_s / 2:
            at = time.perf_counter()
            os.write(descriptor, data)
            os.fdatasync(descriptor)
            taken.append(time.perf_counter() - at)
    finally:
        os.close(descriptor)
        path.unlink()
    p50_s, p95_s = percentile(taken, 0.5), percentile(taken, 0.95)
    return Canary(p50_s, p95_s, pressure, busy, _loop_s())


def quiet_canary(directory: Path, wait_s: float, lasts_s: float = LASTS_S) -> Canary:
    """Wait until the machine is quiet, or for so long; give the last look at it."""
    end = time.monotonic() + wait_s
    while True:
        os.sync()
        seen = canary(directory, lasts_s)
        if seen.is_quiet or time.monotonic() > end:
            return seen
        time.sleep(1.0)
