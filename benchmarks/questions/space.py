"""How much of the disk does a store take after everything was overwritten often?

Hypothesis: what no version needs goes with its segment, or is punched out of it, so
that live content, headers and a small rest stay.
"""

from __future__ import annotations

import objstore
from benchmarks.bench import Bench
from benchmarks.figures import Taken
from benchmarks.limits import timed
from benchmarks.peers.ours import BUCKET
from benchmarks.stores import disk_bytes

SPACE = "disk after overwriting 100 x 1 MiB twenty times, by live bytes"
RETENTION = "one retention run after it"
SUBJECT = "objstore"
MIB = 1024 * 1024


def run(bench: Bench) -> None:
    """Answer with the room that files take, by the room of the live content."""
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
