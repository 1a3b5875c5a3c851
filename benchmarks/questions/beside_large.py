"""How long do small durable puts take while an object of 1 GiB is put?

Hypothesis: chunks of a large put are synced in bounded pieces, so that a small put
waits for one of them at most.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import objstore
from benchmarks.bench import Bench
from benchmarks.figures import Taken, percentile, spread_of
from benchmarks.peers.ours import BUCKET

BESIDE = "small put while 1 GiB is put, p99"
THREADS, TASKS = "objstore sync, two threads", "objstore async, two tasks"
PIECE_BYTES = 8 * 1024 * 1024
PIECES = 128
SMALL_BYTES = 1024


def _taken(waits: list[float]) -> Taken:
    return Taken(percentile(waits, 0.99), spread=spread_of(waits))


def _in_threads(path: Path, piece: bytes, pieces: int, small: bytes) -> Taken:
    waits: list[float] = []
    with objstore.open(path) as store:
        bucket = store.object_store(BUCKET, create=True)

        def content() -> Iterator[bytes]:
            for _ in range(pieces):
                yield piece

        large = threading.Thread(target=lambda: bucket.put("large", content()))
        large.start()
        while large.is_alive():
            started = time.perf_counter()
            bucket.put(f"small-{len(waits) % 100}", small)
            waits.append(time.perf_counter() - started)
        large.join()
    return _taken(waits)


async def _in_tasks(path: Path, piece: bytes, pieces: int, small: bytes) -> Taken:
    waits: list[float] = []
    async with objstore.connect(path) as store:
        bucket = await store.object_store(BUCKET, create=True)

        async def content() -> AsyncIterator[bytes]:
            for _ in range(pieces):
                yield piece

        large = asyncio.create_task(bucket.put("large", content()))
        while not large.done():
            started = time.perf_counter()
            await bucket.put(f"small-{len(waits) % 100}", small)
            waits.append(time.perf_counter() - started)
        await large
    return _taken(waits)


def run(bench: Bench) -> None:
    """Answer for two threads and for two tasks of one process."""
    piece = bench.random_bytes(PIECE_BYTES)
    small = bench.random_bytes(SMALL_BYTES)
    pieces = bench.size(PIECES, 8)
    rounds = min(3, bench.rounds)
    threads = [
        _in_threads(bench.folder("threads") / "store", piece, pieces, small)
        for _ in range(rounds)
    ]
    bench.note(BESIDE, THREADS, threads)
    tasks = [
        asyncio.run(_in_tasks(bench.folder("tasks") / "store", piece, pieces, small))
        for _ in range(rounds)
    ]
    bench.note(BESIDE, TASKS, tasks)
