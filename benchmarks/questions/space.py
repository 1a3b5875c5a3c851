"""How much of the disk does a store take after everything was overwritten often?

Hypothesis: what no version needs goes with its segment, or is punched out of it, so
that live content, headers and a small rest stay; of small objects, which no hole fits
into, because segments of which most is dead are copied without that.
"""

from __future__ import annotations

import time
from pathlib import Path

import objstore
from benchmarks.bench import Bench
from benchmarks.figures import Taken
from benchmarks.limits import timed
from benchmarks.peers.ours import BUCKET
from benchmarks.stores import disk_bytes

SPACE = "disk after overwriting 100 x 1 MiB twenty times, by live bytes"
RETENTION = "one retention run after it"
MIX = "disk after 1 KiB and 256 KiB objects were overwritten at random and half deleted"
MIX_RETENTION = "retention after that"
SUBJECT = "objstore"
MIB = 1024 * 1024
KIB = 1024
MIX_SEGMENT_BYTES = 4 * MIB
"""So that the segment that is appended to, which stays as it is, does not decide."""
MIX_CHANGES_TTL_S = 0.05
"""Changes that are still to be told of stay, whatever their content."""


def run(bench: Bench) -> None:
    """Answer with the room that files take, by the room of the live content."""
    _overwrite(bench)
    _mix(bench)


def _mix(bench: Bench) -> None:
    """Compare with a store into which only the living objects were put, once."""
    small, large = bench.size(8_000, 2_000), bench.size(60, 10)
    sizes = {f"small-{number}": KIB for number in range(small)}
    sizes |= {f"large-{number}": 256 * KIB for number in range(large)}
    names = list(sizes)
    living = [*names, *bench.random.choices(names, k=4 * len(names))]
    gone = set(bench.random.sample(names, len(names) // 2))
    used, took = _filled(bench.folder("mixed"), bench, sizes, living, gone)
    fresh, _ = _filled(bench.folder("fresh"), bench, sizes, names, gone, is_fresh=True)
    bench.note(MIX, SUBJECT, [Taken(used / fresh)], unit="x")
    bench.note(MIX_RETENTION, SUBJECT, [took])


def _filled(
    folder: Path,
    bench: Bench,
    sizes: dict[str, int],
    puts: list[str],
    gone: set[str],
    *,
    is_fresh: bool = False,
) -> tuple[int, Taken]:
    """Give the room of the segments of a store behind its retention."""
    with objstore.open(folder / "store", retention_interval=None) as store:
        bucket = store.create_object_store(
            BUCKET,
            segment_bytes=MIX_SEGMENT_BYTES,
            changes_ttl=MIX_CHANGES_TTL_S,
            sync="never",
        )
        for name in puts:
            if not is_fresh or name not in gone:
                bucket.put(name, bench.random_bytes(sizes[name]))
        if not is_fresh:
            for name in gone:
                bucket.delete(name)
        time.sleep(2 * MIX_CHANGES_TTL_S)
        took = timed(store.run_retention)
    return sum(path.stat().st_blocks for path in folder.rglob("*.seg")), took


def _overwrite(bench: Bench) -> None:
    objects, times = bench.size(100, 20), bench.size(20, 4)
    folder = bench.folder("overwritten")
    with objstore.open(folder / "store", retention_interval=None) as store:
        bucket = store.create_object_store(BUCKET)
        for _ in range(times):
            for number in range(objects):
                bucket.put(f"object-{number}", bench.random_bytes(MIB))
        took = timed(store.run_retention)
        live_bytes = bucket.status().size
        now = disk_bytes(folder) / live_bytes
    closed = disk_bytes(folder) / live_bytes
    bench.note(SPACE, SUBJECT, [Taken(now)], unit="x")
    bench.note(SPACE, f"{SUBJECT}, closed", [Taken(closed)], unit="x")
    bench.note(RETENTION, SUBJECT, [took])
