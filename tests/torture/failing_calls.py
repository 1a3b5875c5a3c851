"""Calls of the system that fail under random programs, at every place they have.

Whatever fails, once or until the disk is mended: what raises is a documented error,
reads go on, nothing acknowledged is lost in this process, in the next one and on the
disks that a power cut leaves; and once the cause is gone, there is service again.

A walk takes one program through every position of every kind of call, the opening that
makes the store, and those behind some kills, included. It is cut into rounds, so that
a violation is repeated in seconds; the seed of a round names the program and the round.
"""

from __future__ import annotations

import gc
import itertools
import os
import random
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from multiprocessing import get_context
from typing import NamedTuple

from tests.proofs.crash_world import simulated
from tests.torture.crash_programs import (
    LIFE,
    PUNCHED,
    WORKLOADS,
    Workload,
    program,
)
from tests.torture.crash_steps import Step
from tests.torture.failing_plans import KINDS, Failure, walk
from tests.torture.failing_trials import (
    OpeningTrial,
    Trial,
    calls_of,
    calls_of_opening,
    mutations_of,
)
from tests.torture.frame import SEED_MAX, VIOLATIONS_MAX, Report

ROUNDS_MAX = 256
"""A seed is a program's number times this, and the number of a round of its walk."""
ROUND_TRIALS = 50
KILLS = 2
"""Moments of a program behind whose kills openings fail."""
PUNCHES = Workload(
    "punches",
    [PUNCHED],
    {"put_huge": 4, "put_small": 1, "overwrite": 1, "delete": 2, "retention": 3}
    | {"pin": 1, "read_pinned": 1},
)
_OWN = [one for one in WORKLOADS if one.name != "relaxed syncs"]
_WORKLOADS = _OWN + [PUNCHES] * 3


@dataclass(frozen=True)
class Walk:
    """A program, and every failure that it is taken through."""

    number: int
    workload: Workload
    steps: Sequence[Step]
    failures: Sequence[Failure]

    @property
    def rounds(self) -> int:
        """Give into how many rounds it is cut."""
        return -(-len(self.failures) // ROUND_TRIALS)

    def of_round(self, number: int) -> Sequence[Failure]:
        """Give the failures of one round: some of each kind."""
        return self.failures[number :: self.rounds]


def prepare(number: int, workload: Workload | None = None) -> Walk:
    """Make the program of a number and count the calls that it makes."""
    chance = random.Random(number)
    chosen = workload or chance.choice(_WORKLOADS)
    salts = itertools.count(1)
    steps = program(number, chosen, LIFE)
    calls = calls_of(steps, number)
    while chosen is PUNCHES and not calls["punch"]:
        steps = program(number + (next(salts) << 32), chosen, LIFE)
        calls = calls_of(steps, number)
    failures = walk(calls, chance)
    last = mutations_of(steps, number)
    for kill_at in [0, *sorted(chance.sample(range(10, last), KILLS))]:
        found = calls_of_opening(steps, number, kill_at)
        failures += walk(found, chance, kill_at)
    return Walk(number, chosen, steps, failures)


def fail_calls(walking: Walk, failures: Sequence[Failure]) -> Counter[str]:
    """Let calls fail under a program; give the counts.

    Raises:
        AssertionError: a promise does not hold.
    """
    counts: Counter[str] = Counter()
    gc.disable()
    try:
        for failure in failures:
            try:
                struck = _struck(walking, failure)
            except BaseException as error:
                error.add_note(f"{failure}; {walking.workload.name}")
                error.add_note("; ".join(map(str, walking.steps)))
                raise
            if not struck:
                counts["calls not reached"] += 1
                continue
            counts["failing calls"] += 1
            counts["of openings"] += failure.is_of_opening
            counts[failure.label] += 1
    finally:
        gc.enable()
    return counts


def _struck(walking: Walk, failure: Failure) -> bool:
    if failure.is_of_opening:
        return OpeningTrial(walking.steps, walking.number, failure).run()
    trial = Trial(walking.steps, walking.number, failure)
    trial.run()
    return trial.has_struck


class Told(NamedTuple):
    """What came of one round."""

    counts: Counter[str]
    workload: str
    rounds: int
    """Of the whole walk."""
    wrong: str | None


def tell(seed: int) -> Told:
    """Run one round, in a process of its own."""
    number, turn = divmod(seed, ROUNDS_MAX)
    counts, wrong = Counter[str](), None
    with simulated():
        walking = prepare(number)
        try:
            failures = walking.of_round(turn % walking.rounds)
            counts = fail_calls(walking, failures)
        except Exception as error:  # noqa: BLE001 - told with the seed that repeats it
            wrong = "".join(traceback.format_exception(error)).rstrip()
    return Told(counts, walking.workload.name, walking.rounds, wrong)


def _seeds(
    first: int, deadline: float, report: Report, rounds: Mapping[int, int]
) -> Iterator[int]:
    """Give the rounds of one walk after the other, one at least.

    Args:
        first: where to begin.
        deadline: none is given after it.
        report: ends it, too, when it has enough violations.
        rounds: of the walks of which that is known, by the number of the program.
    """
    chance = random.Random(first)
    number, turn = divmod(first, ROUNDS_MAX)
    given = 0
    yield first
    while time.monotonic() < deadline and report.violations < VIOLATIONS_MAX:
        given += 1
        turn += 1
        if given >= rounds.get(number, ROUNDS_MAX):
            report.counts["whole walks"] += 1
            number, turn, given = chance.randrange(SEED_MAX // ROUNDS_MAX), 0, 0
        yield number * ROUNDS_MAX + turn % rounds.get(number, ROUNDS_MAX)


def run(seed: int, deadline: float, report: Report) -> Mapping[str, int]:
    """Take one program after the other through its walk, on each processor."""
    rounds: dict[int, int] = {}
    seeds = _seeds(seed, deadline, report, rounds)
    workers = os.cpu_count() or 1
    under_way: dict[Future[Told], int] = {}
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        while True:
            for round_seed in itertools.islice(seeds, workers - len(under_way)):
                under_way[pool.submit(tell, round_seed)] = round_seed
            if not under_way:
                break
            for ended in wait(under_way, return_when=FIRST_COMPLETED).done:
                report.seed = under_way.pop(ended)
                told = ended.result()
                rounds[report.seed // ROUNDS_MAX] = told.rounds
                report.counts.update(told.counts)
                report.counts[f"rounds of {told.workload}"] += 1
                if told.wrong is not None:
                    report.violation(told.wrong)
    # what begins with a kind of call stands behind the totals
    return dict(sorted(report.counts.items(), key=_order))


def _order(count: tuple[str, int]) -> tuple[bool, str]:
    return count[0].split()[0] in KINDS, count[0]
