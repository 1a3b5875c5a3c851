"""The engine protocol: the only thing that the object logic speaks to.

The object logic is written once, as generators that yield operations; an engine
carries operations out, blocking (`run`) or awaiting (`arun`).
The embedded engine runs on the segmented log, the JetStream engine on a cluster.

What every engine guarantees:
- `Append` is atomic: all of its records become visible together or none does, and it
  returns after they are durable as the bucket's `sync` says.
- Expectations are checked in the same atomic step.
- Sequences of a bucket only grow and are never used again.
- What `Last`, `Page` and `Changes` show is committed, and durable for `sync="always"`.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Generic, Literal, Protocol, TypeAlias, TypeVar

T = TypeVar("T")
Buffer: TypeAlias = bytes | bytearray | memoryview
ChangeKind: TypeAlias = Literal["put", "meta", "delete", "link", "expire"]
BucketChangeKind: TypeAlias = Literal["seal", "config"]


class Op(Generic[T]):
    """One request; `T` is what carrying it out gives."""

    __slots__ = ()


Steps: TypeAlias = Generator[Op[Any], Any, T]
"""Object logic: yields requests to a driver and returns a `T`."""


def call(op: Op[T]) -> Steps[T]:
    """Yield an operation to the driver and give its typed answer."""
    answer: T = yield op
    return answer


class Capability(Enum):
    """Something that not every engine can do."""

    SYNCHRONOUS = "synchronous"
    OBJECT_TTL = "object_ttl"
    SHARED_COPY = "shared_copy"
    REPLICAS = "replicas"


# --- values -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Extent:
    """A run of chunk records: consecutive sequences that hold `size` plain bytes."""

    first: int
    count: int
    size: int


@dataclass(frozen=True, slots=True)
class Chunk:
    """A chunk to append. All chunks of an object are of one size but the last."""

    nuid: bytes
    """16 random bytes of this put attempt."""
    index: int
    data: Buffer


@dataclass(frozen=True, slots=True)
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


@dataclass(frozen=True, slots=True)
class StoredMeta:
    """A change of a name, as read."""

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


@dataclass(frozen=True, slots=True)
class BucketChange:
    """A change of the bucket itself on its feed."""

    sequence: int
    time_ns: int
    change: BucketChangeKind
    document: bytes = b""


@dataclass(frozen=True, slots=True)
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


@dataclass(frozen=True, slots=True)
class Usage:
    """Figures of a bucket for `status()`."""

    count: int
    size: int
    stored_size: int
    last_sequence: int
    first_change: int
    segments: int
    held_by: Mapping[str, int] = field(default_factory=dict[str, int])


@dataclass(frozen=True, slots=True)
class AppendResult:
    """Where an append went."""

    first_sequence: int
    last_sequence: int
    time_ns: int
    metas: tuple[StoredMeta, ...]
    """The metas of the append as stored, in order."""


@dataclass(frozen=True, slots=True)
class DamageFound:
    """One damaged thing, as the engine knows it."""

    name: str | None
    sequence: int | None
    segment: int
    position: int
    reason: str


# --- operations on buckets --------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CreateBucket(Op[BucketState]):
    """Create a bucket.

    Raises `BucketExistsError` with the existing state as `state` when the name is
    taken; the object logic decides whether the configurations agree.
    """

    name: str
    document: bytes
    options: BucketOptions


@dataclass(frozen=True, slots=True)
class BucketOptions:
    """What the engine itself needs of a bucket's configuration."""

    sync: Literal["always", "never"] | float = "always"
    max_bytes: int = -1
    segment_bytes: int | None = None
    in_memory: bool = False
    changes_ttl_s: float = 7 * 86_400.0
    changes_max_bytes: int = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class GetBucket(Op[BucketState]):
    """Give a bucket's state. Raises `BucketNotFoundError`."""

    name: str


@dataclass(frozen=True, slots=True)
class UpdateBucket(Op[BucketState]):
    """Replace a bucket's configuration. Raises `BucketNotFoundError`.

    Raises `ConflictError` when the configuration is not the expected one any more.
    """

    name: str
    document: bytes
    options: BucketOptions
    expected: int
    """The `BucketState.sequence` that the new configuration was made from."""


@dataclass(frozen=True, slots=True)
class DeleteBucket(Op[None]):
    """Delete a bucket and its content. Raises `BucketNotFoundError`."""

    name: str


@dataclass(frozen=True, slots=True)
class ListBuckets(Op[list[str]]):
    """Give the names of all buckets, sorted."""


@dataclass(frozen=True, slots=True)
class SealBucket(Op[None]):
    """Refuse object changes from now on. Idempotent."""

    bucket: str


# --- operations on objects --------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Append(Op[AppendResult]):
    """Append records in order, atomically.

    Raises:
        ConflictError: a name of `expect` has another last sequence; nothing appended.
        SealedError: the bucket is sealed.
        LimitExceededError: the live content would pass the bucket's `max_bytes`.
        BucketNotFoundError: the bucket, or that incarnation of it, was deleted.
    """

    bucket: str
    records: tuple[Chunk | Meta, ...]
    expect: Mapping[str, int] = field(default_factory=dict[str, int])
    """Name to the sequence of its newest meta; 0 when it must have none at all.
    The object logic names every name whose meta it appends."""
    visible: bool = True
    """False for chunks in the middle of a large put: written, synced in bounded
    pieces, seen by nobody until a meta refers to them."""
    size_delta: int = 0
    """What this append adds to the live content bytes (negative: gives back); also
    checked for `visible=False` appends as bytes to come."""
    incarnation: str | None = None
    """The one that its extents and expectations are from; `None` is any."""


