"""The directory that backups go to: generations, one of which is being made.

BACKUPS                       whose backups these are
BACKUPS.lock                  held by the backup that is being made
<number>-<time>/              a generation: a store of its own
    BACKUP                    what the next one needs to know of it
unfinished/, removed-*/       what was being made or removed; means nothing
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import orjson

from objstore._digest import digest_text
from objstore._store_directory import LOGS_NAME, STORE_NAME
from objstore.errors import BadStoreError, BusyError, ObjStoreError, StorageError
from objstore_log import FileStorage, FrozenSegment, Lock, uninterrupted

TARGET_NAME: Final = "BACKUPS"
LOCK_NAME: Final = "BACKUPS.lock"
MANIFEST_NAME: Final = "BACKUP"
UNFINISHED_NAME: Final = "unfinished"
REMOVED_PREFIX: Final = "removed-"
FORMAT: Final = 1
_GENERATION: Final = re.compile(r"[0-9]{8}-[0-9]{8}T[0-9]{6}Z")


@dataclass(frozen=True, slots=True)
class CopiedSegment:
    """What a generation knows of a segment in it."""

    length: int
    data_bytes: int
    """What lay in no hole where it came from."""
    is_sealed: bool
    is_damaged: bool
    """Something needed in it was damaged already."""


@dataclass(slots=True)
class CopiedLog:
    """What a generation knows of a log in it."""

    incarnation: str
    """Hex digits of the log id; empty for the registry and for unclaimed ones."""
    sequence: int
    segments: dict[str, CopiedSegment] = field(default_factory=dict[str, CopiedSegment])


@dataclass(slots=True)
class Manifest:
    """What stands in a generation beside the store."""

    store_id: str
    buckets: dict[str, int] = field(default_factory=dict[str, int])
    """Name to the number of its log."""
    logs: dict[int, CopiedLog] = field(default_factory=dict[int, CopiedLog])


def _checksum(body: bytes) -> bytes:
    return digest_text(hashlib.sha256(body).digest()).encode()


def encode_manifest(manifest: Manifest) -> bytes:
    """Write it as a line of JSON, with a line that tells damage."""
    body = orjson.dumps(
        {
            "format": FORMAT,
            "store_id": manifest.store_id,
            "buckets": manifest.buckets,
            "logs": {
                f"{number:08x}": {
                    "log_id": log.incarnation,
                    "sequence": log.sequence,
                    "segments": {
                        name: {
                            "length": segment.length,
                            "data_bytes": segment.data_bytes,
                            "sealed": segment.is_sealed,
                            "damaged": segment.is_damaged,
                        }
                        for name, segment in log.segments.items()
                    },
                }
                for number, log in manifest.logs.items()
            },
        }
    )
    return body + b"\n" + _checksum(body) + b"\n"


def decode_manifest(data: bytes) -> Manifest | None:
    """Read it; `None` when it is damaged or of another format."""
    body, _, rest = data.partition(b"\n")
    if rest != _checksum(body) + b"\n":
        return None
    fields: dict[str, Any] = orjson.loads(body)
    if fields["format"] != FORMAT:
        return None
    logs = {
        int(number, 16): CopiedLog(
            log["log_id"],
            log["sequence"],
            {
                name: CopiedSegment(
                    one["length"], one["data_bytes"], one["sealed"], one["damaged"]
                )
                for name, one in log["segments"].items()
            },
        )
        for number, log in fields["logs"].items()
    }
    return Manifest(fields["store_id"], fields["buckets"], logs)


def bad_place(path: str, problem: str, hint: str) -> BadStoreError:
    """Give the error for a place where this must not go."""
    return BadStoreError(field="target", value=path, problem=problem, hint=hint)


def check_apart(path: Path, store: Path) -> None:
    """Raise `BadStoreError` when one of two directories is in the other."""
    own, other = path.resolve(), store.resolve()
    if own == other or other in own.parents or own in other.parents:
        problem = f"is not apart from the store {store}"
        raise bad_place(str(path), problem, "name a directory outside of the store")


def generations(path: Path) -> list[Path]:
    """Give the finished generations of a target, oldest first."""
    return sorted(
        entry
        for entry in path.iterdir()
        if _GENERATION.fullmatch(entry.name) and (entry / STORE_NAME).is_file()
    )


def read_manifest(generation: Path) -> Manifest | None:
    """Give what a generation knows of itself; `None` when nobody can tell."""
    try:
        return decode_manifest((generation / MANIFEST_NAME).read_bytes())
    except FileNotFoundError:
        return None


@contextmanager
def refusals(path: Path) -> Generator[None]:
    """Have what the system refuses leave the block as a `StorageError`."""
    try:
        yield
    except OSError as error:
        if isinstance(error, ObjStoreError):
            raise
        raise StorageError(
            path=str(error.filename or path),
            operation="back up to",
            reason=error.strerror or str(error),
            errno=error.errno,
        ) from error


class BackupTarget:
    """A directory of generations, while one is being made."""

    def __init__(self, path: str | os.PathLike[str], store_id: str) -> None:
        self.path = Path(path).absolute()
        self._store_id = store_id
        self._lock: Lock | None = None
        self._earlier: Path | None = None
        self._known: Manifest | None = None
        self.unfinished = self.path / UNFINISHED_NAME

    # --- beginning ------------------------------------------------------------

    def open(self, store: Path | None) -> None:
        """Take the directory, made when missing, for one backup at a time.

        Args:
            store: the directory of the store; `None` when it is in memory.

        Raises:
            BadStoreError: it is in the store, holds other things or another store's
                backups.
            BusyError: another backup is being made in it.
        """
        if store is not None:
            check_apart(self.path, store)
        self._check_place()
        with refusals(self.path):
            storage = FileStorage(self.path, create=True, force_network=True)
            with uninterrupted:
                # Ctrl-C behind the locking: nobody would ever free it
                self._lock = storage.try_lock(LOCK_NAME)
            if self._lock is None:
                raise BusyError(
                    path=str(self.path / LOCK_NAME),
                    holder_pid=storage.lock_holder(LOCK_NAME),
                    waited_s=0,
                )
            self._claim()
            self._remove_leftovers()
            found = generations(self.path)
            self._earlier = found[-1] if found else None
            if self._earlier is not None:
                self._known = read_manifest(self._earlier)
            (self.unfinished / LOGS_NAME).mkdir(parents=True)

    def _check_place(self) -> None:
        hint = "name a new or an empty directory, or one with backups of this store"
        if not os.path.lexists(self.path):
            return
        if not self.path.is_dir():
            raise bad_place(str(self.path), "is no directory", hint)
        names = {entry.name for entry in self.path.iterdir()}
        foreign = names - {LOCK_NAME, f"{TARGET_NAME}.tmp"}
        if foreign and TARGET_NAME not in names:
            problem = f"holds {min(foreign)!r} and no backups"
            raise bad_place(str(self.path), problem, hint)

    def _claim(self) -> None:
        """Say whose backups are here, or see that it is this store."""
        place = self.path / TARGET_NAME
        if not place.exists():
            fields = {"format": FORMAT, "store_id": self._store_id}
            write_synced(place, orjson.dumps(fields) + b"\n")
            return
        try:
            found: dict[str, Any] = orjson.loads(place.read_bytes())
        except orjson.JSONDecodeError:
            found = {}
        if found.get("format") != FORMAT:
            problem = f"has a {TARGET_NAME} file that this version cannot read"
        elif found.get("store_id") != self._store_id:
            problem = "holds backups of another store"
        else:
            return
        raise bad_place(str(self.path), problem, "name another directory")

    def _remove_leftovers(self) -> None:
        for entry in list(self.path.iterdir()):
            if entry.name == UNFINISHED_NAME or entry.name.startswith(REMOVED_PREFIX):
                shutil.rmtree(entry)

    # --- logs -----------------------------------------------------------------

    def log_directory(self, number: int) -> FileStorage:
        """Give the directory of a log in what is being made; made when missing."""
        path = self._log_path(self.unfinished, number)
        return FileStorage(path, create=True, force_network=True)

    def drop_log(self, number: int) -> None:
        """Remove a log from what is being made; missing is fine."""
        with suppress(FileNotFoundError):
            shutil.rmtree(self._log_path(self.unfinished, number))

    def earlier_segment(
        self, number: int, incarnation: str, segment: FrozenSegment
    ) -> tuple[FileStorage, CopiedSegment] | None:
        """Give what the newest generation has under a sealed segment's name."""
        if self._known is None or self._earlier is None or not segment.is_sealed:
            return None
        log = self._known.logs.get(number)
        known = None if log is None else log.segments.get(segment.name)
        if log is None or known is None or log.incarnation != incarnation:
            return None
        if known.length != segment.length or not known.is_sealed:
            return None
        path = self._log_path(self._earlier, number)
        try:
            storage = FileStorage(path, force_network=True, read_only=True)
        except OSError:
            # somebody removed it; it is copied once more
            return None
        return storage, known

    def link(self, number: int, name: str) -> bool:
        """Have a segment of the newest generation in this one, too."""
        assert self._earlier is not None
        source = self._log_path(self._earlier, number) / name
        try:
            os.link(source, self._log_path(self.unfinished, number) / name)
        except OSError:
            # no such file system, or too many names: it is copied
            return False
        return True

    def _log_path(self, generation: Path, number: int) -> Path:
        return generation / LOGS_NAME / f"{number:08x}"

    # --- ending ---------------------------------------------------------------

    def finish(self, manifest: Manifest, store_file: bytes, now_ns: int) -> Path:
        """Give what was made its name; all files of logs are synced by then.

        Guarantee: before the rename the target is as it was, behind it the generation
        is durable.
        """
        unfinished = self.unfinished
        write_synced(unfinished / STORE_NAME, store_file)
        write_synced(unfinished / MANIFEST_NAME, encode_manifest(manifest))
        sync_directory(unfinished)
        found = generations(self.path)
        number = int(found[-1].name[:8]) + 1 if found else 1
        time = datetime.fromtimestamp(now_ns // 1_000_000_000, UTC)
        final = self.path / f"{number:08d}-{time:%Y%m%dT%H%M%SZ}"
        unfinished.rename(final)
        sync_directory(self.path)
        return final

    def prune(self, keep: int) -> None:
        """Remove all generations but the newest ones."""
        for generation in generations(self.path)[:-keep]:
            # renamed first: half of one must not look whole
            removed = self.path / f"{REMOVED_PREFIX}{generation.name}"
            generation.rename(removed)
            sync_directory(self.path)
            shutil.rmtree(removed)

    def abandon(self) -> None:
        """Remove what was being made, so that its space comes back."""
        if self._lock is not None:
            shutil.rmtree(self.unfinished, ignore_errors=True)

    def release(self) -> None:
        """Let other backups be made here; idempotent."""
        lock, self._lock = self._lock, None
        if lock is not None:
            lock.release()


def write_synced(path: Path, data: bytes) -> None:
    """Make a file, whole and durable or not at all."""
    temporary = path.with_name(f"{path.name}.tmp")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
