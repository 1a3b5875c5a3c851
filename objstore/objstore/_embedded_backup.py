"""Holding the logs of an embedded store still, for a backup."""

from __future__ import annotations

from objstore import _engine as ops
from objstore import _engine_backup as backup_ops
from objstore._embedded_store import EmbeddedStore
from objstore._registry import BucketEntry
from objstore.errors import BucketNotFoundError, CorruptionError
from objstore_log import encode_store_header, frozen_files


def get_directory(store: EmbeddedStore, op: backup_ops.GetDirectory) -> str | None:
    """Give where the store is."""
    del op
    return None if store.in_memory else store.directory.storage.path


def freeze_registry(
    store: EmbeddedStore, op: backup_ops.FreezeRegistry
) -> ops.FrozenRegistry:
    """Hold the registry's log still, and say what it says at that very moment."""
    del op
    store.check_not_forked()
    registry = store.registry
    while True:
        frozen = registry.log.freezer.freeze()
        held = store.dropped.pin(frozen)
        entries = [item for item in registry.entries() if not item.is_deleted]
        damaged = tuple(registry.damaged_names())
        if registry.through == frozen.sequence or not frozen.sequence:
            break
        # somebody made or deleted a bucket since
        held.release()
    return ops.FrozenRegistry(
        frozen,
        held,
        {item.name: (item.number, item.log_id.hex()) for item in entries},
        _unclaimed(store, entries, frozen.sequence) if damaged else (),
        damaged,
        encode_store_header(store.directory.header),
    )


def _unclaimed(
    store: EmbeddedStore, entries: list[BucketEntry], sequence: int
) -> tuple[int, ...]:
    """Give the logs that may be those of damaged names.

    None above the registry's end: their numbers would come again.
    """
    claimed = {0, *(item.number for item in entries)}
    return tuple(
        number
        for number in store.directory.log_numbers()
        if number not in claimed
        and number <= sequence
        and not store.registry.is_gone(number)
    )


def freeze_bucket(
    store: EmbeddedStore, op: backup_ops.FreezeBucket
) -> ops.FrozenBucket:
    """Hold a bucket's log still; one that nobody can open is taken as it is."""
    damage = "damage hides whose it is"
    if op.bucket is not None:
        try:
            log = store.bucket(op.bucket, op.incarnation).log
            frozen = log.freezer.freeze()
            return ops.FrozenBucket(op.number, frozen, store.dropped.pin(frozen))
        except CorruptionError as error:
            damage = error.reason
    if op.number not in store.directory.log_numbers():
        raise BucketNotFoundError(bucket=op.bucket or f"{op.number:08x}")
    frozen = frozen_files(store.directory.log_directory(op.number))
    return ops.FrozenBucket(op.number, frozen, store.dropped.pin(frozen), damage)


def leave_gap(store: EmbeddedStore, op: backup_ops.LeaveGap) -> None:
    """Leave sequences of a bucket out."""
    store.bucket(op.bucket).log.freezer.leave_gap(op.count)
