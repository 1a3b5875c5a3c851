"""A bucket's configuration: its fields, their limits, its JSON form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import timedelta
from typing import Any, Literal, TypeAlias, cast

import orjson

from objstore._engine import BucketOptions
from objstore._json import loads
from objstore._names import (
    MAX_CHUNK_SIZE,
    check_bucket_name,
    text_fault,
)
from objstore._types import Duration, Placement
from objstore.errors import BadBucketError

Sync: TypeAlias = Literal["always", "never"] | Duration

CHANGES_TTL = timedelta(days=7)
CHANGES_BYTES_MAX = 256 * 1024 * 1024
REPLICAS_MAX = 5
SEGMENT_BYTES_MIN = 1_024
SEGMENT_BYTES_MAX = 1024 * 1024 * 1024
DURATION_MAX = timedelta(days=36_525)
"""A hundred years: a time and this still fit 63 bits of nanoseconds."""
SYNC_S_MAX = 3_600.0
METADATA_BYTES_MAX = 64 * 1024
"""Texts of one configuration, or of one object's meta, together."""
_NO_LIMIT = -1


@dataclass(frozen=True, slots=True)
class ObjectStoreConfig:
    """What a bucket is to be like."""

    bucket: str
    """Its name."""
    description: str | None = None
    """Free text."""
    ttl: Duration | None = None
    """How long objects live unless they say so themselves; `None` or 0 is for ever."""
    max_bytes: int = _NO_LIMIT
    """Limit of the content bytes; -1 and 0 are none."""
    storage: Literal["file", "memory"] = "file"
    """`"memory"` is lost at close and not shared between processes."""
    replicas: int = 1
    """How many servers keep it; more than one only on JetStream."""
    placement: Placement | None = None
    """Where a cluster keeps it."""
    metadata: Mapping[str, str] | None = field(default=None, hash=False)
    """Free pairs of text."""
    chunk_size: int | None = None
    """Bytes a chunk unless the put says otherwise."""
    segment_bytes: int | None = None
    """Bytes at which the log begins a new segment."""
    changes_ttl: Duration = CHANGES_TTL
    """How long changes stay readable for watchers."""
    changes_max_bytes: int = CHANGES_BYTES_MAX
    """How many bytes of changes stay readable for watchers; the oldest go first."""
    sync: Sync = "always"
    """When a change is synced: before its acknowledgement, never, or every so many
    seconds."""


# --- durations --------------------------------------------------------------------


def duration_of(value: Duration | None) -> timedelta | None:
    """Give a duration as a `timedelta`, whole microseconds.

    Raises:
        ValueError: it is neither a duration nor `None`, negative, or over
            `DURATION_MAX`; the text says which.
    """
    if value is None:
        return None
    if isinstance(value, timedelta):
        duration = value
    else:
        try:
            duration = timedelta(seconds=value)
        except (TypeError, ValueError, OverflowError) as error:
            problem = "is not a duration"
            raise ValueError(problem) from error
    if duration < timedelta():
        problem = "is negative"
        raise ValueError(problem)
    if duration > DURATION_MAX:
        problem = f"is over {DURATION_MAX.days} days"
        raise ValueError(problem)
    return duration


def seconds_of(value: Duration | None) -> float | None:
    """Give a duration in seconds. Raises as `duration_of`."""
    duration = duration_of(value)
    return None if duration is None else duration.total_seconds()


def nanoseconds_of(value: Duration | None) -> int | None:
    """Give a duration in nanoseconds. Raises as `duration_of`."""
    duration = duration_of(value)
    return None if duration is None else duration // timedelta(microseconds=1) * 1_000


# --- checks -----------------------------------------------------------------------


