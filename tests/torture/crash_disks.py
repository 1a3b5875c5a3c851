"""Crashes of random programs in a simulation: every disk that a power cut may leave.

A program runs once on the simulated disk. Then the power is cut after many of its
mutations, and the disks that may be left, by the weakest rules of POSIX or by those of
ext4, are opened with no, an old or the newest catalog. What they hold must be what was
acknowledged or one step more; watches go on without a gap; and the store goes on.
"""

from __future__ import annotations

import gc
import os
import random
import traceback
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import (
    FIRST_COMPLETED,
    Future,
    ProcessPoolExecutor,
    wait,
)
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from multiprocessing import get_context
from typing import NamedTuple

from tests.proofs.crash_world import (
    Allowed,
    Campaign,
    Clock,
    Images,
    Look,
    State,
    World,
    check,
    look,
    open_store,
    simulated,
)
from tests.torture.crash_programs import (
    ROLLING,
    WORKLOADS,
    Programmer,
    Workload,
    program,
)
from tests.torture.crash_steps import Contents, Seen, Stage, Step
from tests.torture.frame import Report

from objstore.blocking import ObjectStore, Store
from objstore.errors import (
    CursorExpiredError,
    CursorForeignError,
    HistoryRewoundError,
)
from objstore_log.testing import CrashStorage, Disk

POINTS_MAX = 40
"""Cuts of one program; more than so many mutations are sampled."""
DISKS_PER_POINT = 4
RECOVERIES = 0.25
"""The share of programs whose recoveries are cut, too, and the recoveries of those."""
FIRST_CUTS, SECOND_CUTS, THIRD_CUTS = 3, 8, 3
WATCHED_MAX = 10_000
REOPENED_EVERY = 3
AFTER = Workload(
    "after a recovery",
    [ROLLING],
    {"put_small": 3, "put_large": 1, "delete": 1, "retention": 1, "reopen": 1},
)


class Mark(NamedTuple):
    """A watch that was left."""

    seen: Seen
    log_id: str
    point: int
    """At which mutation."""


@dataclass
class Rehearsal:
    """A program on the simulated disk, and what its watches had seen when."""

    world: World
    steps: Sequence[Step]
    marks: list[Mark] = field(default_factory=list[Mark])

    def run(self) -> None:
        """Take every step; the collector comes when a step says so."""
        gc.disable()
        try:
            self._run()
        finally:
            gc.enable()

    def _run(self) -> None:
        world = self.world
        stage = Stage(lambda: world.store, self._open_other)
        for step in self.steps:
            match step.kind:
                case "create":
                    world.create(step.bucket, **step.config)
                case "drop":
                    world.delete_bucket(step.bucket)
                case "reopen":
                    stage.lose()
                    world.reopen()
                case "kill":
                    stage.lose()
                    world.kill()
                case "keep":
                    world.keep_catalogs()
                case "change":
                    self._change(stage, step)

    def _open_other(self) -> Store:
        world = self.world
        return open_store(world.storage.process(), world.clock, seed=50_000)

    def _change(self, stage: Stage, step: Step) -> None:
        world = self.world
        world.names.setdefault(step.bucket, set()).update(step.links)
        world.do(lambda _: step.act(stage), step.bucket, step.changes)
        for seen in stage.seen:
            log_id = world.told[-1].state[seen.bucket].log_id
            self.marks.append(Mark(seen, log_id, world.storage.mutation_count))
        stage.seen.clear()


@dataclass
class Cuts(Campaign):
    """Cuts the power under a rehearsal and looks deeper than the proofs do."""

    rehearsal: Rehearsal = field(kw_only=True)
    counts: Counter[str] = field(kw_only=True)

    def cut(self, points: Sequence[int]) -> list[tuple[Disk, Allowed]]:
        """Check the disks of these points; give them."""
        world = self.rehearsal.world
        drawn: list[tuple[Disk, Allowed]] = []
        for point in points:
            allowed, catalogs = world.allowed(point), world.catalogs(point)
            for disk in self.drawn(world.storage, point):
                number = self.opened % len(catalogs)
                self._check(disk, world, allowed, catalogs[number], number)
                drawn.append((disk, allowed))
        return drawn

    def look_at(
        self, disk: Disk, world: World, allowed: Allowed, images: Images
    ) -> None:
        """Check all that the proofs check, the watches, and the store opened again."""
        storage = disk.mount()
        marks = [mark for mark in self.rehearsal.marks if mark.point <= disk.point]
        resume = partial(self._resume, world, marks, allowed)
        first = check(storage, world, allowed, images, resume)
        if self.opened % REOPENED_EVERY == 0:
            names = {bucket: set(shown.objects) for bucket, shown in first.items()}
            clock = Clock(allowed.clock_ns + 10**9)
            again = open_store(storage.kill(), clock, seed=98)
            assert look(again, names) == first, "a closed store is opened as it was"
            assert again.damaged == [], again.damaged
            again.close()

    def _resume(
        self,
        world: World,
        marks: Sequence[Mark],
        allowed: Allowed,
        store: Store,
        state: State,
    ) -> None:
        for seen, log_id, _ in marks:
            shown = state.get(seen.bucket)
            if shown is not None:
                self.counts["watches resumed"] += 1
                handle = store.object_store(seen.bucket)
                is_same = shown.log_id == log_id
                is_relaxed = seen.bucket in world.relaxed
                _go_on(handle, seen, shown, is_same=is_same, is_relaxed=is_relaxed)


