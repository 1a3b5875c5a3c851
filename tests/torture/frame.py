"""The frame of `make torture`: campaigns take turns within one budget of time.

A campaign is a row of `campaigns.CAMPAIGNS`; its function goes through rounds until
its deadline and tells the `Report` what it found. Each round has a seed of its own,
and the first round's seed is the one that was given: so `--seed` with the seed that a
violation printed begins with the round that found it.
"""

from __future__ import annotations

import random
import shlex
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

SEED_MAX = 2**32
VIOLATIONS_MAX = 5
"""A campaign that found so many ends before its time; more are only counted."""

Run: TypeAlias = Callable[[int, float, "Report"], Mapping[str, int]]
"""Takes the seed, the deadline on the monotonic clock and the report; gives counts."""


def say(text: str) -> None:
    """Tell the reader, at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


@dataclass(frozen=True)
class Campaign:
    """A row of the table."""

    name: str
    share: float
    """Of the time, in proportion to the shares of the others."""
    run: Run


@dataclass
class Report:
    """What a campaign tells while it runs."""

    name: str
    counts: Counter[str] = field(default_factory=Counter[str])
    """What was counted so far, also when the campaign is interrupted."""
    violations: int = 0
    skipped: str | None = None
    """Why nothing was tried."""
    seed: int = 0
    """Of the round that goes on."""

    def rounds(self, seed: int, deadline: float) -> Iterator[int]:
        """Give the seed of each round: one round at least, none after the deadline."""
        chance = random.Random(seed)
        self.seed = seed
        yield seed
        while time.monotonic() < deadline and self.violations < VIOLATIONS_MAX:
            self.seed = chance.randrange(SEED_MAX)
            yield self.seed

    def repeat(self) -> str:
        """Give the command that begins with the round that goes on."""
        only = shlex.quote(self.name)
        return f"python -m tests.torture --only {only} --seed {self.seed} --minutes 0"

    def violation(self, text: str) -> None:
        """Tell of a promise that does not hold; the campaign may go on."""
        self.violations += 1
        if self.violations > VIOLATIONS_MAX:
            return
        say(f"  VIOLATION (seed {self.seed}): {text}")
        say(f"  again: {self.repeat()}")

    def known(self, text: str) -> None:
        """Tell of a weakness that somebody is mending: no violation yet."""
        self.counts["known weaknesses"] += 1
        say(f"  known (seed {self.seed}): {text}")

    def skip(self, reason: str) -> None:
        """Tell why this machine cannot run the campaign."""
        self.skipped = reason


def _run(campaign: Campaign, seed: int, deadline: float) -> bool:
    """Run one campaign and print what came of it; say whether all held."""
    say(f"{campaign.name}: until {max(deadline - time.monotonic(), 0):.0f} s from now")
    report = Report(campaign.name, seed=seed)
    began_s = time.monotonic()
    counts: Mapping[str, int] = report.counts
    try:
        counts = campaign.run(seed, deadline, report)
    except Exception:  # noqa: BLE001 - whatever it is, the seed has to be told with it
        report.violation(traceback.format_exc().rstrip())
    finally:
        took_s = time.monotonic() - began_s
        if report.skipped is None:
            told = ", ".join(f"{count:,} {what}" for what, count in counts.items())
            told = f"{told or 'nothing counted'}; {report.violations} violations"
        else:
            told = f"SKIPPED: {report.skipped}"
        say(f"{campaign.name}: {told}; {took_s:.1f} s")
    return report.violations == 0


def run_campaigns(campaigns: Sequence[Campaign], seed: int, budget_s: float) -> bool:
    """Run campaigns one after the other; time that one leaves goes to the others.

    Returns:
        Whether there was no violation.
    """
    end_s = time.monotonic() + budget_s
    shares = sum(campaign.share for campaign in campaigns)
    all_held = True
    for campaign in campaigns:
        now_s = time.monotonic()
        deadline = now_s + max(end_s - now_s, 0) * campaign.share / shares
        shares -= campaign.share
        all_held &= _run(campaign, seed, deadline)
    return all_held
