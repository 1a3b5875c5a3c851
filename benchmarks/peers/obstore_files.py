"""obstore: a file an object, by the Rust crate `object_store`."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.peers.base import Adapter, BlockingPeer


class ObstorePeer(BlockingPeer):
    """`LocalStore`, by its blocking calls."""

    def __init__(self, folder: Path) -> None:
        stores: Any = import_module("obstore.store")
        self._store = stores.LocalStore(str(folder))

    def put(self, name: str, data: bytes) -> object:
        return self._store.put(name, data)

    def get(self, name: str) -> object:
        return bytes(self._store.get(name).bytes())

    def stream(self, name: str) -> None:
        for _ in self._store.get(name).stream():
            pass

    def delete_one(self, name: str) -> object:
        return self._store.delete(name)

    def list_names(self, prefix: str = "") -> int:
        pages = self._store.list(prefix.rstrip("/") or None)
        return sum(len(page) for page in pages)

    def close(self) -> None:
        """Have nothing to close."""


ADAPTERS = [
    Adapter(
        "obstore LocalStore",
        "written (it never syncs)",
        ObstorePeer,
        ["obstore"],
    )
]
