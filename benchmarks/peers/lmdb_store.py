"""LMDB: a key and a value an object."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.peers.base import Adapter, BlockingPeer

MAP_BYTES = 64 * 1024**3
"""Of address space, which it wants to know before."""


class LmdbPeer(BlockingPeer):
    """A transaction a put."""

    def __init__(self, folder: Path, *, sync: bool) -> None:
        lmdb: Any = import_module("lmdb")
        self._environment = lmdb.open(str(folder), map_size=MAP_BYTES, sync=sync)

    def put(self, name: str, data: bytes) -> object:
        with self._environment.begin(write=True) as transaction:
            return transaction.put(name.encode(), data)

    def get(self, name: str) -> object:
        with self._environment.begin() as transaction:
            return transaction.get(name.encode())

    def delete_one(self, name: str) -> object:
        with self._environment.begin(write=True) as transaction:
            return transaction.delete(name.encode())

    def list_names(self, prefix: str = "") -> int:
        start, count = prefix.encode(), 0
        with self._environment.begin() as transaction:
            cursor = transaction.cursor()
            if cursor.set_range(start):
                for key in cursor.iternext(keys=True, values=False):
                    if not bytes(key).startswith(start):
                        break
                    count += 1
        return count

    def close(self) -> None:
        self._environment.close()


ADAPTERS = [
    Adapter(
        "LMDB",
        "synced (the default)",
        lambda folder: LmdbPeer(folder, sync=True),
        ["lmdb"],
    ),
    Adapter(
        "LMDB unsynced",
        "written (`sync=False`)",
        lambda folder: LmdbPeer(folder, sync=False),
        ["lmdb"],
    ),
]
