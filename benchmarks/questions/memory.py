"""How much memory does each store take, for small objects and for a large one?

Hypothesis: ours holds a few slabs and bounded caches, whatever the object; stores that
know whole values only hold one more copy of it at least.
"""

from __future__ import annotations

import os
from pathlib import Path

from benchmarks import child
from benchmarks.bench import Bench
from benchmarks.figures import Taken
from benchmarks.peers import ADAPTERS, READERS

SMALL = "peak memory beside the content: 2,000 puts and gets of 1 KiB"
LARGE = "peak memory beside the content: put and get of 64 MiB, streamed where it can"
SMALL_BYTES, SMALL_COUNT = 1024, 2_000
SERVED_COUNT = 500
LARGE_BYTES = 64 * 1024 * 1024


def used(name: str, folder: str, size: int, count: int) -> dict[str, float]:
    """Put and get in a new process."""
    datas = [os.urandom(size) for _ in range(count)]
    names = [f"object-{number}" for number in range(count)]
    before = child.resident_bytes()["VmRSS"]
    peer = ADAPTERS[name].open(Path(folder))
    peer.run(list(zip(names, datas, strict=True)))
    for each in names:
        peer.stream(each)
    memory_bytes = child.resident_bytes()["VmHWM"] + peer.server_bytes()
    peer.close()
    return {"more_bytes": max(0, memory_bytes - before)}


def run(bench: Bench) -> None:
    """Answer with the peak, of every process that a store needs."""
    for group, size, count in (
        (SMALL, SMALL_BYTES, bench.size(SMALL_COUNT, 100)),
        (LARGE, bench.size(LARGE_BYTES, LARGE_BYTES // 8), 1),
    ):
        for name in READERS:
            adapter = ADAPTERS[name]
            if adapter.missing() is not None:
                continue
            if not (bench.with_peers or adapter.is_ours):
                continue
            found = child.call(
                "questions.memory:used",
                name=name,
                folder=str(bench.folder(name)),
                size=size,
                count=min(count, SERVED_COUNT) if name == "NATS" else count,
            )
            bench.note(group, name, [Taken(found["more_bytes"])], unit="B")
