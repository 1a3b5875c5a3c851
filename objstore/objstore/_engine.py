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
from dataclasses import field
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

from objstore._engine_at_hand import AtHand
from objstore._engine_values import (
    AppendResult,
    BucketChange,
    BucketChangeKind,
    BucketOptions,
    BucketState,
    Buffer,
    Capability,
    ChangeKind,
    ChangePage,
    Chunk,
    DamageFound,
    Extent,
    FrozenBucket,
    FrozenRegistry,
    Meta,
    PinHandle,
    Reclaimed,
    RepairAction,
    RepairDone,
    ScrubStep,
    Stop,
    StoredMeta,
    Usage,
    VerifyPage,
)
from objstore_log import value_class

__all__ = [
    "REGISTRY",
    "Abort",
    "Append",
    "AppendResult",
    "BucketChange",
    "BucketChangeKind",
    "BucketOptions",
    "BucketState",
    "Buffer",
    "Capability",
    "ChangeKind",
    "ChangePage",
    "Changes",
    "Chunk",
    "CompareCatalog",
    "CreateBucket",
    "DamageFound",
    "Damaged",
    "DeleteBucket",
    "DueExpiries",
    "Engine",
    "Extent",
    "FrozenBucket",
    "FrozenRegistry",
    "GetBucket",
    "GetMetrics",
    "GetUsage",
    "Heal",
    "Last",
    "ListBuckets",
    "Meta",
    "Op",
    "Page",
    "Pin",
    "PinHandle",
    "Quarantine",
    "ReadChunks",
    "Reclaim",
    "Reclaimed",
    "RemoveLeftovers",
    "RepairAction",
    "RepairCatalog",
    "RepairDone",
    "Restore",
    "Scrub",
    "ScrubStep",
    "SealBucket",
    "SequenceAt",
    "Snapshot",
    "Steps",
    "Stop",
    "StoredMeta",
    "TimeAt",
    "UpdateBucket",
    "Usage",
    "VerifyPage",
    "VerifyRecords",
    "VisibleSequence",
    "WaitForChange",
    "call",
]

T = TypeVar("T")
REGISTRY = ""
"""What operations about health take as the bucket for the registry of buckets."""


class Op(Generic[T]):
    """One request; `T` is what carrying it out gives."""

    __slots__ = ()


Steps: TypeAlias = Generator[Op[Any], Any, T]
"""Object logic: yields requests to a driver and returns a `T`."""


def call(op: Op[T]) -> Steps[T]:
    """Yield an operation to the driver and give its typed answer."""
    answer: T = yield op
    return answer


# --- operations on buckets --------------------------------------------------------


@value_class
class CreateBucket(Op[BucketState]):
    """Create a bucket.

    Raises `BucketExistsError` with the existing state as `state` when the name is
    taken; the object logic decides whether the configurations agree.
    """

    name: str
    document: bytes
    options: BucketOptions


@value_class
class GetBucket(Op[BucketState]):
    """Give a bucket's state. Raises `BucketNotFoundError`."""

    name: str


@value_class
class UpdateBucket(Op[BucketState]):
    """Replace a bucket's configuration. Raises `BucketNotFoundError`.

    Raises `ConflictError` when the configuration is not the expected one any more.
    """

    name: str
    document: bytes
    options: BucketOptions
    expected: int
    """The `BucketState.sequence` that the new configuration was made from."""


@value_class
class DeleteBucket(Op[None]):
    """Delete a bucket and its content. Raises `BucketNotFoundError`."""

    name: str


@value_class
class ListBuckets(Op[list[str]]):
    """Give the names of all buckets, sorted."""


@value_class
class SealBucket(Op[None]):
    """Refuse object changes from now on. Idempotent."""

    bucket: str


# --- operations on objects --------------------------------------------------------


@value_class
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


@value_class
class Abort(Op[None]):
    """Say that no meta will ever refer to this nuid's chunks, so that they go."""

    bucket: str
    nuid: bytes


@value_class
class Last(Op[StoredMeta | None]):
    """Give the newest meta of a name, markers and expired ones included.

    Raises `CorruptionError` when it is damaged, `BucketNotFoundError`.
    """

    bucket: str
    name: str


@value_class
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


