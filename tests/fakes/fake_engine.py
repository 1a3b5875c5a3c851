"""An engine in memory that keeps every promise of the protocol, and checks its user.

It asserts what the object logic owes an engine: honest size deltas, chunks of one
size, extents that exist, no append to names without an expectation.
"""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import anyio
import anyio.lowlevel

from objstore import _engine as e
from objstore.errors import (
    BucketExistsError,
    BucketNotFoundError,
    ClosedError,
    CorruptionError,
    LimitExceededError,
    SealedError,
)
from objstore_log.errors import (
    ConflictError,
    CursorExpiredError,
    HistoryRewoundError,
    SequenceGoneError,
)

T = TypeVar("T")
_CAPITAL = re.compile("(?<!^)(?=[A-Z])")
SECOND_NS = 1_000_000_000
START_NS = 1_700_000_000 * SECOND_NS


@dataclass
class FakeBucket:
    """One bucket: chunks by sequence, metas by name, changes in log order."""

    state: e.BucketState
    options: e.BucketOptions
    chunks: dict[int, e.Chunk] = field(default_factory=dict[int, e.Chunk])
    names: dict[str, e.StoredMeta] = field(default_factory=dict[str, e.StoredMeta])
    feed: list[e.StoredMeta | e.BucketChange] = field(
        default_factory=list[e.StoredMeta | e.BucketChange]
    )
    pinned: Counter[int] = field(default_factory=Counter[int])
    unfinished: set[bytes] = field(default_factory=set[bytes])
    damaged: set[int] = field(default_factory=set[int])
    sequence: int = 0
    floor: int = 0
    size: int = 0

    def live(self) -> list[e.StoredMeta]:
        """Give the newest meta of every name that is not gone."""
        return [meta for meta in self.names.values() if not meta.is_marker]


class FakePin:
    """Keeps chunks from `Reclaim`."""

    def __init__(self, bucket: FakeBucket, sequences: list[int]) -> None:
        self.bucket = bucket
        self._held: tuple[FakeBucket, list[int]] | None = (bucket, sequences)
        bucket.pinned.update(sequences)

    def release(self) -> None:
        """Let go."""
        held, self._held = self._held, None
        if held is not None:
            held[0].pinned.subtract(held[1])


@dataclass
class FakeSnapshot:
    """The names as they were."""

    names: dict[str, e.StoredMeta] | None

    def release(self) -> None:
        """Let go."""
        self.names = None


