"""A process whose work is interrupted at random moments, again and again.

`python -m tests.proofs.interrupt_worker DIRECTORY SYNC SECONDS SEED`: prints a line of
JSON with how many interrupts came, by work, and what is wrong at the end.
"""

from __future__ import annotations

import json
import random
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable

import objstore
from objstore._embedded import EmbeddedEngine
from objstore.blocking import ObjectStore, Store
from objstore.errors import ObjectNotFoundError
from objstore_log._commit_loop import CommitLoop

SMALL = bytes(100)
LARGE = bytes(range(256)) * 12_000
LATEST_S = 0.004


def reopen(place: str) -> None:
    """Open and close."""
    with objstore.open(place, retention_interval=None) as store:
        store.object_store("b").get("stays")


def write(bucket: ObjectStore) -> None:
    """Write in pieces."""
    with bucket.open_writer("written") as writer:
        for _ in range(6):
            writer.write(LARGE[: 1 << 19])


def read(bucket: ObjectStore) -> None:
    """Read a version that is kept from reclaiming."""
    with bucket.open_reader("stays") as reader:
        reader.read()


def change_names(bucket: ObjectStore) -> None:
    """Copy, rename, delete."""
    bucket.copy("stays", "copied")
    bucket.rename("copied", "renamed", overwrite=True)
    bucket.delete("renamed")


def works(
    place: str, store: Store, bucket: ObjectStore
) -> dict[str, Callable[[], object]]:
    """Name what is interrupted."""
    return {
        "put": lambda: bucket.put("small", SMALL),
        "large put": lambda: bucket.put("large", LARGE),
        "write": lambda: write(bucket),
        "read": lambda: read(bucket),
        "names": lambda: change_names(bucket),
        "retention": store.run_retention,
        "reopen": lambda: reopen(place),
    }


def storm(
    works: dict[str, Callable[[], object]], seconds: float, chance: random.Random
) -> Counter[str]:
    """Do everything again and again, with an interrupt at any moment."""
    interrupts: Counter[str] = Counter()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for name, work in works.items():
            try:
                signal.setitimer(signal.ITIMER_REAL, chance.uniform(1e-5, LATEST_S))
                work()
                signal.setitimer(signal.ITIMER_REAL, 0)
            except KeyboardInterrupt:
                interrupts[name] += 1
            except ObjectNotFoundError:
                # an interrupted change of names left the next one without its source
                signal.setitimer(signal.ITIMER_REAL, 0)
    return interrupts


def _committers() -> int:
    """Count the threads that commit for a log of this process."""
    return sum(
        frame.f_code is CommitLoop._run.__code__
        for bottom in sys._current_frames().values()
        for frame, _ in traceback.walk_stack(bottom)
    )


def main(place: str, sync: str, seconds: str, seed: str) -> None:
    """Interrupt, then look whether all works."""
    signal.signal(signal.SIGALRM, signal.default_int_handler)
    chance = random.Random(int(seed))
    with objstore.open(place, retention_interval=None) as store:
        mode = sync if sync in ("always", "never") else float(sync)
        bucket = store.create_object_store("b", sync=mode, changes_ttl=0)
        bucket.put("stays", LARGE)
        interrupts = storm(works(place, store, bucket), float(seconds), chance)
        for name in ("small", "large", "written"):
            bucket.put(name, SMALL)
        report = store.verify()
        engine = store._engine
        assert isinstance(engine, EmbeddedEngine)
        log = engine._store.bucket("b")
        wrong = {
            "unfinished": len(log.unfinished),
            "damaged": len(report.damaged),
            "stays": bucket.get("stays") != LARGE,
        }
        wrong["committers"] = _committers() > 2
    sys.stdout.write(json.dumps({"interrupts": interrupts, "wrong": wrong}) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
