"""Retention by one process during a long put of another: its chunks survive.

And when the one that puts is killed, its chunks are given back.
"""

from __future__ import annotations

import random
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from tests.torture.crowd import SEGMENT_BYTES, Crowd, Program, crowd_in, judge
from tests.torture.crowd_worker import (
    retain,
    stream,
    write,
)
from tests.torture.frame import Report
from tests.torture.history import DONE

LONGEST_S = 600.0
SHORTEST_S = 2.0
PROGRAMS: Mapping[str, Program] = {"retention": (retain,), "writer": (write, "sync:1")}
BESIDE_SEGMENTS = 4
GIVEN_BACK_S = 15.0
"""Segments with something of it that may stay, as long as they have live content."""


def _bytes_of(place: Path) -> int:
    """Give what the bucket of the long put takes on the disk."""
    folder = max((place / "logs").iterdir())
    sizes = 0
    for path in folder.glob("*.seg"):
        # retention may be about to remove it
        with suppress(FileNotFoundError):
            sizes += path.stat().st_blocks * 512
    return sizes


def _is_given_back(crowd: Crowd, before_bytes: int) -> list[str]:
    """Wait until the other process has given back what a killed one had put."""
    end_s = time.monotonic() + GIVEN_BACK_S
    limit = before_bytes + BESIDE_SEGMENTS * SEGMENT_BYTES
    while (size := _bytes_of(crowd.place)) > limit:
        if time.monotonic() > end_s:
            return [f"{size - before_bytes} bytes of a killed put are not given back"]
        time.sleep(0.05)
    return []


def _is_whole(crowd: Crowd, who: str, counts: Counter[str]) -> list[str]:
    """Check that a long put has ended, and was read."""
    calls = crowd.journal(who).calls
    counts["seconds of long puts"] += round((calls[0].end_ns - calls[0].begin_ns) / 1e9)
    ends = [(call.how, call.outcome) for call in calls]
    if ends != [("put", DONE), ("get", DONE)]:
        return [f"the long put: {[str(call) for call in calls]}"]
    return []


def run_long_put(seed: int, seconds: float, counts: Counter[str]) -> list[str]:
    """Put for so long, then kill another long put; give what is wrong."""
    chance = random.Random(seed)
    killed_s = max(1.0, min(seconds, 10.0))
    programs: dict[str, Program] = {
        **PROGRAMS,
        "long": (stream, str(seconds)),
        "victim": (stream, str(4 * killed_s)),
    }
    with (
        tempfile.TemporaryDirectory() as folder,
        crowd_in(Path(folder), chance, programs) as crowd,
    ):
        for who in ("long", *PROGRAMS):
            crowd.start(who)
        crowd.running["long"].join(seconds + 60)
        crowd.end("long")
        wrong = _is_whole(crowd, "long", counts)
        before_bytes = _bytes_of(crowd.place)
        crowd.start("victim")
        crowd.wait_ready("victim")
        time.sleep(chance.uniform(killed_s / 2, killed_s))
        crowd.kill("victim")
        counts["killed long puts"] += 1
        wrong += _is_given_back(crowd, before_bytes)
        return wrong + judge(crowd, counts)


def run(seed: int, deadline: float, report: Report) -> Mapping[str, int]:
    """Put for as long as there is time, ten minutes at most, and once more."""
    for round_seed in report.rounds(seed, deadline):
        left_s = (deadline - time.monotonic()) * 0.8
        seconds = min(max(left_s, SHORTEST_S), LONGEST_S)
        for wrong in run_long_put(round_seed, seconds, report.counts):
            report.violation(wrong)
    return report.counts
