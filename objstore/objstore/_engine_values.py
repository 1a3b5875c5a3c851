"""The values that operations of the engine protocol take and give."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from enum import Enum
from typing import Literal, NamedTuple, Protocol, TypeAlias

from objstore_log import FrozenLog, value_class

Buffer: TypeAlias = bytes | bytearray | memoryview
ChangeKind: TypeAlias = Literal["put", "meta", "delete", "link", "expire"]
BucketChangeKind: TypeAlias = Literal["seal", "config"]
RepairAction: TypeAlias = Literal[
    "salvaged", "rebuilt", "healed", "quarantined", "restored", "lost"
]


class Capability(Enum):
    """Something that not every engine can do."""

    SYNCHRONOUS = "synchronous"
    OBJECT_TTL = "object_ttl"
    SHARED_COPY = "shared_copy"
    REPLICAS = "replicas"


@value_class
class BucketOptions:
    """What the engine itself needs of a bucket's configuration."""

    sync: Literal["always", "never"] | float = "always"
    max_bytes: int = -1
    segment_bytes: int | None = None
    in_memory: bool = False
    changes_ttl_s: float = 7 * 86_400.0
    changes_max_bytes: int = 256 * 1024 * 1024


class Extent(NamedTuple):
    """A run of chunk records: consecutive sequences that hold `size` plain bytes."""

    first: int
    count: int  # type: ignore[assignment]  # nobody counts in it
    size: int


@value_class
class Chunk:
    """A chunk to append. All chunks of an object are of one size but the last."""

    nuid: bytes
    """16 random bytes of this put attempt."""
    index: int
    data: Buffer


@value_class
class Meta:
    """A change of a name, to append."""

    name: str
    document: bytes
    """The ADR-20 JSON of the object."""
    change: ChangeKind
    nuid: bytes
    size: int
    """Content bytes of this version; 0 for links and delete markers."""
    chunk_bytes: int
    """Plain size of every chunk but the last."""
    extents: tuple[Extent, ...] = ()
    """Chunks appended earlier. The chunks of the same nuid in the same append follow
    them and are added by the engine."""
    content_time_ns: int | None = None
    """When the content was committed; `None` is the time of this append."""
    expires_ns: int | None = None
    """When it expires, in nanoseconds since 1970; with `ttl_ns` the engine says."""
    ttl_ns: int | None = None
    """Age limit to count from this append's time; `expires_ns` is `None` then."""


class StoredMeta(NamedTuple):
    """A change of a name, as read. A tuple, because long lists make very many."""

    sequence: int
    time_ns: int
    name: str
    document: bytes
    change: ChangeKind
    nuid: bytes
    size: int
    chunk_bytes: int
    extents: tuple[Extent, ...]
    content_time_ns: int
    expires_ns: int | None
    stored_size: int
    """Bytes of its content in the log, after compression and encryption."""
    incarnation: str = ""
    """Of its bucket: extents mean nothing in another one."""

    @property
    def is_marker(self) -> bool:
        """Say whether the name is gone by this change."""
        return self.change in ("delete", "expire")


@value_class
class BucketChange:
    """A change of the bucket itself on its feed."""

    sequence: int
    time_ns: int
    change: BucketChangeKind
    document: bytes = b""


@value_class
class BucketState:
    """A bucket as the engine keeps it."""

    name: str
    document: bytes
    """Its configuration as JSON (`_config.encode_config`)."""
    incarnation: str
    """Distinguishes a recreated bucket from the one before it (goes into cursors)."""
    sealed: bool
    max_bytes: int
    """-1 is no limit."""
    sequence: int = 0
    """Of the configuration: every change of it has a greater one."""


@value_class
class Usage:
    """Figures of a bucket for `status()`."""

    count: int
    size: int
    stored_size: int
    last_sequence: int
    first_change: int
    segments: int
    held_by: Mapping[str, int] = field(default_factory=dict[str, int])


@value_class
class AppendResult:
    """Where an append went."""

    first_sequence: int
    last_sequence: int
    time_ns: int
    metas: tuple[StoredMeta, ...]
    """The metas of the append as stored, in order."""


@value_class
class DamageFound:
    """One damaged thing, as the engine knows it."""

    name: str | None
    sequence: int | None
    segment: int
    position: int
    reason: str
    end: int = 0
    """Where the damaged stretch ends; 0 when nobody knows."""
    is_needed: bool = True
    """The current state of a name, or of the bucket, needs it."""
    is_structure: bool = False
    """It is a header or a footer, which holds nothing of its own."""
    is_missing: bool = False
    """Its bytes stand in no file any more."""


@value_class
class RepairDone:
    """One thing that a repair did, as the engine tells it."""

    action: RepairAction
    detail: str
    name: str | None = None
    sequence: int | None = None
    path: str | None = None


@value_class
class ChangePage:
    """Some changes, and the sequence up to which nothing was left out."""

    changes: tuple[StoredMeta | BucketChange, ...]
    through: int


@value_class
class Reclaimed:
    """What a reclaim gave back (or would give back)."""

    bytes: int
    removed: int
    """Versions whose content went."""


@value_class
class VerifyPage:
    """A stretch of a scrub; `token` is `None` when it was the last."""

    damaged: tuple[DamageFound, ...]
    bytes: int
    token: object | None


@value_class
class ScrubStep:
    """What a step of the background scrub did."""

    bytes: int
    is_idle: bool = False
    """There is nothing to do now: the round is over, or another process does it."""


class Stop(Protocol):
    """Says when the one who works in the background has to end, as an event does."""

    def is_set(self) -> bool:
        """Say whether it is time."""
        ...

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is time, or the time-out is over; say whether it is time."""
        ...


class PinHandle(Protocol):
    """Holds content; `release` is idempotent and never blocks."""

    def release(self) -> None:
        """Let go."""
        ...


@value_class
class FrozenRegistry:
    """The registry's log held still, and the buckets that it then has."""

    log: FrozenLog
    held: PinHandle
    """Lets it go on."""
    buckets: Mapping[str, tuple[int, str]]
    """Name to the number of its log and its incarnation."""
    unclaimed: tuple[int, ...]
    """Numbers of logs of which damage hides whose they are."""
    damaged: tuple[str, ...]
    """Names of which damage hides what they are."""
    store_file: bytes
    """What makes a directory this store."""


@value_class
class FrozenBucket:
    """A bucket's log held still."""

    number: int
    log: FrozenLog
    held: PinHandle
    """Lets it go on."""
    damage: str | None = None
    """Why nobody can open it; then its files are given as they are."""