@value_class
class Pin(Op[PinHandle]):
    """Keep a version's content readable; `SequenceGoneError` when it is gone."""

    bucket: str
    meta: StoredMeta


@value_class
class Snapshot(Op[PinHandle]):
    """Keep for `Page` what the bucket's names are now; release it soon."""

    bucket: str


@value_class
class Page(Op[list[StoredMeta]]):
    """Give the newest metas in name order (UTF-8 bytes), markers included.

    Raises `SequenceGoneError` when a snapshot can give no more: take a new one.
    """

    bucket: str
    prefix: str = ""
    start_after: str | None = None
    limit: int = 1_000
    as_of: int | None = None
    """Leave out names whose newest meta is above this sequence (for a watch seam)."""
    snapshot: PinHandle | None = None
    """Give them as they were when it was taken."""


@value_class
class Changes(Op[ChangePage]):
    """Give changes above a sequence in log order.

    Raises `CursorExpiredError` below the change floor, `HistoryRewoundError` above
    the end or in a gap.
    """

    bucket: str
    after: int
    limit: int = 1_000


@value_class
class VisibleSequence(Op[int]):
    """Give the greatest sequence that readers may see."""

    bucket: str


@value_class
class WaitForChange(Op[int]):
    """Give the visible sequence once it is above `after`, or the time is over."""

    bucket: str
    after: int
    timeout_s: float | None = None


@value_class
class TimeAt(Op[int | None]):
    """Give when a sequence was committed; `None` when that is not known any more."""

    bucket: str
    sequence: int


@value_class
class SequenceAt(Op[int]):
    """Give the last sequence committed at or before a time (0 when none)."""

    bucket: str
    time_ns: int


@value_class
class GetUsage(Op[Usage]):
    """Give a bucket's figures."""

    bucket: str


# --- operations on space and health -----------------------------------------------


@value_class
class DueExpiries(Op[list[StoredMeta]]):
    """Give live metas whose `expires_ns` is at or below a time, oldest first."""

    bucket: str
    time_ns: int
    limit: int = 1_000
    after: StoredMeta | None = None
    """Only those behind this one."""


@value_class
class Reclaim(Op[Reclaimed]):
    """Give dead bytes back: unlink dead segments, punch out large dead chunks."""

    bucket: str
    dry_run: bool = False


@value_class
class RemoveLeftovers(Op[None]):
    """Remove what a crash left of deleted buckets."""


@value_class
class VerifyRecords(Op[VerifyPage]):
    """Check a stretch of a bucket's stored records; start with `token=None`."""

    bucket: str
    """Or `REGISTRY`, here and in the other operations on health."""
    token: object | None = None


@value_class
class Damaged(Op[list[DamageFound]]):
    """Give what opening already found damaged in a bucket."""

    bucket: str


@value_class
class CompareCatalog(Op[list[DamageFound]]):
    """Compare the catalog with the log, row for row; changes neither."""

    bucket: str


@value_class
class RepairCatalog(Op[list[RepairDone]]):
    """Write again what only the catalog still has, then rebuild it if it differs."""

    bucket: str
    dry_run: bool = False


@value_class
class Quarantine(Op[RepairDone | None]):
    """Save what is left of a damaged stretch or version; `None` when it was before."""

    bucket: str
    what: DamageFound | StoredMeta
    reason: str
    dry_run: bool = False


@value_class
class Restore(Op[RepairDone]):
    """Put the newest older version that is whole in the place of a damaged one."""

    bucket: str
    damaged: StoredMeta
    dry_run: bool = False


@value_class
class Heal(Op[RepairDone | None]):
    """Make header and footer of a segment whole; `None` when that cannot be done."""

    bucket: str
    segment: int
    dry_run: bool = False


@value_class
class Scrub(Op[ScrubStep]):
    """Check the next stretch in the background, in one process at a time.

    What it finds is logged, and is among what `Damaged` gives.
    """

    stopped: Stop
    """Of the caller, which tells it from another one of this process."""


@value_class
class GetMetrics(Op[dict[str, int]]):
    """Give counters and gauges of this process."""


class Engine(AtHand, Protocol):
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

    def purge_ns(self) -> int:
        """Give the time that purging goes by: not a wall clock that has just jumped."""
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