def check_config(config: ObjectStoreConfig) -> ObjectStoreConfig:
    """Check every field and give the configuration in its one normal form.

    Two configurations that mean the same are equal afterwards: durations are
    `timedelta`s, `None` where there is no limit, description or metadata.

    Raises:
        BadBucketError: a field is outside its limits.
    """
    if config.storage not in ("file", "memory"):
        raise _bad("storage", config.storage, "is unknown", 'use "file" or "memory"')
    max_bytes = config.max_bytes or _NO_LIMIT
    if max_bytes != _NO_LIMIT:
        _check_count("max_bytes", max_bytes, 1, 2**63 - 1, ", or -1 or 0 for no limit")
    _check_count("replicas", config.replicas, 1, REPLICAS_MAX)
    _check_count("changes_max_bytes", config.changes_max_bytes, 0, 2**63 - 1)
    if config.chunk_size is not None:
        _check_count("chunk_size", config.chunk_size, 1, MAX_CHUNK_SIZE)
    if config.segment_bytes is not None:
        _check_count(
            "segment_bytes", config.segment_bytes, SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX
        )
    return replace(
        config,
        bucket=check_bucket_name(config.bucket),
        description=_check_text("description", config.description) or None,
        ttl=_check_duration("ttl", config.ttl) or None,
        max_bytes=max_bytes,
        placement=_check_placement(config.placement),
        metadata=_check_metadata(config.metadata),
        changes_ttl=_check_duration("changes_ttl", config.changes_ttl) or timedelta(),
        sync=check_sync(config.sync),
    )


def resolve_config(
    config: ObjectStoreConfig | str | None,
    params: Mapping[str, Any],
    *,
    base: ObjectStoreConfig | None = None,
    sync: Sync = "always",
) -> ObjectStoreConfig:
    """Make the checked configuration of a call's arguments.

    Args:
        config: A configuration or a bucket's name; `params` go before its fields.
        params: Single fields by name.
        base: What fields come from that are not named, when there is no `config`.
        sync: The default of `sync`, when there is neither `config` nor `base`.

    Raises:
        BadBucketError: a field is unknown or outside its limits.
    """
    known = [field.name for field in fields(ObjectStoreConfig)]
    for name in params:
        if name not in known:
            hint = f"use {', '.join(known)}"
            raise _bad("configuration field", name, "is unknown", hint)
    if isinstance(config, str):
        return resolve_config(None, {"bucket": config, **params}, base=base, sync=sync)
    start = config if config is not None else base
    if start is not None:
        _check_type("config", start, ObjectStoreConfig, "an ObjectStoreConfig")
        return check_config(replace(start, **params))
    given: dict[str, Any] = {"bucket": "", "sync": sync, **params}
    return check_config(ObjectStoreConfig(**given))


def differing_fields(
    one: ObjectStoreConfig, other: ObjectStoreConfig
) -> tuple[str, ...]:
    """Name the fields in which two checked configurations differ."""
    return tuple(
        field.name
        for field in fields(ObjectStoreConfig)
        if getattr(one, field.name) != getattr(other, field.name)
    )


def check_update(existing: ObjectStoreConfig, wanted: ObjectStoreConfig) -> None:
    """Check that a bucket can become what is wanted.

    Raises:
        BadBucketError: its `storage` would change.
    """
    if existing.storage != wanted.storage:
        problem = f"cannot replace {existing.storage!r}"
        hint = "make another bucket and copy the objects"
        raise _bad("storage", wanted.storage, problem, hint)


def _bad(name: str, value: object, problem: str, hint: str) -> BadBucketError:
    return BadBucketError(field=name, value=value, problem=problem, hint=hint)


def _check_type(name: str, value: object, wanted: type, hint: str) -> None:
    if not isinstance(value, wanted) or isinstance(value, bool):
        problem = f"has the type {type(value).__name__}"
        raise _bad(name, value, problem, f"give {hint}")


def _check_count(name: str, value: Any, least: int, most: int, also: str = "") -> None:
    hint = f"a whole number from {least:,} to {most:,}{also}"
    _check_type(name, value, int, hint)
    if not least <= value <= most:
        problem = f"is not between {least:,} and {most:,}"
        raise _bad(name, value, problem, f"give {hint}")


