"""The peers: one module each, and all of their settings by name."""

from __future__ import annotations

from benchmarks.peers import (
    diskcache_store,
    files,
    lmdb_store,
    nats_server,
    obstore_files,
    ours,
    oxidb,
    sqlite,
)
from benchmarks.peers.base import Adapter

MODULES = [
    ours,
    nats_server,
    sqlite,
    lmdb_store,
    diskcache_store,
    obstore_files,
    files,
    oxidb,
]
ADAPTERS: dict[str, Adapter] = {
    adapter.name: adapter for module in MODULES for adapter in module.ADAPTERS
}
READERS = [
    "objstore sync",
    "objstore async",
    "NATS",
    "SQLite NORMAL",
    "LMDB unsynced",
    "diskcache",
    "obstore LocalStore",
    "files",
    "OxiDB",
]
"""Each store once, for what writes nothing: its synced setting reads the same way."""
