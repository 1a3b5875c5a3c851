"""The values that users meet: what an object, a bucket and a report look like.

All of them are frozen, compare by value and can be pickled.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, cast

from objstore._engine import BucketChangeKind, ChangeKind, RepairAction, StoredMeta
from objstore._names import DEFAULT_CHUNK_SIZE

Duration: TypeAlias = timedelta | float
"""A `timedelta`, or seconds."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class ObjectLink:
    """Where a link points."""

    bucket: str
    """The bucket that it points to, or into."""
    name: str | None = None
    """The object; `None` for a link to the whole bucket."""

    def __str__(self) -> str:
        """Give it as "bucket/name", for a whole bucket as "bucket/"."""
        return f"{self.bucket}/{self.name or ''}"


@dataclass(frozen=True, slots=True)
class ObjectMetaOptions:
    """How an object is stored."""

    link: ObjectLink | None = None
    """Where it points, for a link."""
    chunk_size: int | None = None
    """Bytes a chunk, when a put asks for it; goes before `max_chunk_size`."""
    max_chunk_size: int = DEFAULT_CHUNK_SIZE
    """Bytes of every chunk but the last."""


@dataclass(frozen=True, slots=True)
class ObjectMeta:
    """What a caller says about an object; a field that is `None` is not said."""

    name: str | None = None
    """The object's name; another one in `update_meta` renames."""
    description: str | None = None
    """Free text."""
    headers: Mapping[str, str] | None = field(default=None, hash=False)
    """Headers as in HTTP, without control characters."""
    options: ObjectMetaOptions | None = None
    """Chunk size, or where a link points."""
    metadata: Mapping[str, str] | None = field(default=None, hash=False)
    """Free pairs of text."""
    filename: str | None = None
    """The file name to offer when the content is saved."""
    content_type: str | None = None
    """The `Content-Type` header."""
    ttl: Duration | None = None
    """How long the content lives, counted from its commit; 0 is for ever."""


FieldsOf: TypeAlias = Callable[[str, StoredMeta], dict[str, Any]]
"""Gives all fields of an object in a bucket."""
_read_fields: Final[list[FieldsOf]] = []
"""The one way to read them: documents are the business of another module."""


class _ReadLater:
    """The part of an `ObjectInfo` that knows how to read its fields.

    In a long list reading the documents would cost most of the time, and often nobody
    asks for what stands in them. A field that is not set is looked for here; the first
    one that is asked for sets all. `fields`, `replace`, `==`, `repr`, `copy` and
    `pickle` all ask, so that nothing tells a value that was read late from another.
    """

    __slots__ = ("_source",)

    if not TYPE_CHECKING:  # else every name would be an attribute

        def __getattr__(self, name: str) -> Any:
            source = None
            if name in self.__dataclass_fields__:
                with suppress(AttributeError):  # not read late
                    source = object.__getattribute__(self, "_source")
            if source is not None:
                (read,) = _read_fields
                values = read(self.bucket, StoredMeta._make(source))
                for field_name, value in values.items():
                    object.__setattr__(self, field_name, value)
                # last: another thread that asks meanwhile reads it once more
                object.__setattr__(self, "_source", None)
            # set now, by this thread or by another one, or not an attribute at all
            return object.__getattribute__(self, name)


@dataclass(frozen=True, slots=True)
class ObjectInfo(_ReadLater):
    """An object as it is at one sequence."""

    name: str
    """Its name in the bucket."""
    bucket: str
    """The bucket it is in."""
    description: str | None = None
    """Free text."""
    headers: dict[str, str] | None = field(default=None, hash=False)
    """Headers as in HTTP."""
    metadata: dict[str, str] | None = field(default=None, hash=False)
    """Free pairs of text."""
    size: int = 0
    """Content bytes; 0 for a link and a deleted object."""
    chunks: int = 0
    """Number of chunks that hold the content."""
    digest: str = ""
    """`"SHA-256="` and the hex digest; `""` for a link and a deleted object."""
    deleted: bool = False
    """Whether the object is gone by this change."""
    mtime: datetime = EPOCH
    """When this change was committed, in UTC."""
    nuid: str = ""
    """The unique id of the content."""
    links: list[str] | None = field(default=None, hash=False)
    """Where a link points: `["bucket/name"]`, or `["bucket/"]`."""
    options: ObjectMetaOptions | None = None
    """How it is stored."""
    link: ObjectLink | None = None
    """Where a link points."""
    seq: int = 0
    """The sequence of this change."""
    expires: datetime | None = None
    """When it expires, in UTC."""
    stored_size: int = 0
    """Bytes of the content in the log."""
    content_type: str | None = None
    """The `Content-Type` header."""
    filename: str | None = None
    """The file name to offer when the content is saved."""


def _setter(owner: type, name: str) -> Callable[[object, object], None]:
    """Give what sets a field of a frozen value, faster than `object.__setattr__`."""
    return cast("Callable[[object, object], None]", owner.__dict__[name].__set__)


_EXTENTS: Final = StoredMeta._fields.index("extents")
_set_name: Final = _setter(ObjectInfo, "name")
_set_bucket: Final = _setter(ObjectInfo, "bucket")
_set_seq: Final = _setter(ObjectInfo, "seq")
_set_source: Final = _setter(_ReadLater, "_source")


def read_later_with(read: FieldsOf) -> None:
    """Say how fields are read; what it raises, the asking for a field raises."""
    _read_fields[:] = [read]


def info_read_later(bucket: str, stored: StoredMeta) -> ObjectInfo:
    """Give an object of which all but its name is read when somebody asks.

    What is kept for that is a plain tuple without another one in it, which the garbage
    collector need not look at again and again while a long list is made.
    """
    info = object.__new__(ObjectInfo)
    _set_name(info, stored.name)
    _set_bucket(info, bucket)
    _set_seq(info, stored.sequence)
    _set_source(info, (*stored[:_EXTENTS], (), *stored[_EXTENTS + 1 :]))
    return info


