"""What does a durable put or a get of 1 KiB cost beside the machine's own limits?

Hypothesis: a put is one append and one fdatasync plus 20-100 us; a get is one pread,
cheaper than opening a file.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import anyio

import objstore
from benchmarks.measure import Row, compare, open_read_close, raw_append, timed
from objstore import blocking

SIZE = 1024
COUNT = 300
TASKS = 32


def _sync_put(bucket: blocking.ObjectStore) -> float:
    data = os.urandom(SIZE)
    numbers = iter(range(COUNT))
    return timed(lambda: bucket.put(f"sync/{next(numbers)}", data), COUNT)


def _sync_get(bucket: blocking.ObjectStore) -> float:
    numbers = iter(range(COUNT))
    return timed(lambda: bucket.get(f"sync/{next(numbers)}"), COUNT)


async def _async_put(path: Path, tasks: int) -> float:
    data = os.urandom(SIZE)
    async with objstore.connect(path) as store:
        bucket = await store.object_store("bench")

        async def work(task: int) -> None:
            for number in range(COUNT // tasks):
                await bucket.put(f"async/{task}/{number}", data)

        started = time.perf_counter()
        async with anyio.create_task_group() as group:
            for task in range(tasks):
                group.start_soon(work, task)
        return (time.perf_counter() - started) / (COUNT // tasks * tasks)


def run(directory: Path) -> list[Row]:
    """Answer the question."""
    path = directory / "small"
    with objstore.open(path) as store:
        bucket = store.create_object_store("bench")
        rows = compare(
            "durable put, 1 KiB",
            (
                "raw append + fdatasync",
                lambda: raw_append(directory / "raw", SIZE, COUNT),
            ),
            ("sync put", lambda: _sync_put(bucket)),
            ("async put, 1 task", lambda: anyio.run(_async_put, path, 1)),
            ("async put, 32 tasks", lambda: anyio.run(_async_put, path, TASKS)),
        )
        file = directory / "one"
        file.write_bytes(os.urandom(SIZE))
        rows += compare(
            "get, 1 KiB",
            ("open + read + close", lambda: open_read_close(file, COUNT)),
            ("sync get, verified", lambda: _sync_get(bucket)),
        )
    return rows
