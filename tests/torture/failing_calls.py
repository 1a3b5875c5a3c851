"""Calls of the system that fail under random programs, at every place they have.

Whatever fails, once or until the disk is mended: what raises is a documented error,
reads go on, nothing acknowledged is lost in this process, in the next one and on the
disks that a power cut leaves; and once the cause is gone, there is service again.
"""

from __future__ import annotations

import errno
import gc
import itertools
import random
import traceback
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from tests.proofs.crash_world import Clock, open_store, simulated
from tests.torture.crash_model import OPEN_MAX, Outcomes, contents_of, serve
from tests.torture.crash_programs import LIFE, WORKLOADS, Workload, program
from tests.torture.crash_steps import Stage, Step
from tests.torture.frame import Report

from objstore.blocking import Store
from objstore.errors import (
    BusyError,
    ObjStoreError,
    PoisonedError,
    StorageError,
)
from objstore_log._refusals import refusals
from objstore_log.testing import Crashed, CrashStorage
from objstore_log.testing.crash_trace import FaultKind

NEVER = 1 << 40
POSITIONS_MAX = 5
"""Of one kind in one round; the next round takes others."""
CUTS = 3
CODES: Mapping[FaultKind, Sequence[int]] = {
    "write": [errno.ENOSPC, errno.EIO, errno.EDQUOT],
    "sync": [errno.EIO, errno.ENOSPC],
    "sync_directory": [errno.EIO],
    "open": [errno.EMFILE, errno.EIO],
    "create": [errno.ENOSPC, errno.EDQUOT, errno.EMFILE],
    "read": [errno.EIO],
    "replace": [errno.EIO, errno.ENOSPC],
    "remove": [errno.EIO],
    "punch": [errno.EIO, errno.EOPNOTSUPP],
}
PARTS = (0.0, 0.0, 0.2, 0.5, 0.97, 1.0)
"""Of a write that fails: how much of it was written."""
_BLINDING: frozenset[FaultKind] = frozenset({"open", "read"})
"""While these fail nobody can read."""
_WORKLOADS = [one for one in WORKLOADS if one.name != "relaxed syncs"]


@dataclass(frozen=True)
class Failure:
    """One plan of a call that fails."""

    kind: FaultKind
    nth: int
    code: int
    is_sticky: bool
    part: float

    def plant(self, disk: CrashStorage) -> None:
        """Let it happen from now on."""
        disk.fail(
            self.kind,
            nth=self.nth,
            code=self.code,
            sticky=self.is_sticky,
            written_part=self.part,
        )

    def __str__(self) -> str:
        times = "and all after it fail" if self.is_sticky else "fails"
        part = f" with {self.part:.0%} written" if self.kind == "write" else ""
        name = errno.errorcode[self.code]
        return f"{self.kind} {self.nth} {times} with {name}{part}"


@dataclass
class Trial:
    """One program with one failure."""

    disk: CrashStorage
    steps: Sequence[Step]
    failure: Failure | None
    seed: int
    outcomes: Outcomes
    is_relaxed: bool = False
    raised: int = 0
    is_by_other: bool = False
    """The other engine has made the last change."""

    def run(self) -> None:
        """Take the steps, then look at all that is left."""
        clock = Clock()
        stage = _staged(self, clock)
        store = stage.store
        if self.failure is not None:
            self.failure.plant(self.disk)
        for step in self.steps:
            self._take(step, stage)
            if self.raised > OPEN_MAX - 1:
                break
        self.disk.heal()
        self._look(stage)
        self._serve_again(store)
        self._next_process(clock)
        self._power_cut(clock)

    def _take(self, step: Step, stage: Stage) -> None:
        try:
            step.act(stage)
        except (StorageError, BusyError):
            self.raised += 1
            self.outcomes.unknown(step)
        except ObjStoreError:
            # it was refused for a reason that an earlier failure gave
            assert self.raised, "nothing failed so far"
            return
        else:
            self.outcomes.done(step)
            if step.changes:
                self.is_by_other = step.is_other
        if self.failure is None or self.is_relaxed:
            return
        can_look = stage.has_other() or not self.is_by_other
        if can_look and self.failure.kind not in _BLINDING:
            # the disk still fails, and reads go on
            self._look(stage)

    def _look(self, stage: Stage) -> None:
        # others may not see what its process could not publish
        store = stage.other if self.is_by_other else stage.store
        self.outcomes.look(contents_of(store, self.outcomes.half_made()))

    def _serve_again(self, store: Store) -> None:
        try:
            serve(store, "served again")
        except PoisonedError:
            assert self.failure is not None
            assert self.failure.kind == "sync", "only a failed sync ends a writer"
        with suppress(StorageError):
            store.run_retention()
        before = contents_of(store)
        self.outcomes.look(_without(before, "served again"))

    def _next_process(self, clock: Clock) -> None:
        """Another process opens it, beside the first one or behind its death."""
        storage = self.disk.kill() if self.seed % 2 else self.disk.process()
        store = open_store(storage, clock, seed=self.seed + 2)
        self.outcomes.look(_without(contents_of(store), "served again"))
        assert store.damaged == []
        serve(store, "served by the next")
        assert store.verify().ok
        self.outcomes.look(_without(contents_of(store), "served again"))

    def _power_cut(self, clock: Clock) -> None:
        if not self.is_relaxed:
            _cut_all(self.disk, self.outcomes, clock, self.seed)


