"""diskcache, told to keep everything."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.peers.base import Adapter, BlockingPeer


class DiskcachePeer(BlockingPeer):
    """A cache in SQLite; values above 32 KiB are files."""

    def __init__(self, folder: Path) -> None:
        diskcache: Any = import_module("diskcache")
        self._cache = diskcache.Cache(
            str(folder), eviction_policy="none", size_limit=2**50, cull_limit=0
        )

    def put(self, name: str, data: bytes) -> object:
        return self._cache.set(name, data)

    def get(self, name: str) -> object:
        return self._cache[name]

    def stream(self, name: str) -> None:
        found = self._cache.get(name, read=True)
        if not isinstance(found, bytes):
            with found:
                while found.read(1 << 20):
                    pass

    def delete_one(self, name: str) -> object:
        return self._cache.delete(name)

    def list_names(self, prefix: str = "") -> int:
        return sum(str(name).startswith(prefix) for name in self._cache.iterkeys())

    def close(self) -> None:
        self._cache.close()


ADAPTERS = [
    Adapter(
        "diskcache",
        "written (WAL, `synchronous=NORMAL`; values above 32 KiB are unsynced files)",
        DiskcachePeer,
        ["diskcache"],
    )
]
