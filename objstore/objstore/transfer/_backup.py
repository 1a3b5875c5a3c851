"""Backing a live store up: what is where, in which order, and what is named damaged.

Every log is held still first, the registry before the buckets that it names. A bucket
that is deleted while it is copied makes the registry be held still again; one that is
made meanwhile is in no backup yet. So each bucket of a backup has its log.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Final

from objstore import _engine as ops
from objstore import _engine_backup as backup_ops
from objstore._drivers import Shielded
from objstore._effects import Blocking
from objstore._engine import Engine, FrozenBucket, FrozenRegistry, Steps, call
from objstore._operations_write import Progress
from objstore._ranges import whole
from objstore._types import BackupReport, Damage
from objstore.errors import BadStoreError, BucketNotFoundError, CorruptionError
from objstore.transfer._backup_target import (
    BackupTarget,
    CopiedLog,
    CopiedSegment,
    Manifest,
    refusals,
)
from objstore_log import (
    FrozenLog,
    FrozenSegment,
    ScrubToken,
    SegmentCopy,
    Storage,
    is_same_segment,
    write_head,
)
from objstore_log.errors import SequenceGoneError

REGISTRY: Final = 0
_UNKNOWN: Final = ""
"""Stands for the name of a log of which damage hides whose it is."""


class Copying:
    """What one backup, or one restoring, has copied so far."""

    def __init__(self, progress: Progress | None) -> None:
        self.bytes_copied = 0
        self.bytes_reused = 0
        self.damaged: list[Damage] = []
        self._expected = 0
        self._progress = progress

    def expect(self, size: int) -> None:
        """Say how many more bytes are to come."""
        self._expected += size

    def copied(self, size: int) -> None:
        """Count bytes that were copied."""
        self.bytes_copied += size
        self._tell()

    def reused(self, size: int) -> None:
        """Count bytes that were there."""
        self.bytes_reused += size
        self._tell()

    def _tell(self) -> None:
        if self._progress is not None:
            done = self.bytes_copied + self.bytes_reused
            self._progress(done, max(self._expected, done))


def copy_segment(
    frozen: FrozenLog, segment: FrozenSegment, target: Storage, copying: Copying
) -> Steps[SegmentCopy]:
    """Copy a segment and read it back, a piece at a time."""
    copy = yield from call(Blocking(partial(SegmentCopy, frozen, segment, target)))
    try:
        while (size := (yield from call(Blocking(copy.step)))) is not None:
            if size:
                copying.copied(size)
    finally:
        copy.close()
    return copy


def frame_damages(bucket: str, copy: SegmentCopy) -> Iterator[Damage]:
    """Give what was damaged of a segment apart from its records."""
    for found in copy.frame_damages:
        number = copy.segment.number
        yield Damage(bucket, None, None, number, found.position, found.reason)


def record_damages(bucket: str, copy: SegmentCopy) -> Iterator[Damage]:
    """Give what was damaged of a segment's records, without names."""
    for found in copy.record_damages:
        sequence = None if found.header is None else found.header.sequence
        place = (copy.segment.number, found.position)
        yield Damage(bucket, None, sequence, *place, found.reason)


def backup_store(
    engine: Engine,
    target: str,
    *,
    keep: int | None,
    progress: Progress | None,
) -> Steps[BackupReport]:
    """Add a generation to a target.

    Args:
        engine: The store.
        target: Where generations are, or are to be.
        keep: How many of them stay; all unless given.
        progress: Called with the bytes that are done and their total so far.
    """
    if keep is not None and whole("keep", keep) < 1:
        problem, hint = "is below 1", "keep one generation at least"
        raise BadStoreError(field="keep", value=keep, problem=problem, hint=hint)
    directory = yield from call(backup_ops.GetDirectory())
    store = None if directory is None else Path(directory)
    place = BackupTarget(target, engine.store_id)
    try:
        yield from call(Blocking(partial(place.open, store)))
        with refusals(place.path):
            report = yield from _Backup(engine, place, Copying(progress)).make()
            if keep is not None:
                yield from call(Blocking(partial(place.prune, keep)))
    except BaseException:
        with suppress(TimeoutError):
            yield from call(Shielded(call(Blocking(place.abandon))))
        raise
    finally:
        place.release()
    return report


