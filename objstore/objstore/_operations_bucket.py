"""Buckets: create, change, seal, describe, and give their dead bytes back."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from objstore import _engine as ops
from objstore._config import (
    ObjectStoreConfig,
    Sync,
    check_sync,
    check_update,
    differing_fields,
    duration_of,
    encode_config,
    engine_options,
    resolve_config,
)
from objstore._engine import Engine, Steps, call
from objstore._expiry import PAGE_ROWS, Scope, expire_due
from objstore._names import check_bucket_name
from objstore._operations import config_of
from objstore._types import ObjectStoreStatus
from objstore.errors import BucketExistsError, BucketNotFoundError, NotSupportedError
from objstore_log.errors import ConflictError

Params = Mapping[str, Any]


def create_bucket(
    engine: Engine,
    config: ObjectStoreConfig | str | None,
    params: Params,
    *,
    sync: Sync,
) -> Steps[str]:
    """Create a bucket, or find it there with the same configuration.

    Guarantee: at some moment meanwhile it was there, though others may delete it.
    """
    wanted = resolve_config(config, params, sync=sync)
    _check_engine(engine, wanted)
    op = ops.CreateBucket(wanted.bucket, encode_config(wanted), engine_options(wanted))
    while True:
        try:
            yield from call(op)
        except BucketExistsError as error:
            try:
                state = error.state or (yield from call(ops.GetBucket(wanted.bucket)))
            except BucketNotFoundError:
                # deleted since: now it can be made
                continue
            differing = differing_fields(config_of(state.document), wanted)
            if differing:
                raise BucketExistsError(
                    bucket=wanted.bucket, differing=differing, state=state
                ) from None
        return wanted.bucket


def _check_engine(engine: Engine, config: ObjectStoreConfig) -> None:
    if config.replicas > 1 and ops.Capability.REPLICAS not in engine.capabilities:
        raise NotSupportedError(
            what=f"replicas={config.replicas} of bucket {config.bucket!r}",
            hint="the JetStream engine has replicas; use replicas=1 with this one",
        )


def bind_bucket(engine: Engine, bucket: str, *, create: bool, sync: Sync) -> Steps[str]:
    """Find a bucket, or create it."""
    check_bucket_name(bucket)
    while True:
        try:
            yield from call(ops.GetBucket(bucket))
        except BucketNotFoundError:
            if not create:
                raise
        else:
            return bucket
        # whoever was first may have made it otherwise, which is no matter here
        with suppress(BucketExistsError):
            return (yield from create_bucket(engine, bucket, {}, sync=sync))


def update_bucket(
    engine: Engine, config: ObjectStoreConfig | str | None, params: Params
) -> Steps[str]:
    """Change a bucket's configuration; single fields leave the others as they are."""
    named = config.bucket if isinstance(config, ObjectStoreConfig) else config
    bucket = check_bucket_name(params.get("bucket", named))
    while True:
        state = yield from call(ops.GetBucket(bucket))
        existing = config_of(state.document)
        wanted = resolve_config(
            config if isinstance(config, ObjectStoreConfig) else None,
            {**params, "bucket": bucket},
            base=existing,
        )
        check_update(existing, wanted)
        _check_engine(engine, wanted)
        document, options = encode_config(wanted), engine_options(wanted)
        try:
            yield from call(ops.UpdateBucket(bucket, document, options, state.sequence))
        except ConflictError:
            # Another caller was first, and the fields it changed stay, too.
            continue
        return bucket


def delete_bucket(bucket: str) -> Steps[bool]:
    """Delete a bucket and everything in it."""
    yield from call(ops.DeleteBucket(check_bucket_name(bucket)))
    return True


def list_buckets() -> Steps[list[str]]:
    """Give the names of all buckets."""
    return sorted((yield from call(ops.ListBuckets())))


def seal(scope: Scope) -> Steps[bool]:
    """Mark what is due, then refuse changes from now on."""
    state = yield from call(ops.GetBucket(scope.bucket))
    if not state.sealed:
        yield from expire_due(scope)
        yield from call(ops.SealBucket(scope.bucket))
    return True


def _measured_due(scope: Scope) -> Steps[tuple[int, int]]:
    """Count what has expired and is not marked yet, and its bytes, a page at a time."""
    now_ns, count, size = scope.engine.now_ns(), 0, 0
    after: ops.StoredMeta | None = None
    while True:
        due = yield from call(ops.DueExpiries(scope.bucket, now_ns, PAGE_ROWS, after))
        count += len(due)
        size += sum(stored.size for stored in due)
        if len(due) < PAGE_ROWS:
            return count, size
        after = due[-1]


def status(scope: Scope) -> Steps[ObjectStoreStatus]:
    """Describe a bucket; what has expired does not count, marked or not."""
    state = yield from call(ops.GetBucket(scope.bucket))
    usage = yield from call(ops.GetUsage(scope.bucket))
    config = config_of(state.document)
    count, size = usage.count, usage.size
    if not state.sealed and count:
        due_count, due_size = yield from _measured_due(scope)
        count, size = max(count - due_count, 0), max(size - due_size, 0)
    return ObjectStoreStatus(
        bucket=scope.bucket,
        description=config.description,
        ttl=duration_of(config.ttl),
        storage=config.storage,
        replicas=config.replicas,
        sealed=state.sealed,
        size=size,
        count=count,
        backing_store="memory"
        if config.storage == "memory"
        else scope.engine.backing_store,
        stored_size=usage.stored_size,
        max_bytes=config.max_bytes,
        segments=usage.segments,
        sync=check_sync(config.sync),
        metadata=None if config.metadata is None else dict(config.metadata),
        last_sequence=usage.last_sequence,
        first_change=usage.first_change,
        held_by=dict(usage.held_by),
    )