def _cut_all(disk: CrashStorage, outcomes: Outcomes, clock: Clock, seed: int) -> None:
    """Look at some of the disks that a power cut leaves now."""
    for cut in disk.disks(limit=CUTS, seed=seed):
        store = open_store(cut.mount(), Clock(clock.wall_ns), seed=seed + 3)
        try:
            outcomes.look(_without(contents_of(store), "served again"))
            assert store.damaged == [], store.damaged
            report = store.verify()
            assert report.ok, report.damaged
        except BaseException as error:
            error.add_note(repr(cut))
            raise


def _staged(trial: Trial, clock: Clock) -> Stage:
    """Open the store of a trial, for as many processes as its steps want."""
    store = open_store(trial.disk, clock, seed=trial.seed)
    process = trial.disk.process()
    # one that could not open a bucket is left, with its writer's lock
    seeds = itertools.count(trial.seed + 100)

    def open_other() -> Store:
        with refusals(process.path, "open"):
            return open_store(process, clock, seed=next(seeds))

    return Stage(lambda: store, open_other)


def _without(
    contents: Mapping[str, Mapping[str, bytes]], name: str
) -> dict[str, dict[str, bytes]]:
    """Leave out what the trial itself put, and could not delete perhaps."""
    return {
        bucket: {other: data for other, data in of.items() if other != name}
        for bucket, of in contents.items()
    }


def _calls(steps: Sequence[Step], seed: int) -> dict[FaultKind, int]:
    """Count the calls of each kind that a program makes when nothing fails."""
    disk = CrashStorage()
    stage = _staged(Trial(disk, steps, None, seed, Outcomes.of({})), Clock())
    for kind in CODES:
        disk.fail(kind, nth=NEVER)
    for step in steps:
        step.act(stage)
    return {fault.kind: fault.calls for fault in disk._machine.recorder.faults}


def _failures(chance: random.Random, kind: FaultKind, calls: int) -> list[Failure]:
    places = range(1, calls + 1)
    chosen = chance.sample(places, min(POSITIONS_MAX, calls))
    return [
        Failure(
            kind,
            nth,
            chance.choice(CODES[kind]),
            chance.random() < 0.5,
            chance.choice(PARTS) if kind == "write" else 0.0,
        )
        for nth in chosen
    ]


def fail_calls(
    seed: int, counts: Counter[str], workload: Workload | None = None
) -> None:
    """Let calls of each kind fail under the program of a seed.

    Raises:
        AssertionError: a promise does not hold.
    """
    chance = random.Random(seed)
    chosen = workload or chance.choice(_WORKLOADS)
    steps = program(seed, chosen, LIFE)
    is_relaxed = any("sync" in step.config for step in steps)
    gc.disable()
    try:
        with simulated():
            for kind, calls in _calls(steps, seed).items():
                for failure in _failures(chance, kind, calls):
                    disk, outcomes = CrashStorage(), Outcomes.of({})
                    trial = Trial(disk, steps, failure, seed, outcomes, is_relaxed)
                    _tried(trial, chosen)
                    counts["failing calls"] += 1
                    counts[f"of {kind}"] += 1
            fail_openings(chance, steps, seed, counts)
    finally:
        gc.enable()
    counts["programs"] += 1


def _tried(trial: Trial, workload: Workload) -> None:
    try:
        trial.run()
    except BaseException as error:
        error.add_note(f"{trial.failure}; {workload.name}")
        error.add_note("; ".join(map(str, trial.steps)))
        raise


def fail_openings(
    chance: random.Random, steps: Sequence[Step], seed: int, counts: Counter[str]
) -> None:
    """Let calls fail while a store comes back from a kill in the middle of a step."""
    counted = CrashStorage()
    Trial(counted, steps, None, seed, Outcomes.of({}), is_relaxed=True).run()
    for kind, codes in CODES.items():
        disk, outcomes = CrashStorage(), Outcomes.of({})
        disk.kill_before(chance.randint(10, counted.mutation_count))
        trial = Trial(disk, steps, None, seed, outcomes, is_relaxed=True)
        clock = Clock()
        under_way = _killed(trial, clock)
        if under_way is not None:
            outcomes.unknown(under_way)
        process = disk.kill()
        failure = Failure(
            kind,
            chance.randint(1, 12),
            chance.choice(codes),
            chance.random() < 0.5,
            0.5,
        )
        failure.plant(process)
        try:
            with suppress(OSError):
                contents_of(open_store(process, clock, seed=seed + 5))
            process.heal()
            store = open_store(process.kill(), clock, seed=seed + 6)
            outcomes.look(contents_of(store))
            store.run_retention()
            outcomes.look(contents_of(store))
            assert store.damaged == [], store.damaged
            serve(store, "served again")
            assert store.verify().ok
            if not any("sync" in step.config for step in steps):
                _cut_all(disk, outcomes, clock, seed)
        except BaseException as error:
            error.add_note(f"opening after a kill in {under_way}: {failure}")
            error.add_note("; ".join(map(str, steps)))
            raise
        counts["failing calls of recoveries"] += 1


def _killed(trial: Trial, clock: Clock) -> Step | None:
    """Run until the kill; give the step that was under way."""
    stage: Stage | None = None
    for step in trial.steps:
        try:
            stage = stage or _staged(trial, clock)
            step.act(stage)
        except Crashed:
            return step
        trial.outcomes.done(step)
    return None


def run(seed: int, deadline: float, report: Report) -> Mapping[str, int]:
    """Let calls fail under one program after the other."""
    for round_seed in report.rounds(seed, deadline):
        try:
            fail_calls(round_seed, report.counts)
        except Exception as error:  # noqa: BLE001 - told with the seed that repeats it
            report.violation("".join(traceback.format_exception(error)).rstrip())
    return report.counts
