"""Rounds of faults: in each, every peer meets every fault with the same seed."""

from __future__ import annotations

import platform
import random
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from tests.prove.faults import CONTROL, Fault, Trial
from tests.prove.judge import Verdict
from tests.prove.peers import Peer
from tests.prove.report import Table

SEED_MAX = 2**32
AT_ONCE = 3
"""Faults that run beside each other, each on a disk of its own; they mostly wait."""


def say(text: str) -> None:
    """Tell the reader, at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


@dataclass
class Campaign:
    """What is tried, and what was found so far."""

    plan: Sequence[tuple[Fault, Sequence[Peer]]]
    seed: int
    rounds: int = 0
    took_s: float = 0.0
    trials: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    """Each fault, for the result file."""
    problems: int = 0
    """Faults that the harness itself could not bring about."""
    skipped: dict[str, str] = field(default_factory=dict[str, str])
    verdicts: dict[str, dict[str, Verdict]] = field(
        default_factory=dict[str, dict[str, Verdict]]
    )

    def run(self, budget_s: float) -> None:
        """Go through whole rounds, one at least, while the next one fits."""
        began_s = time.monotonic()
        chance = random.Random(self.seed)
        for fault, peers in self.plan:
            reason = fault.needs()
            if reason is not None:
                self.skipped[fault.name] = reason
                say(f"{fault.title}: SKIPPED: {reason}")
            self.verdicts[fault.name] = {peer.name: Verdict() for peer in peers}
        seed = self.seed
        while True:
            round_s = time.monotonic()
            self._round(seed)
            self.rounds += 1
            now_s = time.monotonic()
            self.took_s = now_s - began_s
            say(f"round {self.rounds} (seed {seed}): {now_s - round_s:.0f} s")
            if self.took_s + (now_s - round_s) > budget_s:
                return
            seed = chance.randrange(SEED_MAX)

    def _round(self, seed: int) -> None:
        tasks = [
            (fault, peer)
            for fault, peers in self.plan
            if fault.name not in self.skipped
            and (fault.name != CONTROL or self.rounds == 0)
            for peer in peers
        ]
        pool = ThreadPoolExecutor(AT_ONCE)
        try:
            row = [pool.submit(self._try, fault, peer, seed) for fault, peer in tasks]
            for (fault, peer), trials in zip(tasks, row, strict=True):
                for trial in trials.result():
                    self._keep(fault, peer, seed, trial)
        finally:
            # those that run clear up behind them; nothing more begins
            pool.shutdown(cancel_futures=True)

    def _try(self, fault: Fault, peer: Peer, seed: int) -> list[Trial]:
        try:
            return fault.run(peer, seed)
        except Exception:  # noqa: BLE001 - one broken trial must not end the others
            self.problems += 1
            only = f"--only {peer.name}/{fault.name} --seed {seed} --minutes 0"
            say(f"PROBLEM, again with {only}\n{traceback.format_exc().rstrip()}")
            return []

    def _keep(self, fault: Fault, peer: Peer, seed: int, trial: Trial) -> None:
        self.verdicts[fault.name][peer.name].add(trial.verdict)
        if fault.name == CONTROL and (trial.verdict.lost or not trial.verdict.objects):
            self.problems += 1
            say(f"PROBLEM: {peer.name} loses without a fault: {trial.notes}")
        counts = {name: count for name, count in vars(trial.verdict).items() if count}
        facts = {"fault": fault.name, "peer": peer.name, "seed": seed, **counts}
        self.trials.append(facts | ({"notes": trial.notes} if trial.notes else {}))

    def tables(self) -> list[Table]:
        """Give a table for each fault."""
        return [
            Table(
                fault.title,
                self.verdicts[fault.name],
                is_full_disk=fault.name == "full-disk",
                skipped=self.skipped.get(fault.name),
            )
            for fault, _ in self.plan
        ]

    def peers(self) -> list[Peer]:
        """Give everyone who met a fault, once each."""
        return list({peer.name: peer for _, row in self.plan for peer in row}.values())

    def versions(self) -> dict[str, str]:
        """Give what this ran on."""
        versions = {
            platform.system(): platform.release().partition("-")[0],
            "Python": platform.python_version(),
        }
        for peer in self.peers():
            versions |= peer.versions()
        return versions

    def result(self) -> Mapping[str, Any]:
        """Give everything, for the result file."""
        return {
            "seed": self.seed,
            "rounds": self.rounds,
            "seconds": round(self.took_s, 1),
            "problems": self.problems,
            "versions": self.versions(),
            "settings": {peer.name: peer.settings for peer in self.peers()},
            "skipped": self.skipped,
            "totals": {
                fault: {name: vars(verdict) for name, verdict in row.items()}
                for fault, row in self.verdicts.items()
            },
            "trials": self.trials,
        }
