"""A sync that really fails, and what the next process makes of the tail.

The disk is an image with holes on a memory disk that is full: a page that falls into a
hole cannot be written, the kernel reports that once and forgets the page. Until the
disk is unmounted the page cache still shows what is not there, so a process that
trusts the tail, or syncs it again, loses it.
"""

from __future__ import annotations

import errno
import hashlib
import os
import random
import tempfile
from collections import Counter
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.torture.disk_world import (
    Program,
    ProgramFailedError,
    StoreWorld,
    store_world,
)
from tests.torture.disks import (
    MIB,
    PAGE_BYTES,
    SHELF_BYTES,
    Disk,
    call,
    fill,
    made_disk,
    shelf,
    why_not_really,
)
from tests.torture.frame import Report

DISK_BYTES = {"ext4": 48 * MIB, "xfs": 320 * MIB}
SPARE_PAGES_MAX = 250
"""How many pages can be written before the disk fails."""


@dataclass(frozen=True)
class Plan:
    """All that a seed decides about one failure."""

    seed: int
    file_system: str
    face: str
    spare_pages: int
    opens_before: bool
    """The successor has the store open before the sync fails."""
    meets_broken_disk: bool
    """A successor tries before the disk is mended, too."""
    successor_face: str


def plan(seed: int) -> Plan:
    """Decide everything about one failure."""
    chance = random.Random(seed)
    return Plan(
        seed=seed,
        file_system=chance.choice(["ext4", "ext4", "xfs"]),
        face=chance.choice(["sync", "async"]),
        spare_pages=chance.randrange(SPARE_PAGES_MAX),
        opens_before=chance.random() < 0.3,
        meets_broken_disk=chance.random() < 0.4,
        successor_face=chance.choice(["sync", "async"]),
    )


def run(seed: int, deadline: float, report: Report) -> Mapping[str, int]:
    """Let one sync after the other fail."""
    reason = why_not_really("ext4", "xfs")
    if reason is not None:
        report.skip(reason)
        return {}
    for round_seed in report.rounds(seed, deadline):
        for text in fail_sync(round_seed, report.counts):
            report.violation(text)
    return report.counts


@contextmanager
def failing_disk(file_system: str, folder: Path) -> Generator[tuple[Disk, Path]]:
    """Give a mounted disk of which only what is free has holes, and its shelf.

    A full shelf makes every page fail that falls into a hole; the journal and all other
    places that the file system keeps for itself are filled, and go on.
    """
    with (
        shelf(folder, SHELF_BYTES) as place,
        made_disk(
            file_system,
            place,
            image_bytes=DISK_BYTES[file_system],
            make_options=("-E", "nodiscard", "-b", "4096")
            if file_system == "ext4"
            else ("-K",),
            is_allocated=True,
        ) as disk,
    ):
        # else the driver says that a request succeeded of which the end failed
        queue = Path("/sys/block") / Path(disk.device).name / "queue"
        (queue / "max_sectors_kb").write_text("4")
        disk.mount()
        yield disk, place


def fail_sync(seed: int, counts: Counter[str]) -> list[str]:
    """Run the plan of a seed; say what is wrong."""
    made = plan(seed)
    with (
        tempfile.TemporaryDirectory(prefix="torture-") as folder,
        failing_disk(made.file_system, Path(folder)) as (disk, place),
        store_world(Path(folder) / "accounts", disk.place / "store") as world,
    ):
        world.create()
        call("fstrim", disk.place)
        try:
            wrong = _live(world, made, disk, place / "ballast", counts)
        except ProgramFailedError as error:
            if not _is_read_only(disk):
                return [str(error)]
            wrong = []
        counts["file systems that became read-only"] += _is_read_only(disk)
        if not _is_read_only(disk):
            wrong += world.inspect(world.start_inspector("leave"), is_firm=False)
        shown = _digests(world.store)
        world.kill_all()
        disk.unmount()
        disk.mount()
        counts["files shown that were not on the disk"] += sum(
            digest != shown.get(path) for path, digest in _digests(world.store).items()
        )
        wrong += world.inspect(world.start_inspector("leave"))
        counts["acknowledged changes"] += world.done()
    counts[f"failures on {made.file_system}"] += 1
    return wrong


def _is_read_only(disk: Disk) -> bool:
    """Say whether the kernel took the file system out of service for the failure."""
    try:
        os.close(os.open(disk.place / "store" / "STORE", os.O_RDWR))
    except OSError as error:
        # newer kernels do not show it in the flags
        return error.errno == errno.EROFS
    return False


def _live(
    world: StoreWorld, made: Plan, disk: Disk, ballast: Path, counts: Counter[str]
) -> list[str]:
    """Let a writer's sync fail, mend the disk, let a successor take over."""

    def start_successor() -> Program:
        face = made.successor_face
        successor = world.start_writer(
            made.seed, "successor", face, program="write_some"
        )
        successor.hear_until("ready")
        return successor

    successor = start_successor() if made.opens_before else None
    writer = world.start_writer(made.seed, "first", made.face, program="write_poisoned")
    writer.hear_until("ready")
    fill(ballast, made.spare_pages * PAGE_BYTES)
    failures, wrong = writer.hear_until("failed")
    problems = [f"after the failure: {wrong}"] if wrong else []
    is_poisoned = failures[-1] == "PoisonedError"
    counts["poisoned writers"] += is_poisoned
    if made.meets_broken_disk:
        # whatever it is told, it must believe no more than is there
        second = world.start_writer(
            made.seed, "second", "sync", program="write_poisoned"
        )
        second.hear_until("failed")
    ballast.unlink()
    successor = successor or start_successor()
    successor.tell("go on")
    (refusals,) = successor.hear_until("wrote")
    if refusals and not _is_read_only(disk):
        problems.append(f"on the mended disk a successor fails: {refusals}")
    writer.tell("go on")
    refused, wrong = writer.hear_until("went on")
    if wrong:
        problems.append(f"after the successor's changes: {wrong}")
    if is_poisoned and refused != "PoisonedError":
        problems.append(f"a put after a failed sync was {refused}")
    return problems


def _digests(store: Path) -> dict[Path, str]:
    """Sum up what the segments hold, as a reader of the files is shown."""
    return {
        path: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in store.rglob("*.seg")
    }
