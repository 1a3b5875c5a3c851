"""One program with one call that fails, and all that has to hold then."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import cast

from tests.proofs.crash_world import Clock, CrashStore, open_store
from tests.torture.crash_model import OPEN_MAX, Outcomes, contents_of, serve
from tests.torture.crash_steps import Stage, Step
from tests.torture.failing_plans import Failure, count_calls, counted

from objstore.blocking import Store
from objstore.errors import (
    BusyError,
    ObjStoreError,
    PoisonedError,
    StorageError,
)
from objstore_log._refusals import refusals
from objstore_log.testing import Crashed, CrashStorage
from objstore_log.testing.crash_trace import Fault, FaultKind

CUTS = 3
_BLINDING: frozenset[FaultKind] = frozenset({"open", "read"})
"""While these fail nobody can read."""


@dataclass
class Trial:
    """One program, and perhaps one failure that hits it while it runs."""

    steps: Sequence[Step]
    seed: int
    failure: Failure | None = None
    disk: CrashStorage = field(default_factory=CrashStorage)
    outcomes: Outcomes = field(default_factory=lambda: Outcomes.of({}))
    clock: Clock = field(default_factory=Clock)
    raised: int = 0
    is_by_other: bool = False
    """The other engine has made the last change."""
    _fault: Fault | None = None

    @property
    def is_relaxed(self) -> bool:
        """Say whether an acknowledgement is less than durable in some bucket."""
        return any("sync" in step.config for step in self.steps)

    @property
    def has_struck(self) -> bool:
        """Say whether the call that shall fail was made."""
        fault = self._fault
        return fault is not None and fault.calls >= fault.nth

    def staged(self) -> Stage:
        """Open the store, for as many processes as the steps want."""
        store = open_store(self.disk, self.clock, seed=self.seed)
        process = self.disk.process()
        # one that could not open a bucket is left, with its writer's lock
        seeds = itertools.count(self.seed + 100)

        def open_other() -> Store:
            with refusals(process.path, "open"):
                return open_store(process, self.clock, seed=next(seeds))

        return Stage(lambda: store, open_other)

    def run(self) -> None:
        """Take the steps, then look at all that is left."""
        stage = self.staged()
        if self.failure is not None:
            self._fault = self.failure.plant(self.disk)
        for step in self.steps:
            self._take(step, stage)
            if self.raised > OPEN_MAX - 1:
                break
        self.disk.heal()
        self._look(stage)
        _idle(stage)
        self._look_at_all(stage)
        self._serve_again(stage.store)
        self._next_process()
        if not self.is_relaxed:
            cut_all(self.disk, self.outcomes, self.clock, self.seed)

    def _take(self, step: Step, stage: Stage) -> None:
        try:
            step.act(stage)
        except (StorageError, BusyError):
            self.raised += 1
            self.outcomes.unknown(step)
        except ObjStoreError:
            # it was refused for a reason that an earlier failure gave
            assert self.raised or self._lags(step), "nothing failed so far"
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

    def _lags(self, step: Step) -> bool:
        """Say whether a step's process may not see what another could not publish."""
        is_write = self.failure is not None and self.failure.kind == "write"
        return is_write and self.has_struck and step.is_other != self.is_by_other

    def _look(self, stage: Stage) -> None:
        # others may not see what its process could not publish
        store = stage.other if self.is_by_other else stage.store
        self.outcomes.look(contents_of(store, self.outcomes.half_made()))

    def _look_at_all(self, stage: Stage) -> None:
        """Every process sees the same when the disk is mended and has been idle."""
        stores = [stage.store, stage.other] if stage.has_other() else [stage.store]
        for store in stores:
            self.outcomes.look(contents_of(store, self.outcomes.half_made()))

    def _serve_again(self, store: Store) -> None:
        try:
            serve(store, "served again", self.outcomes.half_made())
        except PoisonedError:
            assert self.failure is not None
            assert self.failure.kind == "sync", "only a failed sync ends a writer"
        with suppress(StorageError):
            store.run_retention()
        before = contents_of(store)
        self.outcomes.look(without(before, "served again"))

    def _next_process(self) -> None:
        """Another process opens it, beside the first one or behind its death."""
        storage = self.disk.kill() if self.seed % 2 else self.disk.process()
        store = open_store(storage, self.clock, seed=self.seed + 2)
        self.outcomes.look(without(contents_of(store), "served again"))
        assert store.damaged == []
        serve(store, "served by the next")
        assert store.verify().ok
        self.outcomes.look(without(contents_of(store), "served again"))

    def killed(self, kill_at: int) -> Step | None:
        """Run until a process is killed; give the step that was under way."""
        if not kill_at:
            return None
        self.disk.kill_before(kill_at)
        stage: Stage | None = None
        for step in self.steps:
            try:
                stage = stage or self.staged()
                step.act(stage)
            except Crashed:
                return step
            self.outcomes.done(step)
        return None