@dataclass(frozen=True, slots=True)
class Abort(Op[None]):
    """Say that no meta will ever refer to this nuid's chunks, so that they go."""

    bucket: str
    nuid: bytes


@dataclass(frozen=True, slots=True)
class Last(Op[StoredMeta | None]):
    """Give the newest meta of a name, markers and expired ones included.

    Raises `CorruptionError` when it is damaged, `BucketNotFoundError`.
    """

    bucket: str
    name: str


@dataclass(frozen=True, slots=True)
class ReadChunks(Op[list[Buffer]]):
    """Read `count` chunks of a version from its chunk `index` on, checksums verified.

    Raises `CorruptionError`, and `SequenceGoneError` when the content is reclaimed.
    """

    bucket: str
    meta: StoredMeta
    index: int
    count: int
    pin: PinHandle | None = None
    """What holds the version: with it, a deleted bucket's can still be read."""


@dataclass(frozen=True, slots=True)
class Pin(Op["PinHandle"]):
    """Keep a version's content readable; `SequenceGoneError` when it is gone."""

    bucket: str
    meta: StoredMeta


class PinHandle(Protocol):
    """Holds content; `release` is idempotent and never blocks."""

    def release(self) -> None:
        """Let go."""
        ...


@dataclass(frozen=True, slots=True)
class Page(Op[list[StoredMeta]]):
    """Give the newest metas in name order (UTF-8 bytes), markers included."""

    bucket: str
    prefix: str = ""
    start_after: str | None = None
    limit: int = 1_000
    as_of: int | None = None
    """Leave out names whose newest meta is above this sequence (for a watch seam)."""


@dataclass(frozen=True, slots=True)
class Changes(Op["ChangePage"]):
    """Give changes above a sequence in log order.

    Raises `CursorExpiredError` below the change floor, `HistoryRewoundError` above
    the end or in a gap.
    """

    bucket: str
    after: int
    limit: int = 1_000


@dataclass(frozen=True, slots=True)
class ChangePage:
    """Some changes, and the sequence up to which nothing was left out."""

    changes: tuple[StoredMeta | BucketChange, ...]
    through: int


@dataclass(frozen=True, slots=True)
class VisibleSequence(Op[int]):
    """Give the greatest sequence that readers may see."""

    bucket: str


@dataclass(frozen=True, slots=True)
class WaitForChange(Op[int]):
    """Wait until the visible sequence is above `after`; give the visible sequence.

    With `timeout_s` it returns the unchanged sequence when the time is over.
    """

    bucket: str
    after: int
    timeout_s: float | None = None


@dataclass(frozen=True, slots=True)
class SequenceAt(Op[int]):
    """Give the last sequence committed at or before a time (0 when none)."""

    bucket: str
    time_ns: int


@dataclass(frozen=True, slots=True)
class GetUsage(Op[Usage]):
    """Give a bucket's figures."""

    bucket: str


# --- operations on space and health -----------------------------------------------


@dataclass(frozen=True, slots=True)
class DueExpiries(Op[list[StoredMeta]]):
    """Give live metas whose `expires_ns` is at or below a time, oldest first."""

    bucket: str
    time_ns: int
    limit: int = 1_000


@dataclass(frozen=True, slots=True)
class Reclaimed:
    """What a reclaim gave back (or would give back)."""

    bytes: int
    removed: int
    """Versions whose content went."""


@dataclass(frozen=True, slots=True)
class Reclaim(Op[Reclaimed]):
    """Give dead bytes back: unlink dead segments, punch out large dead chunks."""

    bucket: str
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class VerifyRecords(Op["VerifyPage"]):
    """Check a stretch of a bucket's stored records; start with `token=None`."""

    bucket: str
    token: object | None = None


@dataclass(frozen=True, slots=True)
class VerifyPage:
    """A stretch of a scrub; `token` is `None` when it was the last."""

    damaged: tuple[DamageFound, ...]
    bytes: int
    token: object | None


@dataclass(frozen=True, slots=True)
class Damaged(Op[list[DamageFound]]):
    """Give what opening already found damaged in a bucket."""

    bucket: str


@dataclass(frozen=True, slots=True)
class RepairCatalog(Op[bool]):
    """Check the catalog against the log and rebuild it if it differs; True if so."""

    bucket: str


class Engine(Protocol):
    """Carries operations out."""

    url: str
    store_id: str
    """Goes into cursors."""
    capabilities: frozenset[Capability]
    backing_store: str
    """What `status().backing_store` says: "log", "memory" or "JetStream"."""

    def now_ns(self) -> int:
        """Give the wall clock, nanoseconds since 1970."""
        ...

    def new_nuid(self) -> bytes:
        """Give 16 random bytes."""
        ...

    def run(self, op: Op[T]) -> T:
        """Carry an operation out, blocking this thread."""
        ...

    async def arun(self, op: Op[T]) -> T:
        """Carry an operation out on asyncio or trio.

        Guarantee: cancelled before its append is committed it has no effect;
        afterwards it waits for the outcome. Cancelled, it raises either way.
        """
        ...

    def drop(self, op: Abort) -> None:
        """Abort a put that was forgotten, some time; for finalizers: takes no lock."""
        ...

    def close(self) -> None:
        """Close; idempotent."""
        ...

    async def aclose(self) -> None:
        """Close without blocking the event loop; idempotent."""
        ...
