"""SIGINT at any moment of a put and inside its commit, on both faces, beside others."""

from __future__ import annotations

import random
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from tests.torture.crowd import SOON_S, Program, crowd_in, judge
from tests.torture.crowd_worker import watch, write
from tests.torture.frame import Report
from tests.torture.history import BUSY, CUT
from tests.torture.interrupted_worker import storm

ROUND_S = 12.0


def run_storm(seed: int, seconds: float, counts: Counter[str]) -> list[str]:
    """Interrupt a process for so long; give what is wrong."""
    programs: dict[str, Program] = {
        "interrupted": (storm, str(seconds)),
        "writer": (write, "sync:1"),
        "watcher": (watch, "sync"),
    }
    with (
        tempfile.TemporaryDirectory() as folder,
        crowd_in(Path(folder), random.Random(seed), programs) as crowd,
    ):
        for who in programs:
            crowd.start(who)
        crowd.running["interrupted"].join(seconds + SOON_S)
        crowd.end("interrupted")
        wrong = judge(crowd, counts)
        journal = crowd.journal("interrupted")
        counts["interrupted calls"] += sum(c.outcome == CUT for c in journal.calls)
        counts["interrupts inside a commit"] += journal.counted["inside"]
        stuck = [str(call) for call in journal.calls if call.outcome == BUSY]
        return [*wrong, *stuck]


def run(seed: int, deadline: float, report: Report) -> Mapping[str, int]:
    """Interrupt again and again."""
    for round_seed in report.rounds(seed, deadline):
        left_s = max(deadline - time.monotonic(), 0)
        for wrong in run_storm(round_seed, min(ROUND_S, left_s + 2), report.counts):
            report.violation(wrong)
    return report.counts
