"""How soon does a watcher see a change after its acknowledgement?

Hypothesis: in the same process it is woken by the commit, within a switch of tasks; in
another process it has to notice the head, which costs its wait for news.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import objstore
from benchmarks import child
from benchmarks.bench import Bench
from benchmarks.figures import Taken, percentile, spread_of
from benchmarks.peers.ours import BUCKET

SEEN = "change seen by a watcher after the ack"
SAME_ASYNC = "same process, async"
SAME_SYNC = "same process, threads"
OTHER = "other process"
FAN_OUT = "a put that so many watchers see, 32 tasks put"
COUNT = 200
WATCHERS = (1, 10, 100)
FANNED_OUT = 1_000
PUTTERS = 32
PAUSE_S = 0.005
"""Between two puts, so that each finds the watcher asleep."""
DATA_BYTES = 100


def _taken(acked_s: Mapping[int, float], seen_s: Mapping[int, float]) -> Taken:
    """Compare the clocks; who saw it before the ack waited for nothing."""
    waits = [max(0.0, seen_s[sequence] - at) for sequence, at in acked_s.items()]
    return Taken(percentile(waits, 0.5), spread=spread_of(waits))


async def _in_one_loop(path: Path, count: int) -> Taken:
    acked_s: dict[int, float] = {}
    seen_s: dict[int, float] = {}
    async with objstore.connect(path) as store:
        bucket = await store.object_store(BUCKET, create=True)

        async def follow(watch: objstore.Watch) -> None:
            async for change in watch:
                seen_s[change.seq] = time.monotonic()
                if len(seen_s) == count:
                    return

        async with bucket.watch(start="new") as watch:
            follower = asyncio.create_task(follow(watch))
            for number in range(count):
                info = await bucket.put(f"{number % 10}", bytes(DATA_BYTES))
                acked_s[info.seq] = time.monotonic()
                await asyncio.sleep(PAUSE_S)
            await follower
    return _taken(acked_s, seen_s)


def _put_all(path: Path, count: int) -> dict[int, float]:
    acked_s: dict[int, float] = {}
    with objstore.open(path) as store:
        bucket = store.object_store(BUCKET)
        for number in range(count):
            info = bucket.put(f"{number % 10}", bytes(DATA_BYTES))
            acked_s[info.seq] = time.monotonic()
            time.sleep(PAUSE_S)
    return acked_s


def _in_threads(path: Path, count: int) -> Taken:
    seen_s: dict[int, float] = {}
    with objstore.open(path) as store:
        bucket = store.object_store(BUCKET, create=True)
        with bucket.watch(start="new") as watch:

            def follow() -> None:
                for change in watch:
                    seen_s[change.seq] = time.monotonic()
                    if len(seen_s) == count:
                        return

            follower = threading.Thread(target=follow)
            follower.start()
            acked_s = _put_all(path, count)
            follower.join()
    return _taken(acked_s, seen_s)


def followed(path: str, count: int) -> dict[str, object]:
    """Watch in another process; say when it began, and when each change was seen."""
    seen_s: dict[int, float] = {}
    with objstore.open(path) as store:
        bucket = store.object_store(BUCKET)
        with bucket.watch(start="new") as watch:
            print("watching", flush=True)
            for change in watch:
                seen_s[change.seq] = time.monotonic()
                if len(seen_s) == count:
                    break
    return {"seen_s": seen_s}


def _in_other_process(path: Path, count: int) -> Taken:
    with objstore.open(path) as store:
        store.object_store(BUCKET, create=True)
    process = child.start("questions.watchers:followed", path=str(path), count=count)
    assert process.stdout is not None, "asked for"
    process.stdout.readline()
    try:
        acked_s = _put_all(path, count)
    except BaseException:
        # it would wait for changes for ever
        process.kill()
        process.wait()
        raise
    seen_s = child.result_of(process)["seen_s"]
    return _taken(acked_s, {int(key): value for key, value in seen_s.items()})


async def _fanned_out(path: Path, watchers: int, count: int) -> Taken:
    """Put by many tasks while so many watchers follow; until all have seen all."""
    async with objstore.connect(path, sync="never") as store:
        bucket = await store.object_store(BUCKET, create=True)
        ready = asyncio.Event()
        waiting = iter(range(watchers))

        async def follow() -> None:
            async with bucket.watch(start="new") as watch:
                if next(waiting) == watchers - 1:
                    ready.set()
                seen = 0
                async for _ in watch:
                    seen += 1
                    if seen == count:
                        return

        async def put(task: int) -> None:
            for number in range(task, count, PUTTERS):
                await bucket.put(f"object-{number}", bytes(DATA_BYTES))

        followers = [asyncio.create_task(follow()) for _ in range(watchers)]
        await ready.wait()
        busy, started = time.process_time(), time.perf_counter()
        await asyncio.gather(*map(put, range(PUTTERS)), *followers)
        elapsed_s = time.perf_counter() - started
        return Taken(elapsed_s / count, (time.process_time() - busy) / count)


def fan_out(bench: Bench) -> None:
    """Answer for many watchers of one busy bucket."""
    count = bench.size(FANNED_OUT, 100)
    for watchers in WATCHERS:
        taken = [
            asyncio.run(_fanned_out(bench.folder("watched"), watchers, count))
            for _ in range(min(3, bench.rounds))
        ]
        bench.note(FAN_OUT, "objstore async", taken, x=watchers)


def run(bench: Bench) -> None:
    """Answer for one watcher that sleeps when the change comes."""
    count = bench.size(COUNT, 30)
    path = bench.folder("watched") / "store"
    ways: dict[str, Callable[[], Taken]] = {
        SAME_ASYNC: lambda: asyncio.run(_in_one_loop(path, count)),
        SAME_SYNC: lambda: _in_threads(path, count),
        OTHER: lambda: _in_other_process(path, count),
    }
    for subject, way in ways.items():
        bench.note(SEEN, subject, [way() for _ in range(bench.rounds)])
