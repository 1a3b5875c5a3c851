"""One bucket on a segmented log: changes in, metas and chunks out."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Final, NamedTuple

from objstore._bucket_metas import BucketMetas, BucketSnapshot
from objstore._bucket_records import (
    as_stored,
    bucket_change,
    chunks_of,
    content_of,
    lost_content,
    meta_subject_of,
    seal_state,
)
from objstore._bucket_state import GONE, SEALED, BucketFollower, read_totals
from objstore._engine import (
    Append,
    AppendResult,
    BucketChange,
    BucketOptions,
    BucketState,
    Buffer,
    ChangePage,
    Chunk,
    Meta,
    StoredMeta,
    Usage,
)
from objstore._hot_ranges import HotRanges
from objstore._hot_reads import HotReads
from objstore._meta_record import Content, decode_meta, encode_meta
from objstore._registry import BucketEntry
from objstore.errors import (
    BucketNotFoundError,
    CorruptionError,
    CursorExpiredError,
    LimitExceededError,
    SealedError,
)
from objstore_log import (
    Appended,
    Guard,
    GuardTotals,
    Kind,
    Log,
    NewRecord,
    Record,
    Ticket,
    encode_runs,
)
from objstore_log.errors import SequenceGoneError

FEED_KINDS: Final = frozenset({Kind.META, Kind.SEAL, Kind.BUCKET})
"""What a bucket's changes are."""


class Prepared(NamedTuple):
    """An append ready for the log."""

    records: list[NewRecord]
    expect: dict[bytes, int]
    guard: Guard
    contents: dict[int, Content]
    """What the metas among the records refer to, by their places."""


