"""One face for stores of every kind, each with the settings that its row states.

Everybody imports what is theirs and no more, so that a peer that is not installed
misses in its own rows alone, and a process starts as fast as its peer lets it.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias

BUCKET = "prove"
MAP_BYTES = 512 * 1024 * 1024
"""Of address space, which LMDB wants to know before."""
Sync: TypeAlias = Literal["always", "never"] | float


class MissingError(Exception):
    """There is no such object, says the store."""


class Store(Protocol):
    """An open store."""

    def put(self, name: str, content: bytes) -> None:
        """Store an object; when this returns, it is acknowledged."""
        ...

    def delete(self, name: str) -> None:
        """Remove an object."""
        ...

    def get_all(self, names: list[str]) -> dict[str, bytes | Exception]:
        """Read objects; an error stands where one was raised."""
        ...

    def names(self) -> list[str]:
        """List all names."""
        ...

    def told(self) -> list[str]:
        """Give what opening reported of damage."""
        ...

    def check(self) -> list[str] | None:
        """Run the store's own check: what it found; `None` when it has none."""
        ...

    def close(self) -> None:
        """Close as a program does that ends."""
        ...


class OneByOne:
    """What most peers have in common."""

    def get(self, name: str) -> bytes:
        """Read one object."""
        raise NotImplementedError

    def get_all(self, names: list[str]) -> dict[str, bytes | Exception]:
        """Read one after the other."""
        found: dict[str, bytes | Exception] = {}
        for name in names:
            try:
                found[name] = self.get(name)
            except MissingError:
                found[name] = MissingError()
            except Exception as error:  # noqa: BLE001 - any error tells of the loss
                # its frames would keep what they hold: in LMDB a reader each
                found[name] = error.with_traceback(None)
        return found

    def told(self) -> list[str]:
        """Say nothing: this peer reports nothing when it is opened."""
        return []

    def check(self) -> list[str] | None:
        """Have no check."""
        return None

    def close(self) -> None:
        """Have nothing to close."""


class ObjstoreStore(OneByOne):
    """This project."""

    def __init__(self, folder: Path, sync: Sync = "always") -> None:
        objstore: Any = import_module("objstore")
        self._missing: type[Exception] = objstore.ObjectNotFoundError
        self._store = objstore.open(folder, sync=sync)
        self._bucket = self._store.object_store(BUCKET, create=True)

    def put(self, name: str, content: bytes) -> None:
        self._bucket.put(name, content)

    def delete(self, name: str) -> None:
        try:
            self._bucket.delete(name)
        except self._missing as error:
            raise MissingError from error

    def get(self, name: str) -> bytes:
        try:
            content: bytes = self._bucket.get(name)
        except self._missing as error:
            raise MissingError from error
        return content

    def names(self) -> list[str]:
        return [str(info.name) for info in self._bucket.list()]

    def told(self) -> list[str]:
        return [str(damage) for damage in self._store.damaged]

    def check(self) -> list[str] | None:
        return [str(damage) for damage in self._store.verify().damaged]

    def close(self) -> None:
        self._store.close()


class SqliteStore(OneByOne):
    """Blobs in a table."""

    def __init__(self, folder: Path, synchronous: str = "FULL") -> None:
        folder.mkdir(exist_ok=True)
        self._database = sqlite3.connect(folder / "objects.db", isolation_level=None)
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute(f"PRAGMA synchronous={synchronous}")
        self._database.execute(
            "CREATE TABLE IF NOT EXISTS objects"
            " (name TEXT PRIMARY KEY, content BLOB NOT NULL)"
        )

    def put(self, name: str, content: bytes) -> None:
        statement = "INSERT OR REPLACE INTO objects VALUES (?, ?)"
        self._database.execute(statement, (name, content))

    def delete(self, name: str) -> None:
        self._database.execute("DELETE FROM objects WHERE name = ?", (name,))

    def get(self, name: str) -> bytes:
        statement = "SELECT content FROM objects WHERE name = ?"
        row = self._database.execute(statement, (name,)).fetchone()
        if row is None:
            raise MissingError
        content: bytes = row[0]
        return content

    def names(self) -> list[str]:
        rows = self._database.execute("SELECT name FROM objects").fetchall()
        return [str(name) for (name,) in rows]

    def check(self) -> list[str] | None:
        rows = self._database.execute("PRAGMA integrity_check").fetchall()
        return [str(text) for (text,) in rows if text != "ok"]

    def close(self) -> None:
        self._database.close()


