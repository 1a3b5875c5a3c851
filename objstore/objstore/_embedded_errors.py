"""What became of an operation of the embedded engine that failed.

A bucket may be deleted, and its directory may vanish, between any two steps of an
operation; what then fails first says little. The registry says what happened.
"""

from __future__ import annotations

from typing import Any

from objstore._bucket_space import ContentPin
from objstore._dropped import HeldPin
from objstore._embedded_store import EmbeddedStore
from objstore._engine import Buffer, GetBucket, Op, ReadChunks, UpdateBucket
from objstore.errors import (
    BucketNotFoundError,
    ClosedError,
    CorruptionError,
    ObjStoreError,
    StorageError,
)
from objstore_log import CatalogDamagedError
from objstore_log.errors import SequenceGoneError

_DOUBTFUL = (
    CatalogDamagedError,
    ClosedError,
    CorruptionError,
    SequenceGoneError,
    StorageError,
)
"""What a deletion may look like."""


def bucket_of(op: Op[Any]) -> str:
    """Give the name of the bucket that an operation works in; empty when in none.

    Making and deleting a bucket are in none: the store itself tells what became of it,
    and that it is gone afterwards is no failure of either.
    """
    if isinstance(op, GetBucket | UpdateBucket):
        return op.name
    return getattr(op, "bucket", "")


def explained(
    store: EmbeddedStore,
    op: Op[Any],
    before: bytes | None,
    error: ObjStoreError | OSError,
) -> ObjStoreError | OSError:
    """Give the error that says why an operation failed, which may be the same one.

    Args:
        store: Where it failed.
        op: The operation.
        before: The bucket's identity before it.
        error: What it ended with.
    """
    if isinstance(error, ObjStoreError) and not isinstance(error, _DOUBTFUL):
        return error
    name = bucket_of(op)
    if name and store.is_gone(name, before):
        return BucketNotFoundError(bucket=name)
    if isinstance(error, ObjStoreError | TimeoutError):
        return error
    return refused(store, "use", error)


def refused(store: EmbeddedStore, operation: str, error: OSError) -> StorageError:
    """Give the public error of a system's refusal."""
    if isinstance(error, StorageError):
        return error
    return StorageError(
        path=str(error.filename or store.url),
        operation=operation,
        reason=error.strerror or str(error),
        errno=error.errno,
    )


def read_pinned(op: ReadChunks) -> list[Buffer] | None:
    """Read what the pin of an operation holds; `None` when it has none."""
    pin = op.pin.held if isinstance(op.pin, HeldPin) else None
    if not isinstance(pin, ContentPin):
        return None
    return pin.read_chunks(op.meta, op.index, op.count)