class BucketLog:
    """A bucket's log with what the object layer keeps beside it."""

    def __init__(self, entry: BucketEntry, options: BucketOptions, log: Log) -> None:
        self.entry = entry
        self.incarnation = entry.log_id.hex()
        self.options = options
        self.log = log
        self._lock = threading.Lock()
        self._follower = BucketFollower(log)
        self._metas = BucketMetas(log, entry.name, self.incarnation)
        self._hot = HotReads(log, self._metas)
        self._ranges = HotRanges(log, self._metas.newest, self._meta)
        self.unfinished: dict[bytes, list[tuple[int, int]]] = {}
        """Runs of chunks of puts of this process that have no meta yet, by nuid."""

    # --- state ----------------------------------------------------------------

    @property
    def floor(self) -> int:
        """Give the change floor: changes at or below it may be gone."""
        return self._follower.floor

    @property
    def seal_level(self) -> int:
        """Give 0, `SEALED` or `GONE`, as of now."""
        self.log.catch_up()
        return self._follower.seal

    def state(self) -> BucketState:
        """Give the bucket's state as of now."""
        self.log.catch_up()
        self._check_not_gone()
        entry = self.entry
        return BucketState(
            entry.name,
            entry.document,
            self.incarnation,
            self._follower.seal == SEALED,
            self.options.max_bytes,
            entry.sequence,
        )

    def _check_not_gone(self) -> None:
        if self._follower.seal == GONE:
            raise BucketNotFoundError(bucket=self.entry.name)

    # --- appending ------------------------------------------------------------

    def prepare(self, op: Append) -> Prepared:
        """Encode an append."""
        self._announce(op)
        records: list[NewRecord] = []
        contents: dict[int, Content] = {}
        last_meta = len(op.records) - 1
        while last_meta >= 0 and not isinstance(op.records[last_meta], Meta):
            last_meta -= 1
        for at, item in enumerate(op.records):
            if isinstance(item, Chunk):
                records.append(
                    NewRecord(
                        Kind.CHUNK,
                        item.data,
                        nuid=item.nuid,
                        chunk_index=item.index,
                        plain_length=len(item.data),
                    )
                )
                continue
            contents[at] = content_of(item, op.records)
            records.append(
                encode_meta(
                    item,
                    contents[at],
                    previous=op.expect.get(item.name, 0),
                    size_delta=op.size_delta if at == last_meta else 0,
                )
            )
        expect = {meta_subject_of(name): last for name, last in op.expect.items()}
        return Prepared(records, expect, self._guard(op), contents)

    def _guard(self, op: Append) -> Guard:
        limit = self.options.max_bytes

        def check(ahead: GuardTotals) -> None:
            seal = max(self._follower.seal, ahead.get("seal", 0))
            if seal == GONE:
                raise BucketNotFoundError(bucket=self.entry.name)
            if seal == SEALED:
                raise SealedError(bucket=self.entry.name)
            size = self._follower.size + ahead.get("size", 0)
            if limit >= 0 and op.size_delta > 0 and size + op.size_delta > limit:
                raise LimitExceededError(
                    bucket=self.entry.name,
                    max_bytes=limit,
                    size=size,
                    wanted=op.size_delta,
                )
            if op.visible:
                ahead["size"] = ahead.get("size", 0) + op.size_delta

        return check

    def append(self, op: Append) -> AppendResult:
        """Append, blocking."""
        prepared = self.prepare(op)
        appended = self.log.append(
            prepared.records,
            expect=prepared.expect,
            guard=prepared.guard,
            is_visible=op.visible,
        )
        return self.finish(op, prepared, appended)

    def finish(
        self, op: Append, prepared: Prepared, appended: Appended
    ) -> AppendResult:
        """Note what an append did to unfinished puts; give its result."""
        metas: list[StoredMeta] = []
        for at, item in enumerate(op.records):
            if isinstance(item, Meta):
                content = prepared.contents[at]
                metas.append(as_stored(item, content, appended, at, self.incarnation))
                self._forget_unfinished(item.nuid)
        if not metas:
            self._note_unfinished(op, appended)
        return AppendResult(
            appended.first_sequence,
            appended.last_sequence,
            appended.time_ns,
            tuple(metas),
        )

    def _announce(self, op: Append) -> None:
        """Before the first chunks of a large put: keep reclaimers off them."""
        first = op.records[0] if op.records else None
        if op.visible or not isinstance(first, Chunk):
            return
        with self._lock:
            if first.nuid not in self.unfinished:
                is_first = not self.unfinished
                self.unfinished[first.nuid] = []
                if is_first:
                    self.log.announce_unfinished(self.log.visible_sequence + 1)

    def _note_unfinished(self, op: Append, appended: Appended) -> None:
        first = op.records[0] if op.records else None
        if isinstance(first, Chunk):
            run = (appended.first_sequence, len(op.records))
            with self._lock:
                self.unfinished.setdefault(first.nuid, []).append(run)

    def _forget_unfinished(self, nuid: bytes) -> list[tuple[int, int]]:
        with self._lock:
            if nuid not in self.unfinished:
                return []
            runs = self.unfinished.pop(nuid)
            firsts = [run[0][0] for run in self.unfinished.values() if run]
            if not self.unfinished:
                self._announce_rest(None)
            elif len(firsts) == len(self.unfinished):
                self._announce_rest(min(firsts))
            return runs

    def _announce_rest(self, first: int | None) -> None:
        # the put has ended; an old announcement only keeps reclaimers off
        with suppress(OSError):
            self.log.announce_unfinished(first)

    def abort(self, nuid: bytes) -> None:
        """Say that a put's chunks are garbage."""
        runs = self._forget_unfinished(nuid)
        if runs:
            record = NewRecord(Kind.ABORT, encode_runs(runs), nuid=nuid)
            self.log.append([record], is_visible=False)

    def submit_abort(
        self, nuid: bytes, on_done: Callable[[Ticket], None]
    ) -> Ticket | None:
        """Do what `abort` does without waiting; `None` when there is nothing to do."""
        runs = self._forget_unfinished(nuid)
        if not runs:
            return None
        record = NewRecord(Kind.ABORT, encode_runs(runs), nuid=nuid)
        ticket = Ticket([record], {}, None, False, on_done)  # noqa: FBT003 - `is_visible`
        self.log.submit(ticket)
        return ticket

    def seal(self, state: int) -> None:
        """Seal the bucket, or say that it was deleted; idempotent."""
        self.log.catch_up()
        self._check_not_gone()
        if self._follower.seal < state:

            def note(ahead: GuardTotals) -> None:
                ahead["seal"] = state

            self.log.append([NewRecord(Kind.SEAL, bytes((state,)))], guard=note)

    def note_config(self, entry: BucketEntry) -> None:
        """Put a change of the configuration on the bucket's own feed."""
        record = NewRecord(Kind.BUCKET, entry.document, key=entry.name.encode())
        self.log.append([record])

    # --- metas ----------------------------------------------------------------

    def last(self, name: str) -> StoredMeta | None:
        """Give the newest meta of a name."""
        try:
            found = self._metas.last(name)
        except CorruptionError:
            self._check_not_gone()
            raise
        self._check_not_gone()
        return found

    def page(
        self, prefix: str, start_after: str | None, limit: int, as_of: int | None
    ) -> list[StoredMeta]:
        """Give the newest metas in name order, all of them as of one moment."""
        found = self._metas.page(prefix, start_after, limit, as_of)
        self._check_not_gone()
        return found

    def snapshot(self) -> BucketSnapshot:
        """Keep for pages what the names are now."""
        self._check_not_gone()
        return BucketSnapshot(self._metas, self.log.snapshot())

    def due(
        self, time_ns: int, limit: int, after: StoredMeta | None = None
    ) -> list[StoredMeta]:
        """Give live metas that have expired by a time, oldest first."""
        return self._metas.due(time_ns, limit, after)

    def _meta(self, record: Record) -> StoredMeta:
        return decode_meta(record, self.incarnation)

    # --- content --------------------------------------------------------------

    def peek(self, name: str, *, wait: bool) -> bytes | None:
        """Give an object's content, verified by its digest, if at hand."""
        if self._follower.seal == GONE:
            return None
        found = self._hot.read(name, wait=wait)
        if found is None and wait:
            # what is larger takes too long to hash where nothing may be waited for
            found = self._ranges.read_whole(name, wait=True)
        return found

    def peek_range(
        self, name: str, offset: int, size: int, *, wait: bool
    ) -> bytes | None:
        """Give bytes of an object, verified by their chunks' checksums, if at hand."""
        if self._follower.seal == GONE:
            return None
        return self._ranges.read(name, offset, size, wait=wait)

    def read_chunks(
        self, meta: StoredMeta, index: int, count: int, *, wait: bool = True
    ) -> list[Buffer] | None:
        """Read chunks of a version; with `wait=False` only if they are in memory."""
        read = partial(self._read_run, meta) if wait else self.log.try_read_run
        return chunks_of(self.entry.name, meta, index, count, read)

    def read_raw(self, meta: StoredMeta, index: int, count: int) -> list[Buffer]:
        """Read chunks of any version that the log still has, dead or not."""
        chunks = chunks_of(self.entry.name, meta, index, count, self.log.read_run)
        assert chunks is not None
        return chunks

    def _read_run(self, meta: StoredMeta, first: int, length: int) -> list[Record]:
        try:
            return self.log.read_run(first, length)
        except CorruptionError as error:
            if self.is_reclaimed(meta):
                raise SequenceGoneError(sequence=meta.sequence) from error
            raise
        except SequenceGoneError as error:
            if self.is_reclaimed(meta):
                raise
            raise lost_content(
                self.entry.name,
                meta,
                first,
                "the segment that holds its content is missing",
            ) from error

    def is_reclaimed(self, meta: StoredMeta) -> bool:
        """Say whether nobody needs this version's content any more."""
        if not meta.extents:
            return False
        current = self.last(meta.name)
        if current is not None and current.extents == meta.extents:
            # Asks no catalog, which cannot be written on a full disk.
            return False
        # Whoever reclaimed it has judged by this catalog, which was told before.
        if not self._is_referred(meta):
            return True
        self.log.apply()
        return not self._is_referred(meta)

    def _is_referred(self, meta: StoredMeta) -> bool:
        content = meta.extents[0].first
        query = "SELECT refs FROM extents WHERE first = ?"
        return bool(self.log.query(query, (content,)))

    # --- changes --------------------------------------------------------------

    def time_at(self, sequence: int) -> int | None:
        """Give when a sequence was committed; `None` when it is gone or damaged."""
        try:
            return self.log.read_run(sequence, 1)[0].time_ns
        except (CorruptionError, SequenceGoneError):
            return None

    def changes(self, after: int, limit: int) -> ChangePage:
        """Give changes above a sequence in log order."""
        if after < self._follower.floor:
            raise CursorExpiredError(sequence=after, oldest=self._follower.floor + 1)
        page = self.log.feed(after, limit, FEED_KINDS)
        if after < self._follower.floor:
            raise CursorExpiredError(sequence=after, oldest=self._follower.floor + 1)
        changes: list[StoredMeta | BucketChange] = []
        for record in page.records:
            if record.kind == Kind.META:
                changes.append(self._meta(record))
            elif record.kind == Kind.BUCKET:
                changes.append(bucket_change(record, "config"))
            elif seal_state(record) == SEALED:
                changes.append(bucket_change(record, "seal"))
        return ChangePage(tuple(changes), page.through)

    def usage(self) -> Usage:
        """Give the figures of `status()`.

        Raises:
            StorageError: the catalog cannot be brought up, such as on a full disk.
        """
        self.log.require_catalog()
        _, totals = read_totals(self.log)
        return Usage(
            totals.count,
            totals.size,
            totals.stored_size,
            self.log.visible_sequence,
            self._follower.floor + 1,
            self.log.segment_count,
        )

    def close(self) -> None:
        """Close the log."""
        self.log.close()

    def abandon(self) -> None:
        """Close the log of a bucket that was deleted: every later use says so."""
        self.log.abandon(partial(BucketNotFoundError, bucket=self.entry.name))


def ticket_of(
    op: Append, prepared: Prepared, on_done: Callable[[Ticket], None]
) -> Ticket:
    """Give the log's ticket of an append."""
    return Ticket(
        prepared.records, prepared.expect, prepared.guard, op.visible, on_done
    )
