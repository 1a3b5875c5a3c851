"""Making a store from a generation of a backup."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeVar, cast

from objstore import _drivers
from objstore import _engine as ops
from objstore import _engine_backup as backup_ops
from objstore._drivers import Shielded
from objstore._effects import Blocking, Effect
from objstore._engine import Engine, Steps, call
from objstore._operations_verify import verify_store
from objstore._operations_write import Progress
from objstore._types import BackupReport, Damage
from objstore.errors import ObjStoreError
from objstore.transfer._backup import Copying, copy_segment
from objstore.transfer._backup_target import refusals
from objstore.transfer._restore_place import RestorePlace
from objstore_log import write_head

T = TypeVar("T")
GAP: Final = 1 << 40
"""Sequences that a restored bucket leaves out: more than its original will use.

So a cursor of what came behind the backup stands in no place of the restored bucket,
now and later, and is told so instead of being given other changes.
"""
_NO_ENGINE: Final[Any] = None
"""For drivers of what yields nothing but effects."""


@dataclass(frozen=True, slots=True)
class On(Effect[T]):
    """Carry logic out on an engine of its own."""

    own: Engine
    steps: Steps[T]

    def perform(self, engine: Engine) -> T:  # noqa: ARG002 - the effect's shape
        """Carry it out, blocking this thread."""
        return _drivers.run(self.own, self.steps)

    async def aperform(self, engine: Engine) -> T:  # noqa: ARG002 - the same
        """Carry it out on the event loop."""
        return await _drivers.arun(self.own, self.steps)


def restore_steps(
    place: RestorePlace, progress: Progress | None
) -> Steps[BackupReport]:
    """Copy a generation, open the copy, check it, give it its name."""
    copying = Copying(progress)
    try:
        yield from call(Blocking(place.begin))
        with refusals(place.unfinished):
            yield from _copy_logs(place, copying)
            yield from call(Blocking(place.open_engine))
            assert place.engine is not None
            checked = _checked(place.engine)
            sequences, damaged = yield from call(On(place.engine, checked))
            yield from call(Blocking(place.close_engine))
            yield from call(Blocking(place.finish))
    except BaseException:
        with suppress(TimeoutError):
            yield from call(Shielded(call(Blocking(place.abandon))))
        raise
    finally:
        place.release()
    return BackupReport(
        str(place.target), sequences, copying.bytes_copied, 0, copying.damaged + damaged
    )


def _copy_logs(place: RestorePlace, copying: Copying) -> Steps[None]:
    logs = yield from call(Blocking(place.logs))
    for _, frozen in logs:
        copying.expect(frozen.length)
    for number, frozen in logs:
        target = yield from call(Blocking(partial(place.log_directory, number)))
        for segment in frozen.segments:
            yield from copy_segment(frozen, segment, target, copying)
        yield from call(Blocking(partial(write_head, frozen, target)))
    for name in place.missing_logs([number for number, _ in logs]):
        reason = "its log is missing in the backup"
        copying.damaged.append(Damage(name, None, None, 0, 0, reason))


def _checked(engine: Engine) -> Steps[tuple[dict[str, int], list[Damage]]]:
    """Check a new store whole, then part its sequences from the original's."""
    report = yield from verify_store(engine, repair=False, dry_run=False, progress=None)
    sequences: dict[str, int] = {}
    for bucket in (yield from call(ops.ListBuckets())):
        # what is damaged so that it cannot be opened is in the report
        with suppress(ObjStoreError):
            sequences[bucket] = yield from call(ops.VisibleSequence(bucket))
            yield from call(backup_ops.LeaveGap(bucket, GAP))
    return sequences, report.damaged


async def restore_backup(
    backup: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    generation: str | None = None,
    progress: Progress | None = None,
) -> BackupReport:
    """Make a store from a backup.

    Guarantee: the store appears under its name whole, synced and checked, or not at
    all; the backup is only read. It is what was backed up, to the sequence. Its next
    sequences begin far behind: a cursor of what came after the backup raises
    `HistoryRewoundError`.

    Args:
        backup: A directory that `Store.backup` wrote to, or one generation in it.
        target: The new store's directory: a new or an empty one.
        generation: The name of one; the newest unless given.
        progress: Called with the bytes that are copied and their total.

    Returns:
        What was copied, and every damage that the new store has.

    Raises:
        StoreNotFoundError: there is no such backup.
        BadStoreError: the target is not empty, or in the backup.
        BusyError: another one restores to it.
        StorageError: the system refuses.

    Example:
        await store.backup("./backups")
        report = await restore_backup("./backups", "./restored")
        assert not report.damaged
    """
    steps = restore_steps(RestorePlace(backup, target, generation), progress)
    return await _drivers.arun(cast("Engine", _NO_ENGINE), steps)


def restore_backup_blocking(
    backup: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    generation: str | None = None,
    progress: Progress | None = None,
) -> BackupReport:
    """Make a store from a backup; see `objstore.restore_backup`."""
    steps = restore_steps(RestorePlace(backup, target, generation), progress)
    return _drivers.run(cast("Engine", _NO_ENGINE), steps)
