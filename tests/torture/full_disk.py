"""A disk that is full, and has room again later.

While it is full, everything that was acknowledged reads and lists, and what was refused
left no trace; once there is room, the same handles go on.
"""

from __future__ import annotations

import errno
import os
import random
import tempfile
from collections import Counter
from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.torture.disk_world import (
    Program,
    ProgramFailedError,
    StoreWorld,
    store_world,
)
from tests.torture.disks import (
    MIB,
    Disk,
    fill,
    made_disk,
    memory_disk,
    shelf,
    why_not_really,
)
from tests.torture.frame import Report

SERVES_ON_A_FULL_DISK = False
"""Deletes, retention and opening work on a full disk, so that one that fails is a
violation; while this is false, it is told as known."""
MEMORY, INODES, EXT4 = "memory", "memory with few files", "ext4"
DISK_BYTES = 24 * MIB
INODES_MAX = 300
"""Of files and folders; a new store has about fifty."""
BYTES_A_FILE = 50_000
"""The bytes to spare count as so many files where files are what is short."""
SPARE_BYTES_MAX = 2 * MIB
TIMES_MAX = 3


@dataclass(frozen=True)
class Plan:
    """All that a seed decides about one disk."""

    seed: int
    kind: str
    face: str
    spare_bytes: tuple[int, ...]
    """What is left free, each time the disk is filled."""
    tidies: tuple[bool, ...]
    """Whether deletes and retention are tried, each time."""
    dies_when_full: bool
    """The writer is killed while the disk is full, in the end."""


def plan(seed: int) -> Plan:
    """Decide everything about one disk."""
    chance = random.Random(seed)
    times = range(chance.randint(1, TIMES_MAX))
    return Plan(
        seed=seed,
        kind=chance.choice([MEMORY, MEMORY, INODES, EXT4]),
        face=chance.choice(["sync", "async"]),
        spare_bytes=tuple(chance.randrange(SPARE_BYTES_MAX) for _ in times),
        tidies=tuple(chance.random() < 0.5 for _ in times),
        dies_when_full=chance.random() < 0.4,
    )


@dataclass
class Outcome:
    """What was found on one disk."""

    known: list[str] = field(default_factory=list[str])
    wrong: list[str] = field(default_factory=list[str])

    def add_weak(self, found: list[str]) -> None:
        """Tell of what a full disk keeps from working."""
        if SERVES_ON_A_FULL_DISK:
            self.wrong += found
        else:
            # what of a traceback says most
            self.known += [text.splitlines()[-1] for text in found]


def run(seed: int, deadline: float, report: Report) -> Mapping[str, int]:
    """Fill one disk after the other."""
    reason = why_not_really("ext4")
    if reason is not None:
        report.skip(reason)
        return {}
    for round_seed in report.rounds(seed, deadline):
        found = fill_disk(round_seed, report.counts)
        for text in found.known:
            report.known(text)
        for text in found.wrong:
            report.violation(text)
    return report.counts


@contextmanager
def small_disk(kind: str, folder: Path) -> Generator[tuple[Path, Disk | None]]:
    """Give a place on a small disk, and the disk if it can be mounted again."""
    with ExitStack() as ends:
        if kind == EXT4:
            image_folder = ends.enter_context(shelf(folder))
            options = "-b", "1024"
            disk = ends.enter_context(
                made_disk(
                    kind, image_folder, image_bytes=DISK_BYTES, make_options=options
                )
            )
            disk.mount()
            yield disk.place, disk
        else:
            inodes = INODES_MAX if kind == INODES else None
            place = folder / "memory"
            yield ends.enter_context(memory_disk(place, DISK_BYTES, inodes)), None


def fill_disk(seed: int, counts: Counter[str]) -> Outcome:
    """Run the plan of a seed; say what is known to be weak, and what is wrong."""
    made = plan(seed)
    found = Outcome()
    with (
        tempfile.TemporaryDirectory(prefix="torture-") as folder,
        small_disk(made.kind, Path(folder)) as (place, disk),
        store_world(Path(folder) / "accounts", place / "store") as world,
    ):
        world.create()
        try:
            _live(world, made, place / "ballast", found, counts)
        except ProgramFailedError as error:
            found.wrong.append(str(error))
            return found
        world.kill_all()
        if disk is not None:
            disk.unmount()
            disk.mount()
        found.wrong += world.inspect(world.start_inspector("close"))
        counts["acknowledged changes"] += world.done()
    counts[f"disks of {made.kind}"] += 1
    return found


def _take_room(ballast: Path, kind: str, spare_bytes: int) -> None:
    """Fill the disk up to a spare."""
    if kind != INODES:
        fill(ballast / "file", spare_bytes)
        return
    spare = spare_bytes // BYTES_A_FILE
    # the store makes files meanwhile, too
    with suppress(OSError):
        for number in range(os.statvfs(ballast).f_favail - spare):
            (ballast / str(number)).touch()


def _give_room(ballast: Path) -> None:
    for path in ballast.iterdir():
        path.unlink()


def _live(
    world: StoreWorld, made: Plan, ballast: Path, found: Outcome, counts: Counter[str]
) -> None:
    """Fill the disk and make room, as often as planned."""
    ballast.mkdir()
    writer = world.start_writer(made.seed, "filler", made.face, program="fill")
    writer.hear_until("ready")
    for number, spare_bytes in enumerate(made.spare_bytes):
        _take_room(ballast, made.kind, spare_bytes)
        found.wrong += _hear_full(writer)
        found.add_weak(_look(world, "opening while it is full"))
        counts["times full"] += 1
        if made.tidies[number]:
            writer.tell("tidy")
            (failed,) = writer.hear_until("tidied")
            found.add_weak(
                [f"{what} on a full disk: {why}" for what, why in failed.items()]
            )
            counts["deletes and retention on a full disk"] += 1
        is_last = number == len(made.spare_bytes) - 1
        if is_last and made.dies_when_full:
            writer.kill()
            found.add_weak(_look(world, "opening after a kill while it is full"))
            counts["killed while full"] += 1
        _give_room(ballast)
        if not (is_last and made.dies_when_full):
            found.wrong += _hear_going_on(writer)
            writer.tell("end" if is_last else "again")


def _hear_full(writer: Program) -> list[str]:
    failed, problem = writer.hear_until("full")
    wrong = [
        f"a full disk raises {name} with errno {number}"
        for name, number in failed
        if (name, number)
        not in {("StorageError", errno.ENOSPC), ("PoisonedError", errno.ENOSPC)}
    ]
    return wrong + ([f"while it is full: {problem}"] if problem else [])


def _hear_going_on(writer: Program) -> list[str]:
    writer.tell("go on")
    problems, problem = writer.hear_until("went on")
    wrong = [f"with room again: {text}" for text in problems]
    return wrong + ([f"with room again: {problem}"] if problem else [])


def _look(world: StoreWorld, when: str) -> list[str]:
    """Have another process read everything."""
    try:
        (bad,) = world.start("look").hear_until("looked")
    except ProgramFailedError as error:
        return [f"{when}: {error}, {when}"]
    return [f"{when} these do not read: {bad}"] if bad else []