class LmdbStore(OneByOne):
    """One key and value an object."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        lmdb: Any = import_module("lmdb")
        self._environment = lmdb.open(str(folder), map_size=MAP_BYTES)

    def put(self, name: str, content: bytes) -> None:
        with self._environment.begin(write=True) as transaction:
            transaction.put(name.encode(), content)

    def delete(self, name: str) -> None:
        with self._environment.begin(write=True) as transaction:
            transaction.delete(name.encode())

    def get(self, name: str) -> bytes:
        with self._environment.begin() as transaction:
            content: bytes | None = transaction.get(name.encode())
        if content is None:
            raise MissingError
        return content

    def names(self) -> list[str]:
        with self._environment.begin() as transaction:
            keys = transaction.cursor().iternext(keys=True, values=False)
            return [bytes(key).decode(errors="replace") for key in keys]

    def close(self) -> None:
        self._environment.close()


class DiskcacheStore(OneByOne):
    """A cache that is told to keep everything."""

    def __init__(self, folder: Path) -> None:
        diskcache: Any = import_module("diskcache")
        self._cache = diskcache.Cache(
            str(folder), eviction_policy="none", size_limit=2**40, cull_limit=0
        )

    def put(self, name: str, content: bytes) -> None:
        self._cache[name] = content

    def delete(self, name: str) -> None:
        self._cache.delete(name)

    def get(self, name: str) -> bytes:
        try:
            content: bytes = self._cache[name]
        except KeyError as error:
            raise MissingError from error
        return content

    def names(self) -> list[str]:
        return [str(name) for name in self._cache]

    def check(self) -> list[str] | None:
        return [str(warning.message) for warning in self._cache.check()]

    def close(self) -> None:
        self._cache.close()


class ObstoreStore(OneByOne):
    """A file an object, by the Rust crate `object_store`."""

    def __init__(self, folder: Path) -> None:
        stores: Any = import_module("obstore.store")
        self._store = stores.LocalStore(str(folder), mkdir=True)

    def put(self, name: str, content: bytes) -> None:
        self._store.put(name, content)

    def delete(self, name: str) -> None:
        # it says FileNotFoundError where there is nothing
        with suppress(FileNotFoundError):
            self._store.delete(name)

    def get(self, name: str) -> bytes:
        try:
            return bytes(self._store.get(name).bytes())
        except FileNotFoundError as error:
            raise MissingError from error

    def names(self) -> list[str]:
        return [str(meta["path"]) for page in self._store.list() for meta in page]


class FilesStore(OneByOne):
    """What a careful, or a hasty, programmer writes: write aside, then rename."""

    def __init__(self, folder: Path, *, is_synced: bool = True) -> None:
        folder.mkdir(exist_ok=True)
        self._folder = folder
        self._is_synced = is_synced
        self._sync_folder(folder.parent)

    def put(self, name: str, content: bytes) -> None:
        path = self._folder / name
        if not path.parent.exists():
            path.parent.mkdir(parents=True)
            self._sync_folder(self._folder)
        aside = path.with_name(f"{path.name}.tmp")
        with aside.open("wb") as file:
            file.write(content)
            file.flush()
            if self._is_synced:
                os.fsync(file.fileno())
        aside.replace(path)
        self._sync_folder(path.parent)

    def delete(self, name: str) -> None:
        path = self._folder / name
        path.unlink(missing_ok=True)
        self._sync_folder(path.parent)

    def get(self, name: str) -> bytes:
        try:
            return (self._folder / name).read_bytes()
        except FileNotFoundError as error:
            raise MissingError from error

    def names(self) -> list[str]:
        return [
            path.relative_to(self._folder).as_posix()
            for path in self._folder.rglob("*")
            if path.is_file() and path.suffix != ".tmp"
        ]

    def _sync_folder(self, folder: Path) -> None:
        if self._is_synced:
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
