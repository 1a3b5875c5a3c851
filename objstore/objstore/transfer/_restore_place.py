"""Where a backup is restored to: beside its place first, under its name when whole."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Final

from objstore._engine import Engine
from objstore._store_directory import LOGS_NAME, STORE_NAME
from objstore.errors import BusyError, StorageError, StoreNotFoundError
from objstore.transfer._backup_target import (
    LOCK_NAME,
    bad_place,
    check_apart,
    generations,
    read_manifest,
    refusals,
    sync_directory,
    write_synced,
)
from objstore_log import (
    STORE_BYTES,
    FileStorage,
    FrozenLog,
    Lock,
    decode_store_header,
    encode_store_header,
    frozen_files,
    uninterrupted,
)

RESTORING_SUFFIX: Final = ".restoring"


def find_generation(backup: Path, generation: str | None) -> Path:
    """Give the directory of a generation: the named one, or the newest.

    Raises:
        StoreNotFoundError: there is none.
    """
    if generation is not None:
        backup = backup / generation
    if (backup / STORE_NAME).is_file():
        return backup
    try:
        found = generations(backup)
    except (FileNotFoundError, NotADirectoryError):
        found = []
    if not found or generation is not None:
        raise StoreNotFoundError(
            path=str(backup),
            reason="there is no backup in it",
            hint="name a directory that backup() wrote to, or a generation in it",
        )
    return found[-1]


class RestorePlace:
    """A store that is being made from a generation."""

    def __init__(
        self,
        backup: str | os.PathLike[str],
        target: str | os.PathLike[str],
        generation: str | None,
    ) -> None:
        self._backup = Path(os.fsdecode(backup)).absolute()
        self._wanted = generation
        self.target = Path(os.fsdecode(target)).resolve()
        """Where it is to be in the end."""
        self.unfinished = self.target.with_name(
            f".{self.target.name}{RESTORING_SUFFIX}"
        )
        self.generation = self._backup
        self.engine: Engine | None = None
        """The new store, when it is opened to be checked."""
        self._lock: Lock | None = None

    def begin(self) -> None:
        """Take the place for one restoring at a time.

        Raises:
            StoreNotFoundError: there is no such generation.
            BadStoreError: the place is taken.
            BusyError: another one restores to it.
        """
        self.generation = find_generation(self._backup, self._wanted)
        check_apart(self.target, self.generation)
        if os.path.lexists(self.target):
            is_empty = self.target.is_dir() and not any(self.target.iterdir())
            if not is_empty:
                hint = "name a new or an empty directory"
                raise bad_place(str(self.target), "is not empty", hint)
        with refusals(self.unfinished):
            storage = FileStorage(self.unfinished, create=True, force_network=True)
            with uninterrupted:
                self._lock = storage.try_lock(LOCK_NAME)
            if self._lock is None:
                raise BusyError(
                    path=str(self.unfinished),
                    holder_pid=storage.lock_holder(LOCK_NAME),
                    waited_s=0,
                )
            for entry in list(self.unfinished.iterdir()):
                if entry.is_dir():
                    shutil.rmtree(entry)
                elif entry.name != LOCK_NAME:
                    entry.unlink()
            (self.unfinished / LOGS_NAME).mkdir()
            self._write_store_file()

    def _write_store_file(self) -> None:
        """Copy what makes it a store, both halves made whole."""
        data = (self.generation / STORE_NAME).read_bytes()
        header = decode_store_header(data[: 2 * STORE_BYTES])
        if header is None:
            raise StorageError(
                path=str(self.generation / STORE_NAME),
                operation="read",
                reason="both copies of its header are damaged; restore from another "
                "generation, or copy this file from one",
            )
        write_synced(self.unfinished / STORE_NAME, encode_store_header(header))

    def logs(self) -> list[tuple[int, FrozenLog]]:
        """Give the logs of the generation as they are."""
        path = self.generation / LOGS_NAME
        storage = FileStorage(path, force_network=True, read_only=True)
        return [
            (int(name, 16), frozen_files(storage.directory(name)))
            for name in storage.names()
        ]

    def missing_logs(self, numbers: list[int]) -> list[str]:
        """Give the buckets whose logs the generation had when it was made."""
        manifest = read_manifest(self.generation)
        if manifest is None:
            return []
        return [
            name for name, number in manifest.buckets.items() if number not in numbers
        ]

    def log_directory(self, number: int) -> FileStorage:
        """Give the directory of a log of the new store; made when missing."""
        path = self.unfinished / LOGS_NAME / f"{number:08x}"
        return FileStorage(path, create=True, force_network=True)

    def open_engine(self) -> None:
        """Open the new store, to be checked and finished."""
        # Not before it is asked for, as everything that loads the log.
        from objstore._embedded import open_embedded  # noqa: PLC0415

        url = f"file:{self.unfinished}"
        self.engine = open_embedded(url, create=False, force_network=True)

    def close_engine(self) -> None:
        """Close it; idempotent."""
        engine, self.engine = self.engine, None
        if engine is not None:
            engine.close()

    def finish(self) -> None:
        """Give the new store its name.

        Guarantee: before the rename there is none, behind it the store is durable.
        """
        (self.unfinished / LOCK_NAME).unlink()
        sync_directory(self.unfinished)
        # takes the place of an empty directory, and of nothing else
        self.unfinished.rename(self.target)
        sync_directory(self.target.parent)

    def abandon(self) -> None:
        """Remove what was being made."""
        self.close_engine()
        if self._lock is not None:
            shutil.rmtree(self.unfinished, ignore_errors=True)

    def release(self) -> None:
        """Let others restore here; idempotent."""
        lock, self._lock = self._lock, None
        if lock is not None:
            lock.release()
