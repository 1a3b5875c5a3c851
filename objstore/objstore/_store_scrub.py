"""The background scrub of one store: a stretch at a time, through all logs in turn.

One process at a time holds the scrub's lock, and nobody waits for it. Where it is goes
into a small file, so that the next process goes on there; its law is docs/format.md,
"Scrub". Damage is told of once, and kept for `store.damaged`.
"""

from __future__ import annotations

import logging
import threading
from contextlib import suppress
from dataclasses import dataclass, replace
from struct import Struct
from typing import TYPE_CHECKING, Final, NamedTuple

from xxhash import xxh3_64_intdigest

from objstore._engine import REGISTRY, DamageFound, ScrubStep, Stop
from objstore._registry import REGISTRY_NUMBER
from objstore._store_directory import SCRUB_LOCK_NAME, SCRUB_NAME
from objstore.errors import (
    BucketExistsError,
    BucketNotFoundError,
    CorruptionError,
    ObjStoreError,
)
from objstore_log import Lock, ScrubToken, Storage, patience

if TYPE_CHECKING:
    from objstore._embedded_store import EmbeddedStore

STRETCH_BYTES: Final = 256 * 1024
"""What one step reads: a few milliseconds of one processor."""
ROUND_PAUSE_S: Final = 24 * 3600.0
"""From the end of a round to the next one."""
PLACE_EVERY_BYTES: Final = 16 * 1024 * 1024
"""How much is read again at most after a crash."""
CATALOG_PAUSE_S: Final = 0.02
"""A check of a catalog rests for so long behind each millisecond of work."""
BUSY_WAIT_S: Final = 1.0
"""Closing does not wait longer for another process that holds a log's lock."""
_MAGIC: Final = b"OBJSCRUB"
_VERSION: Final = 1
_PLACE: Final = Struct("<8sH6xQQQQQ")
_U64: Final = Struct("<Q")
_NS_PER_S: Final = 1_000_000_000
_logger = logging.getLogger("objstore")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a round is."""

    log: int = 0
    """Number of the log; those below are done."""
    segment: int = 0
    position: int = 0
    began_ns: int = 0
    ended_ns: int = 0
    """When the last round ended, 0 while one goes on."""


def encode_place(place: Place) -> bytes:
    """Give the bytes of the file."""
    fields = _PLACE.pack(
        _MAGIC,
        _VERSION,
        place.log,
        place.segment,
        place.position,
        place.began_ns,
        place.ended_ns,
    )
    return fields + _U64.pack(xxh3_64_intdigest(fields))


def decode_place(data: bytes) -> Place | None:
    """Read the file; `None` when it is damaged, of another version, or none."""
    if len(data) != _PLACE.size + _U64.size:
        return None
    fields = data[: _PLACE.size]
    if _U64.unpack_from(data, _PLACE.size)[0] != xxh3_64_intdigest(fields):
        return None
    magic, version, *values = _PLACE.unpack(fields)
    return Place(*values) if (magic, version) == (_MAGIC, _VERSION) else None


class _Told(NamedTuple):
    """What was told of already."""

    log: int
    segment: int
    position: int
    name: str | None


class StoreScrub:
    """The scrub of one store in this process."""

    def __init__(self, store: EmbeddedStore) -> None:
        self._store = store
        self._stepping = threading.Lock()
        """Held during a step: closing waits for its end."""
        self._is_closed = False
        self._lock: Lock | None = None
        self._place: Place = Place()
        self._unsaved_bytes = 0
        self._told: set[_Told] = set()
        self._owner: Stop | None = None
        self.found: dict[str, list[DamageFound]] = {}
        """What is damaged, by bucket; the registry's under `REGISTRY`."""
        self.bytes = 0
        self.rounds = 0

    @property
    def _storage(self) -> Storage:
        return self._store.directory.storage

    def step(self, stopped: Stop) -> ScrubStep:
        """Check the next stretch, if it is this process's turn, and the caller's.

        Args:
            stopped: Of the caller; another one has its turn when it is set.
        """
        with self._stepping:
            if self._is_closed or stopped.is_set() or not self._is_turn_of(stopped):
                return ScrubStep(0, is_idle=True)
            if not self._begin():
                return ScrubStep(0, is_idle=True)
            return self._step(stopped)

    def _is_turn_of(self, stopped: Stop) -> bool:
        owner = self._owner
        if owner is None or owner.is_set():
            self._owner = owner = stopped
        return owner is stopped

    def _begin(self) -> bool:
        """Take the lock, and the place where the last one ended."""
        if self._lock is None:
            self._lock = self._storage.try_lock(SCRUB_LOCK_NAME)
            if self._lock is None:
                return False
            self._place = self._load() or Place()
        now_ns = self._now_ns()
        ended_ns = self._place.ended_ns
        if ended_ns:
            # a clock that was set back must not put the next round off for years
            if 0 <= now_ns - ended_ns < ROUND_PAUSE_S * _NS_PER_S:
                return False
            self._place = Place()
        if not self._place.began_ns:
            self._place = replace(self._place, began_ns=now_ns)
        return True

    def _step(self, stopped: Stop) -> ScrubStep:
        number, bucket = self._next_log()
        if bucket is None:
            self._place = replace(self._place, ended_ns=self._now_ns())
            self.rounds += 1
            self._save()
            return ScrubStep(0, is_idle=True)
        place = self._place
        if number != place.log:
            place = replace(place, log=number, segment=0, position=0)
        try:
            size, token = self._check(place, number, bucket, stopped)
        except (ObjStoreError, OSError):
            # one that cannot be read now does not keep the others from their turn
            self._place = replace(place, log=number + 1, segment=0, position=0)
            raise
        if token is None:
            self._place = replace(place, log=number + 1, segment=0, position=0)
        else:
            self._place = replace(place, segment=token.segment, position=token.position)
        self._count(size)
        return ScrubStep(size)

    def _check(
        self, place: Place, number: int, bucket: str, stopped: Stop
    ) -> tuple[int, ScrubToken | None]:
        """Check a stretch of a log, behind the last one its catalog, too."""
        start: ScrubToken | None = None
        if place.segment:
            start = ScrubToken(place.segment, place.position)
        try:
            page = self._store.health(bucket).scrub(start, STRETCH_BYTES)
            for found in page.damaged:
                self._tell(number, bucket, found)
            token = page.token
            assert token is None or isinstance(token, ScrubToken)
            if token is None:
                self._check_catalog(bucket, stopped)
        except (BucketNotFoundError, BucketExistsError):
            return 0, None
        except CorruptionError as error:
            self._tell(number, bucket, _found_of(error))
            return 0, None
        return page.bytes, token

    def _check_catalog(self, bucket: str, stopped: Stop) -> None:
        """Check a log's catalog, slowly; a damaged one is made anew, as ever."""

        def pause() -> bool:
            # true ends the check
            return stopped.wait(CATALOG_PAUSE_S) or self._is_closed

        health = self._store.health(bucket)
        is_sound = health.is_catalog_sound(pause)
        if is_sound or stopped.is_set() or self._is_closed:
            return
        with patience(BUSY_WAIT_S):
            repaired = health.repair_catalog(dry_run=False)
        for done in repaired:
            what = _what(bucket, done.name)
            _logger.warning("%s: %s: %s", self._store.url, what, done.detail)

    def _count(self, size: int) -> None:
        self.bytes += size
        self._unsaved_bytes += size
        if self._unsaved_bytes >= PLACE_EVERY_BYTES:
            self._save()

    def _next_log(self) -> tuple[int, str | None]:
        """Give the next log by number, with the bucket that it is of."""
        if self._place.log == REGISTRY_NUMBER:
            return REGISTRY_NUMBER, REGISTRY
        left = [
            (entry.number, entry.name)
            for entry in self._store.registry.entries()
            if not entry.is_deleted and entry.number >= self._place.log
        ]
        return min(left, default=(0, None))

    def _tell(self, number: int, bucket: str, found: DamageFound) -> None:
        """Keep a finding; the first time, say what to do."""
        kept = self.found.setdefault(bucket, [])
        if found not in kept:
            kept.append(found)
        told = _Told(number, found.segment, found.position, found.name)
        if told in self._told:
            return
        self._told.add(told)
        _logger.warning(
            "%s: %s is damaged (log %08x, segment %08x, position %d): %s; "
            "run 'objstore verify', or verify(), for the whole extent",
            self._store.url,
            _what(bucket, found.name),
            number,
            found.segment,
            found.position,
            found.reason,
        )

    def metrics(self) -> dict[str, int]:
        """Give what it has done in this process, and what it found."""
        return {
            "scrub_bytes_total": self.bytes,
            "scrub_rounds_total": self.rounds,
            "scrub_damaged": sum(len(kept) for kept in self.found.values()),
        }

    def forget(self, bucket: str) -> None:
        """Forget findings in a bucket, which is being repaired."""
        self.found.pop(bucket, None)

    def close(self) -> None:
        """End it at once: wait for a step that goes on, keep the place."""
        self._is_closed = True
        with self._stepping:
            if self._lock is not None:
                with suppress(OSError):
                    self._save()
                self._lock.release()
                self._lock = None

    # --- its place ------------------------------------------------------------

    def _now_ns(self) -> int:
        return self._store.directory.environment.now_ns()

    def _load(self) -> Place | None:
        try:
            file = self._storage.open(SCRUB_NAME)
        except FileNotFoundError:
            return None
        try:
            return decode_place(file.read_at(0, _PLACE.size + _U64.size))
        finally:
            file.close()

    def _save(self) -> None:
        """Write the place down; a torn one only begins a round anew."""
        self._unsaved_bytes = 0
        file = self._storage.open(SCRUB_NAME, create=True)
        try:
            file.write_at(0, [encode_place(self._place)])
        finally:
            file.close()


def _what(bucket: str, name: str | None) -> str:
    if bucket == REGISTRY:
        return "the registry of buckets" if name is None else f"bucket {name!r}"
    return f"bucket {bucket!r}" if name is None else f"{name!r} in bucket {bucket!r}"


def _found_of(error: CorruptionError) -> DamageFound:
    """Give what keeps a log from being opened."""
    return DamageFound(
        None, error.sequence, error.segment, error.position, error.reason
    )