@dataclass(frozen=True, slots=True)
class Change(ObjectInfo):
    """One change on a bucket's feed; of the bucket itself, its `name` is empty."""

    kind: ChangeKind | BucketChangeKind = "put"
    """What happened."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a cluster keeps a bucket."""

    cluster: str | None = None
    """Name of the cluster."""
    tags: tuple[str, ...] = ()
    """Tags that its servers must have."""


@dataclass(frozen=True, slots=True)
class ObjectStoreStatus:
    """A bucket's configuration and figures."""

    bucket: str
    """Its name."""
    description: str | None
    """Free text."""
    ttl: timedelta | None
    """How long objects live unless they say so themselves."""
    storage: Literal["file", "memory"]
    """Where it is kept."""
    replicas: int
    """How many servers keep it."""
    sealed: bool
    """Whether it takes no more changes."""
    size: int
    """Content bytes of the live objects."""
    count: int
    """Number of live objects, links too."""
    backing_store: str
    """`"log"`, `"memory"` or `"JetStream"`."""
    stored_size: int
    """Bytes in the log."""
    max_bytes: int
    """Limit of the content bytes; -1 is none."""
    segments: int
    """Number of segments that it occupies."""
    sync: Literal["always", "never"] | float
    """When a change is synced: before its acknowledgement, never, or every so many
    seconds."""
    metadata: dict[str, str] | None = field(hash=False)
    """Free pairs of text."""
    last_sequence: int
    """Sequence of the newest record."""
    first_change: int
    """Sequence of the oldest change that the feed still has."""
    held_by: dict[str, int] = field(hash=False)
    """Who keeps old changes from going, and from which sequence on."""


@dataclass(frozen=True, slots=True)
class Listing:
    """One page of a listing by directory."""

    objects: list[ObjectInfo] = field(hash=False)
    """Objects right in the directory, in name order."""
    prefixes: list[str] = field(hash=False)
    """Directories right in it, with their delimiter, in name order."""
    next_start_after: str | None = None
    """What to give as `start_after` for the next page; `None` after the last."""


@dataclass(frozen=True, slots=True)
class RetentionReport:
    """What a retention run did, or would do."""

    expired: int = 0
    """Objects whose time was over."""
    removed: int = 0
    """Versions whose content went."""
    bytes_reclaimed: int = 0
    """Bytes given back to the file system."""
    dry_run: bool = False
    """Whether nothing was changed."""


@dataclass(frozen=True, slots=True)
class Damage:
    """One name whose stored content is damaged."""

    bucket: str
    """The bucket; empty for damage to the registry of buckets that hits none."""
    name: str | None
    """The object; `None` when the damage cannot be assigned to a name."""
    seq: int | None
    """Sequence of the version."""
    segment: int
    """Number of the segment with the damage."""
    position: int
    """Byte place in it."""
    reason: str
    """What is wrong."""


@dataclass(frozen=True, slots=True)
class Repair:
    """One thing that a repair did, or could not do."""

    bucket: str
    """The bucket; empty for the registry of buckets."""
    name: str | None
    """The object; `None` when it is about no single one."""
    seq: int | None
    """Sequence of the version, or of the record."""
    action: RepairAction
    """What was done:

    - `"salvaged"`: a change that the log had lost was written again from the catalog.
    - `"rebuilt"`: the catalog was made anew from the log.
    - `"healed"`: a segment has whole copies of its header, and a whole footer, again.
    - `"quarantined"`: what is left of something damaged was saved to `path`.
    - `"restored"`: an older version took the place of a damaged one.
    - `"lost"`: no older version is whole, or none may be restored; the name goes on
      raising `CorruptionError` until it is put again or deleted."""
    detail: str
    """The same in words."""
    path: str | None = None
    """What was written, below the store's directory."""


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What a check of stored content found."""

    ok: bool
    """Whether nothing is damaged, behind the repair if there was one."""
    objects: int
    """Number of versions that were checked."""
    bytes: int
    """Bytes that were read."""
    damaged: list[Damage] = field(default_factory=list[Damage], hash=False)
    """Every name and version that shares damaged content."""
    repaired: list[Repair] = field(default_factory=list[Repair], hash=False)
    """What a repair did, in its order; with `dry_run`, what it would do."""
    dry_run: bool = False
    """Nothing was repaired."""


@dataclass(frozen=True, slots=True)
class BackupReport:
    """What a backup, or the restoring of one, has made."""

    path: str
    """The directory that it made: a store."""
    buckets: dict[str, int] = field(hash=False)
    """The last sequence of each bucket in it."""
    bytes_copied: int = 0
    """Bytes of segments that were copied and read back."""
    bytes_reused: int = 0
    """Bytes of segments that an earlier generation had already."""
    damaged: list[Damage] = field(default_factory=list[Damage], hash=False)
    """What was damaged before it was copied; it was copied as it is."""


@dataclass(frozen=True, slots=True)
class TreeReport:
    """What an export to a directory tree, or an import from one, did or would do."""

    path: str
    """The directory."""
    transferred: int = 0
    """Objects and links that were written."""
    unchanged: int = 0
    """Those that were there already."""
    bytes: int = 0
    """Content bytes that were transferred."""
    skipped: dict[str, str] = field(default_factory=dict[str, str], hash=False)
    """What was left out, by its name or path, with the reason."""
    damaged: dict[str, str] = field(default_factory=dict[str, str], hash=False)
    """What is not what it was, and was left out, with the reason."""
    dry_run: bool = False
    """Whether nothing was changed."""