class FakeEngine:
    """The engine; `before` sees every operation and may raise instead of it."""

    def __init__(
        self,
        capabilities: frozenset[e.Capability] = frozenset(
            {e.Capability.SYNCHRONOUS, e.Capability.OBJECT_TTL}
        ),
    ) -> None:
        self.url = "fake:"
        self.store_id = "fake-store"
        self.capabilities = capabilities
        self.backing_store = "memory"
        self.time_ns = START_NS
        self.buckets: dict[str, FakeBucket] = {}
        self.before: Callable[[e.Op[Any]], None] = lambda _op: None
        self.is_closed = False
        self._made = 0
        self._changed = threading.Condition(threading.RLock())

    def now_ns(self) -> int:
        return self.time_ns

    def purge_ns(self) -> int:
        return self.time_ns

    def new_nuid(self) -> bytes:
        self._made += 1
        return self._made.to_bytes(16)

    def advance(self, seconds: float) -> None:
        """Let the clock go on."""
        self.time_ns += int(seconds * SECOND_NS)

    def run(self, op: e.Op[T]) -> T:
        if self.is_closed:
            raise ClosedError(what="the store fake:")
        self.before(op)
        with self._changed:
            name = _CAPITAL.sub("_", type(op).__name__).lower()
            answer: T = getattr(self, f"_{name}")(op)
            self._changed.notify_all()
        return answer

    async def arun(self, op: e.Op[T]) -> T:
        await anyio.lowlevel.checkpoint()
        if isinstance(op, e.WaitForChange):
            end_s = anyio.current_time() + (
                1e9 if op.timeout_s is None else op.timeout_s
            )
            while (seen := self._bucket(op.bucket).sequence) <= op.after:
                if anyio.current_time() >= end_s:
                    break
                await anyio.sleep(0.001)
            answer: Any = seen
            return answer  # type: ignore[no-any-return]
        return self.run(op)

    def peek(self, bucket: str, name: str, *, wait: bool) -> None:
        """Have nothing at hand."""

    def peek_range(
        self, bucket: str, name: str, offset: int, size: int, *, wait: bool
    ) -> None:
        """Have nothing at hand."""

    def drop(self, op: e.Abort) -> None:
        self.buckets[op.bucket].unfinished.discard(op.nuid)

    def close(self) -> None:
        self.is_closed = True

    async def aclose(self) -> None:
        self.close()

    # --- buckets ----------------------------------------------------------------

    def _bucket(self, name: str, incarnation: str | None = None) -> FakeBucket:
        bucket = self.buckets.get(name)
        if bucket is None or incarnation not in (None, bucket.state.incarnation):
            raise BucketNotFoundError(bucket=name)
        return bucket

    def _create_bucket(self, op: e.CreateBucket) -> e.BucketState:
        if op.name in self.buckets:
            raise BucketExistsError(bucket=op.name, state=self.buckets[op.name].state)
        self._made += 1
        state = e.BucketState(
            op.name, op.document, f"{self._made}", False, op.options.max_bytes
        )
        self.buckets[op.name] = FakeBucket(state, op.options)
        return state

    def _get_bucket(self, op: e.GetBucket) -> e.BucketState:
        return self._bucket(op.name).state

    def _update_bucket(self, op: e.UpdateBucket) -> e.BucketState:
        bucket = self._bucket(op.name)
        actual = bucket.state.sequence
        if op.expected != actual:
            subject = op.name.encode()
            raise ConflictError(subject=subject, expected=op.expected, actual=actual)
        bucket.state = replace(
            bucket.state,
            document=op.document,
            max_bytes=op.options.max_bytes,
            sequence=actual + 1,
        )
        bucket.options = op.options
        self._tell(bucket, "config", op.document)
        return bucket.state

    def _delete_bucket(self, op: e.DeleteBucket) -> None:
        self._bucket(op.name)
        del self.buckets[op.name]

    def _list_buckets(self, op: e.ListBuckets) -> list[str]:
        return sorted(self.buckets)

    def _remove_leftovers(self, op: e.RemoveLeftovers) -> None:
        """Leave nothing, as no crash does here."""

    def _seal_bucket(self, op: e.SealBucket) -> None:
        bucket = self._bucket(op.bucket)
        if not bucket.state.sealed:
            bucket.state = replace(bucket.state, sealed=True)
            self._tell(bucket, "seal", b"")

    def _tell(self, bucket: FakeBucket, kind: e.BucketChangeKind, text: bytes) -> None:
        bucket.sequence += 1
        bucket.feed.append(e.BucketChange(bucket.sequence, self.time_ns, kind, text))

    # --- objects ----------------------------------------------------------------

    def _append(self, op: e.Append) -> e.AppendResult:
        bucket = self._bucket(op.bucket, op.incarnation)
        if bucket.state.sealed:
            raise SealedError(bucket=op.bucket)
        for name, expected in op.expect.items():
            last = bucket.names.get(name)
            actual = 0 if last is None else last.sequence
            if actual != expected:
                raise ConflictError(
                    subject=name.encode(), expected=expected, actual=actual
                )
        limit = bucket.state.max_bytes
        if 0 <= limit < bucket.size + op.size_delta and op.size_delta > 0:
            raise LimitExceededError(
                bucket=op.bucket,
                max_bytes=limit,
                size=bucket.size,
                wanted=op.size_delta,
            )
        first = bucket.sequence + 1
        metas = tuple(
            meta for record in op.records if (meta := self._record(bucket, op, record))
        )
        if metas:
            before = bucket.size
            bucket.size = sum(meta.size for meta in bucket.live())
            assert bucket.size - before == op.size_delta, "size_delta is a lie"
        else:
            assert not op.visible, "chunks alone are invisible"
        return e.AppendResult(first, bucket.sequence, self.time_ns, metas)

    def _record(
        self, bucket: FakeBucket, op: e.Append, record: e.Chunk | e.Meta
    ) -> e.StoredMeta | None:
        bucket.sequence += 1
        if isinstance(record, e.Chunk):
            copy = replace(record, data=bytes(record.data))
            bucket.chunks[bucket.sequence] = copy
            bucket.unfinished.add(record.nuid)
            return None
        assert op.visible
        assert record.name in op.expect, "a meta without an expectation"
        stored = self._stored(bucket, op, record)
        bucket.names[record.name] = stored
        bucket.feed.append(stored)
        bucket.unfinished.discard(record.nuid)
        return stored

    def _stored(self, bucket: FakeBucket, op: e.Append, meta: e.Meta) -> e.StoredMeta:
        extents = list(meta.extents)
        first = bucket.sequence - 1 - op.records.index(meta)
        for number, record in enumerate(op.records, first + 1):
            if isinstance(record, e.Chunk) and record.nuid == meta.nuid:
                extents.append(e.Extent(number, 1, len(record.data)))
        assert sum(extent.size for extent in extents) == meta.size
        expires_ns = meta.expires_ns
        if meta.ttl_ns is not None:
            assert expires_ns is None
            expires_ns = self.time_ns + meta.ttl_ns
        stored = e.StoredMeta(
            sequence=bucket.sequence,
            time_ns=self.time_ns,
            name=meta.name,
            document=meta.document,
            change=meta.change,
            nuid=meta.nuid,
            size=meta.size,
            chunk_bytes=meta.chunk_bytes,
            extents=tuple(extents),
            content_time_ns=meta.content_time_ns or self.time_ns,
            expires_ns=expires_ns,
            stored_size=meta.size,
            incarnation=bucket.state.incarnation,
        )
        chunks = [bucket.chunks[sequence] for sequence in sequences_of(stored)]
        assert [chunk.index for chunk in chunks] == list(range(len(chunks)))
        assert all(len(chunk.data) == meta.chunk_bytes for chunk in chunks[:-1])
        return stored

    def _abort(self, op: e.Abort) -> None:
        bucket = self._bucket(op.bucket)
        for sequence, chunk in list(bucket.chunks.items()):
            if chunk.nuid == op.nuid:
                del bucket.chunks[sequence]
        bucket.unfinished.discard(op.nuid)

    def _last(self, op: e.Last) -> e.StoredMeta | None:
        return self._bucket(op.bucket).names.get(op.name)

    def _read_chunks(self, op: e.ReadChunks) -> list[e.Buffer]:
        pin = op.pin
        if isinstance(pin, FakePin):
            bucket = pin.bucket
        else:
            bucket = self._bucket(op.bucket, op.meta.incarnation)
        wanted = sequences_of(op.meta)[op.index : op.index + op.count]
        assert len(wanted) == op.count, "chunks beyond the end of the object"
        for sequence in wanted:
            if sequence in bucket.damaged:
                raise CorruptionError(
                    path="fake:",
                    segment=1,
                    position=sequence,
                    sequence=sequence,
                    reason="checksum mismatch",
                )
            if sequence not in bucket.chunks:
                raise SequenceGoneError(sequence=sequence)
        return [bucket.chunks[sequence].data for sequence in wanted]

    def _pin(self, op: e.Pin) -> FakePin:
        bucket = self._bucket(op.bucket, op.meta.incarnation)
        wanted = sequences_of(op.meta)
        for sequence in wanted:
            if sequence not in bucket.chunks:
                raise SequenceGoneError(sequence=sequence)
        return FakePin(bucket, wanted)

    def _page(self, op: e.Page) -> list[e.StoredMeta]:
        names = self._bucket(op.bucket).names
        if op.snapshot is not None:
            assert isinstance(op.snapshot, FakeSnapshot)
            assert op.snapshot.names is not None, "released"
            names = op.snapshot.names
        rows = sorted(names.values(), key=key_of)
        after = b"" if op.start_after is None else op.start_after.encode()
        found = [
            row
            for row in rows
            if row.name.startswith(op.prefix)
            and (op.start_after is None or key_of(row) > after)
            and (op.as_of is None or row.sequence <= op.as_of)
        ]
        return found[: op.limit]

    def _snapshot(self, op: e.Snapshot) -> FakeSnapshot:
        return FakeSnapshot(dict(self._bucket(op.bucket).names))

    # --- changes ----------------------------------------------------------------

    def _changes(self, op: e.Changes) -> e.ChangePage:
        bucket = self._bucket(op.bucket)
        if op.after < bucket.floor:
            raise CursorExpiredError(sequence=op.after, oldest=bucket.floor + 1)
        if op.after > bucket.sequence:
            raise HistoryRewoundError(sequence=op.after, last_sequence=bucket.sequence)
        found = [change for change in bucket.feed if change.sequence > op.after]
        if len(found) <= op.limit:
            return e.ChangePage(tuple(found), bucket.sequence)
        page = found[: op.limit]
        return e.ChangePage(tuple(page), page[-1].sequence)

    def _visible_sequence(self, op: e.VisibleSequence) -> int:
        return self._bucket(op.bucket).sequence

    def _wait_for_change(self, op: e.WaitForChange) -> int:
        bucket = self._bucket(op.bucket)
        self._changed.wait_for(lambda: bucket.sequence > op.after, op.timeout_s)
        return bucket.sequence

    def _time_at(self, op: e.TimeAt) -> int | None:
        feed = self._bucket(op.bucket).feed
        times = [item.time_ns for item in feed if item.sequence == op.sequence]
        return times[0] if times else None

    def _sequence_at(self, op: e.SequenceAt) -> int:
        feed = self._bucket(op.bucket).feed
        times = [change.sequence for change in feed if change.time_ns <= op.time_ns]
        return max(times, default=0)

    def _get_usage(self, op: e.GetUsage) -> e.Usage:
        bucket = self._bucket(op.bucket)
        return e.Usage(
            count=len(bucket.live()),
            size=bucket.size,
            stored_size=sum(len(chunk.data) for chunk in bucket.chunks.values()),
            last_sequence=bucket.sequence,
            first_change=bucket.floor + 1,
            segments=1,
        )

    # --- space and health ---------------------------------------------------------

    def _due_expiries(self, op: e.DueExpiries) -> list[e.StoredMeta]:
        place = (op.after.expires_ns or 0, op.after.sequence) if op.after else (0, 0)
        due = sorted(
            ((meta.expires_ns, meta.sequence), meta)
            for meta in self._bucket(op.bucket).live()
            if meta.expires_ns is not None and meta.expires_ns <= op.time_ns
        )
        return [meta for at, meta in due if at > place][: op.limit]

    def _reclaim(self, op: e.Reclaim) -> e.Reclaimed:
        bucket = self._bucket(op.bucket)
        kept = {sequence for meta in bucket.live() for sequence in sequences_of(meta)}
        kept.update(sequence for sequence, count in bucket.pinned.items() if count > 0)
        dead = {
            sequence: chunk
            for sequence, chunk in bucket.chunks.items()
            if sequence not in kept and chunk.nuid not in bucket.unfinished
        }
        if not op.dry_run:
            for sequence in dead:
                del bucket.chunks[sequence]
            self._raise_floor(bucket)
        size = sum(len(chunk.data) for chunk in dead.values())
        return e.Reclaimed(size, len({chunk.nuid for chunk in dead.values()}))

    def _raise_floor(self, bucket: FakeBucket) -> None:
        oldest_ns = self.time_ns - bucket.options.changes_ttl_s * SECOND_NS
        left = bucket.options.changes_max_bytes
        for change in reversed(bucket.feed):
            left -= len(change.document)
            if left < 0 or change.time_ns <= oldest_ns:
                bucket.floor = max(bucket.floor, change.sequence)
                return

    def _verify_records(self, op: e.VerifyRecords) -> e.VerifyPage:
        if not op.bucket:
            return e.VerifyPage((), 0, None)
        bucket = self._bucket(op.bucket)
        start = op.token if isinstance(op.token, int) else 0
        page = sorted(bucket.chunks)[start : start + 10]
        damaged = tuple(
            e.DamageFound(None, sequence, 1, sequence, "checksum mismatch")
            for sequence in page
            if sequence in bucket.damaged
        )
        size = sum(len(bucket.chunks[sequence].data) for sequence in page)
        token = start + 10 if start + 10 < len(bucket.chunks) else None
        return e.VerifyPage(damaged, size, token)

    def _damaged(self, op: e.Damaged) -> list[e.DamageFound]:
        return self._nothing_in(op.bucket)

    def _compare_catalog(self, op: e.CompareCatalog) -> list[e.DamageFound]:
        return self._nothing_in(op.bucket)

    def _nothing_in(self, bucket: str) -> list[e.DamageFound]:
        if bucket:
            self._bucket(bucket)
        return []

    def _repair_catalog(self, op: e.RepairCatalog) -> list[e.RepairDone]:
        if op.bucket:
            self._bucket(op.bucket)
        return []

    def _quarantine(self, op: e.Quarantine) -> None:
        self._bucket(op.bucket)

    def _restore(self, op: e.Restore) -> e.RepairDone:
        self._bucket(op.bucket)
        name, sequence = op.damaged.name, op.damaged.sequence
        return e.RepairDone("lost", "the fake keeps no versions", name, sequence)

    def _get_metrics(self, op: e.GetMetrics) -> dict[str, int]:
        return {}

    def _heal(self, op: e.Heal) -> None:
        self._bucket(op.bucket)


def sequences_of(meta: e.StoredMeta) -> list[int]:
    """Give the sequences of a version's chunks in their order."""
    return [
        sequence
        for extent in meta.extents
        for sequence in range(extent.first, extent.first + extent.count)
    ]


def key_of(meta: e.StoredMeta) -> bytes:
    """Give what names are ordered by."""
    return meta.name.encode()