def _go_on(
    handle: ObjectStore, seen: Seen, shown: Look, *, is_same: bool, is_relaxed: bool
) -> None:
    """Resume a watch: it gives all that came behind, or says what is gone."""
    names = dict(seen.names)
    last = 0
    try:
        with handle.watch(after=seen.cursor) as watching:
            for _ in range(WATCHED_MAX):
                change = watching.updates(timeout=0)
                if change is None:
                    continue
                if change.seq > seen.last:
                    assert change.seq > last, "changes come in order, each once"
                    last = change.seq
                if change.kind in {"delete", "expire"}:
                    names.pop(change.name, None)
                else:
                    names[change.name] = change.seq
    except CursorForeignError:
        assert not is_same, "the bucket is still the one of the cursor"
        return
    except CursorExpiredError:
        return
    except HistoryRewoundError:
        assert is_relaxed, "what a watch was shown is durable"
        return
    except TimeoutError:
        pass
    assert is_same, "a cursor of another bucket was taken"
    live = {name: info.seq for name, (info, _) in shown.objects.items()}
    assert {name: names.get(name) for name in live} == live, "a watch has a gap"


def _rehearsed(rehearsal: Rehearsal) -> Rehearsal:
    try:
        rehearsal.run()
    except BaseException as error:
        error.add_note(f"program: {'; '.join(map(str, rehearsal.steps))}")
        raise
    return rehearsal


def _points(chance: random.Random, start: int, end: int, count: int) -> list[int]:
    every = range(start, end + 1)
    return sorted(chance.sample(every, min(count, len(every))))


def _cuts(rehearsal: Rehearsal, chance: random.Random, counts: Counter[str]) -> Cuts:
    return Cuts(
        DISKS_PER_POINT,
        rules=chance.choice(["posix", "posix", "ext4"]),
        seed=chance.randrange(2**32),
        rehearsal=rehearsal,
        counts=counts,
    )


def _recovered(
    chance: random.Random, before: World, disk: Disk, allowed: Allowed
) -> Rehearsal:
    """Open what a cut left, and go on in it for a few steps."""
    world = World.after_crash(disk.mount(), before, allowed)
    contents: Contents = {name: dict(of) for name, of in world.expected.items()}
    state = world.told[0].state
    sealed = {name for name, shown in state.items() if shown.sealed}
    programmer = Programmer(chance, AFTER.configs, contents, sealed)
    steps = programmer.program(AFTER, chance.randrange(3))
    return _rehearsed(Rehearsal(world, steps))


def _cut_recoveries(
    cuts: Cuts, drawn: list[tuple[Disk, Allowed]], chance: random.Random
) -> None:
    """Cut while a store comes back from a cut, and while it comes back from that."""
    before = cuts.rehearsal.world
    for disk, allowed in chance.sample(drawn, min(FIRST_CUTS, len(drawn))):
        found = _recovered(chance, before, disk, allowed)
        second = replace(cuts, rehearsal=found)
        points = _points(chance, 0, found.world.storage.mutation_count, SECOND_CUTS)
        again = second.cut(points)
        cuts.counts["cuts of a recovery"] += len(again)
        for disk_again, allowed_again in chance.sample(again, min(2, len(again))):
            twice = _recovered(chance, found.world, disk_again, allowed_again)
            third = replace(cuts, rehearsal=twice)
            last = twice.world.storage.mutation_count
            count = len(third.cut(_points(chance, 0, last, THIRD_CUTS)))
            cuts.counts["cuts of a recovery of a recovery"] += count


def crash(
    seed: int, counts: Counter[str], digests: set[bytes], workload: Workload | None
) -> None:
    """Run one program and cut the power under it; `None` lets the seed choose.

    Raises:
        AssertionError: a disk holds what it must not, or lacks what it must.
    """
    chance = random.Random(seed)
    chosen = workload or chance.choice(WORKLOADS)
    with simulated():
        steps = program(seed, chosen)
        rehearsal = _rehearsed(Rehearsal(World(CrashStorage()), steps))
        cuts = _cuts(rehearsal, chance, counts)
        cuts.digests = digests
        last = rehearsal.world.storage.mutation_count
        try:
            drawn = cuts.cut(_points(chance, 0, last, POINTS_MAX))
            if chance.random() < RECOVERIES:
                _cut_recoveries(cuts, drawn, chance)
        except BaseException as error:
            error.add_note(f"{chosen.name}: {'; '.join(map(str, steps))}")
            raise
        counts["openings"] += cuts.opened
    counts["programs"] += 1
    counts[f"of {chosen.name}"] += 1


class Told(NamedTuple):
    """What came of one round."""

    counts: Counter[str]
    digests: set[bytes]
    wrong: str | None


def tell(seed: int) -> Told:
    """Run one round, in a process of its own."""
    counts, digests, wrong = Counter[str](), set[bytes](), None
    try:
        crash(seed, counts, digests, None)
    except Exception as error:  # noqa: BLE001 - told with the seed that repeats it
        wrong = "".join(traceback.format_exception(error)).rstrip()
    return Told(counts, digests, wrong)


def run(seed: int, deadline: float, report: Report) -> Mapping[str, int]:
    """Cut the power under one program after the other, one on each processor."""
    digests: set[bytes] = set()
    rounds = report.rounds(seed, deadline)
    workers = os.cpu_count() or 1
    under_way: dict[Future[Told], int] = {}
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        while True:
            for round_seed in islice(rounds, workers - len(under_way)):
                under_way[pool.submit(tell, round_seed)] = round_seed
            if not under_way:
                break
            for ended in wait(under_way, return_when=FIRST_COMPLETED).done:
                report.seed = under_way.pop(ended)
                told = ended.result()
                digests |= told.digests
                report.counts.update(told.counts)
                if told.wrong is not None:
                    report.violation(told.wrong)
            report.counts["distinct disks"] = len(digests)
    names = [workload.name for workload in WORKLOADS]
    report.counts["workloads"] = sum(f"of {name}" in report.counts for name in names)
    return report.counts
