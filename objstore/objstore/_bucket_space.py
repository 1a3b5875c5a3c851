"""Space and health of one bucket: pins, reclaiming, scrubbing, names of what is hit."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Final, cast

from objstore._bucket_log import FEED_KINDS, BucketLog
from objstore._bucket_records import chunks_of, lost_content
from objstore._engine import Buffer, DamageFound, Reclaimed, StoredMeta, VerifyPage
from objstore._meta_record import decode_facts
from objstore._projection import checksum_of
from objstore_log import (
    FoundDamage,
    Kind,
    NewRecord,
    ScrubToken,
    SegmentPin,
    subject_of,
)
from objstore_log.errors import ConflictError, SequenceGoneError

NS_PER_S: Final = 1_000_000_000
_ROWS: Final = 1_000
_NO_LIMIT: Final = -1
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
        due = self._bucket.due(now_ns, _NO_LIMIT)
        self._due_metas = {meta.sequence for meta in due}
        sharers = Counter(meta.extents[0].first for meta in due if meta.extents)
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

    # --- health ---------------------------------------------------------------

    def scrub(self, token: object | None) -> VerifyPage:
        """Check a stretch of the log and name what its damage hit."""
        assert token is None or isinstance(token, ScrubToken)
        page = self._bucket.log.scrub(token)
        found = [damage for item in page.damages for damage in self._named(item)]
        found += self._without_segment(page.missing)
        return VerifyPage(tuple(found), page.bytes, page.token)

    def _without_segment(
        self, missing: Sequence[tuple[int, int]]
    ) -> Iterator[DamageFound]:
        """Name the current metas that lie in no segment."""
        log = self._bucket.log
        for first, last in missing:
            log.apply()
            for sequence, name in log.query(
                "SELECT sequence, name FROM metas WHERE sequence BETWEEN ? AND ?",
                (first, last),
            ):
                yield DamageFound(
                    cast("bytes", name).decode(errors="replace"),
                    cast("int", sequence),
                    0,
                    0,
                    "the segment that holds it is missing",
                )

    def damaged(self) -> list[DamageFound]:
        """Name what opening found damaged."""
        found: list[DamageFound] = []
        for item in self._bucket.log.damages:
            header = item.damage.header
            hit = () if header is None else (header.sequence,)
            found += self._named(FoundDamage(item.segment, item.damage, hit))
        return found

    def _named(self, found: FoundDamage) -> Iterator[DamageFound]:
        """Give one row for each name that damage hit; none for dead chunks."""
        damage = found.damage
        header = damage.header
        if not found.sequences:
            yield DamageFound(None, None, found.segment, damage.position, damage.reason)
            return
        for sequence in found.sequences:
            names = self._names_at(sequence)
            if header is not None and header.kind == Kind.META:
                names = names or [header.key.decode(errors="replace")]
            elif header is not None and header.kind == Kind.CHUNK and not names:
                continue
            for name in names or [None]:
                yield DamageFound(
                    name, sequence, found.segment, damage.position, damage.reason
                )

    def _names_at(self, sequence: int) -> list[str | None]:
        """Give the names whose current state needs a record."""
        log = self._bucket.log
        log.apply()
        rows = log.query("SELECT name FROM metas WHERE sequence = ?", (sequence,))
        names = [cast("bytes", row[0]).decode(errors="replace") for row in rows]
        content = log.query(
            "SELECT content FROM extents WHERE first <= ? AND first + count > ?",
            (sequence, sequence),
        )
        if content:
            names += self._sharers(cast("int", content[0][0]))
        return list(dict.fromkeys(names))

    def _sharers(self, content: int) -> Iterator[str]:
        """Give every name whose content begins at a chunk; reads all metas."""
        log = self._bucket.log
        after = 0
        while True:
            rows = log.query(
                "SELECT sequence, name, body FROM metas WHERE sequence > ?"
                " ORDER BY sequence LIMIT ?",
                (after, _ROWS),
            )
            for row in rows:
                facts = decode_facts(cast("bytes", row[2]))
                if facts.extents and facts.extents[0].first == content:
                    yield cast("bytes", row[1]).decode(errors="replace")
            if len(rows) < _ROWS:
                return
            after = cast("int", rows[-1][0])

    def repair_catalog(self) -> bool:
        """Rebuild the catalog when it is not what the log says."""
        log = self._bucket.log
        if log.check_catalog():
            before = list(log.catalog.rows())
            log.rebuild_catalog("it is compared with the log")
            return before != list(log.catalog.rows())
        log.rebuild_catalog("a row of it is damaged")
        return True
