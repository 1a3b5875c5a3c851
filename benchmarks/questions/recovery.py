"""How soon is a store back after a kill, and after its catalog is lost?

Hypothesis: an opener scans the active segment from the last proven place, so a kill
costs the reading of 1 GiB at most; the catalog of a million objects is filled again
from footers and tails, at tens of thousands of rows a second.
"""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

from benchmarks import child
from benchmarks.bench import Bench
from benchmarks.figures import Taken
from benchmarks.questions.million import COUNT, filled
from benchmarks.stores import fill

KILL = "first get after a kill, 1 GiB in the active segment"
REBUILD = "first get without the catalog, a million objects"
SUBJECT = "objstore"
SEGMENT_BYTES = 1024**3
OBJECT_BYTES = 16 * 1024
RECORDS_BYTES = 1024
"""What the records of an object take beside its content, and some more."""


def filled_and_killed(folder: str, count: int, seed: int) -> None:
    """Fill the active segment, then die as by `kill -9`, in a new process."""

    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    fill(
        Path(folder),
        count,
        seed,
        size_bytes=OBJECT_BYTES,
        segment_bytes=SEGMENT_BYTES,
        sync="always",
        at_end=die,
    )


def killed(bench: Bench) -> None:
    """Answer for a kill."""
    size = bench.size(SEGMENT_BYTES, SEGMENT_BYTES // 64)
    count = size // (OBJECT_BYTES + RECORDS_BYTES)
    found: list[Taken] = []
    for _ in range(min(2, bench.rounds)):
        folder = bench.folder("killed")
        place = "questions.recovery:filled_and_killed"
        arguments = {"folder": str(folder), "count": count, "seed": bench.seed}
        process = child.start(place, **arguments)
        process.communicate()
        assert process.returncode == -signal.SIGKILL, process.returncode
        opened = child.call("questions.million:opened", folder=str(folder), count=count)
        found.append(Taken(opened["first_s"]))
    bench.note(KILL, SUBJECT, found)


def rebuilt(bench: Bench) -> None:
    """Answer for a lost catalog."""
    count = bench.size(COUNT, 20_000)
    source, folder = filled(bench, count), bench.folder("rebuilt")
    shutil.copytree(source, folder, dirs_exist_ok=True)
    for path in folder.glob("store/logs/*/catalog.sqlite*"):
        path.unlink()
    place = "questions.million:opened"
    opened = child.call(place, folder=str(folder), count=count)
    taken = Taken(opened["first_s"], opened["cpu_s"])
    bench.note(REBUILD, SUBJECT, [taken])
