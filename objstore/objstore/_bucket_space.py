"""Space of one bucket: pins and reclaiming."""

from __future__ import annotations

import threading
from collections import Counter
from contextlib import suppress
from functools import partial
from typing import Final, cast

from objstore._bucket_log import FEED_KINDS, BucketLog
from objstore._bucket_records import chunks_of, lost_content
from objstore._engine import Buffer, Reclaimed, StoredMeta
from objstore._projection import checksum_of
from objstore_log import (
    Kind,
    NewRecord,
    SegmentPin,
    subject_of,
)
from objstore_log.errors import ConflictError, SequenceGoneError

NS_PER_S: Final = 1_000_000_000
_ROWS: Final = 1_000
_FLOOR_SUBJECT: Final = subject_of(Kind.FLOOR, b"")


class _Needs:
    """What a bucket's catalog says is needed."""

    def __init__(self, bucket: BucketLog) -> None:
        self._bucket = bucket
        self.floor = bucket.floor
        self.replaced: frozenset[bytes] = frozenset()
        self._due_metas: set[int] = set()
        self._due_contents: set[int] = set()

    def expect_run(self, now_ns: int, floor: int | None) -> None:
        """Judge as a run would that first raises the floor and marks what is due."""
        if floor is not None:
            self.floor = floor
            self.replaced = frozenset((_FLOOR_SUBJECT,))
        if self._bucket.state().sealed:
            return
        sharers: Counter[int] = Counter()
        last: StoredMeta | None = None
        # of what is due only two numbers are kept, however much is said of it
        while due := self._bucket.due(now_ns, _ROWS, last):
            last = due[-1]
            self._due_metas.update(meta.sequence for meta in due)
            sharers.update(meta.extents[0].first for meta in due if meta.extents)
        for content, count in sharers.items():
            query = "SELECT refs FROM extents WHERE first = ?"
            if self._bucket.log.query(query, (content,)) == [(count,)]:
                self._due_contents.add(content)

    def live_runs(self, first: int, last: int) -> list[tuple[int, int]]:
        """Give the runs of live content that touch a range."""
        rows = self._bucket.log.query(
            "SELECT first, count, content, refs, checksum FROM extents"
            " WHERE first <= ? AND first >= COALESCE("
            "(SELECT MAX(first) FROM extents WHERE first <= ?), 0) ORDER BY first",
            (last, first),
        )
        runs: list[tuple[int, int]] = []
        for row in rows:
            if checksum_of(*row[:4]) != row[4]:
                # never judge by a damaged row: rebuild, then look again
                self._bucket.log.rebuild_catalog("an extent row is damaged")
                return self.live_runs(first, last)
            if row[2] not in self._due_contents:
                runs.append(cast("tuple[int, int]", (row[0], row[1])))
        return runs

    def has_current(self, first: int, last: int) -> bool:
        """Say whether a current meta lies in a range."""
        # all that are due, and one more if there is one
        limit = len(self._due_metas) + 1
        rows = self._bucket.log.query(
            "SELECT sequence FROM metas WHERE sequence BETWEEN ? AND ? LIMIT ?",
            (first, last, limit),
        )
        return any(row[0] not in self._due_metas for row in rows)

    def current(self, first: int, last: int) -> set[int]:
        """Give the sequences of the current metas in a range."""
        rows = self._bucket.log.query(
            "SELECT sequence FROM metas WHERE sequence BETWEEN ? AND ?", (first, last)
        )
        return {cast("int", row[0]) for row in rows} - self._due_metas


class ContentPin:
    """Keeps a version's content readable."""

    def __init__(self, bucket: BucketLog, pin: SegmentPin) -> None:
        self._bucket = bucket
        self._pin = pin

    def read_chunks(self, meta: StoredMeta, index: int, count: int) -> list[Buffer]:
        """Read chunks of the version, also when its bucket was deleted."""
        read = partial(self._bucket.log.read_held, self._pin)
        chunks = chunks_of(self._bucket.entry.name, meta, index, count, read)
        assert chunks is not None
        return chunks

    def release(self) -> None:
        """Let go; idempotent."""
        self._pin.release()


class BucketSpace:
    """Space and health of a bucket."""

    def __init__(self, bucket: BucketLog) -> None:
        self._bucket = bucket
        self._reclaiming = threading.Lock()

    def pin(self, meta: StoredMeta) -> ContentPin:
        """Keep a version's content. Raises `SequenceGoneError` when it is gone."""
        runs = [(extent.first, extent.count) for extent in meta.extents]
        try:
            pin = ContentPin(self._bucket, self._bucket.log.pin(runs))
        except SequenceGoneError as error:
            if self._bucket.is_reclaimed(meta):
                raise
            raise lost_content(
                self._bucket.entry.name,
                meta,
                error.sequence,
                "the segment that holds its content is missing",
            ) from error
        if self._bucket.is_reclaimed(meta):
            pin.release()
            raise SequenceGoneError(sequence=meta.sequence)
        return pin

    # --- reclaiming -----------------------------------------------------------

    def reclaim(self, now_ns: int, *, dry_run: bool) -> Reclaimed:
        """Raise the change floor, then give dead bytes back.

        Raises:
            StorageError: the catalog cannot be brought up, such as on a full disk.
        """
        with self._reclaiming:
            needs = _Needs(self._bucket)
            if dry_run:
                needs.expect_run(now_ns, self._next_floor(now_ns))
            else:
                self._raise_floor(now_ns)
                needs.floor = self._bucket.floor
            # without it nobody can say what is dead
            self._bucket.log.require_catalog()
            result = self._bucket.log.reclaim(needs, dry_run=dry_run)
        return Reclaimed(result.bytes, result.contents)

    def _raise_floor(self, now_ns: int) -> None:
        """Let changes go that are too old or too many, and say so in the log."""
        log = self._bucket.log
        last, _ = log.last(_FLOOR_SUBJECT)
        floor = self._next_floor(now_ns)
        if floor is None:
            return
        judged = log.visible_sequence
        body = floor.to_bytes(8, "little") + judged.to_bytes(8, "little")
        # another process that has raised it meanwhile knew as much
        with suppress(ConflictError):
            log.append([NewRecord(Kind.FLOOR, body)], expect={_FLOOR_SUBJECT: last})

    def _next_floor(self, now_ns: int) -> int | None:
        """Give where the changes begin that are to be kept; `None` to leave it."""
        log, options = self._bucket.log, self._bucket.options
        old = self._bucket.floor
        try:
            floor = max(
                log.sequence_at(now_ns - int(options.changes_ttl_s * NS_PER_S)),
                log.feed_bytes.released(
                    FEED_KINDS, above=old, max_bytes=options.changes_max_bytes
                ),
            )
            floor = min(floor, log.progress[1].sequence)
            # one that passes no change would be followed by one that passes itself
            is_rising = log.feed_bytes.holds(FEED_KINDS, above=old, through=floor)
        except FileNotFoundError:
            # another process is giving back a segment: it has raised the floor
            return None
        return floor if is_rising else None
