"""Power cuts under a store on ext4 and on xfs, one after the other on one disk.

The file system is shut down by its own control call, so that what was not written is
gone, but the machine goes on: its boot id stays, and whoever trusts that is caught.
"""

from __future__ import annotations

import random
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.torture.disk_world import (
    Program,
    ProgramFailedError,
    StoreWorld,
    store_world,
)
from tests.torture.disks import (
    FLUSH,
    LOG_FLUSH,
    MOUNT_OPTIONS,
    NO_FLUSH,
    Disk,
    made_disk,
    shelf,
    why_not_really,
)
from tests.torture.frame import Report

CUTS_MAX = 6
RUN_S_MAX = 0.8
RECOVERY_S_MAX = 0.06
"""About as long as opening takes."""


@dataclass(frozen=True)
class Cut:
    """One life of a store, from mounting to the end of its power."""

    faces: tuple[str, ...]
    """How each writer opens the store."""
    is_early: bool
    """The power goes while the store is being opened, and its tail recovered."""
    delay_s: float
    kills_first: bool
    """One of two writers is killed before, so that the other takes over."""
    lingers: bool
    """The writers meet the dead disk before they are killed."""
    early_writes: int
    """How often some pages are written before their time."""
    flush: int
    inspects: bool
    inspector_end: str
    seed: int


@dataclass(frozen=True)
class Plan:
    """All that a seed decides about one disk."""

    mount_options: str
    block_bytes: int
    cuts: tuple[Cut, ...]


def plan(seed: int, file_system: str, cuts: int | None = None) -> Plan:
    """Decide everything about one disk."""
    chance = random.Random(seed)
    options = chance.choice(MOUNT_OPTIONS[file_system])
    block_bytes = chance.choice([1_024, 4_096])
    count = cuts or chance.randint(3, CUTS_MAX)
    return Plan(options, block_bytes, tuple(_cut(chance, at) for at in range(count)))


def _cut(chance: random.Random, number: int) -> Cut:
    faces = ("sync", chance.choice(["sync", "async"]))
    is_early = number > 0 and chance.random() < 0.35
    return Cut(
        faces=faces[: 1 + chance.randrange(2)] if chance.random() < 0.9 else ("async",),
        is_early=is_early,
        delay_s=chance.uniform(0, RECOVERY_S_MAX if is_early else RUN_S_MAX),
        kills_first=chance.random() < 0.3,
        lingers=chance.random() < 0.3,
        early_writes=chance.choice([0, 1, 3, 8]),
        flush=chance.choices([NO_FLUSH, LOG_FLUSH, FLUSH], [6, 3, 1])[0],
        inspects=chance.random() < 0.6,
        inspector_end=chance.choice(["close", "leave"]),
        seed=chance.randrange(2**32),
    )


def run(
    file_system: str, seed: int, deadline: float, report: Report
) -> Mapping[str, int]:
    """Cut the power of one disk after the other."""
    reason = why_not_really(file_system)
    if reason is not None:
        report.skip(reason)
        return {}
    for round_seed in report.rounds(seed, deadline):
        wrong = cut_disk(file_system, round_seed, deadline, report.counts)
        for text in wrong:
            report.violation(text)
    return report.counts


on_ext4 = partial(run, "ext4")
on_xfs = partial(run, "xfs")


def cut_disk(
    file_system: str,
    seed: int,
    deadline: float,
    counts: Counter[str],
    cuts: int | None = None,
) -> list[str]:
    """Run the plan of a seed on a new disk, at least one cut; say what is wrong."""
    made = plan(seed, file_system, cuts)
    make_options = ("-b", str(made.block_bytes)) if file_system == "ext4" else ()
    with (
        tempfile.TemporaryDirectory(prefix="torture-") as folder,
        shelf(Path(folder)) as place,
        made_disk(file_system, place, make_options=make_options) as disk,
        # ends before the disk is unmounted
        store_world(Path(folder) / "accounts", disk.place / "store") as world,
    ):
        disk.options = made.mount_options
        disk.mount()
        boot_id = world.boot_id()
        world.create()
        counts["disks"] += 1
        wrong: list[str] = []
        for cut in made.cuts:
            if wrong or (time.monotonic() >= deadline and world.generation):
                break
            wrong = _live(world, disk, seed, cut)
            is_last = cut is made.cuts[-1] or time.monotonic() >= deadline
            if not wrong and (cut.inspects or is_last):
                wrong = world.inspect(world.start_inspector(cut.inspector_end))
                counts["inspections"] += 1
            world.kill_all()
            counts["power cuts"] += 1
            counts["during recovery"] += cut.is_early
        counts["acknowledged changes"] += world.done()
        counts["lost by relaxed buckets"] += world.lost()
        if boot_id != world.boot_id():
            wrong.append("the boot id changed: that was no such power cut")
    return wrong


def _live(world: StoreWorld, disk: Disk, seed: int, cut: Cut) -> list[str]:
    """Run writers until the power is cut, then mount again; say who failed before."""
    chance = random.Random(cut.seed)
    writers = [
        world.start_writer(seed, f"{world.generation}.{number}", face)
        for number, face in enumerate(cut.faces)
    ]
    try:
        for writer in writers:
            writer.hear_until("opening" if cut.is_early else "ready")
        _wait(disk, cut, writers, chance)
        for writer in writers:
            if writer.process.poll() not in {None, -9}:
                return [f"a writer ended before the cut: {writer.errors.read_text()}"]
    except ProgramFailedError as error:
        return [str(error)]
    world.oracle.cuts_s.append(time.monotonic())
    disk.cut(cut.flush)
    if cut.lingers:
        time.sleep(0.05)
    world.kill_all()
    disk.unmount()
    disk.mount()
    return []


def _wait(disk: Disk, cut: Cut, writers: list[Program], chance: random.Random) -> None:
    """Let the writers run; meanwhile the kernel writes early, or one is killed."""
    points = sorted(chance.uniform(0, cut.delay_s) for _ in range(cut.early_writes))
    kills_at = cut.delay_s * 0.7
    began_s = time.monotonic()
    for point in points:
        time.sleep(max(began_s + point - time.monotonic(), 0))
        disk.write_back_some(chance)
    if cut.kills_first and len(writers) > 1:
        time.sleep(max(began_s + kills_at - time.monotonic(), 0))
        writers[0].process.kill()
        writers[0].process.wait()
    time.sleep(max(began_s + cut.delay_s - time.monotonic(), 0))