class _Backup:
    """One generation under way."""

    def __init__(self, engine: Engine, place: BackupTarget, copying: Copying) -> None:
        self._engine = engine
        self._place = place
        self._copying = copying
        self._manifest = Manifest(engine.store_id)

    def make(self) -> Steps[BackupReport]:
        """Copy everything, then give it its name."""
        while True:
            registry = yield from call(backup_ops.FreezeRegistry())
            try:
                self._drop_others(registry)
                if (yield from self._copy_buckets(registry)):
                    self._copying.expect(registry.log.length)
                    log = CopiedLog(_UNKNOWN, registry.log.sequence)
                    self._manifest.logs[REGISTRY] = log
                    yield from self._copy_log(_UNKNOWN, REGISTRY, registry.log, log)
                    break
            finally:
                registry.held.release()
        for name in registry.damaged:
            reason = "damage hides which bucket it is; its log is in the backup"
            self._copying.damaged.append(Damage(name, None, None, 0, 0, reason))
        now_ns = self._engine.now_ns()
        finish = partial(
            self._place.finish, self._manifest, registry.store_file, now_ns
        )
        path = yield from call(Blocking(finish))
        logs = self._manifest.logs
        return BackupReport(
            str(path),
            {
                name: logs[number].sequence
                for name, number in self._manifest.buckets.items()
            },
            self._copying.bytes_copied,
            self._copying.bytes_reused,
            self._copying.damaged,
        )

    def _drop_others(self, registry: FrozenRegistry) -> None:
        """Forget what was copied of buckets that are deleted since."""
        live = {number: name for name, (number, _) in registry.buckets.items()}
        for number in list(self._manifest.logs):
            if number not in live and number not in registry.unclaimed:
                self._forget(number)
        self._manifest.buckets = {
            name: number for number, name in live.items() if number in self._logs
        }

    @property
    def _logs(self) -> dict[int, CopiedLog]:
        return self._manifest.logs

    def _forget(self, number: int) -> None:
        self._logs.pop(number, None)
        self._place.drop_log(number)
        buckets = self._manifest.buckets
        self._manifest.buckets = {
            name: other for name, other in buckets.items() if other != number
        }
        self._copying.damaged = [
            damage
            for damage in self._copying.damaged
            if damage.bucket in self._manifest.buckets
        ]

    def _wanted(
        self, registry: FrozenRegistry
    ) -> Iterable[tuple[str | None, int, str | None]]:
        for name, (number, incarnation) in sorted(registry.buckets.items()):
            yield name, number, incarnation
        for number in registry.unclaimed:
            yield None, number, None

    def _copy_buckets(self, registry: FrozenRegistry) -> Steps[bool]:
        """Copy the logs that are missing; false when one is deleted meanwhile."""
        is_whole = True
        with ExitStack() as holding:
            frozen: list[tuple[str | None, str | None, FrozenBucket]] = []
            for name, number, incarnation in self._wanted(registry):
                if number in self._logs:
                    continue
                try:
                    op = backup_ops.FreezeBucket(name, number, incarnation)
                    found = yield from call(op)
                except BucketNotFoundError:
                    is_whole = False
                    continue
                holding.callback(found.held.release)
                frozen.append((name, incarnation, found))
                self._copying.expect(found.log.length)
            for name, incarnation, found in frozen:
                is_there = yield from self._copy_bucket(name, incarnation, found)
                is_whole = is_whole and is_there
                found.held.release()
        return is_whole

    def _copy_bucket(
        self, name: str | None, incarnation: str | None, bucket: FrozenBucket
    ) -> Steps[bool]:
        """Copy a bucket's log; false when the bucket is deleted meanwhile."""
        log = CopiedLog(incarnation or _UNKNOWN, bucket.log.sequence)
        number = bucket.number
        self._logs[number] = log
        if name is not None:
            self._manifest.buckets[name] = number
        if bucket.damage is not None:
            damage = Damage(name or _UNKNOWN, None, None, 0, 0, bucket.damage)
            self._copying.damaged.append(damage)
        try:
            yield from self._copy_log(name or _UNKNOWN, number, bucket.log, log)
        except SequenceGoneError:
            yield from call(Blocking(partial(self._forget, number)))
            return False
        return True

    # --- one log --------------------------------------------------------------

    def _copy_log(
        self, name: str, number: int, frozen: FrozenLog, log: CopiedLog
    ) -> Steps[None]:
        opening = partial(self._place.log_directory, number)
        target = yield from call(Blocking(opening))
        for segment in frozen.segments:
            known = yield from call(
                Blocking(partial(self._reuse, number, frozen, segment, log))
            )
            if known is None:
                known = yield from self._copy_segment(name, frozen, segment, target)
            elif known.is_damaged:
                yield from self._name_damage(name, segment)
            log.segments[segment.name] = known
        yield from call(Blocking(partial(write_head, frozen, target)))

    def _reuse(
        self, number: int, frozen: FrozenLog, segment: FrozenSegment, log: CopiedLog
    ) -> CopiedSegment | None:
        """Link what the newest generation has; `None` when it is to be copied."""
        earlier = self._place.earlier_segment(number, log.incarnation, segment)
        if earlier is None:
            return None
        storage, known = earlier
        # fewer bytes than then: what was given back is not to be kept for ever
        if is_same_segment(frozen, segment, storage) != known.data_bytes:
            return None
        if not self._place.link(number, segment.name):
            return None
        self._copying.reused(segment.length)
        return known

    def _copy_segment(
        self, name: str, frozen: FrozenLog, segment: FrozenSegment, target: Storage
    ) -> Steps[CopiedSegment]:
        copy = yield from copy_segment(frozen, segment, target, self._copying)
        before = len(self._copying.damaged)
        self._copying.damaged += frame_damages(name, copy)
        if not name:
            # no chunks are in the registry, so no holes
            self._copying.damaged += record_damages(name, copy)
        elif copy.record_damages:
            yield from self._name_damage(name, segment)
        return CopiedSegment(
            segment.length,
            copy.data_bytes,
            segment.is_sealed,
            len(self._copying.damaged) > before,
        )

    def _name_damage(self, name: str, segment: FrozenSegment) -> Steps[None]:
        """Have the engine say whom the damage of a segment's records hits."""
        if not name:
            return
        token: object | None = ScrubToken(segment.number, 256)
        while isinstance(token, ScrubToken) and token.segment == segment.number:
            try:
                page = yield from call(ops.VerifyRecords(name, token))
            except (BucketNotFoundError, CorruptionError):
                return
            token = page.token
            self._copying.damaged += [
                Damage(
                    name, one.name, one.sequence, one.segment, one.position, one.reason
                )
                for one in page.damaged
                if one.segment == segment.number and one.position < segment.length
            ]