def _check_text(name: str, value: str | None) -> str | None:
    if value is None:
        return None
    _check_type(name, value, str, "a string")
    fault = text_fault(value, control_characters=True)
    if fault:
        raise _bad(name, value, fault, "give text that UTF-8 can hold")
    if len(value.encode()) > METADATA_BYTES_MAX:
        problem = f"is over {METADATA_BYTES_MAX:,} bytes"
        raise _bad(name, value, problem, "shorten it")
    return value


def _check_duration(name: str, value: Duration | None) -> timedelta | None:
    try:
        return duration_of(value)
    except ValueError as error:
        hint = f"give a timedelta or seconds from 0 to {DURATION_MAX.days} days"
        raise _bad(name, value, str(error), hint) from None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def check_sync(value: Sync) -> Literal["always", "never"] | float:
    """Give a way to sync in its normal form: a duration as seconds.

    Raises:
        BadBucketError: it is none.
    """
    if isinstance(value, str):
        if value in ("always", "never"):
            return value
    elif isinstance(value, timedelta):
        return check_sync(value.total_seconds())
    elif _is_number(value) and 0 < value <= SYNC_S_MAX:
        return float(value)
    hint = f'use "always", "never" or seconds above 0 and up to {SYNC_S_MAX:,.0f}'
    raise _bad("sync", value, "is not a way to sync", hint)


def _check_placement(value: Placement | None) -> Placement | None:
    if value is None:
        return None
    _check_type("placement", value, Placement, "a Placement")
    if not isinstance(cast("object", value.tags), list | tuple):
        raise _bad("placement tags", value.tags, "are no tuple", "give a tuple")
    for tag in value.tags:
        _check_text("placement tag", tag)
    return Placement(_check_text("placement cluster", value.cluster), tuple(value.tags))


def _check_metadata(value: Mapping[str, str] | None) -> dict[str, str] | None:
    if not value:
        return None
    _check_type("metadata", value, Mapping, "a mapping of strings")
    size = 0
    for key, text in value.items():
        for part in (key, text):
            _check_type("metadata", part, str, "strings as names and as values")
            _check_text("metadata", part)
            size += len(part.encode())
    if size > METADATA_BYTES_MAX:
        problem = f"has {size:,} bytes, over {METADATA_BYTES_MAX:,}"
        raise _bad("metadata", value, problem, "shorten it")
    return dict(value)


# --- forms ------------------------------------------------------------------------


def encode_config(config: ObjectStoreConfig) -> bytes:
    """Write a checked configuration as JSON, without fields at their default."""
    default = ObjectStoreConfig(config.bucket)
    document: dict[str, object] = {"bucket": config.bucket}
    for name in differing_fields(config, default):
        value = getattr(config, name)
        if isinstance(value, timedelta):
            value = value.total_seconds()
        elif isinstance(value, Placement):
            value = {"cluster": value.cluster, "tags": list(value.tags)}
        document[name] = value
    return orjson.dumps(document)


def decode_config(document: bytes) -> ObjectStoreConfig:
    """Read what `encode_config` wrote; fields of later versions are passed over.

    Raises:
        BadBucketError: it is no configuration.
    """
    try:
        found = loads(document)
    except orjson.JSONDecodeError as error:
        hint = "restore it from a backup"
        raise _bad("configuration", document, f"is not JSON ({error})", hint) from None
    _check_type("configuration", found, dict, "a JSON object")
    known = {field.name for field in fields(ObjectStoreConfig)}
    values: dict[str, Any] = {"bucket": ""}
    values.update((name, found[name]) for name in known & found.keys())
    place = values.get("placement")
    if place is not None:
        _check_type("placement", place, dict, "a JSON object")
        values["placement"] = Placement(place.get("cluster"), place.get("tags", ()))
    return check_config(ObjectStoreConfig(**values))


def engine_options(config: ObjectStoreConfig) -> BucketOptions:
    """Give what the engine itself needs of a checked configuration."""
    return BucketOptions(
        sync=check_sync(config.sync),
        max_bytes=config.max_bytes,
        segment_bytes=config.segment_bytes,
        in_memory=config.storage == "memory",
        changes_ttl_s=seconds_of(config.changes_ttl) or 0.0,
        changes_max_bytes=config.changes_max_bytes,
    )
