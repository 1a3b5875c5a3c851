"""Real processes that are killed at any of their calls, one after the other.

A program of its own forks them: each goes on in one directory of real files where the
one before was killed, and dies by SIGKILL before, inside or behind a call that changes
the directory, or at any time. Then another one opens the store, or is killed in that
recovery, too; what it finds is what was acknowledged, or one step more.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from tests.torture.frame import Report

LIVES = 25
ROUND_S_MAX = 600
ROOT = Path(__file__).parents[2]


def kill(seed: int, counts: Counter[str], lives: int = LIVES) -> list[str]:
    """Run one round in a process that forks; say what is wrong."""
    command = [sys.executable, "-m", "tests.torture.kill_worker", str(seed), str(lives)]
    ended = subprocess.run(
        command,
        check=False,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=ROUND_S_MAX,
    )
    if ended.returncode:
        return [f"the worker ended with {ended.returncode}: {ended.stderr}"]
    told = json.loads(ended.stdout)
    counts.update(told["counts"])
    wrong: list[str] = told["wrong"]
    return wrong


def run(seed: int, deadline: float, report: Report) -> Mapping[str, int]:
    """Kill process after process."""
    for round_seed in report.rounds(seed, deadline):
        for text in kill(round_seed, report.counts):
            report.violation(text)
        report.counts["rounds"] += 1
    return report.counts