def _idle(stage: Stage) -> None:
    """Give the processes the idle moment in which their committers publish again."""
    stores = [stage.store, stage.other] if stage.has_other() else [stage.store]
    for store in stores:
        for log in cast("CrashStore", store).logs():
            log._loop.publish_again()


def cut_all(disk: CrashStorage, outcomes: Outcomes, clock: Clock, seed: int) -> None:
    """Look at some of the disks that a power cut leaves now."""
    for cut in disk.disks(limit=CUTS, seed=seed):
        store = open_store(cut.mount(), Clock(clock.wall_ns), seed=seed + 3)
        try:
            outcomes.look(without(contents_of(store), "served again"))
            assert store.damaged == [], store.damaged
            report = store.verify()
            assert report.ok, report.damaged
        except BaseException as error:
            error.add_note(repr(cut))
            raise


def without(
    contents: Mapping[str, Mapping[str, bytes]], name: str
) -> dict[str, dict[str, bytes]]:
    """Leave out what the trial itself put, and could not delete perhaps."""
    return {
        bucket: {other: data for other, data in of.items() if other != name}
        for bucket, of in contents.items()
    }


@dataclass
class OpeningTrial:
    """One call that fails while a store is made, or comes back from a kill."""

    steps: Sequence[Step]
    seed: int
    failure: Failure

    def run(self) -> bool:
        """Open with the failure and without; say whether it struck."""
        trial = Trial(self.steps, self.seed)
        under_way = trial.killed(self.failure.kill_at)
        if under_way is not None:
            trial.outcomes.unknown(under_way)
        process = trial.disk.kill()
        fault = self.failure.plant(process)
        try:
            first = self._opened(process, trial)
            struck = fault.calls >= fault.nth
            process.heal()
            self._look(trial, process, first)
        except BaseException as error:
            error.add_note(f"opening after a kill in {under_way}")
            raise
        return struck

    def _opened(self, process: CrashStorage, trial: Trial) -> Store | None:
        store: Store | None = None
        with suppress(OSError):
            store = open_store(process, trial.clock, seed=self.seed + 5)
            contents_of(store)
        return store

    def _look(self, trial: Trial, process: CrashStorage, first: Store | None) -> None:
        outcomes, seed, clock = trial.outcomes, self.seed, trial.clock
        if first is not None:
            outcomes.look(contents_of(first, outcomes.half_made()))
        # beside the one whose opening failed, or behind its death
        place = process.process() if seed % 2 else process.kill()
        store = open_store(place, clock, seed=seed + 6)
        outcomes.look(contents_of(store))
        store.run_retention()
        outcomes.look(contents_of(store))
        assert store.damaged == [], store.damaged
        serve(store, "served again")
        assert store.verify().ok
        if not trial.is_relaxed:
            cut_all(trial.disk, outcomes, clock, seed)


def calls_of(steps: Sequence[Step], seed: int) -> dict[FaultKind, int]:
    """Count the calls of each kind that a program makes when nothing fails."""
    trial = Trial(steps, seed)
    stage = trial.staged()
    count_calls(trial.disk)
    for step in steps:
        step.act(stage)
    return counted(trial.disk)


def calls_of_opening(
    steps: Sequence[Step], seed: int, kill_at: int
) -> dict[FaultKind, int]:
    """Count the calls of an opening behind a kill, and of reading everything."""
    trial = Trial(steps, seed)
    trial.killed(kill_at)
    process = trial.disk.kill()
    count_calls(process)
    contents_of(open_store(process, trial.clock, seed=seed + 5))
    return counted(process)


def mutations_of(steps: Sequence[Step], seed: int) -> int:
    """Count the mutations of a program when nothing fails."""
    trial = Trial(steps, seed)
    stage = trial.staged()
    for step in steps:
        step.act(stage)
    return trial.disk.mutation_count
