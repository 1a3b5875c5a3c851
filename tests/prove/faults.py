"""The faults: each takes a peer and a seed, and gives the verdict on its store."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.prove.judge import Found, Verdict, judge
from tests.prove.peers import Peer
from tests.prove.subject import Subject, WorkerFailedError
from tests.torture.disks import (
    MIB,
    NO_FLUSH,
    fill,
    made_disk,
    memory_disk,
    shelf,
    why_not,
    why_not_really,
)

from objstore_log._posix import start_write_back

STEPS_BEFORE = 30
"""Done, closed and on the disk before the fault comes."""
STEPS_SMALL = 150
"""The same where every object is small."""
STEPS_CONTROL = 1_000
CONTROL = "none"
CUT_AFTER_S = (0.4, 2.4)
KILL_AFTER_S = (0.1, 0.8)
FLIPS = 8
"""Of one store; each on a copy of its own."""
SHELF_BYTES = 256 * MIB
SMALL_BYTES, BALLAST_BYTES = 24 * MIB, 8 * MIB
PAGE_BYTES = 4_096


def _why_no_memory_disk() -> str | None:
    """Say why this machine mounts no file system in memory, after trying."""
    reason = why_not()
    try:
        if reason is None:
            with (
                tempfile.TemporaryDirectory() as folder,
                memory_disk(Path(folder) / "disk", MIB),
            ):
                pass
    except subprocess.CalledProcessError as error:
        reason = f"mount failed: {error.stderr.strip()}"
    return reason


@dataclass(frozen=True)
class Trial:
    """What came of one fault."""

    verdict: Verdict
    notes: str = ""
    """What a reader of the result may want to know of this one."""


Run = Callable[[Peer, int], list[Trial]]


@dataclass(frozen=True)
class Fault:
    """A row."""

    name: str
    title: str
    run: Run
    needs: Callable[[], str | None] = lambda: None
    """Says why this machine cannot have it."""
    rests: bool = False
    """Whether it does not matter how the bytes came to the disk."""


@contextmanager
def _subject(
    peer: Peer, seed: int, *, is_small: bool = False
) -> Generator[tuple[Subject, Path]]:
    """Have a folder for everything, and a subject that keeps its account there."""
    with tempfile.TemporaryDirectory(prefix="prove-") as folder:
        scratch = Path(folder) / "scratch"
        scratch.mkdir()
        yield Subject(peer, seed, scratch, is_small), Path(folder)


def _trial(subject: Subject, place: Path, until_s: float | None = None) -> Trial:
    """Look at what is there and judge it."""
    found = subject.inspect(place)
    return Trial(judge(subject.acts(until_s), found), _notes(found))


def _notes(found: Found) -> str:
    """Give the first of what was said."""
    said = [found.open_error or "", *found.told, *found.errors.values()]
    return next((text for text in said if text), "")[:200]


def control(peer: Peer, seed: int) -> list[Trial]:
    """Do nothing to a store that was closed, so that the harness shows its own faults.

    With enough objects that whatever a worker forgets to give back runs out.
    """
    with _subject(peer, seed, is_small=True) as (subject, folder):
        place = folder / "store"
        subject.prepare(place, STEPS_CONTROL)
        return [_trial(subject, place)]


def kill(peer: Peer, seed: int) -> list[Trial]:
    """Kill the process that writes, and its server if it has one."""
    chance = random.Random(f"kill {seed}")
    with _subject(peer, seed) as (subject, folder):
        place = folder / "store"
        subject.prepare(place, STEPS_BEFORE)
        with subject.start("write", place, STEPS_BEFORE) as worker:
            worker.hear("ready")
            time.sleep(chance.uniform(*KILL_AFTER_S))
            worker.kill()
        return [_trial(subject, place)]


def power_cut(file_system: str, peer: Peer, seed: int) -> list[Trial]:
    """End the file system under load, without its journal, and mount it again."""
    chance = random.Random(f"cut {seed}")
    with (
        _subject(peer, seed) as (subject, folder),
        shelf(folder, 2 * SHELF_BYTES) as images,
        made_disk(file_system, images) as disk,
    ):
        disk.mount()
        place = disk.place / "store"
        subject.prepare(place, STEPS_BEFORE)
        # nothing of it is in doubt
        disk.unmount()
        disk.mount()
        with subject.start("write", place, STEPS_BEFORE) as worker:
            worker.hear("ready")
            _load(disk.place, chance)
            cut_s = time.monotonic()
            disk.cut(NO_FLUSH)
            worker.kill()
        disk.unmount()
        disk.mount()
        return [_trial(subject, place, cut_s)]


def _load(disk: Path, chance: random.Random) -> None:
    """Wait; meanwhile the system writes back some pages, as a busy one does."""
    after_s = chance.uniform(*CUT_AFTER_S)
    points = sorted(chance.uniform(0, after_s) for _ in range(chance.randint(0, 4)))
    bystander = chance.random() < 0.5
    began_s = time.monotonic()
    for point in points:
        time.sleep(max(began_s + point - time.monotonic(), 0))
        _write_back_some(disk, chance)
        if bystander:
            # another program syncs a file of its own, and with it the journal
            with (disk / "bystander").open("ab") as file:
                file.write(b"x" * PAGE_BYTES)
                file.flush()
                os.fsync(file.fileno())
    time.sleep(max(began_s + after_s - time.monotonic(), 0))


def _write_back_some(disk: Path, chance: random.Random) -> None:
    """Have a few pages of any files written early, in no order."""
    files = sorted(path for path in disk.rglob("*") if path.is_file())
    for path in chance.sample(files, min(3, len(files))):
        with suppress(FileNotFoundError), path.open("rb") as file:
            pages = os.fstat(file.fileno()).st_size // PAGE_BYTES + 1
            start, count = chance.randrange(pages), chance.choice([1, 2, pages])
            start_write_back(file.fileno(), start * PAGE_BYTES, count * PAGE_BYTES)


def bit_flips(
    peer: Peer, seed: int, flips: int = FLIPS, *, is_small: bool = False
) -> list[Trial]:
    """Flip single bits of a closed store, each in a fresh copy."""
    chance = random.Random(f"flips {seed}")
    trials: list[Trial] = []
    with _subject(peer, seed, is_small=is_small) as (subject, folder):
        whole, copy = folder / "whole", folder / "copy"
        subject.prepare(whole, STEPS_SMALL if is_small else STEPS_BEFORE)
        for _ in range(flips):
            shutil.copytree(whole, copy)
            where = _flip_one(copy, peer, chance)
            trial = _trial(subject, copy)
            trials.append(Trial(trial.verdict, f"{where}: {trial.notes}"))
            shutil.rmtree(copy)
    return trials


def _flip_one(place: Path, peer: Peer, chance: random.Random) -> str:
    """Flip a bit, every bit of the data files as likely as any other."""
    files = sorted(
        path
        for path in place.rglob("*")
        if path.is_file() and path.name not in peer.leaves_out
    )
    sizes = [path.stat().st_size for path in files]
    path = chance.choices(files, sizes)[0]
    data = bytearray(path.read_bytes())
    position, bit = chance.randrange(len(data)), chance.randrange(8)
    data[position] ^= 1 << bit
    path.write_bytes(data)
    return f"{path.relative_to(place)} byte {position} bit {bit}"


def full_disk(peer: Peer, seed: int) -> list[Trial]:
    """Fill a small disk by putting; delete; make room; go on."""
    with (
        _subject(peer, seed) as (subject, folder),
        memory_disk(folder / "disk", SMALL_BYTES) as disk,
    ):
        place, ballast = disk / "store", disk / "ballast"
        fill(ballast, SMALL_BYTES - BALLAST_BYTES)
        notes: list[str] = []
        deletes, went_on = False, False
        with subject.start("fill", place, 0) as worker:
            try:
                worker.hear("full")
                deletes = worker.hear("deleted")
                ballast.unlink()
                worker.tell()
                went_on = worker.hear("went on")
                worker.hear("closed")
            except WorkerFailedError as error:
                notes.append(f"the writer {error}")
        ballast.unlink(missing_ok=True)
        trial = _trial(subject, place)
        trial.verdict.full_deletes = int(deletes)
        trial.verdict.full_went_on = int(went_on)
        return [Trial(trial.verdict, "; ".join([*notes, trial.notes]))]


FAULTS = [
    Fault(CONTROL, "No fault, to check the harness", control),
    Fault(
        "power-cut-ext4",
        "Power cut, ext4",
        partial(power_cut, "ext4"),
        needs=partial(why_not_really, "ext4"),
    ),
    Fault(
        "power-cut-xfs",
        "Power cut, xfs",
        partial(power_cut, "xfs"),
        needs=partial(why_not_really, "xfs"),
    ),
    Fault("kill", "Killed process", kill),
    Fault("bit-flip", "One flipped bit, objects of all sizes", bit_flips, rests=True),
    Fault(
        "bit-flip-small",
        "One flipped bit, objects of 1 KiB",
        partial(bit_flips, is_small=True),
        rests=True,
    ),
    Fault("full-disk", "Full disk", full_disk, needs=_why_no_memory_disk),
]
BY_NAME = {fault.name: fault for fault in FAULTS}
