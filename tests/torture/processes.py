"""Many processes on one directory: a crowd at work, and one that stands still."""

from __future__ import annotations

from collections.abc import Mapping

from tests.torture.crowd import run_crowd
from tests.torture.frame import Report
from tests.torture.holders import run_holders

ROUND_S = 12.0
"""How long a crowd works until its history is checked."""


def run(seed: int, deadline: float, report: Report) -> Mapping[str, int]:
    """Let a crowd work, and a holder stand still, one round after the other."""
    for round_seed in report.rounds(seed, deadline):
        for wrong in run_crowd(round_seed, ROUND_S, report.counts):
            report.violation(wrong)
        for wrong in run_holders(round_seed, report.counts):
            report.violation(wrong)
    return report.counts
