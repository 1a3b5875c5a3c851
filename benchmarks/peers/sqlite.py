"""Blobs in a table of SQLite, with a write-ahead log."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from threading import Lock

from benchmarks.peers.base import Adapter, BlockingPeer


class SqlitePeer(BlockingPeer):
    """One connection: more of them gain no writer, and wait for each other longer."""

    def __init__(self, folder: Path, synchronous: str) -> None:
        self._lock = Lock()
        self._database = sqlite3.connect(
            folder / "objects.db", isolation_level=None, check_same_thread=False
        )
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute(f"PRAGMA synchronous={synchronous}")
        self._database.execute(
            "CREATE TABLE IF NOT EXISTS objects"
            " (name TEXT PRIMARY KEY, content BLOB NOT NULL)"
        )

    def put(self, name: str, data: bytes) -> object:
        statement = "INSERT OR REPLACE INTO objects VALUES (?, ?)"
        with self._lock:
            return self._database.execute(statement, (name, data))

    def get(self, name: str) -> object:
        statement = "SELECT content FROM objects WHERE name = ?"
        with self._lock:
            return self._database.execute(statement, (name,)).fetchone()[0]

    def delete_one(self, name: str) -> object:
        with self._lock:
            statement = "DELETE FROM objects WHERE name = ?"
            return self._database.execute(statement, (name,))

    def list_names(self, prefix: str = "") -> int:
        statement = (
            "SELECT name, length(content) FROM objects"
            " WHERE name >= ? AND name < ? ORDER BY name"
        )
        borders = (prefix, f"{prefix}\U0010ffff")
        return len(self._database.execute(statement, borders).fetchall())

    def close(self) -> None:
        self._database.close()


ADAPTERS = [
    Adapter(
        "SQLite FULL",
        "synced (WAL, `synchronous=FULL`)",
        lambda folder: SqlitePeer(folder, "FULL"),
    ),
    Adapter(
        "SQLite NORMAL",
        "written, synced at checkpoints (WAL, `synchronous=NORMAL`)",
        lambda folder: SqlitePeer(folder, "NORMAL"),
    ),
]
