"""This project: the synchronous and the asynchronous face."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Literal, TypeAlias

import objstore
from benchmarks.peers.base import Adapter, BlockingPeer, Calls

BUCKET = "bench"
Sync: TypeAlias = Literal["always", "never"] | float


class OursBlocking(BlockingPeer):
    """`objstore.open`."""

    def __init__(self, folder: Path, sync: Sync = "always") -> None:
        self.store = objstore.open(folder / "store", sync=sync)
        self.bucket = self.store.object_store(BUCKET, create=True)

    def put(self, name: str, data: bytes) -> object:
        return self.bucket.put(name, data)

    def get(self, name: str) -> object:
        return self.bucket.get(name)

    def stream(self, name: str) -> None:
        with self.bucket.open_reader(name) as reader:
            for _ in reader:
                pass

    def delete_one(self, name: str) -> object:
        return self.bucket.delete(name)

    def list_names(self, prefix: str = "") -> int:
        return len(self.bucket.list(prefix))

    def close(self) -> None:
        self.store.close()


class OursAsync:
    """`objstore.connect`, on asyncio."""

    def __init__(self, folder: Path, sync: Sync = "always") -> None:
        self.loop = asyncio.new_event_loop()
        self.loop.run_until_complete(self._open(folder / "store", sync))

    async def _open(self, path: Path, sync: Sync) -> None:
        self.store = await objstore.connect(path, sync=sync)
        self.bucket = await self.store.object_store(BUCKET, create=True)

    def run(self, calls: Calls, tasks: int = 1) -> None:
        shares = [calls[task::tasks] for task in range(tasks)]
        if tasks == 1:
            self.loop.run_until_complete(self._work(calls))
        else:
            self.loop.run_until_complete(self._run_all(shares))

    async def _run_all(self, shares: list[Calls]) -> None:
        async with asyncio.TaskGroup() as group:
            for share in shares:
                group.create_task(self._work(share))

    async def _work(self, calls: Calls) -> None:
        put, get = self.bucket.put, self.bucket.get
        for name, data in calls:
            if data is None:
                await get(name)
            else:
                await put(name, data)

    def stream(self, name: str) -> None:
        self.loop.run_until_complete(self._stream(name))

    async def _stream(self, name: str) -> None:
        async with self.bucket.open_reader(name) as reader:
            async for _ in reader:
                pass

    def delete(self, names: Iterable[str]) -> None:
        self.loop.run_until_complete(self._delete(names))

    async def _delete(self, names: Iterable[str]) -> None:
        for name in names:
            await self.bucket.delete(name)

    def list_names(self, prefix: str = "") -> int:
        return len(self.loop.run_until_complete(self._list(prefix)))

    async def _list(self, prefix: str) -> list[objstore.ObjectInfo]:
        return await self.bucket.list(prefix)

    def cpu_s(self) -> float:
        return time.process_time()

    def server_bytes(self) -> int:
        return 0

    def close(self) -> None:
        self.loop.run_until_complete(self.store.aclose())
        self.loop.close()


ADAPTERS = [
    Adapter(
        "objstore sync",
        "synced (`sync='always'`, the default)",
        OursBlocking,
        is_ours=True,
    ),
    Adapter(
        "objstore async",
        "synced (`sync='always'`, the default)",
        OursAsync,
        is_ours=True,
    ),
    Adapter(
        "objstore sync, relaxed",
        "written, synced every second (`sync=1`)",
        lambda folder: OursBlocking(folder, 1.0),
        is_ours=True,
    ),
    Adapter(
        "objstore async, relaxed",
        "written, synced every second (`sync=1`)",
        lambda folder: OursAsync(folder, 1.0),
        is_ours=True,
    ),
]
